//! Owns the control plane: watching files, publishing, names, health checks, signals, the admin listener. It never sees a request of
//! the data plane; the two meet in the store, the endpoints' health, the metrics and the lifecycle.
//!
//! Four threads: `control` runs a small tokio runtime for sockets, signals and names; `reload` reads, compiles,
//! publishes and frees snapshots, one thing after the other; `break-glass` looks for the file `KILL` and ends overrides
//! in time; `scribe` writes overrides and history. Operators' orders are carried out on the threads that give them.

mod admin;
mod admin_socket;
mod answer;
mod api;
mod archive;
mod break_glass;
mod certificates;
mod checker;
mod dashboard;
mod earlier;
mod history;
mod host;
mod last_good;
mod look;
mod mailbox;
mod ofrep;
mod operator;
mod overrides;
mod plan;
mod publications;
mod publisher;
mod readiness;
mod rehearsal;
mod reload;
mod report;
mod resolver;
mod scribe;
mod signals;
mod standing;
mod streams;
mod uncopied;
mod verdict;
mod watcher;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::config::FileSet;
use crate::observe::Reload;

pub use admin_socket::NAME as ADMIN_SOCKET_FILE;
pub use api::OWN_FILE as ADMIN_TOKEN_FILE;
pub use break_glass::NAME as BREAK_GLASS_FILE;
pub use history::{Action, Entry, ReadHistory, read_history};
pub use last_good::last_good;
pub use operator::Operator;
pub use overrides::{Command, Durable, Order, Receipt, Refusal, Source, Uncopied, parse_lasts};
pub use plan::ControlPlan;
pub use rehearsal::{Moved, Rehearsal};
pub use report::{
    AskedCertificate, Asking, EndpointReport, Evidence, FindingReport, FlagReport, FlagUse, InForce, Known, LegReport,
    Listener, ListenerKind, Problem, ReloadReport, Reporter, RouteReport, Stale, StaleReason, StaleRule, StatusReport,
    UpstreamReport, Values, VariantReport, read_usage,
};
pub use resolver::resolve_names;
pub use standing::Standing;

use admin::Admin;
use admin_socket::AdminSocket;
use api::{Api, Gate, Tokens};
use certificates::Certificates;
use checker::{Bell, Checker};
use history::Event;
use host::AllowedHosts;
use mailbox::Mailbox;
use ofrep::Ofrep;
use publications::{Followers, Publications};
use publisher::Publisher;
use readiness::Readiness;
use reload::Reloader;
use resolver::Resolver;
use scribe::Scribe;
use streams::Streams;
use watcher::Watcher;

/// The most threads that wait for name servers and render metrics.
const BLOCKING_THREADS_MAX: usize = 16;
/// Names are resolved no more often, and no less often, than this (rule U11).
const DNS_INTERVAL_MS: std::ops::RangeInclusive<u32> = 1_000..=60_000;

/// Identifies the content of both directories, within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetHash(u64, u64);

impl SetHash {
    /// Identifies what was read.
    pub fn of(flags: &FileSet, routes: &FileSet) -> Self {
        Self(flags.hash, routes.hash)
    }
}

/// How publishing stands; each change of it is a finished attempt or a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The generation in force.
    pub generation: u64,
    /// Attempts to reload that have ended.
    pub attempts: u64,
    /// How the last one ended; `None` before the first.
    pub last: Option<Reload>,
}

/// Holds a running control plane. Dropping it stops the plane without waiting.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    mailbox: Arc<Mailbox>,
    status: watch::Receiver<Status>,
    stop: watch::Sender<bool>,
    door: AdminDoor,
    operator: Operator,
    reporter: Reporter,
    scribe: Arc<Scribe>,
    /// Its end ends the look-out for the file `KILL`.
    look_out: Option<mpsc::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Handle {
    /// The address of the admin listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reloads the files now, also when they seem unchanged or much smaller (SIGHUP does the same).
    pub fn reload(&self) {
        self.mailbox.force();
    }

    /// Tells how publishing stands, now and at each change.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Gives what carries out operators' orders.
    pub fn operator(&self) -> Operator {
        self.operator.clone()
    }

    /// Gives what reports how the router stands.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Gives what closes the admin listener after a hand-over.
    pub fn admin_door(&self) -> AdminDoor {
        self.door.clone()
    }

    /// Stops the control plane and waits for its threads; a panic in one of them ends here, logged.
    pub fn join(mut self) {
        self.stop();
        // The last to end: it writes what the others have left.
        let writer = self.threads.pop();
        wait_for(std::mem::take(&mut self.threads));
        self.scribe.stop();
        wait_for(writer);
        self.reporter.save();
    }

    fn stop(&mut self) {
        self.mailbox.stop();
        self.stop.send_replace(true);
        self.look_out = None;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
        self.scribe.stop();
    }
}

