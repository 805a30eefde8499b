//! Owns what is known about an endpoint's health, shared by all workers: passive ejection, never of all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock;
use crate::upstream::Upstream;

/// What workers know together about one address of one upstream.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Failures since the last success.
    failures: AtomicU32,
    /// Until when it stays out, in milliseconds of [`clock::now_ms`].
    ejected_until_ms: AtomicU64,
}

impl Health {
    pub(super) fn is_ejected(&self) -> bool {
        // Read first: an endpoint that never failed costs one load.
        let until = self.ejected_until_ms.load(Relaxed);
        until != 0 && until > clock::now_ms()
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// Counts a failure; true when it made the endpoint leave.
    pub(super) fn failed(&self, upstream: &Upstream) -> bool {
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        if upstream.eject_after_failures == 0 || failures < upstream.eject_after_failures {
            return false;
        }
        self.failures.store(0, Relaxed);
        self.ejected_until_ms.store(clock::now_ms() + u64::from(upstream.eject_ms), Relaxed);
        true
    }
}

/// The health of all endpoints; a worker asks it only when it builds its pools.
#[derive(Debug, Default)]
pub struct HealthRegistry(Mutex<HashMap<Key, Arc<Health>>>);

/// An upstream's name and one of its addresses.
type Key = (Box<str>, SocketAddr);

impl HealthRegistry {
    /// The health of an upstream's address, kept over generations.
    pub(super) fn health(&self, upstream: &str, address: SocketAddr) -> Arc<Health> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Addresses that no pool uses any more are forgotten here, so that the map stays as large as the snapshot.
        all.retain(|(name, at), health| Arc::strong_count(health) > 1 || (&**name == upstream && *at == address));
        Arc::clone(all.entry((upstream.into(), address)).or_default())
    }
}
