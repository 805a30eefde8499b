//! Owns what waits for the reload thread: it coalesces any number of changes into one task.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::look::Ask;
use crate::snapshot::Authority;

/// Files that never come to rest are read after this many quiet periods all the same.
const QUIET_PERIODS_MAX: u32 = 3;

/// What names resolved to; a name that did not is absent.
pub(super) type Resolved = HashMap<Authority, Vec<SocketAddr>>;

/// What the reload thread does next.
#[derive(Debug)]
pub(super) enum Task {
    /// The kernel told of changes, and the files have been quiet since.
    Changed,
    /// A signal, or somebody in the process, asked for a reload.
    Forced,
    /// Somebody waits for what the files say now.
    Asked(Vec<Ask>),
    /// Names were resolved.
    Addresses(Resolved),
    /// The time that was waited for has come.
    Tick,
    /// The end.
    Stop,
}

/// Takes what happens on other threads.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pending: Mutex<Pending>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    /// When the first and the last change of a burst happened.
    changed: Option<(Instant, Instant)>,
    forced: bool,
    asks: Vec<Ask>,
    addresses: Option<Resolved>,
    tidy: bool,
    stop: bool,
}

impl Mailbox {
    /// Notes a change of the files; cheap enough for thousands a second.
    pub(super) fn changed(&self) {
        let now = Instant::now();
        let mut pending = self.lock();
        let first = pending.changed.map(|(first, _)| first);
        pending.changed = Some((first.unwrap_or(now), now));
        drop(pending);
        // Later changes of a burst only move the end of the wait, which is looked at when it is over.
        if first.is_none() {
            self.wake.notify_one();
        }
    }

    pub(super) fn force(&self) {
        self.lock().forced = true;
        self.wake.notify_one();
    }

    /// Asks for a look that begins after this; nobody answers once the end has come.
    pub(super) fn ask(&self, ask: Ask) {
        let mut pending = self.lock();
        if !pending.stop {
            pending.asks.push(ask);
        }
        drop(pending);
        self.wake.notify_one();
    }

    /// Hands over what names resolved to; later results replace those that still wait.
    pub(super) fn addresses(&self, resolved: Resolved) {
        self.lock().addresses = Some(resolved);
        self.wake.notify_one();
    }

    /// Says that something was published elsewhere, so that what it replaced is freed.
    pub(super) fn tidy(&self) {
        self.lock().tidy = true;
        self.wake.notify_one();
    }

    pub(super) fn stop(&self) {
        let mut pending = self.lock();
        pending.stop = true;
        // Whoever waits learns at once that nothing will come.
        pending.asks.clear();
        drop(pending);
        self.wake.notify_one();
    }

    /// Whether nothing but the clock would make a task.
    pub(super) fn is_idle(&self) -> bool {
        let pending = self.lock();
        let is_asked = pending.forced || !pending.asks.is_empty();
        !pending.stop && !is_asked && pending.changed.is_none() && pending.addresses.is_none()
    }

    /// Waits for the next task; changes make one when the files are quiet, and not before `rested_at`.
    pub(super) fn next(&self, wake_at: Instant, debounce: Duration, rested_at: Instant) -> Task {
        let mut pending = self.lock();
        loop {
            let now = Instant::now();
            let quiet_at = pending
                .changed
                .map(|(first, last)| (last + debounce).min(first + debounce * QUIET_PERIODS_MAX).max(rested_at));
            if let Some(task) = pending.take(now, quiet_at, wake_at) {
                return task;
            }
            let until = quiet_at.unwrap_or(wake_at).min(wake_at);
            let wait = until.saturating_duration_since(now);
            pending = self.wake.wait_timeout(pending, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits while files are to stay the same: for `quiet`, and no longer than `asked` once somebody waits for an answer.
    pub(super) fn rest(&self, quiet: Duration, asked: Duration) {
        let mut until = Instant::now() + quiet;
        let mut pending = self.lock();
        loop {
            let now = Instant::now();
            if pending.forced || !pending.asks.is_empty() {
                until = until.min(now + asked);
            }
            if pending.stop || now >= until {
                return;
            }
            pending = self.wake.wait_timeout(pending, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn take(&mut self, now: Instant, quiet_at: Option<Instant>, wake_at: Instant) -> Option<Task> {
        if self.stop {
            return Some(Task::Stop);
        }
        if std::mem::take(&mut self.forced) {
            self.changed = None;
            return Some(Task::Forced);
        }
        if !self.asks.is_empty() {
            // What the kernel has told of by now will be read.
            self.changed = None;
            return Some(Task::Asked(std::mem::take(&mut self.asks)));
        }
        if quiet_at.is_some_and(|at| at <= now) {
            self.changed = None;
            return Some(Task::Changed);
        }
        if let Some(resolved) = self.addresses.take() {
            return Some(Task::Addresses(resolved));
        }
        let tidy = std::mem::take(&mut self.tidy);
        (tidy || wake_at <= now).then_some(Task::Tick)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::control::look::Wish;

    fn next(mailbox: &Mailbox) -> Task {
        let now = Instant::now();
        mailbox.next(now, Duration::from_secs(60), now)
    }

    #[test]
    fn one_look_answers_all_who_asked_before_it_and_covers_what_the_kernel_told() {
        let mailbox = Mailbox::default();
        let ask = || mailbox.ask(Ask { wish: Wish::default(), answer: oneshot::channel().0 });
        mailbox.changed();
        ask();
        ask();
        assert!(matches!(next(&mailbox), Task::Asked(asks) if asks.len() == 2), "without a wait for quiet files");
        assert!(mailbox.is_idle());
        // Whoever asks while it looks is answered by another look.
        ask();
        assert!(!mailbox.is_idle());
        assert!(matches!(next(&mailbox), Task::Asked(asks) if asks.len() == 1));
        assert!(matches!(next(&mailbox), Task::Tick));
    }

    #[test]
    fn at_the_end_nobody_waits_for_an_answer() {
        let mailbox = Mailbox::default();
        let (answer, mut before) = oneshot::channel();
        mailbox.ask(Ask { wish: Wish::default(), answer });
        mailbox.stop();
        let (answer, mut after) = oneshot::channel();
        mailbox.ask(Ask { wish: Wish::default(), answer });
        for receiver in [&mut before, &mut after] {
            assert_eq!(receiver.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        }
        assert!(matches!(next(&mailbox), Task::Stop));
    }
}
