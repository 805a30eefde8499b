//! Owns the thread that writes overrides and history to disk; nobody who decides ever waits for it.
//!
//! What is to be written waits in a bounded inbox. A disk that is full or broken is tried again every second.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::history::{Event, HistoryLog};
use super::overrides::{Durable, OverrideFile};
use crate::observe::Metrics;

/// Events that may wait for the disk: far more than a person gives, and than reloads make in a minute.
const EVENTS_MAX: usize = 1024;
/// Between two attempts on a disk that did not take something.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long whoever gave a command waits to hear that it is on disk.
const ACKNOWLEDGE_PATIENCE: Duration = Duration::from_secs(5);

/// What whoever gave a command hears from the disk.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) durable: Durable,
    /// The number of the entry in the history, if that is on disk too.
    pub(super) entry: Option<u64>,
}

/// The way to the scribe.
#[derive(Debug)]
pub(super) struct Scribe {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    state_dir: Option<PathBuf>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Inbox {
    /// The newest book; earlier ones need not be written any more.
    book: Option<Vec<u8>>,
    events: VecDeque<(Event, Option<SyncSender<Written>>)>,
    stop: bool,
}

impl Scribe {
    /// Makes the way; [`Scribe::run`] is to be called on a thread of its own.
    pub(super) fn new(state_dir: Option<PathBuf>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { inbox: Mutex::default(), wake: Condvar::new(), state_dir, metrics })
    }

    /// Hands over an event, with the book if it changed. Never blocks on the disk.
    ///
    /// The receiver hears when it is written; wait for it with [`Scribe::wait`].
    pub(super) fn note(&self, event: Event, book: Option<Vec<u8>>) -> mpsc::Receiver<Written> {
        let (reply, written) = mpsc::sync_channel(1);
        let mut inbox = self.lock();
        inbox.book = book.or_else(|| inbox.book.take());
        if inbox.events.len() < EVENTS_MAX {
            inbox.events.push_back((event, Some(reply)));
        } else {
            self.metrics.control.history_lost.add(1);
        }
        drop(inbox);
        self.wake.notify_one();
        written
    }

    /// Waits for the disk, for a bounded time.
    pub(super) fn wait(&self, written: &mpsc::Receiver<Written>) -> Written {
        let no = |why: &str| Written { durable: Durable::No(why.to_owned()), entry: None };
        if self.state_dir.is_none() {
            return no("there is no state directory");
        }
        match written.recv_timeout(ACKNOWLEDGE_PATIENCE) {
            Ok(written) => written,
            Err(mpsc::RecvTimeoutError::Timeout) => no("the disk did not answer within 5 s"),
            Err(mpsc::RecvTimeoutError::Disconnected) => no("too much waits for the disk"),
        }
    }

    /// Writes what is left and ends.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }

    /// Writes until it is stopped.
    pub(super) fn run(self: Arc<Self>) {
        let Some(state_dir) = self.state_dir.clone() else { return };
        let mut desk = Desk {
            file: OverrideFile::new(&state_dir),
            log: HistoryLog::new(&state_dir),
            book: None,
            events: VecDeque::new(),
            metrics: Arc::clone(&self.metrics),
            trouble: None,
        };
        loop {
            let stop = self.take(&mut desk);
            desk.write();
            if stop {
                return;
            }
        }
    }

    /// Waits for something to write, or for the next attempt; says whether it is the last.
    fn take(&self, desk: &mut Desk) -> bool {
        let mut inbox = self.lock();
        while !inbox.stop && inbox.book.is_none() && inbox.events.is_empty() {
            if desk.is_done() {
                inbox = self.wake.wait(inbox).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (next, waited) = self.wake.wait_timeout(inbox, RETRY_INTERVAL).unwrap_or_else(PoisonError::into_inner);
            inbox = next;
            if waited.timed_out() {
                break;
            }
        }
        desk.book = inbox.book.take().or_else(|| desk.book.take());
        desk.events.extend(inbox.events.drain(..));
        inbox.stop
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the scribe has before it.
struct Desk {
    file: OverrideFile,
    log: HistoryLog,
    /// The book that is not on disk yet.
    book: Option<Vec<u8>>,
    /// The events that are not on disk yet.
    events: VecDeque<(Event, Option<SyncSender<Written>>)>,
    metrics: Arc<Metrics>,
    /// The last trouble, so that it is logged once.
    trouble: Option<String>,
}

impl Desk {
    fn is_done(&self) -> bool {
        self.book.is_none() && self.events.is_empty()
    }

    fn write(&mut self) {
        let saved = self.book.as_deref().map_or(Ok(()), |book| self.file.save(book));
        let durable = match &saved {
            Ok(()) => {
                self.book = None;
                Durable::Yes
            }
            Err(error) => Durable::No(error.to_string()),
        };
        self.metrics.control.overrides_undurable.set(self.book.is_some().into());
        let events: Vec<Event> = self.events.iter().map(|(event, _)| event.clone()).collect();
        let appended = if events.is_empty() { Ok(0) } else { self.log.append(&events) };
        let first = appended.as_ref().ok().copied();
        for (at, (_, reply)) in (0..).zip(&mut self.events) {
            if let Some(reply) = reply.take() {
                // Whoever gave the command may have stopped waiting.
                let _ = reply.try_send(Written { durable: durable.clone(), entry: first.map(|first| first + at) });
            }
        }
        if appended.is_ok() {
            self.events.clear();
        }
        let excess = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..excess);
        self.metrics.control.history_lost.add(excess as u64);
        self.report(saved.err().or(appended.err()).map(|error| error.to_string()));
    }

    fn report(&mut self, trouble: Option<String>) {
        match (&trouble, &self.trouble) {
            (Some(error), known) if Some(error) != known.as_ref() => {
                tracing::error!(%error, "overrides or history cannot be written; what is in force stays so, and is tried again");
            }
            (None, Some(_)) => tracing::info!("overrides and history are on disk again"),
            _ => {}
        }
        self.trouble = trouble;
    }
}
