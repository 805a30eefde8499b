//! Owns what is counted about TLS: handshakes by how they ended, certificates by when they end.

use std::sync::{Mutex, PoisonError};

use super::{Counter, Gauge};
use crate::tls::HandshakeFault;

/// One worker's handshakes with clients.
#[derive(Debug, Default)]
pub struct HandshakeMetrics {
    /// Handshakes that began a session.
    pub full: Counter,
    /// Handshakes that resumed one.
    pub resumed: Counter,
    faults: [Counter; HandshakeFault::ALL.len()],
}

impl HandshakeMetrics {
    /// Counts a handshake that failed.
    pub fn fault(&self, fault: HandshakeFault) {
        self.faults[fault as usize].increment();
    }

    pub(super) fn faults(&self, fault: HandshakeFault) -> u64 {
        self.faults[fault as usize].value()
    }
}

/// The certificates of the process; only the control plane's thread writes.
#[derive(Debug, Default)]
pub struct CertificateMetrics {
    /// Times that new certificates came into force.
    pub reloads: Counter,
    /// Files that are not used now, or used though their time is over; 0 is well.
    pub refused: Gauge,
    in_force: Mutex<Vec<(String, u64)>>,
}

impl CertificateMetrics {
    /// Replaces what is shown about the certificates in force: file and end, in seconds since the epoch.
    pub fn describe(&self, in_force: Vec<(String, u64)>) {
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = in_force;
    }

    pub(super) fn in_force(&self) -> Vec<(String, u64)> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
