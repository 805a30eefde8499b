//! Owns what is in force, who may change it and in which order: the one place where generations get their numbers.
//!
//! The reload thread and whoever gives commands publish here, one after the other. Nothing in here compiles, resolves,
//! or waits for a disk, so that a kill never waits for any of these (rule A5).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::archive::{Archive, Kept};
use super::checker::Bell;
use super::overrides::{Book, Bound, Misfit, Note, bind};
use super::report::ReloadReport;
use super::verdict::Verdict;
use super::{Standing, Status};
use crate::config::Report;
use crate::flag::OverrideKind;
use crate::health::HealthRegistry;
use crate::observe::{Metrics, Reload};
use crate::snapshot::{Rules, Snapshot, Store};

/// What is in force, and how it came to be.
#[derive(Debug)]
pub(super) struct Publications {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    followers: Followers,
    status: watch::Sender<Status>,
    state: Mutex<State>,
    verdict: Mutex<Verdict>,
    /// Snapshots or series of earlier generations may be left.
    untidy: AtomicBool,
}

/// Who keeps in step with the upstreams in force.
#[derive(Debug)]
pub(super) struct Followers {
    pub(super) health: Arc<HealthRegistry>,
    pub(super) checks: Bell,
}

/// What a publication is made of, besides the rules.
#[derive(Debug)]
pub(super) struct State {
    pub(super) book: Book,
    /// The kill of every flag by the file `KILL`, as long as that file is there.
    pub(super) glass: Option<Note>,
    pub(super) held: Option<Held>,
    pub(super) archive: Archive,
    misfits: Vec<Misfit>,
}

/// A restore that is in force.
#[derive(Debug)]
pub(super) struct Held {
    /// The generation whose rules were restored.
    pub(super) generation: u64,
    /// What the files say meanwhile.
    waiting: Kept,
}

impl Held {
    /// The rules that come into force when the restore ends.
    pub(super) fn waiting_rules(&self) -> Arc<Rules> {
        Arc::clone(&self.waiting.rules)
    }
}

/// What came of publishing what the files say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// It is in force.
    InForce(u64),
    /// A restore holds; it comes into force when that ends. The generation is the one in force.
    Waiting(u64),
}

impl State {
    /// What does not apply to the files in force, for people and programs.
    pub(super) fn misfits_shown(&self) -> serde_json::Value {
        let shown =
            |misfit: &Misfit| serde_json::json!({"flag": misfit.flag, "kind": misfit.kind.as_str(), "why": misfit.why});
        self.misfits.iter().map(shown).collect()
    }
}

impl Publications {
    /// Takes over a store whose snapshot has the overrides that stand.
    pub(super) fn new(store: Arc<Store>, metrics: Arc<Metrics>, followers: Followers, standing: Standing) -> Arc<Self> {
        let current = store.snapshot();
        let mut archive = Archive::default();
        archive.keep(current.generation, Kept::of(&current));
        let status = watch::Sender::new(Status { generation: current.generation, attempts: 0, last: None });
        let Standing { book, glass, .. } = standing;
        let state = State { book, glass, held: None, archive, misfits: Vec::new() };
        let publications = Arc::new(Self {
            store,
            metrics,
            followers,
            status,
            state: Mutex::new(state),
            verdict: Mutex::default(),
            untidy: AtomicBool::new(false),
        });
        let mut state = publications.lock();
        let bound = bind(&state.book, state.glass.is_some(), &current.rules);
        publications.note_bound(&mut state, bound.in_force, bound.misfits);
        drop(state);
        publications.describe(&current);
        publications
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// The snapshot in force.
    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Begins a change: nobody else publishes until the state is let go.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what the files say, or lets it wait for the end of a restore.
    pub(super) fn publish(&self, draft: &Snapshot) -> Published {
        let mut state = self.lock();
        let next = Kept::of(draft);
        if let Some(held) = &mut state.held {
            let dropped = std::mem::replace(&mut held.waiting, next);
            drop(state);
            // A big set is freed after others may publish again.
            drop(dropped);
            return Published::Waiting(self.store.snapshot().generation);
        }
        let (generation, evicted) = self.swap(&mut state, next);
        drop(state);
        drop(evicted);
        Published::InForce(generation)
    }

    /// Publishes the snapshot in force with a change that keeps its rules; `None` when there is no change.
    pub(super) fn amend(&self, change: impl FnOnce(&Snapshot) -> Option<Snapshot>) -> Option<u64> {
        let mut state = self.lock();
        let next = change(&self.store.snapshot())?;
        let (generation, _) = self.swap(&mut state, Kept::of(&next));
        self.tell(generation);
        Some(generation)
    }

    /// Publishes the rules in force with the overrides as they are now.
    pub(super) fn lay_over(&self, state: &mut State) -> u64 {
        let current = self.store.snapshot();
        let (generation, _) = self.swap(state, Kept::of(&current));
        self.tell(generation);
        generation
    }

    /// Puts kept rules in force and holds them; `None` when they are not kept.
    pub(super) fn restore(&self, state: &mut State, generation: u64) -> Option<(u64, Vec<Kept>)> {
        let found = state.archive.find(generation)?;
        let current = self.store.snapshot();
        let next = found.with_addresses_of(&current);
        match &mut state.held {
            Some(held) => held.generation = generation,
            None => state.held = Some(Held { generation, waiting: Kept::of(&current) }),
        }
        self.metrics.control.restored.set(i64::try_from(generation).unwrap_or(i64::MAX));
        let swapped = self.swap(state, next);
        self.tell(swapped.0);
        Some(swapped)
    }

    /// Ends a restore; `None` when there is none.
    pub(super) fn release(&self, state: &mut State) -> Option<(u64, Vec<Kept>)> {
        let Held { waiting, .. } = state.held.take()?;
        let next = waiting.with_addresses_of(&self.store.snapshot());
        self.metrics.control.restored.set(0);
        self.metrics.control.stale(false);
        let swapped = self.swap(state, next);
        self.tell(swapped.0);
        Some(swapped)
    }

    /// Whether a restore is in force.
    pub(super) fn is_held(&self) -> bool {
        self.lock().held.is_some()
    }

    /// Takes out what has ended by itself: the flags concerned, `None` standing for all, and the generation since.
    pub(super) fn end_overdue(&self, state: &mut State, now: Instant) -> Option<(u64, Vec<Option<String>>)> {
        let ended = state.book.end(now);
        (!ended.is_empty()).then(|| (self.lay_over(state), ended))
    }

    /// Keeps what was found in the files, and what came of it; `None` for those that the process began with.
    pub(super) fn judge(&self, result: Option<Reload>, report: &Report) {
        let verdict = Verdict::of(result, report);
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
    }

    /// How the files stand.
    pub(super) fn verdict(&self, restored: Option<u64>, stale_for: Duration) -> ReloadReport {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).shown(restored, stale_for)
    }

