//! Owns who comes in: bearer tokens, roles, and the limit on failed attempts. It never looks at what is asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use super::tokens::{Caller, Role, Tokens};
use crate::control::answer::{self, Answer};

/// So many wrong tokens in a row are answered one by one.
const FAILURES_BURST: f64 = 20.0;
/// So many a second after that, from all addresses together.
const FAILURES_PER_S: f64 = 1.0;
/// When whoever guesses too fast may come again, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Lets callers in.
#[derive(Debug)]
pub(in crate::control) struct Gate {
    tokens: Arc<Tokens>,
    failures: Mutex<Failures>,
}

/// Wrong tokens that may still be answered; a right one always is (decision 0019).
#[derive(Debug)]
struct Failures {
    left: f64,
    since: Instant,
}

impl Gate {
    pub(in crate::control) fn new(tokens: Arc<Tokens>) -> Self {
        Self { tokens, failures: Mutex::new(Failures { left: FAILURES_BURST, since: Instant::now() }) }
    }

    /// Says who asks, if they may do what the role may; `peer` is who is at the other end of the unix socket.
    pub(in crate::control) fn admit(
        &self,
        headers: &HeaderMap,
        peer: Option<&Caller>,
        needed: Role,
    ) -> Result<Caller, Box<Answer>> {
        let caller = match peer {
            Some(peer) => peer.clone(),
            None => self.bearer(headers)?,
        };
        if caller.role < needed {
            let detail = format!("the token `{}` may only read; this needs one with the role operate", caller.name);
            let answer = answer::coded(StatusCode::FORBIDDEN, "wrong-role", &detail);
            return Err(Box::new(challenge(answer, "Bearer realm=\"banyan\", error=\"insufficient_scope\"")));
        }
        Ok(caller)
    }

    fn bearer(&self, headers: &HeaderMap) -> Result<Caller, Box<Answer>> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else {
            let detail =
                "send `Authorization: Bearer TOKEN`; the router wrote one to admin.token in its state directory";
            let answer = answer::coded(StatusCode::UNAUTHORIZED, "no-token", detail);
            return Err(Box::new(challenge(answer, "Bearer realm=\"banyan\"")));
        };
        let found = secret(value.as_bytes()).and_then(|secret| self.tokens.find(secret));
        found.ok_or_else(|| Box::new(self.refuse()))
    }

    fn refuse(&self) -> Answer {
        if !self.lock_failures().take(Instant::now()) {
            let detail = "too many wrong tokens came; wait a second";
            let answer = answer::coded(StatusCode::TOO_MANY_REQUESTS, "too-many-failures", detail);
            return answer::with_header(answer, RETRY_AFTER, RETRY_AFTER_S);
        }
        let answer = answer::coded(StatusCode::UNAUTHORIZED, "unknown-token", "no such token counts here");
        challenge(answer, "Bearer realm=\"banyan\", error=\"invalid_token\"")
    }

    fn lock_failures(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    fn take(&mut self, now: Instant) -> bool {
        let grown = now.duration_since(self.since).as_secs_f64() * FAILURES_PER_S;
        (self.left, self.since) = ((self.left + grown).min(FAILURES_BURST), now);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

/// The token of `Bearer TOKEN` (RFC 6750); the scheme's case does not count.
fn secret(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

fn challenge(answer: Answer, value: &'static str) -> Answer {
    answer::with_header(answer, WWW_AUTHENTICATE, HeaderValue::from_static(value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn wrong_tokens_are_answered_slower_and_slower_and_never_locked_out_for_good() {
        let start = Instant::now();
        let mut failures = Failures { left: FAILURES_BURST, since: start };
        assert_eq!((0..100).filter(|_| failures.take(start)).count(), 20);
        assert!(!failures.take(start + Duration::from_millis(900)));
        assert!(failures.take(start + Duration::from_millis(1_100)));
        assert_eq!((0..100).filter(|_| failures.take(start + Duration::from_secs(3_600))).count(), 20);
    }

    #[test]
    fn bearer_is_read_in_any_case_and_nothing_else_is() {
        assert_eq!(secret(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(secret(b"bEARER  abc "), Some(&b"abc"[..]));
        for wrong in [&b"Basic abc"[..], b"Bearer", b"", b"Bearerabc"] {
            assert_eq!(secret(wrong), None);
        }
    }
}
