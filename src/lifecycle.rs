//! Owns the phases of the process's life, as both planes see them; it never changes one by itself.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::Thread;

use tokio::sync::watch;

/// Names a phase; phases only ever advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Accepts and serves.
    Running,
    /// Accepts no more, finishes what is in flight, answers with `Connection: close`.
    Draining,
    /// Drops what is left.
    Aborting,
}

/// Holds the end that advances the phase (the control plane's).
#[derive(Debug, Clone)]
pub struct Lifecycle(watch::Sender<Phase>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }
}

impl Lifecycle {
    /// Advances to `phase`; an earlier phase than the present one is ignored.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }

    /// Reads the present phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Blocks the calling thread until the phase is `phase` or a later one.
    pub fn wait_for(&self, phase: Phase) {
        let mut phases = self.subscribe();
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut reached = pin!(phases.wait_for(|now| *now >= phase));
        while reached.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            std::thread::park();
        }
    }

    /// Makes an end that waits for phases (one a worker).
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
