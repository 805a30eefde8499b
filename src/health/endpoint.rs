//! Owns what is known about one endpoint: since when, or from when, it is in service.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::clock;
use crate::observe::Tally;
use crate::upstream::Ejection;

/// The share of an endpoint that is fully in service, in thousandths of its usual picks.
pub const FULL_SHARE: u32 = 1_000;
/// The share that slow start begins with: without any request nothing would be learnt.
const FIRST_SHARE: u32 = 10;
/// Out of service until a check passes.
const OUT: u64 = u64::MAX;

/// What workers and checks know together about one address of one upstream.
#[derive(Debug)]
pub struct EndpointHealth {
    address: SocketAddr,
    /// From when it is in service, in milliseconds of [`clock::now_ms`]; 0 has always been, [`OUT`] will not be.
    ///
    /// One number says all a pick asks: a time to come is an ejection, one that is past starts slow start.
    in_service_from_ms: AtomicU64,
    /// Failed requests since the last success.
    failures: AtomicU32,
    /// Ejections since the last success in service.
    ejections: AtomicU32,
    /// Checks that passed.
    pub checks_passed: Tally,
    /// Checks that failed.
    pub checks_failed: Tally,
}

impl EndpointHealth {
    /// Begins with an endpoint that is fully in service.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            in_service_from_ms: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            checks_passed: Tally::default(),
            checks_failed: Tally::default(),
        }
    }

    /// Begins anew as an endpoint that a generation has and the one before had not.
    pub(super) fn join(&self, entrance: Entrance) {
        let from_ms = match entrance {
            Entrance::AtOnce => 0,
            Entrance::SlowStart => clock::now_ms(),
            Entrance::FirstPass => OUT,
        };
        self.failures.store(0, Relaxed);
        self.ejections.store(0, Relaxed);
        self.in_service_from_ms.store(from_ms, Relaxed);
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How much of its usual picks it is to get now, in thousandths: 0 out of service, [`FULL_SHARE`] fully in it.
    ///
    /// In between it is on its way in, linearly over `slow_start_ms`.
    pub fn share(&self, slow_start_ms: u32) -> u32 {
        // Read first: an endpoint that has never been out costs one load.
        match self.in_service_from_ms.load(Relaxed) {
            0 => FULL_SHARE,
            from_ms => share_at(clock::now_ms(), from_ms, slow_start_ms),
        }
    }

    /// Whether it is out because requests to it failed.
    pub fn is_ejected(&self) -> bool {
        let from_ms = self.in_service_from_ms.load(Relaxed);
        from_ms != OUT && from_ms > clock::now_ms()
    }

    /// Whether it is out until a check passes.
    pub fn is_unhealthy(&self) -> bool {
        self.in_service_from_ms.load(Relaxed) == OUT
    }

    /// Notes a request that went well; in service this ends what earlier failures have led to.
    pub fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.ejections.load(Relaxed) != 0 && !self.is_ejected() {
            self.ejections.store(0, Relaxed);
        }
    }

    /// Puts it out of service until [`Self::put_in`].
    pub fn put_out(&self) {
        self.in_service_from_ms.store(OUT, Relaxed);
    }

    /// Puts it in service again; it begins with slow start.
    pub fn put_in(&self) {
        // What it was ejected for before it went out is no longer how it is.
        self.failures.store(0, Relaxed);
        self.in_service_from_ms.store(clock::now_ms(), Relaxed);
    }

    /// Counts a failure; true when there are now as many in a row as an ejection takes.
    ///
    /// What is out already has requests of before on it, and their failures say nothing about its return.
    pub(super) fn count_failure(&self, after_failures: u32) -> bool {
        if after_failures == 0 || self.share(0) == 0 {
            return false;
        }
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        if failures < after_failures {
            return false;
        }
        self.failures.store(0, Relaxed);
        true
    }

    /// Ejects it, longer each time in a row; returns for how many milliseconds.
    pub(super) fn eject(&self, rules: &Ejection) -> u32 {
        let out_ms = rules.out_ms(self.ejections.fetch_add(1, Relaxed) + 1);
        let until_ms = clock::now_ms() + u64::from(out_ms);
        // A check that has put it out meanwhile knows better.
        let _ = self.in_service_from_ms.fetch_update(Relaxed, Relaxed, |from_ms| (from_ms != OUT).then_some(until_ms));
        out_ms
    }
}

/// How an endpoint that joins comes into service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entrance {
    /// Fully, at once.
    AtOnce,
    /// At once, with slow start.
    SlowStart,
    /// When its first check has passed, with slow start.
    FirstPass,
}

/// The share at a time.
fn share_at(now_ms: u64, from_ms: u64, slow_start_ms: u32) -> u32 {
    if from_ms > now_ms {
        return 0;
    }
    let age_ms = now_ms - from_ms;
    if age_ms >= u64::from(slow_start_ms) {
        return FULL_SHARE;
    }
    let share = age_ms * u64::from(FULL_SHARE) / u64::from(slow_start_ms);
    u32::try_from(share).unwrap_or(FULL_SHARE).max(FIRST_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> EndpointHealth {
        EndpointHealth::new(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    #[test]
    fn slow_start_is_a_line_from_first_to_full() {
        assert_eq!(share_at(999, 1_000, 100), 0);
        assert_eq!(share_at(1_000, 1_000, 100), FIRST_SHARE);
        assert_eq!(share_at(1_025, 1_000, 100), 250);
        assert_eq!(share_at(1_050, 1_000, 100), 500);
        assert_eq!(share_at(1_099, 1_000, 100), 990);
        assert_eq!(share_at(1_100, 1_000, 100), FULL_SHARE);
        assert_eq!(share_at(1_000, 1_000, 0), FULL_SHARE);
        assert_eq!(share_at(u64::MAX - 1, OUT, 100), 0);
    }

    #[test]
    fn failures_in_a_row_count_and_a_success_ends_the_row() {
        let endpoint = endpoint();
        assert!(!endpoint.count_failure(3) && !endpoint.count_failure(3));
        endpoint.succeeded();
        assert!(!endpoint.count_failure(3) && !endpoint.count_failure(3) && endpoint.count_failure(3));
        assert!(!endpoint.count_failure(0), "0 is never");
    }

    #[test]
    fn ejections_in_a_row_grow_to_the_limit_and_a_success_in_service_ends_the_row() {
        let rules = Ejection { ms: 1_000_000, ms_max: 2_500_000, ..Ejection::default() };
        let endpoint = endpoint();
        assert_eq!([1, 2, 3, 4].map(|_| endpoint.eject(&rules)), [1_000_000, 2_000_000, 2_500_000, 2_500_000]);
        assert!(endpoint.is_ejected() && endpoint.share(0) == 0);
        assert!(!endpoint.count_failure(1), "what is out does not fail");
        endpoint.succeeded();
        assert_eq!(endpoint.eject(&rules), 2_500_000, "a late success of a request of before ends nothing");
        endpoint.put_in();
        endpoint.succeeded();
        assert_eq!(endpoint.eject(&rules), 1_000_000);
    }

    #[test]
    fn an_ejection_does_not_undo_a_failed_check() {
        let endpoint = endpoint();
        endpoint.put_out();
        endpoint.eject(&Ejection::default());
        assert!(endpoint.is_unhealthy() && !endpoint.is_ejected());
        endpoint.put_in();
        assert_eq!(endpoint.share(0), FULL_SHARE);
    }
}