fn wait_for(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the control plane panicked");
        }
    }
}

/// Closes this process' admin listener; the socket itself lives on in the process that took it over.
#[derive(Debug, Clone)]
pub struct AdminDoor(watch::Sender<bool>);

impl AdminDoor {
    /// Accepts no more; who asks for readiness must reach the other process.
    pub fn close(&self) {
        self.0.send_replace(true);
    }
}

/// Starts the control plane: when it returns, signals are handled, files are watched and the admin listener is open.
///
/// # Errors
/// When the listener cannot be used, signals cannot be handled, or there are no threads.
pub fn start(mut plan: ControlPlan) -> io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("control-blocking")
        .build()?;
    let context = runtime.enter();
    let (address, mailbox) = (plan.admin.local_addr()?, Arc::new(Mailbox::default()));
    let resolver = Resolver::new(Arc::clone(&plan.metrics));
    let checker = Checker::new(&plan);
    let (publications, scribe, operator) = take_command(&mut plan, checker.bell(), &mailbox, &resolver);
    let listeners = plan.options.listeners.clone();
    let publisher = Publisher::new(Arc::clone(&publications), listeners, runtime.handle().clone(), resolver.clone());
    let readiness = Readiness { lifecycle: plan.lifecycle.clone(), resolver: resolver.clone() };
    let socket = open_socket(&mut plan);
    let reporter = report::start(&mut plan, Arc::clone(&publications), operator.clone(), readiness.clone(), address);
    plan.admin.set_nonblocking(true)?;
    let admin = make_admin(&mut plan, address, &publications, &operator, readiness, reporter.clone())?;
    let listener = tokio::net::TcpListener::from_std(plan.admin)?;
    let signals = plan.signals.then(signals::Signals::new).transpose()?;
    let mut watcher =
        plan.watch.then(|| Watcher::new([plan.flags_dir.as_path(), &plan.routes_dir], Arc::clone(&mailbox)));
    watcher.iter_mut().for_each(Watcher::ensure);
    let reloader = Reloader {
        flags_dir: plan.flags_dir,
        routes_dir: plan.routes_dir,
        options: plan.options,
        watcher,
        poll: Duration::from_millis(plan.poll_ms.into()),
        debounce: Duration::from_millis(plan.debounce_ms.into()),
        in_force: plan.in_force,
        judged: plan.in_force,
        named: plan.named,
        state_dir: plan.state_dir.clone(),
        saved: None,
        publisher,
        certificates: plan.tls.map(|tls| Certificates::new(tls, plan.metrics)),
        mailbox: Arc::clone(&mailbox),
        scribe: Arc::clone(&scribe),
    };
    drop(context);

    let dns_interval_ms = plan.dns_interval_ms.clamp(*DNS_INTERVAL_MS.start(), *DNS_INTERVAL_MS.end());
    let (stop, stopped) = watch::channel(false);
    let (door, left) = watch::channel(false);
    let tasks = Tasks {
        checks: checker.run(),
        names: resolver.run(plan.store, Arc::clone(&mailbox), Duration::from_millis(dns_interval_ms.into())),
        signals: signals::run(signals, plan.lifecycle.clone(), Arc::clone(&mailbox), operator.clone()),
        deadline: signals::drain_deadline(plan.lifecycle, plan.drain_timeout_ms),
        admin: admin.run(listener, socket, left),
        report: reporter.clone().run(),
    };
    let (look_out, ended) = mpsc::channel();
    let (watching, adopting) = (operator.clone(), operator.clone());
    let (state_dir, watched, writing) = (plan.state_dir, Arc::clone(&scribe), Arc::clone(&scribe));
    let threads = vec![
        thread("reload", move || reloader.run())?,
        thread("control", move || tasks.run(runtime, stopped))?,
        thread("break-glass", move || break_glass::run(&watching, &watched, state_dir, &ended))?,
        thread("scribe", move || writing.run(&adopting))?,
    ];
    let (status, look_out) = (publications.status(), Some(look_out));
    Ok(Handle { address, mailbox, status, stop, door: AdminDoor(door), operator, reporter, scribe, look_out, threads })
}

