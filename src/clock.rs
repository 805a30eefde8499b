//! Owns a worker's time: the loop's clock and the deadlines that one tick sweeps; it sets no timer per request.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a worker sweeps its deadlines: a deadline is late by at most this much.
pub const TICK: Duration = Duration::from_millis(25);

thread_local! {
    /// The loop's clock: milliseconds and microseconds come from one reading a turn of the loop.
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The same reading in milliseconds, which is asked for a dozen times a request; 0 without a loop.
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
    /// The wall clock at the last tick, for display and `$flagd.timestamp`.
    static WALL: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Reads the clock for this turn of the worker's loop.
pub fn refresh() {
    let now = Instant::now();
    NOW.set(Some(now));
    NOW_MS.set(to_ms(now));
}

/// Reads the wall clock for this tick.
pub fn refresh_wall() {
    WALL.set(Some(wall_clock()));
}

/// The time at the start of this turn of the loop; the real time on threads without a loop.
pub fn now() -> Instant {
    NOW.get().unwrap_or_else(Instant::now)
}

/// The same in milliseconds since the process first asked.
pub fn now_ms() -> u64 {
    match NOW_MS.get() {
        0 => to_ms(Instant::now()),
        ms => ms,
    }
}

fn to_ms(now: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    // One is added so that no deadline is ever 0, which means off.
    let since = now.saturating_duration_since(start);
    since.as_secs() * 1_000 + u64::from(since.subsec_millis()) + 1
}

/// The wall clock at the last tick, since the epoch.
pub fn wall() -> Duration {
    WALL.get().unwrap_or_else(wall_clock)
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Names what a connection may be waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Wait {
    /// The request head.
    Head = 1,
    /// The next request.
    KeepAlive = 2,
    /// More of the request body.
    Body = 3,
    /// More of the request body, at the minimum rate.
    BodyRate = 4,
    /// The client to take response bytes.
    Write = 5,
    /// The upstream: connect, response head or more of its body.
    Upstream = 6,
    /// Bytes in an upgraded connection.
    Tunnel = 7,
    /// The rest of a request body that nobody reads.
    Discard = 8,
    /// The end of the TLS handshake.
    Handshake = 9,
}

impl Wait {
    const ALL: [Self; 9] = [
        Self::Head,
        Self::KeepAlive,
        Self::Body,
        Self::BodyRate,
        Self::Write,
        Self::Upstream,
        Self::Tunnel,
        Self::Discard,
        Self::Handshake,
    ];

    fn index(self) -> usize {
        self as usize - 1
    }
}

/// The deadlines of one client connection and of what is done for it.
///
/// Only its worker touches it; it is `Sync` because an upgraded connection must be `Send`.
#[derive(Debug, Default)]
pub struct Watch {
    /// When each wait ends, in milliseconds of [`now_ms`]; 0 is off.
    at: [AtomicU64; Wait::ALL.len()],
    /// The first wait that ran out, as a discriminant; 0 is none.
    expired: AtomicU8,
    /// Wakes the connection's task; set once, locked only then and on expiry.
    waker: Mutex<Option<Waker>>,
}

impl Watch {
    /// Starts a wait of `ms` milliseconds; 0 starts none.
    pub fn start(&self, wait: Wait, ms: u32) {
        self.at[wait.index()].store(if ms == 0 { 0 } else { now_ms() + u64::from(ms) }, Relaxed);
    }

    /// Starts a wait that ends at `at_ms` of [`now_ms`].
    pub fn start_until(&self, wait: Wait, at_ms: u64) {
        self.at[wait.index()].store(at_ms, Relaxed);
    }

    /// Ends a wait.
    pub fn stop(&self, wait: Wait) {
        self.at[wait.index()].store(0, Relaxed);
    }

    /// Whether a wait is under way.
    pub fn is_waiting(&self, wait: Wait) -> bool {
        self.at[wait.index()].load(Relaxed) != 0
    }

    /// The wait that ran out.
    pub fn expired(&self) -> Option<Wait> {
        let found = self.expired.load(Relaxed);
        if found == 0 {
            return None;
        }
        Wait::ALL.into_iter().find(|wait| *wait as u8 == found)
    }

    /// Whether this wait ran out; taking it makes the connection usable for an answer.
    pub fn take_expiry(&self, wait: Wait) -> bool {
        let found = self.expired.load(Relaxed) == wait as u8;
        if found {
            self.expired.store(0, Relaxed);
        }
        found
    }

    /// Remembers the task to wake when a wait runs out.
    pub fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }

    /// Marks the first wait that has run out and wakes the task; the tick calls it.
    pub fn sweep(&self, now_ms: u64) {
        for wait in Wait::ALL {
            let at = self.at[wait.index()].load(Relaxed);
            if at != 0 && at <= now_ms {
                self.stop(wait);
                self.expired.store(wait as u8, Relaxed);
                self.wake();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_runs_out_once_and_the_others_go_on() {
        let watch = Watch::default();
        watch.start(Wait::Upstream, 50);
        watch.start(Wait::Write, 5_000);
        watch.sweep(now_ms());
        assert_eq!(watch.expired(), None);
        watch.sweep(now_ms() + 100);
        assert!(watch.take_expiry(Wait::Upstream));
        assert_eq!(watch.expired(), None);
        watch.sweep(now_ms() + 10_000);
        assert_eq!(watch.expired(), Some(Wait::Write));
    }

    #[test]
    fn zero_is_no_limit() {
        let watch = Watch::default();
        watch.start(Wait::Head, 0);
        watch.sweep(u64::MAX);
        assert_eq!(watch.expired(), None);
    }
}
