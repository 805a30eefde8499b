//! Owns the reload thread: read, compile, judge, publish; all or nothing (promise 2).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::certificates::Certificates;
use super::history::{Action, Event, changes};
use super::look::{Ask, Seen, Wish};
use super::mailbox::{Mailbox, Resolved, Task};
use super::overrides::Source;
use super::publications::Published;
use super::publisher::Publisher;
use super::scribe::Scribe;
use super::watcher::Watcher;
use super::{SetHash, last_good};
use crate::compile::{self, Draft, Outcome};
use crate::config::{Diagnostic, FileSet, Report, Severity};
use crate::observe::Reload;
use crate::tls::NamedFile;

/// How often a set is read again while it keeps changing under our eyes.
const SETTLE_MAX: usize = 5;
/// How often it is looked whether workers have let go of earlier generations; they do within their own tick.
const TIDY_INTERVAL: Duration = Duration::from_millis(500);
/// The longest quiet time that is asked of the files while somebody waits for the answer.
const ASKED_QUIET_MAX: Duration = Duration::from_millis(250);
/// As good as never.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Why the files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The kernel told of a change.
    Watch,
    /// The poll's time had come.
    Poll,
    /// SIGHUP, or somebody in the process, wants it.
    Request,
    /// Somebody waits for the answer.
    Asked,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Poll => "poll",
            Self::Request => "request",
            Self::Asked => "asked",
        }
    }
}

/// Why the files are looked at, and what is wanted of it.
struct Occasion {
    cause: Cause,
    wish: Wish,
}

impl From<Cause> for Occasion {
    fn from(cause: Cause) -> Self {
        Self { cause, wish: Wish::default() }
    }
}

impl Occasion {
    fn accepts_shrink(&self) -> bool {
        self.cause == Cause::Request || self.wish.accept_shrink
    }

    /// Who wanted it, and why something came of it, for the history.
    fn told(&self, report: &Report) -> (Option<String>, Option<String>) {
        (self.wish.who.clone(), Some(format!("{}: {}", self.cause.as_str(), report.summary())))
    }
}

/// What came of a look.
struct Looked {
    result: Reload,
    /// The set, if it is in force and has no copy yet.
    unsaved: Option<Set>,
}

/// Both directories as they were at one moment.
struct Set {
    flags: FileSet,
    routes: FileSet,
    hash: SetHash,
}

/// The state of the reload thread.
pub(super) struct Reloader {
    pub(super) flags_dir: PathBuf,
    pub(super) routes_dir: PathBuf,
    pub(super) options: compile::Options,
    pub(super) watcher: Option<Watcher>,
    /// Zero is never, but for the first look.
    pub(super) poll: Duration,
    pub(super) debounce: Duration,
    /// The content in force.
    pub(super) in_force: Option<SetHash>,
    /// The content that was last published or rejected; it is not judged twice.
    pub(super) judged: Option<SetHash>,
    /// The files that the judged set names; when one changes the set is judged again.
    pub(super) named: Vec<NamedFile>,
    /// Where the last good files are kept.
    pub(super) state_dir: Option<PathBuf>,
    /// The content that is kept there, or could not be.
    pub(super) saved: Option<SetHash>,
    pub(super) publisher: Publisher,
    pub(super) certificates: Option<Certificates>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) scribe: Arc<Scribe>,
}

impl Reloader {
    pub(super) fn run(mut self) {
        // The first look is at once: files may have changed since they were loaded.
        let mut poll_at = Instant::now();
        let (mut tidy_at, mut rested_at) = (poll_at, poll_at);
        let mut unsaved = None;
        loop {
            let wake_at = if self.publisher.is_untidy() { poll_at.min(tidy_at) } else { poll_at };
            let task = self.mailbox.next(wake_at, self.debounce, rested_at);
            let started = Instant::now();
            if let Some(watcher) = &mut self.watcher {
                watcher.ensure();
            }
            match task {
                Task::Changed => unsaved = self.reload(&Cause::Watch.into()).unsaved.or(unsaved),
                Task::Forced => unsaved = self.reload(&Cause::Request.into()).unsaved.or(unsaved),
                Task::Asked(asks) => unsaved = self.answer(asks).or(unsaved),
                Task::Addresses(resolved) => self.publish_addresses(resolved),
                Task::Tick if poll_at <= started => {
                    unsaved = self.reload(&Cause::Poll.into()).unsaved.or(unsaved);
                    poll_at = Instant::now() + if self.poll.is_zero() { YEAR } else { self.poll };
                }
                Task::Tick => {
                    self.publisher.tidy();
                    tidy_at = Instant::now() + TIDY_INTERVAL;
                }
                Task::Stop => break,
            }
            // In a storm of edits of a large set the workers get at least as much of the processor as this thread.
            rested_at = Instant::now() + started.elapsed();
            if self.mailbox.is_idle() {
                self.save(unsaved.take());
            }
        }
        self.save(unsaved);
    }

