//! Owns which requests to reconcile belong together, so that a run of many requests is two entries of the history and not thousands.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Runs that are remembered at most; the oldest go first.
const RUNS_MAX: usize = 64;

/// The runs that have sent something and are not over, as far as is known: their names with how much they have sent.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<VecDeque<(Box<str>, u64)>>);

impl Runs {
    /// Notes what a request of a run is about to send, and whether it is the last one. Gives what the run has sent with it, where that
    /// is worth an entry of the history: when it begins to send, and when it is over and has sent more since.
    pub(super) fn note(&self, run: Option<&str>, sends: u64, is_last: bool) -> Option<u64> {
        let Some(run) = run else { return (sends > 0).then_some(sends) };
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = runs.iter().position(|(name, _)| **name == *run).and_then(|at| runs.remove(at));
        let before = known.as_ref().map_or(0, |(_, sent)| *sent);
        let sent = before + sends;
        if sent > 0 && !is_last {
            if runs.len() >= RUNS_MAX {
                runs.pop_front();
            }
            runs.push_back((run.into(), sent));
        }
        let begins = before == 0 && sends > 0;
        (begins || (is_last && known.is_some())).then_some(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_noted_when_it_begins_to_send_and_when_it_is_over() {
        let runs = Runs::default();
        let noted: Vec<_> = [(0, false), (3, false), (5, false), (0, true)]
            .map(|(sends, last)| runs.note(Some("a"), sends, last))
            .into();
        assert_eq!(noted, [None, Some(3), None, Some(8)]);
        assert_eq!(
            (runs.note(Some("b"), 0, true), runs.note(Some("c"), 2, true), runs.note(None, 4, false)),
            (None, Some(2), Some(4))
        );
        assert!(runs.0.lock().unwrap().is_empty());
        for run in 0..2 * RUNS_MAX {
            runs.note(Some(&run.to_string()), 1, false);
        }
        assert_eq!(runs.0.lock().unwrap().len(), RUNS_MAX);
    }
}
