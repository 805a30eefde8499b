//! Owns what the control plane is told at its start: what it works on, and how. It starts nothing.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Listener, SetHash, Standing};
use crate::compile;
use crate::config::Report;
use crate::health::HealthRegistry;
use crate::lifecycle::Lifecycle;
use crate::mirror::Mirror;
use crate::observe::Metrics;
use crate::settings::AdminAuth;
use crate::snapshot::Store;
use crate::tls::NamedFile;
use crate::tls::server::ServerTls;

/// Says what the control plane works on, and how.
#[derive(Debug)]
pub struct ControlPlan {
    /// The directory of flag files.
    pub flags_dir: PathBuf,
    /// The directory of route files.
    pub routes_dir: PathBuf,
    /// What the snapshot in the store was compiled from; `None` makes the first look at the files a reload.
    pub in_force: Option<SetHash>,
    /// The files that the set in force names, as they were when it was compiled.
    pub named: Vec<NamedFile>,
    /// What compiling depends on besides the files; the time is set at each reload.
    pub options: compile::Options,
    /// Where metrics and health are served, bound already.
    pub admin: TcpListener,
    /// Names in `Host` that the admin listener answers to, besides loopback and its own address (rule A2).
    pub admin_hosts: Vec<String>,
    /// A file with tokens of the admin API, besides the one in the state directory.
    pub admin_tokens: Option<PathBuf>,
    /// What of the admin listener needs a token.
    pub admin_auth: AdminAuth,
    /// The snapshot in force; only this control plane may publish in it.
    pub store: Arc<Store>,
    /// What workers and checks know about endpoints.
    pub health: Arc<HealthRegistry>,
    /// What is shown at `/metrics`.
    pub metrics: Arc<Metrics>,
    /// The certificates shown to clients, to be read again when they change.
    pub tls: Option<Arc<ServerTls>>,
    /// The phases that signals advance.
    pub lifecycle: Lifecycle,
    /// Whether the kernel is asked to tell of changes; else only the poll sees them.
    pub watch: bool,
    /// Whether signals of the process are handled.
    pub signals: bool,
    /// How often the files are compared by content, in milliseconds; 0 is never; default 2000.
    pub poll_ms: u32,
    /// How long the files must be quiet before they are read, in milliseconds; default 50.
    pub debounce_ms: u32,
    /// How often names are resolved, in milliseconds, from 1000 to 60000; default 10000.
    pub dns_interval_ms: u32,
    /// From draining to aborting, in milliseconds; 0 turns it off; default 30000.
    pub drain_timeout_ms: u32,
    /// The copies of writes, where any are kept.
    pub mirror: Option<Arc<Mirror>>,
    /// Where overrides, history and a copy of the last good files are kept.
    pub state_dir: Option<PathBuf>,
    /// The overrides that lie over the snapshot in the store already.
    pub standing: Standing,
    /// Where clients are served, as the report shows it.
    pub listeners: Vec<Listener>,
    /// What was found in the files that the process began with.
    pub findings: Report,
    /// After how many days at rest, or without a request, a flag counts as stale; default 30.
    pub stale_days: u32,
}

impl ControlPlan {
    /// Makes a plan with defaults.
    pub fn new(flags_dir: PathBuf, routes_dir: PathBuf, admin: TcpListener, store: Arc<Store>) -> Self {
        Self {
            flags_dir,
            routes_dir,
            in_force: None,
            named: Vec::new(),
            options: compile::Options::default(),
            admin,
            admin_hosts: Vec::new(),
            admin_tokens: None,
            admin_auth: AdminAuth::default(),
            store,
            health: Arc::default(),
            metrics: Metrics::new(),
            tls: None,
            lifecycle: Lifecycle::default(),
            watch: true,
            signals: true,
            poll_ms: 2_000,
            debounce_ms: 50,
            dns_interval_ms: 10_000,
            drain_timeout_ms: 30_000,
            mirror: None,
            state_dir: None,
            standing: Standing::default(),
            listeners: Vec::new(),
            findings: Report::default(),
            stale_days: 30,
        }
    }
}
