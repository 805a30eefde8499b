//! Owns the report of how the router stands: what is in force, what flows, what is wrong; and what it would do with a request.
//!
//! It reads what the control plane holds and changes nothing of it. What it makes takes milliseconds with thousands of
//! routes, so it is for threads that may block.

mod asking;
mod flags;
mod problems;
mod shape;
mod stale;
mod traffic;
mod usage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ControlPlan;
use super::operator::Operator;
use super::overrides::{Book, Note, unix_ms};
use super::publications::Publications;
use super::readiness::Readiness;
use crate::explain::Answer;
use crate::health::HealthRegistry;
use crate::lifecycle::Phase;
use crate::mirror::Mirror;
use crate::observe::{HealthSource as _, LegReading};
use crate::snapshot::Snapshot;

pub use asking::{AskedCertificate, Asking, Values};
pub use shape::{
    EndpointReport, FindingReport, FlagReport, InForce, LegReport, Listener, ListenerKind, Problem, ReloadReport,
    RouteReport, StatusReport, UpstreamReport, VariantReport,
};
pub use stale::{Evidence, Known, Stale, StaleReason, StaleRule};
pub use usage::{FlagUse, read_usage};

use traffic::Traffic;
use usage::Usage;

/// How often it is looked which flags requests have asked.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// Reports how the router stands; any number of threads may hold one.
#[derive(Debug, Clone)]
pub struct Reporter(Arc<Sources>);

/// What a report is made of.
#[derive(Debug)]
struct Sources {
    publications: Arc<Publications>,
    operator: Operator,
    health: Arc<HealthRegistry>,
    readiness: Readiness,
    listeners: Vec<Listener>,
    usage: Usage,
    stale_days: u32,
    started_unix_ms: u64,
    mirror: Option<Arc<Mirror>>,
}

/// What is in force at one moment.
struct Moment {
    snapshot: Arc<Snapshot>,
    book: Book,
    glass: Option<Note>,
    restored: Option<u64>,
    legs: Vec<LegReading>,
    now_unix_ms: u64,
}

/// Makes what reports about a control plane that is about to run.
pub(super) fn start(
    plan: &mut ControlPlan,
    publications: Arc<Publications>,
    operator: Operator,
    readiness: Readiness,
    admin: SocketAddr,
) -> Reporter {
    publications.judge(None, &std::mem::take(&mut plan.findings));
    let mut listeners = std::mem::take(&mut plan.listeners);
    listeners.push(Listener { address: admin.to_string(), kind: ListenerKind::Admin });
    Reporter(Arc::new(Sources {
        publications,
        operator,
        health: Arc::clone(&plan.health),
        readiness,
        listeners,
        usage: Usage::new(plan.state_dir.as_deref()),
        stale_days: plan.stale_days,
        started_unix_ms: unix_ms(),
        mirror: plan.mirror.clone(),
    }))
}

impl Reporter {
    /// Reports how the router stands now.
    pub fn status(&self) -> StatusReport {
        let sources = &*self.0;
        let moment = self.look();
        let traffic = Traffic::of(&moment.legs);
        let health = sources.health.upstreams();
        let control = &sources.publications.metrics().control;
        let copies = sources.mirror.as_ref().map(|mirror| mirror.status(moment.snapshot.copy_destinations()));
        let mut report = StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: moment.snapshot.generation,
            hashing: moment.snapshot.rules.hashing.as_str().to_owned(),
            phase: phase(sources.readiness.phase()).to_owned(),
            ready: sources.readiness.why_not().is_none(),
            started_unix_ms: sources.started_unix_ms,
            now_unix_ms: moment.now_unix_ms,
            problems: Vec::new(),
            listeners: sources.listeners.clone(),
            reload: sources.publications.verdict(moment.restored, control.stale_for()),
            flags: flags::flags(&moment, &traffic, sources),
            routes: traffic::routes(&moment.snapshot, &traffic),
            upstreams: traffic::upstreams(&moment.snapshot, &traffic, &health),
            overrides: sources.operator.overrides(),
            copies: serde_json::to_value(&copies).unwrap_or_default(),
        };
        report.problems = problems::problems(&report, copies.as_ref(), &moment, sources);
        report
    }

    /// Says what the snapshot in force does with a request.
    ///
    /// # Errors
    /// When it is no request; says what to write.
    pub fn explain(&self, asking: &Asking) -> Result<Answer, String> {
        asking.ask(&self.0.publications.current())
    }

    /// Looks who has been asked, and counts stale flags; from time to time it keeps what is known on disk.
    pub(super) fn sample(&self) {
        let moment = self.look();
        flags::count_stale(&moment, &self.0);
        self.0.usage.save_if_due();
    }

    /// Keeps what is known about flags on disk.
    pub(super) fn save(&self) {
        self.0.usage.save();
    }

    /// Notes that a component has asked for a flag.
    pub(super) fn note_asked(&self, flag: &str) {
        self.0.usage.note_asked(flag, unix_ms());
    }

    /// Samples until it is dropped.
    pub(super) async fn run(self) {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let reporter = self.clone();
            if tokio::task::spawn_blocking(move || reporter.sample()).await.is_err() {
                tracing::error!("looking at the use of flags panicked");
            }
        }
    }

    fn look(&self) -> Moment {
        let publications = &self.0.publications;
        let legs = publications.metrics().legs();
        // Copies, so that a kill waits for no report.
        let state = publications.lock();
        let (book, glass) = (state.book.clone(), state.glass.clone());
        let restored = state.held.as_ref().map(|held| held.generation);
        let snapshot = publications.current();
        drop(state);
        let moment = Moment { snapshot, book, glass, restored, legs, now_unix_ms: unix_ms() };
        self.0.usage.look(&moment);
        moment
    }
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Draining => "draining",
        Phase::Aborting => "aborting",
    }
}
