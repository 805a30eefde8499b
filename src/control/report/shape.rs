//! Owns the form of the status document, which the admin API answers and `banyan status` reads; it knows no source of it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stale::Stale;

/// How the router stands. Counters are totals since its start; times are the wall clock in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The program's version.
    pub version: String,
    /// The generation in force.
    pub generation: u64,
    /// The hash generation of `fractional`.
    pub hashing: String,
    /// `running`, `draining` or `aborting`.
    pub phase: String,
    /// Whether it takes traffic.
    pub ready: bool,
    /// When it started.
    pub started_unix_ms: u64,
    /// When this was said.
    pub now_unix_ms: u64,
    /// What is wrong, the worst first; empty when all is well.
    pub problems: Vec<Problem>,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// How the files stand.
    pub reload: ReloadReport,
    /// The flags in force.
    pub flags: Vec<FlagReport>,
    /// The routes in force.
    pub routes: Vec<RouteReport>,
    /// The upstreams in force.
    pub upstreams: Vec<UpstreamReport>,
    /// Everything that lies over the files.
    pub overrides: Value,
    /// How copies of writes stand; null where nothing is copied.
    pub copies: Value,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `error` or `warning`.
    pub severity: String,
    /// A stable name for scripts.
    pub code: String,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub help: String,
}

/// An address that it listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The address, or the path of a unix socket.
    pub address: String,
    /// For whom.
    pub kind: ListenerKind,
}

/// For whom a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerKind {
    /// Clients.
    Clients,
    /// Clients that speak TLS.
    ClientsTls,
    /// Operators, metrics and health.
    Admin,
    /// Operators on the same machine.
    AdminSocket,
}

/// How the files stand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// `published`, `rejected`, `unchanged` (the files are those in force again), `held` or `none`.
    pub last: String,
    /// When that was.
    pub at_unix_ms: Option<u64>,
    /// For how long the files have differed from what is in force.
    pub stale_s: u64,
    /// The generation whose rules a restore holds.
    pub restored: Option<u64>,
    /// What was found in the files as they are now, bounded in number.
    pub diagnostics: Vec<FindingReport>,
    /// The same as `check` prints it.
    pub rendered: String,
}

/// A finding about the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingReport {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// A stable name for scripts.
    pub code: String,
    /// The file.
    pub path: Option<String>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// A flag in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlagReport {
    /// Its key.
    pub key: String,
    /// `ENABLED` or `DISABLED`, by the file.
    pub state: String,
    /// Who owns it.
    pub owner: Option<String>,
    /// The last day of its life.
    pub expires: Option<String>,
    /// Whether that is over.
    pub expired: bool,
    /// Why it may be stale.
    pub stale: Vec<Stale>,
    /// What its rule falls back on.
    pub default_variant: Option<String>,
    /// Its variants in file order.
    pub variants: Vec<VariantReport>,
    /// Whether its variants are the stages of a migration.
    pub migration: bool,
    /// Whether it gives the same to everybody by its file, with nothing laid over it.
    pub at_rest: bool,
    /// Since when it is seen to rest; may be earlier than the start.
    pub at_rest_since_unix_ms: Option<u64>,
    /// What decides, and why.
    pub in_force: InForce,
    /// Pins that lie over it.
    pub pins: usize,
    /// The routes that ask it.
    pub routes: Vec<String>,
    /// When a request or a component last asked it; seen every 5 s, and at each report.
    pub last_evaluated_unix_ms: Option<u64>,
    /// Since when that is watched; may be earlier than the start.
    pub watched_since_unix_ms: u64,
}

/// A variant of a flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantReport {
    /// Its name.
    pub name: String,
    /// Its share of the split in force, from 0 to 1; null where there is none.
    pub share: Option<f64>,
    /// Its share by the file.
    pub file_share: Option<f64>,
    /// Requests that got it.
    pub requests: u64,
}

/// What decides about a flag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// `file`, `disabled`, `split`, `pin`, `kill`, `kill_all` or `break_glass`.
    pub source: String,
    /// Who laid it over the file.
    pub who: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// Since when.
    pub since_unix_ms: Option<u64>,
    /// When it ends by itself.
    pub until_unix_ms: Option<u64>,
}

/// A route in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteReport {
    /// Its name.
    pub name: String,
    /// What requests it takes.
    #[serde(rename = "match")]
    pub matches: String,
    /// The flag that it asks.
    pub flag: Option<String>,
    /// Where its variants lead.
    pub legs: Vec<LegReport>,
}

/// One way through a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegReport {
    /// The variant, or `fallback`.
    pub variant: Option<String>,
    /// Who serves.
    pub upstream: String,
    /// Exchanges finished.
    pub requests: u64,
    /// Those with a status of 500 or more.
    pub errors: u64,
    /// Half of them took no longer.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_ms: Option<f64>,
}

/// An upstream in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpstreamReport {
    /// Its name.
    pub name: String,
    /// Whether it has endpoints and none of them is in service.
    pub all_unhealthy: bool,
    /// Its endpoints.
    pub endpoints: Vec<EndpointReport>,
    /// Exchanges finished.
    pub requests: u64,
    /// Those with a status of 500 or more.
    pub errors: u64,
    /// Half of them took no longer.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_ms: Option<f64>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointReport {
    /// Its address.
    pub address: SocketAddr,
    /// The share of its usual picks: 0 out of service, 1 fully in it.
    pub share: f64,
    /// Checks that passed.
    pub checks_passed: u64,
    /// Checks that failed.
    pub checks_failed: u64,
}
