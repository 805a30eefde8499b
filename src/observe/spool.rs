//! Owns the way of log lines to a sink that may be slow: a bounded queue and a thread of its own.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Tally;

/// Emptied buffers kept for reuse: about one a worker.
const SPARE_MAX: usize = 16;
/// A buffer that grew beyond this, in bytes, is not kept.
const SPARE_BYTES_MAX: usize = 256 * 1024;

/// A queue of whole lines and the thread that writes them.
#[derive(Debug, Clone)]
pub(super) struct Spool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the writer.
    filled: Condvar,
    /// Wakes whoever waits for the queue to be written out.
    emptied: Condvar,
    queued_bytes_max: usize,
    dropped: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    queued_bytes: usize,
    spare: Vec<Vec<u8>>,
    /// The writer is at work outside the lock.
    writing: bool,
    closed: bool,
}

/// Some whole lines.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    lines: u64,
}

impl Spool {
    /// Starts the writer's thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub(super) fn start(
        thread: &str,
        sink: Box<dyn Write + Send>,
        queued_bytes_max: usize,
        dropped: Arc<Tally>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            queued_bytes_max,
            dropped,
        });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new().name(thread.to_owned()).spawn(move || writer.write_out(sink))?;
        Ok(Self(shared))
    }

    /// Takes lines in exchange for an empty buffer, and never waits for the sink.
    ///
    /// When too much is queued already, the lines are dropped and counted.
    pub(super) fn push(&self, mut bytes: Vec<u8>, lines: u64) -> Vec<u8> {
        let mut queue = self.0.lock();
        if queue.closed || queue.queued_bytes + bytes.len() > self.0.queued_bytes_max {
            drop(queue);
            self.0.dropped.add(lines);
            bytes.clear();
            return bytes;
        }
        queue.queued_bytes += bytes.len();
        queue.chunks.push_back(Chunk { bytes, lines });
        let spare = queue.spare.pop();
        drop(queue);
        self.0.filled.notify_one();
        spare.unwrap_or_default()
    }

    /// Takes no more lines and waits until all are written, at most `patience`; says whether they were.
    pub(super) fn finish(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut queue = self.0.lock();
        queue.closed = true;
        self.0.filled.notify_one();
        while queue.writing || !queue.chunks.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.0.emptied.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_out(&self, mut sink: Box<dyn Write + Send>) {
        let mut chunks = VecDeque::new();
        while self.take(&mut chunks) {
            for chunk in &chunks {
                if sink.write_all(&chunk.bytes).is_err() {
                    self.dropped.add(chunk.lines);
                }
            }
            // A sink that cannot flush has failed its writes, too, or will fail the next.
            let _ = sink.flush();
            self.give_back(&mut chunks);
        }
    }

    /// Waits for lines; `false` when closed and empty.
    fn take(&self, chunks: &mut VecDeque<Chunk>) -> bool {
        let mut queue = self.lock();
        while queue.chunks.is_empty() {
            if queue.closed {
                return false;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(chunks, &mut queue.chunks);
        queue.writing = true;
        true
    }

    /// The bytes count as queued until they are written, so that a blocked sink bounds both queues together.
    fn give_back(&self, chunks: &mut VecDeque<Chunk>) {
        let mut queue = self.lock();
        for Chunk { mut bytes, .. } in chunks.drain(..) {
            queue.queued_bytes -= bytes.len();
            if queue.spare.len() < SPARE_MAX && bytes.capacity() <= SPARE_BYTES_MAX {
                bytes.clear();
                queue.spare.push(bytes);
            }
        }
        queue.writing = false;
        drop(queue);
        self.emptied.notify_all();
    }
}
