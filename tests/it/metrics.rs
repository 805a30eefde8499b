//! The metrics: their format, their sums over workers, and their life across reloads.

use std::time::Duration;

use banyan::fault::Fault;
use banyan::limits::Limit;
use banyan::observe::{LegKey, Metrics, Reload};

use crate::exposition::Exposition;

const ORDERS: LegKey<'_> =
    LegKey { route: "orders", flag: Some("orders-migration"), variant: Some("live"), upstream: "orders" };
const ORDERS_LABELS: &str = r#"route="orders",flag="orders-migration",variant="live",upstream="orders""#;

fn page(metrics: &Metrics) -> Exposition {
    Exposition::read(&metrics.render())
}

#[test]
fn an_empty_registry_is_a_valid_page() {
    let page = page(&Metrics::new());
    assert_eq!(page.value("banyan_workers"), 0.0);
    assert_eq!(page.value("banyan_ready"), 0.0);
    assert_eq!(page.count("banyan_faults_total{"), Fault::ALL.len());
    assert_eq!(page.count("banyan_limit_hits_total{"), Limit::ALL.len());
    assert_eq!(page.count("banyan_build_info{version="), 1);
    assert_eq!(page.count("banyan_requests_total"), 0);
    assert!(!page.families.contains_key("banyan_requests_total"), "a family without samples has no head");
}

#[test]
fn tables_of_all_are_in_the_order_of_discriminants() {
    assert!(Fault::ALL.iter().enumerate().all(|(at, fault)| *fault as usize == at));
    assert!(Limit::ALL.iter().enumerate().all(|(at, limit)| *limit as usize == at));
    assert!(Reload::ALL.iter().enumerate().all(|(at, result)| *result as usize == at));
}

