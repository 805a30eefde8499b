//! Owns the way of records to the committer, and when it wakes: at once for a record that somebody waits for; what nobody waits for
//! goes with the next one, or after a short time by itself.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::record::record_bytes;
use super::shared::{Message, Request, Shared};

/// A batch takes no more records once it has this many bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What nobody waits for is written once it has this many bytes, too.
pub(super) const LAZY_BYTES_MAX: usize = 1024 * 1024;
/// What nobody waits for is written after this time; so long after a batch the committer looks by itself and need not be woken for it.
const LAZY_WRITE: Duration = Duration::from_millis(5);

/// Wakes the committer.
#[derive(Debug, Default)]
pub(super) struct Bell {
    sleeper: OnceLock<Thread>,
    /// It sleeps without an end, so that anything must wake it.
    asleep: AtomicBool,
}

impl Bell {
    /// Says whom to wake; called once, before anybody rings.
    pub(super) fn wakes(&self, thread: &Thread) {
        let _ = self.sleeper.set(thread.clone());
    }

    /// Says that something was sent; wakes the thread if that is urgent, or if it would sleep on.
    pub(super) fn ring(&self, urgent: bool) {
        // Either we see that it falls asleep, or it sees what was sent when it looks once more.
        fence(Ordering::SeqCst);
        if (urgent || self.asleep.load(Ordering::SeqCst))
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }

    /// Announces a sleep without an end; what was sent must be looked for afterwards, before [`Self::sleep`].
    fn announce_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Sleeps until somebody rings, at most until the given time; may also return for no reason.
    fn sleep(&self, until: Option<Instant>) {
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(Duration::ZERO) => {}
            Some(left) => thread::park_timeout(left),
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// What is committed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) requests: Vec<Request>,
    bytes: usize,
    /// Somebody waits for one of them, or they are many.
    urgent: bool,
}

impl Batch {
    fn push(&mut self, request: Request) {
        self.bytes += record_bytes(request.payload.bytes());
        self.urgent |= request.is_awaited() || self.bytes > LAZY_BYTES_MAX;
        self.requests.push(request);
    }
}

/// The committer's end.
#[derive(Debug)]
pub(super) struct Inbox {
    shared: Arc<Shared>,
    requests: Receiver<Message>,
    /// Until then what nobody waits for need not wake it.
    attentive_until: Option<Instant>,
}

impl Inbox {
    pub(super) fn new(shared: Arc<Shared>, requests: Receiver<Message>) -> Self {
        Self { shared, requests, attentive_until: None }
    }

    /// Waits for records, at most until something else is due; says no when there will be no more.
    pub(super) fn gather(&mut self, batch: &mut Batch, due: Option<Instant>) -> bool {
        loop {
            if !self.receive(batch) {
                return false;
            }
            let now = Instant::now();
            if batch.urgent || due.is_some_and(|due| due <= now) {
                return true;
            }
            match self.attentive_until.filter(|until| *until > now) {
                Some(until) => self.shared.bell.sleep(Some(due.map_or(until, |due| due.min(until)))),
                None if !batch.requests.is_empty() => return true,
                None => {
                    self.shared.bell.announce_sleep();
                    match self.requests.try_recv() {
                        Err(TryRecvError::Empty) => self.shared.bell.sleep(due),
                        Ok(Message::Append(request)) => batch.push(request),
                        Ok(Message::Close) | Err(TryRecvError::Disconnected) => return false,
                    }
                    self.attend();
                }
            }
        }
    }

    /// Looks by itself for a while.
    pub(super) fn attend(&mut self) {
        self.attentive_until = Some(Instant::now() + LAZY_WRITE);
    }

    /// Takes what has come; says no when there will be no more.
    fn receive(&self, batch: &mut Batch) -> bool {
        while batch.bytes < BATCH_BYTES_MAX {
            match self.requests.try_recv() {
                Ok(Message::Append(request)) => batch.push(request),
                Ok(Message::Close) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => break,
            }
        }
        true
    }

    /// What came between the end and now.
    pub(super) fn late(&self) -> Vec<Request> {
        let requests = self.requests.try_iter().filter_map(|message| match message {
            Message::Append(request) => Some(request),
            Message::Close => None,
        });
        requests.collect()
    }
}