/// Makes what answers on the admin listener.
fn make_admin(
    plan: &mut ControlPlan,
    address: SocketAddr,
    publications: &Publications,
    operator: &Operator,
    readiness: Readiness,
    reporter: Reporter,
) -> io::Result<Admin> {
    let tokens = Arc::new(Tokens::open(plan.state_dir.as_deref(), plan.admin_tokens.take())?);
    // One for all: streams leave room for other connections together.
    let streams = Streams::new(plan.lifecycle.clone());
    Ok(Admin {
        hosts: AllowedHosts::new(address.ip(), std::mem::take(&mut plan.admin_hosts)),
        metrics: Arc::clone(&plan.metrics),
        store: Arc::clone(&plan.store),
        readiness,
        ofrep: Ofrep::new(Arc::clone(&plan.store), publications.status(), streams.clone(), reporter.clone()),
        api: Api::new(
            operator.clone(),
            reporter.clone(),
            publications.status(),
            plan.state_dir.clone(),
            plan.mirror.clone(),
            streams,
        ),
        gate: Gate::new(Arc::clone(&tokens)),
        tokens,
        auth: plan.admin_auth,
    })
}

/// Opens the unix socket; without it the API is there over TCP alone.
fn open_socket(plan: &mut ControlPlan) -> Option<AdminSocket> {
    let state_dir = plan.state_dir.as_deref()?;
    let opened = AdminSocket::open(state_dir).inspect(|_| {
        let address = state_dir.join(ADMIN_SOCKET_FILE).display().to_string();
        plan.listeners.push(Listener { address, kind: ListenerKind::AdminSocket });
    });
    // A path too long for a unix socket or a full disk must not keep the router from serving.
    opened.map_err(|error| tracing::warn!(%error, "no admin socket in the state directory")).ok()
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}

/// Makes what publishes, what writes, and what carries out orders.
fn take_command(
    plan: &mut ControlPlan,
    checks: Bell,
    mailbox: &Arc<Mailbox>,
    resolver: &Resolver,
) -> (Arc<Publications>, Arc<Scribe>, Operator) {
    let standing = std::mem::take(&mut plan.standing);
    let (is_owed, on_disk, id) = (standing.is_owed, standing.on_disk.clone(), standing.id);
    let followers = Followers { health: Arc::clone(&plan.health), checks };
    let publications = Publications::new(Arc::clone(&plan.store), Arc::clone(&plan.metrics), followers, standing);
    let scribe = Scribe::new(plan.state_dir.clone(), Arc::clone(&plan.metrics), on_disk, id);
    note_start(&publications, &scribe, is_owed);
    let operator = Operator::new(Arc::clone(&publications), Arc::clone(&scribe), Arc::clone(mailbox), resolver.clone());
    (publications, scribe, operator)
}

/// Says in the log and in the history what a process begins with.
fn note_start(publications: &Publications, scribe: &Scribe, is_owed: bool) {
    let (state, snapshot) = (publications.lock(), publications.current());
    for note in state.book.kill_all.iter().chain(&state.glass) {
        tracing::error!(who = note.who, why = note.why, "every flag is killed from the start");
    }
    let overrides = serde_json::to_value(&state.book).unwrap_or_default();
    let event = Event {
        after: serde_json::json!({
            "flags": snapshot.rules.flags.len(),
            "flags_with_overrides": state.book.flags.len(),
            "kill_all": overrides["kill_all"],
            "break_glass": state.glass.is_some(),
        }),
        ..Event::new(Action::Start, Source::Router, snapshot.generation)
    };
    drop(scribe.note(event, is_owed));
}

/// What the runtime does at the same time.
struct Tasks<C, N, S, D, A, R> {
    checks: C,
    names: N,
    signals: S,
    deadline: D,
    admin: A,
    report: R,
}

impl<C, N, S, D, A, R> Tasks<C, N, S, D, A, R>
where
    C: Future<Output = ()>,
    N: Future<Output = ()>,
    S: Future<Output = ()>,
    D: Future<Output = ()>,
    A: Future<Output = ()>,
    R: Future<Output = ()>,
{
    fn run(self, runtime: Runtime, mut stopped: watch::Receiver<bool>) {
        runtime.block_on(async {
            tokio::select! {
                // An error means that the handle is gone, which stops the plane too.
                _ = stopped.wait_for(|stopped| *stopped) => {}
                ((), (), (), (), (), ()) = async {
                    tokio::join!(self.checks, self.names, self.signals, self.deadline, self.admin, self.report)
                } => {}
            }
        });
        // A name server that does not answer must not hold up the end.
        runtime.shutdown_background();
    }
}
