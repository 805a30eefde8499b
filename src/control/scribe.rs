//! Owns the thread that writes overrides and history to disk; nobody who decides ever waits for it.
//!
//! What is to be written waits in a bounded inbox. A disk that is full or broken is tried again every second.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::history::{Event, HistoryLog};
use super::operator::Operator;
use super::overrides::{Book, Durable, FileId, OverrideFile};
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
    file: Option<OverrideFile>,
    /// The file that this process has read or written last.
    known: Mutex<Option<FileId>>,
    /// What stands in it.
    on_disk: Mutex<Book>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Inbox {
    /// The book has changed. What is written is the book as it is then, never a copy that has aged in here.
    dirty: bool,
    events: VecDeque<(Event, Option<SyncSender<Written>>)>,
    /// Another process has written the file, or removed it.
    look: bool,
    stop: bool,
}

impl Scribe {
    /// Makes the way; [`Scribe::run`] is to be called on a thread of its own.
    pub(super) fn new(
        state_dir: Option<PathBuf>,
        metrics: Arc<Metrics>,
        on_disk: Book,
        known: Option<FileId>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inbox: Mutex::default(),
            wake: Condvar::new(),
            file: state_dir.as_deref().map(OverrideFile::new),
            state_dir,
            known: Mutex::new(known),
            on_disk: Mutex::new(on_disk),
            metrics,
        })
    }

    /// Looks whether another process has changed the file of overrides; one `stat`.
    pub(super) fn look(&self) {
        let Some(file) = &self.file else { return };
        if file.identity() != *lock(&self.known) {
            self.lock().look = true;
            self.wake.notify_one();
        }
    }

    /// Hands over an event, and whether the book has changed with it. Never blocks on the disk.
    ///
    /// The receiver hears when it is written; wait for it with [`Scribe::wait`].
    pub(super) fn note(&self, event: Event, dirty: bool) -> mpsc::Receiver<Written> {
        let (reply, written) = mpsc::sync_channel(1);
        let mut inbox = self.lock();
        inbox.dirty |= dirty;
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
    pub(super) fn run(self: Arc<Self>, operator: &Operator) {
        let (Some(state_dir), Some(file)) = (&self.state_dir, &self.file) else { return };
        let mut desk = Desk::new(state_dir);
        loop {
            let (look, stop) = self.take(&mut desk);
            if look || desk.unsaved.is_some() {
                desk.unsaved = self.save(file, operator).err().map(|error| error.to_string());
            }
            self.append(&mut desk);
            if stop {
                return;
            }
        }
    }

    /// Waits for something to do, or for the next attempt; says whether the file is concerned, and whether it is the last.
    fn take(&self, desk: &mut Desk) -> (bool, bool) {
        let mut inbox = self.lock();
        while !inbox.stop && !inbox.look && !inbox.dirty && inbox.events.is_empty() {
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
        desk.events.extend(inbox.events.drain(..));
        let (look, dirty) = (std::mem::take(&mut inbox.look), std::mem::take(&mut inbox.dirty));
        (look || dirty, inbox.stop)
    }

    /// Brings the file and the book together.
    fn save(&self, file: &OverrideFile, operator: &Operator) -> io::Result<()> {
        let _alone = file.lock()?;
        let mut on_disk = lock(&self.on_disk);
        let (found, mut is_ruined) = (file.identity(), false);
        if found.is_some() && found != *lock(&self.known) {
            match file.load() {
                Ok((theirs, id)) => {
                    operator.adopt(&on_disk, &theirs);
                    (*on_disk, *lock(&self.known)) = (theirs, id);
                }
                Err(_) => is_ruined = true,
            }
        } else if found.is_none() {
            // Whoever removes the file releases nothing.
            *lock(&self.known) = None;
        }
        let book = operator.book();
        let is_there = lock(&self.known).is_some();
        if book != *on_disk || is_ruined || (!is_there && book != Book::default()) {
            let id = file.save(&OverrideFile::render(&book))?;
            (*on_disk, *lock(&self.known)) = (book, Some(id));
            if is_ruined {
                tracing::error!("somebody has ruined overrides.json: it was written anew");
            }
        }
        Ok(())
    }

    /// Appends the events and answers whoever waits.
    fn append(&self, desk: &mut Desk) {
        self.metrics.control.overrides_undurable.set(desk.unsaved.is_some().into());
        let durable = desk.unsaved.clone().map_or(Durable::Yes, Durable::No);
        let events: Vec<Event> = desk.events.iter().map(|(event, _)| event.clone()).collect();
        let appended = if events.is_empty() { Ok(0) } else { desk.log.append(&events) };
        let first = appended.as_ref().ok().copied();
        for (at, (_, reply)) in (0..).zip(&mut desk.events) {
            if let Some(reply) = reply.take() {
                // Whoever gave the command may have stopped waiting.
                let _ = reply.try_send(Written { durable: durable.clone(), entry: first.map(|first| first + at) });
            }
        }
        if appended.is_ok() {
            desk.events.clear();
        }
        let excess = desk.events.len().saturating_sub(EVENTS_MAX);
        desk.events.drain(..excess);
        self.metrics.control.history_lost.add(excess as u64);
        desk.report(appended.err().map(|error| error.to_string()));
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the scribe has before it.
struct Desk {
    log: HistoryLog,
    /// Why the book is not on disk.
    unsaved: Option<String>,
    /// The events that are not on disk yet.
    events: VecDeque<(Event, Option<SyncSender<Written>>)>,
    /// The last trouble, so that it is logged once.
    trouble: Option<String>,
}

impl Desk {
    fn new(state_dir: &Path) -> Self {
        Self { log: HistoryLog::new(state_dir), unsaved: None, events: VecDeque::new(), trouble: None }
    }

    fn is_done(&self) -> bool {
        self.unsaved.is_none() && self.events.is_empty()
    }

    fn report(&mut self, not_appended: Option<String>) {
        let trouble = self.unsaved.clone().or(not_appended);
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