    /// Counts the end of an attempt to reload, and tells whoever watches.
    pub(super) fn finish(&self, result: Reload) {
        self.status.send_modify(|status| {
            status.attempts += 1;
            status.last = Some(result);
            status.generation = self.store.snapshot().generation;
        });
    }

    /// Tells whoever watches of a generation that no reload has made.
    fn tell(&self, generation: u64) {
        self.status.send_modify(|status| status.generation = generation);
    }

    /// Whether a worker or a request still goes by an earlier generation.
    pub(super) fn is_earlier_under_way(&self) -> bool {
        self.store.is_replaced_held()
    }

    /// Whether earlier generations may have left something.
    pub(super) fn is_untidy(&self) -> bool {
        self.untidy.load(Ordering::Acquire)
    }

    /// Frees replaced snapshots, as far as no worker holds them; returns how many are still held.
    pub(super) fn reap(&self) -> usize {
        self.untidy.store(false, Ordering::Release);
        let held = self.store.reap();
        self.metrics.control.snapshots_held.set(i64::try_from(held).unwrap_or(i64::MAX));
        if held > 0 {
            self.untidy.store(true, Ordering::Release);
        }
        held
    }

    /// Numbers and publishes; gives what is no longer kept, to be freed where nobody waits.
    fn swap(&self, state: &mut State, next: Kept) -> (u64, Vec<Kept>) {
        let current = self.store.snapshot();
        let generation = current.generation + 1;
        let Bound { overrides, misfits, in_force } = bind(&state.book, state.glass.is_some(), &next.rules);
        let evicted = state.archive.keep(generation, next.clone());
        let same_upstreams = Arc::ptr_eq(&next.upstreams, &current.upstreams);
        let is_same = same_upstreams && Arc::ptr_eq(&next.rules, &current.rules);
        if !same_upstreams {
            // First, so that workers find who waits for a check and who is in service at once.
            self.followers.health.follow(&next.upstreams);
        }
        let snapshot =
            Snapshot { generation, rules: next.rules, upstreams: next.upstreams, overrides: Arc::new(overrides) };
        self.store.swap(snapshot);
        if !same_upstreams {
            self.followers.checks.ring();
        }
        self.untidy.store(true, Ordering::Release);
        self.metrics.control.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        if !is_same {
            self.describe(&self.store.snapshot());
        }
        self.note_bound(state, in_force, misfits);
        (generation, evicted)
    }

    /// Shows what lies over the files, and what of it does not apply.
    fn note_bound(&self, state: &mut State, in_force: [i64; OverrideKind::ALL.len()], misfits: Vec<Misfit>) {
        let control = &self.metrics.control;
        for (gauge, count) in control.overrides.iter().zip(in_force) {
            gauge.set(count);
        }
        control.overrides_misfit.set(i64::try_from(misfits.len()).unwrap_or(i64::MAX));
        for Misfit { flag, kind, why } in misfits.iter().filter(|misfit| !state.misfits.contains(misfit)) {
            tracing::error!(flag, kind = kind.as_str(), why, "an override does not apply to the files; it is kept");
        }
        state.misfits = misfits;
    }

    fn describe(&self, snapshot: &Snapshot) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let control = &self.metrics.control;
        control.generation.set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        control.flags.set(count(snapshot.rules.flags.len()));
        control.routes.set(count(snapshot.rules.routes.payloads().count()));
        control.upstreams.set(count(snapshot.upstreams.len()));
        let hashing = snapshot.rules.hashing.as_str();
        let objectives = snapshot
            .upstreams
            .iter()
            .map(|upstream| (upstream.name.clone(), Duration::from_millis(upstream.slo_p99_ms.into())));
        control.describe(hashing, objectives.collect());
    }
}
