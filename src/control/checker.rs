//! Owns the health checks: one task an endpoint, as the generation in force has them; never on a worker.
//!
//! A check that hangs or panics costs itself alone. What a check found is put into [`crate::health`], where workers see
//! it at their next pick.

mod ask;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use self::ask::{Failure, Question};
use super::ControlPlan;
use crate::health::{EndpointHealth, HealthRegistry, UpstreamHealth, Verdict};
use crate::snapshot::{Snapshot, Store};
use crate::upstream::{AllUnhealthy, Endpoint, HealthCheck, Upstream};

/// Checks at the same time, each with a connection of its own; others wait for their turn.
const CHECKS_MAX: usize = 512;
/// How far the time between two checks may be off its interval, in percent, so that checks do not march in step.
const JITTER_PERCENT: u64 = 15;

/// Checks the endpoints of the generation in force.
#[derive(Debug)]
pub(super) struct Checker {
    store: Arc<Store>,
    health: Arc<HealthRegistry>,
    bell: Bell,
    turns: Arc<Semaphore>,
    running: HashMap<Key, Running>,
}

/// Tells the checker that there is a new generation.
#[derive(Debug, Clone, Default)]
pub(super) struct Bell(Arc<Notify>);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.notify_one();
    }
}

/// An upstream's name and one of its addresses.
type Key = (Box<str>, SocketAddr);

/// One endpoint to check, and how.
#[derive(Debug, Clone, PartialEq)]
struct Plan {
    upstream: Box<str>,
    check: HealthCheck,
    all_unhealthy: AllUnhealthy,
    question: Question,
}

