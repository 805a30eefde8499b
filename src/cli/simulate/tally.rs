//! Owns the counts by where requests end before and after: bounded in number and in memory.

use std::collections::HashMap;

use super::distinct::Distinct;
use crate::snapshot::LegId;

/// The most pairs of ends that are told apart: 64 MiB of counters at 16 KiB each.
const CELLS_MAX: usize = 4096;

/// Where a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Ending {
    /// A way through a route, and whether its flag failed.
    Leg {
        /// The way.
        leg: LegId,
        /// The flag gave an error, so that the fallback serves.
        failed: bool,
    },
    /// No route takes it.
    NoRoute,
    /// Its path means several routes.
    PathAmbiguous,
}

/// How much went one way.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    /// Requests.
    pub(super) requests: u64,
    /// Their users, as far as they have a targeting key.
    pub(super) users: Distinct,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By where they end before and after.
    pub(super) cells: HashMap<(Ending, Ending), Cell>,
    /// Requests of pairs for which there was no room.
    pub(super) beyond: u64,
}

impl Tally {
    /// Counts a request, with its user's fingerprint.
    pub(super) fn count(&mut self, from: Ending, to: Ending, user: Option<u64>) {
        let is_full = self.cells.len() >= CELLS_MAX;
        match self.cells.entry((from, to)) {
            std::collections::hash_map::Entry::Vacant(_) if is_full => self.beyond += 1,
            entry => {
                let cell = entry.or_default();
                cell.requests += 1;
                if let Some(user) = user {
                    cell.users.add(user);
                }
            }
        }
    }
}

impl Cell {
    /// Counts what another cell has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.users.merge(&other.users);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_beyond_the_limit_are_counted_together() {
        let mut tally = Tally::default();
        for leg in 0..CELLS_MAX as u32 + 7 {
            let ending = Ending::Leg { leg: LegId(leg), failed: false };
            tally.count(ending, Ending::NoRoute, Some(1));
            tally.count(ending, Ending::NoRoute, None);
        }
        assert_eq!((tally.cells.len(), tally.beyond), (CELLS_MAX, 14));
        assert!(tally.cells.values().all(|cell| (cell.requests, cell.users.count()) == (2, 1)));
    }
}
