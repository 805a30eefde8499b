//! Owns the registry that all metrics hang on, from the workers' shards to the text that Prometheus reads.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::leg::{LegKey, LegMetrics, LegName};
use super::series::Registry;
use super::{CertificateMetrics, ControlMetrics, CopiesSource, HealthSource, Tally, UpstreamMetrics, WorkerMetrics};
use super::{copies, exposition};

/// The most series of legs: 10,000 routes of two legs. A series is at most some 2 KiB of memory a worker.
const LEGS_MAX: usize = 20_000;
/// The most series of upstreams.
const UPSTREAMS_MAX: usize = 5_000;
/// The label of what is folded together beyond those; no route or upstream may be called so.
const OTHER: &str = "_other";

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    /// What the control plane counts.
    pub control: ControlMetrics,
    /// The certificates shown to clients.
    pub certificates: CertificateMetrics,
    /// Access-log lines lost to a slow or broken sink.
    pub access_lines_dropped: Arc<Tally>,
    /// Log lines lost to a slow or broken sink.
    pub log_lines_dropped: Arc<Tally>,
    workers: Mutex<Vec<Arc<WorkerMetrics>>>,
    legs: Arc<Registry<LegName, LegMetrics>>,
    upstreams: Arc<Registry<Box<str>, UpstreamMetrics>>,
    health: OnceLock<Arc<dyn HealthSource>>,
    copies: OnceLock<Arc<dyn CopiesSource>>,
}

impl Metrics {
    /// Makes an empty registry.
    pub fn new() -> Arc<Self> {
        let other = LegKey { route: OTHER, flag: None, variant: None, upstream: OTHER };
        Arc::new(Self {
            control: ControlMetrics::default(),
            certificates: CertificateMetrics::default(),
            access_lines_dropped: Arc::default(),
            log_lines_dropped: Arc::default(),
            workers: Mutex::default(),
            legs: Arc::new(Registry::new(LEGS_MAX, other.into())),
            upstreams: Arc::new(Registry::new(UPSTREAMS_MAX, OTHER.into())),
            health: OnceLock::new(),
            copies: OnceLock::new(),
        })
    }

    /// Shows the health of endpoints from now on; the first source stays.
    pub fn show_health(&self, source: Arc<dyn HealthSource>) {
        self.health.get_or_init(|| source);
    }

    /// Shows how copies stand from now on; the first source stays.
    pub fn show_copies(&self, source: Arc<dyn CopiesSource>) {
        self.copies.get_or_init(|| source);
    }

    /// Registers a worker and makes its shard.
    pub fn worker(&self) -> Arc<WorkerMetrics> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        // The courier's shards come first.
        let shard = WorkerMetrics::new(workers.len() + 1, Arc::clone(&self.legs), Arc::clone(&self.upstreams));
        workers.push(Arc::new(shard));
        Arc::clone(&workers[workers.len() - 1])
    }

    /// Makes the courier's shard, of which only the connections to upstreams are shown.
    pub fn courier(&self) -> Arc<WorkerMetrics> {
        Arc::new(WorkerMetrics::new(0, Arc::clone(&self.legs), Arc::clone(&self.upstreams)))
    }

    /// Panics caught by all workers; each cost one request.
    pub fn panics(&self) -> u64 {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().map(|worker| worker.panics.value()).sum()
    }

    /// Drops the series of what is no longer configured and no longer held by a worker.
    pub fn prune<'a>(&self, legs: impl IntoIterator<Item = LegKey<'a>>, upstreams: impl IntoIterator<Item = &'a str>) {
        let legs: HashSet<LegKey<'a>> = legs.into_iter().collect();
        let upstreams: HashSet<&'a str> = upstreams.into_iter().collect();
        self.legs.retain(|name| name.key().route == OTHER || legs.contains(&name.key()));
        self.upstreams.retain(|name| **name == *OTHER || upstreams.contains(&**name));
    }

    /// All series of legs with the workers' shards of each.
    pub(super) fn all_legs(&self) -> Vec<(Arc<LegName>, Vec<Arc<LegMetrics>>)> {
        self.legs.all()
    }

    /// Writes all metrics in Prometheus' text format, version 0.0.4, merged over the workers.
    ///
    /// It takes milliseconds with thousands of series: for the control plane's thread only.
    pub fn render(&self) -> String {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut legs = self.all_legs();
        legs.sort_unstable_by(|(left, _), (right, _)| left.key().cmp(&right.key()));
        let mut upstreams = self.upstreams.all();
        upstreams.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));

        let mut page = exposition::Page::default();
        exposition::control(&mut page, &self.control);
        exposition::workers(&mut page, &workers);
        exposition::tls(&mut page, &self.certificates, &workers);
        exposition::upstreams(&mut page, &upstreams);
        exposition::health(&mut page, &self.health.get().map(|source| source.upstreams()).unwrap_or_default());
        if let Some(source) = self.copies.get() {
            copies::copies(&mut page, &source.figures());
        }
        exposition::legs(&mut page, &legs);
        exposition::losses(&mut page, self.access_lines_dropped.value(), self.log_lines_dropped.value());
        page.into_text()
    }
}