    /// Looks at the files for whoever waits, and tells them what came of it.
    fn answer(&mut self, asks: Vec<Ask>) -> Option<Set> {
        let Looked { result, unsaved } = self.reload(&Occasion { cause: Cause::Asked, wish: Wish::of_all(&asks) });
        let verdict = self.publisher.publications().verdict(None, Duration::ZERO);
        let (findings, rendered) = (verdict.diagnostics, verdict.rendered);
        let seen = Seen { result, generation: self.publisher.current().generation, findings, rendered };
        for ask in asks {
            // Whoever asked may be gone.
            let _ = ask.answer.send(seen.clone());
        }
        unsaved
    }

    /// Looks at the files.
    fn reload(&mut self, occasion: &Occasion) -> Looked {
        // The kernel tells of flags and routes alone.
        let quiet = self.quiet(occasion.cause);
        if let Some(certificates) = self.certificates.as_mut().filter(|_| occasion.cause != Cause::Watch) {
            certificates.look(quiet);
        }
        let started = Instant::now();
        let set = self.read();
        if self.is_judged(&set, occasion) {
            self.pass_over(set.hash, occasion.cause);
            let result = match self.in_force == Some(set.hash) {
                false => Reload::Rejected,
                true if self.publisher.publications().is_held() => Reload::Held,
                true => Reload::Unchanged,
            };
            // What the process started from is worth a copy, too.
            let is_unsaved = self.in_force == Some(set.hash) && self.saved != self.in_force;
            return Looked { result, unsaved: is_unsaved.then_some(set) };
        }
        let (set, outcome) = self.settle(set, occasion);
        self.judged = Some(set.hash);
        self.named = outcome.named;
        match outcome.draft {
            Some(draft) => {
                let result = self.publish(draft, &outcome.report, set.hash, occasion, started);
                Looked { result, unsaved: Some(set) }
            }
            None => {
                self.reject(&outcome.report, occasion);
                Looked { result: Reload::Rejected, unsaved: None }
            }
        }
    }

    /// Whether there is nothing to find out about a set.
    fn is_judged(&self, set: &Set, Occasion { cause, wish }: &Occasion) -> bool {
        let is_in_force = self.in_force == Some(set.hash);
        let is_wanted = *cause == Cause::Request || (wish.judges_again && !is_in_force);
        let is_known = is_in_force || self.judged == Some(set.hash);
        is_known && !is_wanted && !self.named.iter().any(NamedFile::has_changed)
    }

    /// How long files must stay the same to count as finished.
    fn quiet(&self, cause: Cause) -> Duration {
        if cause == Cause::Asked { self.debounce.min(ASKED_QUIET_MAX) } else { self.debounce }
    }

    /// Reads and compiles again until there is no doubt that whoever writes has finished.
    ///
    /// A set that compiles after the kernel has been quiet is sure. One that does not compile, or that was met at any
    /// moment, may be half written: it counts only if it stays the same for another quiet period.
    fn settle(&self, mut set: Set, occasion: &Occasion) -> (Set, Outcome) {
        let (cause, mut outcome) = (occasion.cause, self.compile(&set, occasion));
        for _ in 0..SETTLE_MAX {
            if cause == Cause::Request || (cause == Cause::Watch && outcome.draft.is_some()) {
                break;
            }
            self.mailbox.rest(self.quiet(cause), ASKED_QUIET_MAX);
            let again = self.read();
            if again.hash == set.hash {
                break;
            }
            outcome = self.compile(&again, occasion);
            set = again;
        }
        (set, outcome)
    }

    fn read(&self) -> Set {
        let (flags, routes) = (FileSet::read(&self.flags_dir), FileSet::read(&self.routes_dir));
        let hash = SetHash::of(&flags, &routes);
        Set { flags, routes, hash }
    }

    fn compile(&self, set: &Set, occasion: &Occasion) -> Outcome {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let options = compile::Options {
            now_unix_s: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            accept_shrink: self.options.accept_shrink || occasion.accepts_shrink(),
            ..self.options.clone()
        };
        let previous = self.publisher.current();
        // A fault of ours must not end reloading for good: it costs this set, and the last good one stays.
        let compiled =
            catch_unwind(AssertUnwindSafe(|| compile::compile(&set.flags, &set.routes, &options, Some(&previous))));
        compiled.unwrap_or_else(|_| {
            let mut report = Report::default();
            let found = Diagnostic::new(Severity::Error, "internal", None, "the compiler failed on these files");
            report.push(found.help("undo the last change, and report this as a bug of banyan with the files"));
            Outcome { report, draft: None, named: Vec::new() }
        })
    }

