//! Owns what `Idempotency-Key` promises: the same order sent twice is carried out once. It never carries one out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Answers that are kept at most; the oldest go first.
const KEPT_MAX: usize = 1_024;
/// How long an answer is kept: whoever sends again does so within minutes.
const KEPT_AGE_MAX: Duration = Duration::from_secs(3_600);

/// What a key belongs to: the caller's name and the key.
pub(super) type Key = (Arc<str>, String);
/// Tells one request from another one with the same key.
pub(super) type Fingerprint = [u8; 32];

/// The orders that came with a key.
#[derive(Debug, Default)]
pub(super) struct Once(Mutex<Orders>);

#[derive(Debug, Default)]
struct Orders {
    known: HashMap<Key, Known>,
    /// The keys in the order in which they came.
    order: VecDeque<(Instant, Key)>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    fingerprint: Fingerprint,
    /// `None` while it is being carried out.
    answer: Option<Bytes>,
}

/// What is known of an order that comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// Nothing: it is to be carried out, and [`Once::end`] to be told.
    New,
    /// It is being carried out.
    Running,
    /// It was carried out and answered so.
    Done(Bytes),
    /// The key came with something else.
    Different,
}

impl Once {
    /// Notes an order that comes, or says what became of it.
    pub(super) fn begin(&self, key: &Key, fingerprint: Fingerprint, now: Instant) -> Begun {
        let mut orders = self.lock();
        orders.forget(now);
        match orders.known.get(key) {
            Some(known) if known.fingerprint != fingerprint => Begun::Different,
            Some(Known { answer: Some(answer), .. }) => Begun::Done(answer.clone()),
            Some(_) => Begun::Running,
            None => {
                orders.known.insert(key.clone(), Known { since: now, fingerprint, answer: None });
                orders.order.push_back((now, key.clone()));
                Begun::New
            }
        }
    }

    /// Notes how an order was answered; one that was refused may be sent again with the same key.
    pub(super) fn end(&self, key: &Key, answer: Option<Bytes>) {
        let mut orders = self.lock();
        match answer {
            Some(answer) => {
                if let Some(known) = orders.known.get_mut(key) {
                    known.answer = Some(answer);
                }
            }
            None => {
                orders.known.remove(key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orders {
    /// Forgets what is too old, and makes room for one more.
    fn forget(&mut self, now: Instant) {
        while let Some((since, key)) = self.order.front() {
            let is_old = now.duration_since(*since) > KEPT_AGE_MAX;
            if !is_old && self.order.len() < KEPT_MAX {
                return;
            }
            // A key that was refused and came again stands later in the row, too.
            if self.known.get(key).is_some_and(|known| known.since == *since) {
                self.known.remove(key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        ("ci".into(), text.to_owned())
    }

    #[test]
    fn the_same_order_is_carried_out_once() {
        let (once, now) = (Once::default(), Instant::now());
        assert_eq!(once.begin(&key("a"), [1; 32], now), Begun::New);
        assert_eq!(once.begin(&key("a"), [1; 32], now), Begun::Running);
        assert_eq!(once.begin(&key("a"), [2; 32], now), Begun::Different);
        assert_eq!(once.begin(&("other".into(), "a".into()), [2; 32], now), Begun::New);
        once.end(&key("a"), Some(Bytes::from_static(b"done")));
        assert_eq!(once.begin(&key("a"), [1; 32], now), Begun::Done(Bytes::from_static(b"done")));
        assert_eq!(once.begin(&key("a"), [1; 32], now + KEPT_AGE_MAX * 2), Begun::New);
    }

    #[test]
    fn a_refused_order_may_come_again_and_the_number_is_bounded() {
        let (once, now) = (Once::default(), Instant::now());
        assert_eq!(once.begin(&key("a"), [1; 32], now), Begun::New);
        once.end(&key("a"), None);
        assert_eq!(once.begin(&key("a"), [2; 32], now), Begun::New);
        for number in 0..2 * KEPT_MAX {
            assert_eq!(once.begin(&key(&number.to_string()), [1; 32], now), Begun::New);
        }
        let orders = once.lock();
        assert!(orders.known.len() <= KEPT_MAX && orders.order.len() <= KEPT_MAX);
    }
}