#[test]
fn workers_are_summed() {
    let metrics = Metrics::new();
    for (connections, worker) in [(3, metrics.worker()), (4, metrics.worker())] {
        worker.connections_accepted.add(connections);
        worker.connections_open.add(2);
        worker.connections_open.add(-1);
        worker.received_bytes.add(1_000);
        worker.sent_bytes.add(5);
        worker.decisions.add(10);
        worker.decision_errors.increment();
        worker.fault(Fault::ConnectTimeout);
        worker.limit(Limit::Head);
        let orders = worker.upstream("orders");
        orders.connections_opened.increment();
        orders.connections_reused.add(9);
        orders.pool_idle.set(1);
        orders.stale_retries.increment();
    }
    let page = page(&metrics);
    assert_eq!(page.value("banyan_workers"), 2.0);
    assert_eq!(page.value("banyan_downstream_connections_total"), 7.0);
    assert_eq!(page.value("banyan_downstream_connections"), 2.0);
    assert_eq!(page.value("banyan_downstream_received_bytes_total"), 2_000.0);
    assert_eq!(page.value("banyan_downstream_sent_bytes_total"), 10.0);
    assert_eq!(page.value("banyan_decisions_total"), 20.0);
    assert_eq!(page.value("banyan_decision_errors_total"), 2.0);
    assert_eq!(page.value(r#"banyan_faults_total{fault="connect_timeout",side="upstream"}"#), 2.0);
    assert_eq!(page.value(r#"banyan_faults_total{fault="client_gone",side="client"}"#), 0.0);
    assert_eq!(page.value(r#"banyan_limit_hits_total{limit="head"}"#), 2.0);
    assert_eq!(page.value(r#"banyan_upstream_connections_opened_total{upstream="orders"}"#), 2.0);
    assert_eq!(page.value(r#"banyan_upstream_connections_reused_total{upstream="orders"}"#), 18.0);
    assert_eq!(page.value(r#"banyan_upstream_pool_idle{upstream="orders"}"#), 2.0);
    assert_eq!(page.value(r#"banyan_upstream_stale_retries_total{upstream="orders"}"#), 2.0);
}

#[test]
fn a_leg_has_classes_latencies_and_faults() {
    let metrics = Metrics::new();
    let (first, second) = (metrics.worker(), metrics.worker());
    let leg = |worker: &banyan::observe::WorkerMetrics| {
        worker.leg(ORDERS.route, ORDERS.flag, ORDERS.variant, ORDERS.upstream)
    };
    leg(&first).record(200, Duration::from_micros(500), None);
    leg(&first).record(204, Duration::from_micros(501), None);
    leg(&second).record(201, Duration::from_millis(500), None);
    leg(&second).record(504, Duration::from_secs(31), Some(Fault::ResponseTimeout));
    leg(&second).record(999, Duration::ZERO, None);
    let page = page(&metrics);
    let bucket = |class: &str, bound: &str| {
        let labels = format!(r#"{ORDERS_LABELS},class="{class}",le="{bound}""#);
        page.value(&format!("banyan_request_duration_seconds_bucket{{{labels}}}"))
    };
    assert_eq!(page.value(&format!(r#"banyan_requests_total{{{ORDERS_LABELS},class="2xx"}}"#)), 3.0);
    assert_eq!(page.value(&format!(r#"banyan_requests_total{{{ORDERS_LABELS},class="5xx"}}"#)), 2.0);
    assert_eq!(page.count("banyan_requests_total"), 2, "classes that were not seen have no series");
    assert_eq!(bucket("2xx", "0.0005"), 1.0, "a bound is inclusive");
    assert_eq!(bucket("2xx", "0.001"), 2.0);
    assert_eq!(bucket("2xx", "0.25"), 2.0);
    assert_eq!(bucket("2xx", "0.5"), 3.0, "the objective is a bound");
    assert_eq!(bucket("5xx", "30"), 1.0);
    assert_eq!(bucket("5xx", "+Inf"), 2.0);
    let sum = page.value(&format!(r#"banyan_request_duration_seconds_sum{{{ORDERS_LABELS},class="2xx"}}"#));
    assert!((sum - 0.501_001).abs() < 1e-9, "{sum}");
    let faults = format!(r#"banyan_request_faults_total{{{ORDERS_LABELS},fault="response_timeout",side="upstream"}}"#);
    assert_eq!(page.value(&faults), 1.0);
    assert_eq!(page.count("banyan_request_faults_total"), 1);
}

#[test]
fn labels_are_escaped() {
    let metrics = Metrics::new();
    metrics.worker().leg("a\"b\\c\nd", None, None, "u").record(200, Duration::ZERO, None);
    let series = r#"banyan_requests_total{route="a\"b\\c\nd",flag="",variant="",upstream="u",class="2xx"}"#;
    assert_eq!(page(&metrics).value(series), 1.0);
}

#[test]
fn unchanged_legs_keep_their_counts_and_removed_ones_go_when_released() {
    let metrics = Metrics::new();
    let worker = metrics.worker();
    let orders = worker.leg(ORDERS.route, ORDERS.flag, ORDERS.variant, ORDERS.upstream);
    orders.record(200, Duration::ZERO, None);
    worker.leg("kept", None, None, "monolith").record(200, Duration::ZERO, None);
    worker.upstream("gone").connections_opened.increment();
    let kept = LegKey { route: "kept", flag: None, variant: None, upstream: "monolith" };

    metrics.prune([kept], ["monolith"]);
    let still = page(&metrics);
    assert_eq!(still.count("banyan_requests_total"), 2, "a worker holds the removed leg");
    assert_eq!(still.count("banyan_upstream_connections_opened_total"), 0);

    drop(orders);
    metrics.prune([kept], ["monolith"]);
    worker.leg("kept", None, None, "monolith").record(200, Duration::ZERO, None);
    let after = page(&metrics);
    assert_eq!(after.count("banyan_requests_total"), 1);
    let series = r#"banyan_requests_total{route="kept",flag="",variant="",upstream="monolith",class="2xx"}"#;
    assert_eq!(after.value(series), 2.0);
}

#[test]
fn series_are_bounded_and_the_rest_is_folded() {
    let metrics = Metrics::new();
    let worker = metrics.worker();
    for number in 0..20_010 {
        worker.leg(&format!("r{number}"), None, None, "u").record(200, Duration::ZERO, None);
    }
    let folded = r#"banyan_requests_total{route="_other",flag="",variant="",upstream="_other",class="2xx"}"#;
    let page = page(&metrics);
    assert_eq!(page.value(folded), 10.0);
    assert_eq!(page.count("banyan_requests_total"), 20_001);
}

#[test]
fn the_control_plane_says_what_is_in_force_and_what_is_stale() {
    let metrics = Metrics::new();
    let control = &metrics.control;
    control.generation.set(7);
    control.published(Duration::from_millis(12));
    control.describe("v3", vec![("orders".into(), Duration::from_millis(500))]);
    control.reload(Reload::Rejected);
    control.stale(true);
    let since = page(&metrics).value("banyan_config_stale_seconds");
    control.stale(true);
    let page_while_stale = page(&metrics);
    assert!(page_while_stale.value("banyan_config_stale_seconds") > since, "a second rejection does not restart it");
    assert_eq!(page_while_stale.value("banyan_config_generation"), 7.0);
    assert_eq!(page_while_stale.value(r#"banyan_config_reloads_total{result="published"}"#), 1.0);
    assert_eq!(page_while_stale.value(r#"banyan_config_reloads_total{result="rejected"}"#), 1.0);
    assert_eq!(page_while_stale.value("banyan_config_last_reload_duration_seconds"), 0.012);
    assert!(page_while_stale.value("banyan_config_last_reload_timestamp_seconds") > 1.7e9);
    assert_eq!(page_while_stale.value(r#"banyan_config_hashing_info{generation="v3"}"#), 1.0);
    assert_eq!(page_while_stale.value(r#"banyan_upstream_slo_p99_seconds{upstream="orders"}"#), 0.5);
    control.stale(false);
    assert_eq!(page(&metrics).value("banyan_config_stale_seconds"), 0.0);
}
