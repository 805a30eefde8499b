//! Owns the phases of the process's life, as both planes see them; it never changes one by itself.

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

    /// Makes an end that waits for phases (one a worker).
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }
}
