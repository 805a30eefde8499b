//! Owns what signals do, and the deadline of draining.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::mailbox::Mailbox;
use super::operator::Operator;
use crate::lifecycle::{Lifecycle, Phase};

/// The signals of the process, handled from the moment it is made.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user_1: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Drains at the first SIGTERM or SIGINT, aborts at the second, reloads at SIGHUP, kills every flag at SIGUSR1.
pub(super) async fn run(signals: Option<Signals>, lifecycle: Lifecycle, mailbox: Arc<Mailbox>, operator: Operator) {
    let Some(Signals { mut terminate, mut interrupt, mut hang_up, mut user_1 }) = signals else {
        return;
    };
    loop {
        let name = tokio::select! {
            Some(()) = terminate.recv() => "SIGTERM",
            Some(()) = interrupt.recv() => "SIGINT",
            Some(()) = hang_up.recv() => {
                tracing::info!(signal = "SIGHUP", "reloading");
                mailbox.force();
                continue;
            }
            Some(()) = user_1.recv() => {
                operator.kill_all_by_signal();
                continue;
            }
            else => return,
        };
        let (phase, what) = match lifecycle.phase() {
            Phase::Running => (Phase::Draining, "draining"),
            Phase::Draining | Phase::Aborting => (Phase::Aborting, "aborting what is left"),
        };
        tracing::info!(signal = name, "{what}");
        lifecycle.advance(phase);
    }
}

/// Aborts what is left when draining, whoever began it, has taken its time; 0 waits for ever.
pub(super) async fn drain_deadline(lifecycle: Lifecycle, drain_timeout_ms: u32) {
    let mut phases = lifecycle.subscribe();
    // `lifecycle` is a sender, so the channel stays open.
    if phases.wait_for(|phase| *phase >= Phase::Draining).await.is_err() || drain_timeout_ms == 0 {
        return;
    }
    tokio::time::sleep(Duration::from_millis(drain_timeout_ms.into())).await;
    if lifecycle.phase() == Phase::Draining {
        tracing::warn!(drain_timeout_ms, "draining took too long, aborting what is left");
        lifecycle.advance(Phase::Aborting);
    }
}
