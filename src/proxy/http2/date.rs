//! Owns the `Date` of answers (RFC 9110 section 6.6.1), written once a second.

use std::cell::RefCell;
use std::time::UNIX_EPOCH;

use http::HeaderValue;

use crate::clock;

thread_local! {
    /// The second since the epoch, and how it is written.
    static WRITTEN: RefCell<(u64, HeaderValue)> = const { RefCell::new((u64::MAX, HeaderValue::from_static(""))) };
}

/// The present second as a field value.
pub(super) fn now() -> HeaderValue {
    let wall = clock::wall();
    WRITTEN.with_borrow_mut(|(second, value)| {
        if *second != wall.as_secs() {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + wall);
            *value = HeaderValue::try_from(text).expect("a date is visible ASCII");
            *second = wall.as_secs();
        }
        value.clone()
    })
}
