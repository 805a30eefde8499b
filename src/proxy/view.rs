//! Owns a worker's view of a snapshot: its pools and its lazily made parts of each leg.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use crate::decision::FlagOutcome;
use crate::flag::{OverrideKind, Reason};
use crate::forward::Pool;
use crate::health::HealthRegistry;
use crate::mirror::{Destination, Mirror};
use crate::observe::{LegMetrics, WorkerMetrics};
use crate::snapshot::{LegId, Snapshot};
use crate::upstream::UpstreamId;

/// What a worker serves a generation with; requests keep the view that they began with.
#[derive(Debug)]
pub(super) struct View {
    /// The generation.
    pub snapshot: Arc<Snapshot>,
    pools: Vec<Rc<Pool>>,
    legs: Vec<OnceCell<Box<LegView>>>,
    /// What is known of each upstream as a destination of copies, once a write asked.
    destinations: Vec<OnceCell<Arc<Destination>>>,
}

/// What a header says besides its leg and generation: the kind of override, the reason, and whether it overflowed.
type Shown = (OverrideKind, Reason, bool);

/// What a worker made for a leg when it first served it.
#[derive(Debug)]
pub(super) struct LegView {
    /// This worker's counters.
    pub metrics: Arc<LegMetrics>,
    /// The `Banyan-Decision` value for each reason, without and with overflow.
    decisions: [[OnceCell<HeaderValue>; Reason::ALL.len()]; 2],
    /// The same where an override decided; for one outcome, as a leg rarely sees more at a time.
    overridden: OnceCell<(Shown, HeaderValue)>,
}

impl View {
    /// Makes the view of a snapshot; pools of upstreams that stay are taken over.
    pub(super) fn new(
        snapshot: &Arc<Snapshot>,
        earlier: Option<&Self>,
        registry: &HealthRegistry,
        metrics: &Arc<WorkerMetrics>,
    ) -> Self {
        if let Some(earlier) = earlier.filter(|view| Arc::ptr_eq(&view.snapshot.upstreams, &snapshot.upstreams)) {
            // A change of overrides must not cost what a change of upstreams does.
            return Self::with(snapshot, earlier.pools.clone());
        }
        let pools = snapshot.upstreams.iter().map(|upstream| {
            let earlier = earlier.and_then(|view| view.pools.iter().find(|pool| pool.upstream().name == upstream.name));
            match earlier {
                Some(same) if Arc::ptr_eq(same.upstream(), upstream) || same.upstream() == upstream => Rc::clone(same),
                changed => Rc::new(Pool::new(upstream, changed.map(|pool| &**pool), registry, metrics)),
            }
        });
        let view = Self::with(snapshot, pools.collect());
        for pool in earlier.iter().flat_map(|view| &view.pools) {
            let next = view.pools.iter().find(|next| next.upstream().name == pool.upstream().name);
            if !next.is_some_and(|next| Rc::ptr_eq(next, pool)) {
                pool.retire(next.map(|next| &**next));
            }
        }
        view
    }

    fn with(snapshot: &Arc<Snapshot>, pools: Vec<Rc<Pool>>) -> Self {
        let destinations = pools.iter().map(|_| OnceCell::new()).collect();
        Self { snapshot: Arc::clone(snapshot), pools, legs: legs(snapshot), destinations }
    }

    /// What is known of an upstream as a destination of copies.
    pub(super) fn destination(&self, upstream: UpstreamId, mirror: &Mirror) -> &Arc<Destination> {
        let at = upstream.0 as usize;
        self.destinations[at].get_or_init(|| mirror.destination(&self.pools[at].upstream().name))
    }

    /// The pool of an upstream.
    pub(super) fn pool(&self, upstream: UpstreamId) -> &Rc<Pool> {
        &self.pools[upstream.0 as usize]
    }

    /// All pools.
    pub(super) fn pools(&self) -> &[Rc<Pool>] {
        &self.pools
    }

