//! Owns the reserve of file descriptors: what clients and upstreams leave for the admin listener and for files.

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::process::{Resource, getrlimit};

/// Descriptors that the reserve has, where the process may open many: the admin listener's 64 connections, and files.
const RESERVE_MAX: u64 = 128;
/// The reserve's share of a small limit, as a divisor.
const RESERVE_SHARE: u64 = 8;
/// A smaller limit is no more than the process needs for itself: there is nothing to divide.
const LIMIT_MIN: u64 = 128;

/// Whether a client's connection may keep its descriptor, or has to go because they run out.
///
/// Clients leave twice the reserve: a flood of them must not take from those that are served the connections upstream.
pub fn suffice_for_client(connection: impl AsFd) -> bool {
    leaves(&connection, 2)
}

/// Whether a connection to an upstream may keep its descriptor.
pub fn suffice_for_upstream(connection: impl AsFd) -> bool {
    leaves(&connection, 1)
}

/// Whether so many reserves are free. The kernel gives out the lowest number that is free, so that a descriptor's own
/// number says how many are in use at least.
fn leaves(connection: &impl AsFd, reserves: u64) -> bool {
    let number = connection.as_fd().as_raw_fd();
    // Asked each time, because it may be changed from outside; a system call beside those of opening a connection.
    let limit = getrlimit(Resource::Nofile).current;
    limit.is_none_or(|limit| u64::try_from(number).is_ok_and(|number| number < end(limit, reserves)))
}

/// The first number that is reserved.
fn end(limit: u64, reserves: u64) -> u64 {
    let reserve = if limit < LIMIT_MIN { 0 } else { (limit / RESERVE_SHARE).min(RESERVE_MAX) };
    limit - reserve * reserves
}

#[cfg(test)]
mod tests {
    use super::end;

    #[test]
    fn the_reserve_is_a_share_of_a_small_limit_and_bounded_in_a_large_one() {
        assert_eq!((end(200, 2), end(200, 1)), (150, 175));
        assert_eq!((end(1_024, 2), end(1_024, 1)), (768, 896));
        assert_eq!((end(1_000_000, 2), end(1_000_000, 1)), (999_744, 999_872));
        assert_eq!(end(127, 2), 127);
    }
}