/// The task of one endpoint; it ends when this is dropped.
#[derive(Debug)]
struct Running {
    plan: Plan,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Checker {
    pub(super) fn new(plan: &ControlPlan) -> Self {
        plan.health.follow(&plan.store.snapshot().upstreams);
        plan.metrics.show_health(Arc::clone(&plan.health) as _);
        Self {
            store: Arc::clone(&plan.store),
            health: Arc::clone(&plan.health),
            bell: Bell::default(),
            turns: Arc::new(Semaphore::new(CHECKS_MAX)),
            running: HashMap::new(),
        }
    }

    pub(super) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Follows the generations; it runs on the runtime that the checks run on.
    pub(super) async fn run(mut self) {
        loop {
            let snapshot = self.store.snapshot();
            self.follow(&snapshot);
            drop(snapshot);
            self.bell.0.notified().await;
        }
    }

    /// Starts and stops checks as the generation says; those of endpoints that stay the same go on undisturbed.
    fn follow(&mut self, snapshot: &Snapshot) {
        let plans = plans(snapshot);
        self.running.retain(|key, running| plans.get(key) == Some(&running.plan));
        self.release(snapshot, &plans.keys().collect());
        for (key, plan) in plans {
            if !self.running.contains_key(&key) {
                let task = tokio::spawn(watch(Watched::new(&self.health, &key, &plan), Arc::clone(&self.turns)));
                self.running.insert(key, Running { plan, task });
            }
        }
    }

    /// Puts in service what waits for a check that does not come any more.
    ///
    /// The tasks that might put it out have been stopped; on a runtime of one thread none of them runs now.
    fn release(&self, snapshot: &Snapshot, checked: &HashSet<&Key>) {
        for upstream in &*snapshot.upstreams {
            for address in upstream.addresses() {
                let endpoint = self.health.upstream(&upstream.name).endpoint(address);
                if endpoint.is_unhealthy() && !checked.contains(&(upstream.name.clone(), address)) {
                    endpoint.put_in();
                }
            }
        }
    }
}

/// What a generation wants checked.
fn plans(snapshot: &Snapshot) -> HashMap<Key, Plan> {
    let mut plans = HashMap::new();
    for upstream in &*snapshot.upstreams {
        let Some(check) = &upstream.health else { continue };
        for (address, endpoint) in places(upstream) {
            plans.entry((upstream.name.clone(), address)).or_insert_with(|| Plan {
                upstream: upstream.name.clone(),
                check: check.clone(),
                all_unhealthy: upstream.all_unhealthy,
                question: Question::new(upstream, check, endpoint, address),
            });
        }
    }
    plans
}

/// The addresses of an upstream, each with the endpoint that it belongs to.
fn places(upstream: &Upstream) -> impl Iterator<Item = (SocketAddr, &Endpoint)> {
    let endpoints = upstream.endpoints.iter();
    endpoints.flat_map(|endpoint| endpoint.addresses.iter().map(|address| (*address, &**endpoint)))
}

/// An endpoint under check.
struct Watched {
    plan: Plan,
    upstream: Arc<UpstreamHealth>,
    endpoint: Arc<EndpointHealth>,
    verdict: Verdict,
}

/// Checks one endpoint over and over.
async fn watch(mut watched: Watched, turns: Arc<Semaphore>) {
    let interval_ms = watched.plan.check.interval_ms;
    // Who waits for its first pass is asked at once; the others begin somewhere in an interval, apart.
    if !watched.endpoint.is_unhealthy() {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..u64::from(interval_ms)))).await;
    }
    loop {
        let turn = turns.acquire().await;
        let answer = ask::ask(&watched.plan.question, &watched.plan.check).await;
        drop(turn);
        watched.note(answer);
        let pause_ms = jittered(interval_ms, fastrand::u64(..));
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

impl Watched {
    fn new(health: &HealthRegistry, key: &Key, plan: &Plan) -> Self {
        let upstream = health.upstream(&key.0);
        let endpoint = upstream.endpoint(key.1);
        let verdict = Verdict::new(!endpoint.is_unhealthy());
        Self { plan: plan.clone(), upstream, endpoint, verdict }
    }

    fn note(&mut self, answer: Result<(), Failure>) {
        if let Err(Failure::Broken) = answer {
            // A fault of ours says nothing about the endpoint.
            return;
        }
        match answer {
            Ok(()) => self.endpoint.checks_passed.add(1),
            Err(_) => self.endpoint.checks_failed.add(1),
        }
        if self.verdict.is_healthy() == self.endpoint.is_unhealthy() {
            // It left and joined again between two generations that were seen here: so does its verdict.
            self.verdict = Verdict::new(!self.endpoint.is_unhealthy());
        }
        let was_out = self.upstream.is_all_out();
        match self.verdict.note(answer.is_ok(), &self.plan.check) {
            Some(true) => {
                self.endpoint.put_in();
                tracing::info!(upstream = &*self.plan.upstream, endpoint = %self.endpoint.address(), "endpoint healthy");
                if was_out {
                    tracing::info!(upstream = &*self.plan.upstream, "the upstream has a healthy endpoint again");
                }
            }
            Some(false) => self.put_out(answer.err()),
            None => {}
        }
    }

    fn put_out(&self, why: Option<Failure>) {
        self.endpoint.put_out();
        let why = why.map(|why| why.to_string()).unwrap_or_default();
        tracing::warn!(upstream = &*self.plan.upstream, endpoint = %self.endpoint.address(), why, "endpoint unhealthy");
        if self.upstream.is_all_out() {
            let then = match self.plan.all_unhealthy {
                AllUnhealthy::Serve => "all of them serve",
                AllUnhealthy::Refuse => "requests are refused with 503",
            };
            tracing::error!(upstream = &*self.plan.upstream, then, "no endpoint of the upstream is in service");
        }
    }
}

/// The time to the next check in milliseconds: the interval, give or take [`JITTER_PERCENT`].
fn jittered(interval_ms: u32, random: u64) -> u64 {
    let interval_ms = u64::from(interval_ms);
    let most = interval_ms * JITTER_PERCENT / 100;
    interval_ms - most + random % (2 * most + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile;
    use crate::config::FileSet;

    /// A snapshot with these endpoints, checked.
    fn snapshot(endpoints: &str) -> Snapshot {
        let routes = format!(
            "upstreams: {{one: {{endpoints: [{endpoints}], health: {{path: /}}}}}}\nroutes: [{{name: all, match: {{path: /}}, upstream: one}}]\n"
        );
        let (flags, routes) = (FileSet::from_texts("flags", []), FileSet::from_texts("routes", [("a.yaml", &*routes)]));
        let outcome = compile::compile(&flags, &routes, &compile::Options::default(), None);
        outcome.draft.expect("the routes are right").into_snapshot(1)
    }

    #[test]
    fn an_endpoint_that_left_and_joined_between_two_looks_still_comes_in() {
        let (both, first) = (snapshot("\"10.0.0.1:1\", \"10.0.0.2:1\""), snapshot("\"10.0.0.1:1\""));
        let registry = HealthRegistry::default();
        registry.follow(&both.upstreams);
        let key: Key = ("one".into(), SocketAddr::from(([10, 0, 0, 2], 1)));
        let mut watched = Watched::new(&registry, &key, &plans(&both)[&key]);
        watched.note(Ok(()));
        registry.follow(&first.upstreams);
        registry.follow(&both.upstreams);
        assert!(watched.endpoint.is_unhealthy(), "it waits for its first pass");
        watched.note(Ok(()));
        assert!(!watched.endpoint.is_unhealthy());
    }

    #[test]
    fn jitter_is_bounded_on_both_sides_and_uses_all_of_it() {
        for interval_ms in [100, 1_000, 3_600_000] {
            let times: Vec<u64> = (0..10_000).map(|random| jittered(interval_ms, random * 7_919)).collect();
            let (least, most) = (u64::from(interval_ms) * 85 / 100, u64::from(interval_ms) * 115 / 100);
            assert!(times.iter().all(|ms| (least..=most).contains(ms)));
            let middle = u64::from(interval_ms);
            assert!(times.iter().any(|ms| *ms < middle) && times.iter().any(|ms| *ms > middle));
        }
        assert_eq!(jittered(1_000, 0), 850);
        assert_eq!(jittered(1_000, 300), 1_150);
        assert_eq!(jittered(1, u64::MAX), 1);
    }
}