    /// A leg's counters and prepared headers.
    pub(super) fn leg(&self, id: LegId, metrics: &WorkerMetrics) -> &LegView {
        self.legs[id.0 as usize].get_or_init(|| {
            let labels = &self.snapshot.rules.legs[id.0 as usize];
            let metrics =
                metrics.leg(&labels.route, labels.flag.as_deref(), labels.variant.as_deref(), &labels.upstream);
            Box::new(LegView { metrics, decisions: Default::default(), overridden: OnceCell::new() })
        })
    }
}

impl LegView {
    /// The `Banyan-Decision` value of an outcome; made once for each reason.
    pub(super) fn decision(&self, route: &str, outcome: &FlagOutcome<'_>, generation: u64) -> HeaderValue {
        if outcome.forced || outcome.held {
            return decision_value(route, outcome, generation);
        }
        if let Some(kind) = outcome.overridden {
            let shown = (kind, outcome.reason, outcome.overflow);
            let make = || (shown, decision_value(route, outcome, generation));
            return match self.overridden.get_or_init(make) {
                (made, value) if *made == shown => value.clone(),
                _ => decision_value(route, outcome, generation),
            };
        }
        self.decisions[usize::from(outcome.overflow)][outcome.reason as usize]
            .get_or_init(|| decision_value(route, outcome, generation))
            .clone()
    }
}

fn legs(snapshot: &Snapshot) -> Vec<OnceCell<Box<LegView>>> {
    (0..snapshot.rules.legs.len()).map(|_| OnceCell::new()).collect()
}

/// Writes a decision as an RFC 9651 dictionary.
fn decision_value(route: &str, outcome: &FlagOutcome<'_>, generation: u64) -> HeaderValue {
    let variant = outcome.variant.map_or_else(String::new, |variant| format!(" variant={},", quoted(variant)));
    let forced = if outcome.forced { ", forced" } else { "" };
    let overridden = outcome.overridden.map_or_else(String::new, |kind| format!(", override=\"{}\"", kind.as_str()));
    let overflow = if outcome.overflow { ", overflow" } else { "" };
    let held = if outcome.held { ", held" } else { "" };
    let text = format!(
        "flag={},{variant} reason=\"{}\", generation={generation}, route={}{forced}{overridden}{overflow}{held}",
        quoted(outcome.key),
        outcome.reason.as_str(),
        quoted(route)
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Writes an RFC 9651 string; what its grammar has no place for becomes `?`.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            ' '..='~' => quoted.push(char),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(key: &'static str) -> FlagOutcome<'static> {
        FlagOutcome {
            key,
            variant: Some("live"),
            reason: Reason::TargetingMatch,
            error: None,
            bucket: None,
            forced: false,
            overridden: None,
            overflow: false,
            held: false,
        }
    }

    #[test]
    fn a_decision_is_a_dictionary() {
        let value = decision_value("orders", &outcome("orders-migration"), 12);
        let expected =
            r#"flag="orders-migration", variant="live", reason="TARGETING_MATCH", generation=12, route="orders""#;
        assert_eq!(value, expected);
        let killed =
            FlagOutcome { variant: None, overridden: Some(OverrideKind::KillAll), ..outcome("orders-migration") };
        let value = decision_value("orders", &killed, 12);
        assert!(value.to_str().unwrap().ends_with(r#", override="kill_all""#), "{value:?}");
        let value = decision_value("orders", &FlagOutcome { held: true, ..outcome("orders-migration") }, 12);
        assert!(value.to_str().unwrap().ends_with(r#"route="orders", held"#), "{value:?}");
    }

    #[test]
    fn odd_names_cannot_break_the_header() {
        let value = decision_value("a\"b\\c\r\nd\u{e9}", &outcome("x"), 1);
        assert!(value.to_str().unwrap().ends_with(r#"route="a\"b\\c??d?""#));
    }
}
