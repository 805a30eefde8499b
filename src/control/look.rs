//! Owns looks at the files that somebody waits for: what is asked of the reload thread, and what it answers. It reads no file.

use std::time::Duration;

use tokio::sync::oneshot;

use super::operator::Operator;
use super::report::FindingReport;
use crate::observe::Reload;

/// How long an order that takes an override away waits for the look before it (rule A5: a kill waits for none).
const BEFORE_PATIENCE: Duration = Duration::from_secs(2);
/// How long somebody who asks for nothing else waits; clients wait 10 s for an answer.
const RELOAD_PATIENCE: Duration = Duration::from_secs(8);

/// Somebody who waits for what comes of a look at the files.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) wish: Wish,
    /// Gone when nobody waits any more.
    pub(super) answer: oneshot::Sender<Seen>,
}

/// What is wanted of a look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Files that are known to be bad are judged again, for their findings as they are now.
    pub(super) judges_again: bool,
    /// A set that is much smaller than the one in force is meant.
    pub(super) accept_shrink: bool,
    /// Who wants it, for the history.
    pub(super) who: Option<String>,
}

/// What came of a look that began after it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// How the files stand: `Unchanged` is that they are what is in force.
    pub(super) result: Reload,
    /// What every worker serves its next request by.
    pub(super) generation: u64,
    /// What was found in the files, bounded in number.
    pub(super) findings: Vec<FindingReport>,
    /// The same as `check` prints it.
    pub(super) rendered: String,
}

impl Wish {
    /// Makes one wish of those of all who wait: what one accepts is accepted.
    pub(super) fn of_all(asks: &[Ask]) -> Self {
        Self {
            judges_again: asks.iter().any(|ask| ask.wish.judges_again),
            accept_shrink: asks.iter().any(|ask| ask.wish.accept_shrink),
            who: asks.iter().find_map(|ask| ask.wish.who.clone()),
        }
    }
}

impl Operator {
    /// Looks at the files now; `None` when nothing came of it in time, or the process is about to end.
    pub(super) async fn reload(&self, who: String, accept_shrink: bool) -> Option<Seen> {
        self.look(Wish { judges_again: true, accept_shrink, who: Some(who) }, RELOAD_PATIENCE).await
    }

    /// Looks at the files before an override is taken away, so that they come into force as they are now.
    pub(super) async fn look_before(&self) -> Option<Seen> {
        self.look(Wish::default(), BEFORE_PATIENCE).await
    }

    async fn look(&self, wish: Wish, patience: Duration) -> Option<Seen> {
        let (answer, seen) = oneshot::channel();
        self.0.mailbox.ask(Ask { wish, answer });
        tokio::time::timeout(patience, seen).await.ok()?.ok()
    }
}

/// What somebody should know whose order took an override away after this look.
pub(super) fn remark(seen: Option<&Seen>) -> Option<String> {
    let Some(seen) = seen else {
        return Some(
            "the files could not be looked at in time; what they said at the last look applies, and `banyan reload` looks again"
                .to_owned(),
        );
    };
    match seen.result {
        Reload::Published => Some("the files had changed and were published first".to_owned()),
        Reload::Rejected => {
            let worst = seen.findings.iter().find(|found| found.severity == "error");
            let worst = worst.map_or_else(String::new, |found| format!(" ({})", found.message));
            Some(format!("the files have errors now{worst}, so the last good ones apply; `banyan reload` shows all"))
        }
        Reload::Unchanged | Reload::Held => None,
    }
}