    fn publish_addresses(&mut self, resolved: Resolved) {
        if let Some(generation) = self.publisher.publish_addresses(resolved) {
            drop(self.scribe.note(Event::new(Action::Addresses, Source::Router, generation), false));
        }
    }

    fn publish(
        &mut self,
        draft: Draft,
        report: &Report,
        hash: SetHash,
        occasion: &Occasion,
        started: Instant,
    ) -> Reload {
        let before = self.publisher.current();
        let (was, is) = changes(&before.rules, &draft.rules);
        drop(before);
        let published = self.publisher.publish(draft);
        let took = started.elapsed();
        self.in_force = Some(hash);
        log_findings(report);
        let (action, generation) = match published {
            Published::InForce(generation) => (Action::Publish, generation),
            Published::Waiting(generation) => (Action::Hold, generation),
        };
        let (who, why) = occasion.told(report);
        let event = Event { who, why, before: was, after: is, ..Event::new(action, Source::File, generation) };
        drop(self.scribe.note(event, false));
        let result = if action == Action::Hold { Reload::Held } else { Reload::Published };
        self.publisher.publications().judge(Some(result), report);
        if action == Action::Hold {
            self.hold(generation);
            return result;
        }
        let control = &self.publisher.metrics().control;
        control.published(took);
        control.warnings.set(i64::try_from(report.count(Severity::Warning)).unwrap_or(i64::MAX));
        tracing::info!(
            generation,
            cause = occasion.cause.as_str(),
            flags = control.flags.value(),
            routes = control.routes.value(),
            upstreams = control.upstreams.value(),
            warnings = control.warnings.value(),
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "published"
        );
        self.publisher.publications().finish(result);
        result
    }

    /// The files are good, but a restore is in force.
    fn hold(&self, generation: u64) {
        let control = &self.publisher.metrics().control;
        control.reload(Reload::Held);
        control.stale(true);
        tracing::warn!(generation, "the changed files are good and wait: a restore is in force until it is released");
        self.publisher.publications().finish(Reload::Held);
    }

    fn reject(&self, report: &Report, occasion: &Occasion) {
        log_findings(report);
        let control = &self.publisher.metrics().control;
        control.reload(Reload::Rejected);
        control.stale(true);
        tracing::error!(
            generation = self.publisher.current().generation,
            cause = occasion.cause.as_str(),
            findings = %report.summary(),
            "rejected; the last good generation stays in force"
        );
        let generation = self.publisher.current().generation;
        let (who, why) = occasion.told(report);
        let event = Event { who, why, after: findings(report), ..Event::new(Action::Reject, Source::File, generation) };
        drop(self.scribe.note(event, false));
        self.publisher.publications().judge(Some(Reload::Rejected), report);
        self.publisher.publications().finish(Reload::Rejected);
    }

    /// The content was judged before, so there is nothing to do but to say so.
    fn pass_over(&mut self, hash: SetHash, cause: Cause) {
        let control = &self.publisher.metrics().control;
        if self.judged != Some(hash) {
            // After a rejection somebody took the change back.
            self.judged = Some(hash);
            self.publisher.publications().judge(Some(Reload::Unchanged), &Report::default());
            // Under a restore they still differ from what is in force.
            control.stale(self.publisher.publications().is_held());
            tracing::info!(generation = control.generation.value(), "the files are those in force again");
        } else if cause != Cause::Watch {
            return;
        }
        control.reload(Reload::Unchanged);
        self.publisher.publications().finish(Reload::Unchanged);
    }

    /// Keeps a copy of files that came into force.
    fn save(&mut self, set: Option<Set>) {
        let (Some(set), Some(state_dir)) = (set, &self.state_dir) else {
            return;
        };
        self.saved = Some(set.hash);
        if let Err(error) = last_good::save(state_dir, &set.flags, &set.routes) {
            tracing::warn!(%error, directory = %state_dir.display(), "the last good files could not be kept");
        }
    }
}

/// The first findings, in a bounded form for the history.
fn findings(report: &Report) -> serde_json::Value {
    const FINDINGS_MAX: usize = 10;
    const LETTERS_MAX: usize = 400;
    let shown = report.lines().filter(|(severity, _)| *severity == Severity::Error).take(FINDINGS_MAX);
    let shown: Vec<String> = shown.map(|(_, line)| line.chars().take(LETTERS_MAX).collect()).collect();
    serde_json::json!({"findings": shown})
}

/// Logs each finding on a line, as loud as it is bad.
fn log_findings(report: &Report) {
    for (severity, line) in report.lines() {
        match severity {
            Severity::Error => tracing::error!("{line}"),
            Severity::Warning => tracing::warn!("{line}"),
            Severity::Note => tracing::info!("{line}"),
        }
    }
}
