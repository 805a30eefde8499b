//! Owns `banyan serve`: it wires the planes together and waits for the end.

mod plans;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use self::plans::{compile_options, control_plan, log_format, open_copies, proxy_options, start_access_log};
use super::{REFUSED, SettingOptions, settle};
use crate::compile;
use crate::config::{FileSet, Format, Report, Severity};
use crate::control::{self, ControlPlan, SetHash, Standing};
use crate::health::HealthRegistry;
use crate::lifecycle::{Lifecycle, Phase};
use crate::listen::{self, Offer, Sockets, Transport};
use crate::mirror::{self, courier};
use crate::network;
use crate::observe::{self, AccessLog, LogOptions, Metrics};
use crate::proxy;
use crate::settings::Settings;
use crate::snapshot::{Snapshot, Store};
use crate::tls::server::ServerTls;
use crate::tls::{FileError, NamedFile};

/// How long the last lines of the logs may take to be written.
const LOG_PATIENCE: Duration = Duration::from_secs(2);
/// How long name servers may hold up the start; names that are late have no address at first.
const DNS_PATIENCE: Duration = Duration::from_secs(2);

/// Says why the router did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{0}")]
    Listen(#[from] listen::ListenError),
    #[error("cannot take the sockets over: {0}")]
    TakeOver(io::Error),
    #[error("cannot use the state directory {}: {source}", path.display())]
    State { path: PathBuf, source: io::Error },
    #[error(
        "admin would listen on {0}, which is not loopback; use a loopback address, or a private one behind a firewall"
    )]
    AdminPublic(SocketAddr),
    #[error("no certificates for TLS: {0}")]
    Certificates(String),
    #[error("{0}; give --tls-certificate and --tls-key, or --tls-directory")]
    CertificatesUnnamed(&'static str),
    #[error("TLS is set up, but there is no address for it: give --listen-tls ADDR")]
    TlsIdle,
    #[error("`{0}` cannot stand in Via")]
    Via(Box<str>),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    #[error("the overrides in the state directory cannot be read, and the running process goes on serving: {0}")]
    Overrides(io::Error),
    #[error("the journal of copied writes cannot be read: {0}")]
    Count(io::Error),
    #[error("writes cannot be kept for their copies: {0}")]
    Mirror(#[from] mirror::MirrorError),
    #[error("the flag and route files have errors; nothing was started")]
    Files,
}

/// A router that runs in this process.
pub(crate) struct Router {
    /// Its sockets.
    pub sockets: Arc<Sockets>,
    /// What is in force.
    pub store: Arc<Store>,
    /// Ends it.
    pub lifecycle: Lifecycle,
    workers: proxy::Workers,
    courier: Option<courier::Handle>,
    control: control::Handle,
    access_log: Option<Arc<AccessLog>>,
}

/// Runs the verb.
pub(super) fn run(options: &SettingOptions) -> ExitCode {
    let settings = match settle(options, std::env::vars_os().map(|(name, _)| name)) {
        Ok(settings) => settings,
        Err(report) => {
            eprint!("{}", report.render(Format::Text { colour: false }));
            return ExitCode::from(2);
        }
    };
    let log = LogOptions { format: log_format(settings.log_format), filter: settings.log.clone() };
    let metrics = Metrics::new();
    let guard = match observe::init_logging(&log, Arc::clone(&metrics.log_lines_dropped)) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("banyan: {error}");
            return ExitCode::from(2);
        }
    };
    let code = match Router::start(&settings, metrics) {
        Ok(router) => {
            router.wait();
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(%error, "cannot start");
            ExitCode::from(REFUSED)
        }
    };
    drop(guard);
    code
}

impl Router {
    /// Starts a router; it serves when this returns.
    ///
    /// # Errors
    /// When the files have errors, an address is taken, or the state directory cannot be used.
    pub(crate) fn start(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, StartError> {
        raise_descriptor_limit();
        make_state_dir(settings)?;
        let (sockets, successor) = match listen::take_over(&settings.state).map_err(StartError::TakeOver)? {
            Some((sockets, successor)) => (sockets, Some(successor)),
            None => (open_sockets(settings)?, None),
        };
        if !sockets.has_clients() {
            sockets.open_clients(&client_addresses(settings), settings.workers.get())?;
        }
        if successor.is_some() {
            warn_of_other_addresses(&sockets, settings);
        }
        refuse_public_admin(&sockets)?;
        let sockets = Arc::new(sockets);
        let listeners = sockets.client_addresses();
        let First { snapshot, in_force, named, findings } = first_snapshot(settings, listeners.clone())?;
        let standing = stand(settings, successor.is_some())?;
        let snapshot = control::resolve_names(snapshot, &listeners, &metrics, DNS_PATIENCE)?;
        let store = Store::new(standing.lay_over(snapshot));
        let lifecycle = Lifecycle::default();
        let access_log = start_access_log(settings, &metrics)?;
        let hands = sockets.deal(settings.workers.get())?;
        let tls = server_tls(settings, &sockets, successor.is_some())?;
        let (mirror, elders) = open_copies(settings, &store.snapshot(), &metrics)?;
        let options =
            proxy::Options { tls: tls.clone(), mirror: mirror.clone(), ..proxy_options(settings, access_log.clone())? };
        let health = Arc::new(HealthRegistry::default());
        health.follow(&store.snapshot().upstreams);
        let workers = proxy::start(hands, options, &store, &health, &metrics, &lifecycle)?;
        let courier = mirror.clone().map(|mirror| courier::Plan {
            mirror,
            elders,
            bytes_max: settings.journal_bytes_max,
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            phases: lifecycle.subscribe(),
        });
        let courier = courier.map(courier::start).transpose()?;
        let mut plan = control_plan(settings, in_force, &sockets, &store, &metrics, &lifecycle)?;
        plan.options.keeps_nothing = mirror.is_none();
        let control = control::start(ControlPlan { health, tls, named, findings, standing, mirror, ..plan })?;
        if let Some(successor) = successor {
            successor.tell_serving().map_err(StartError::TakeOver)?;
        }
        offer_sockets(settings, &sockets, &lifecycle, control.admin_door())?;
        // Last, so that whoever waits for this line finds everything in place.
        announce(&sockets, settings);
        Ok(Self { sockets, store, lifecycle, workers, courier, control, access_log })
    }

    /// Waits until it has drained.
    pub(crate) fn wait(self) {
        self.lifecycle.wait_for(Phase::Draining);
        self.sockets.close_clients();
        self.workers.join();
        self.lifecycle.advance(Phase::Aborting);
        if let Some(courier) = self.courier {
            courier.join();
        }
        self.control.join();
        if let Some(log) = self.access_log.and_then(Arc::into_inner) {
            log.finish(LOG_PATIENCE);
        }
        tracing::info!("stopped");
    }
}

fn open_sockets(settings: &Settings) -> Result<Sockets, StartError> {
    if let Some(passed) = Sockets::from_activation(settings.admin)? {
        return Ok(passed);
    }
    Ok(Sockets::open(&client_addresses(settings), settings.admin, settings.workers.get())?)
}

/// Where clients connect, and what they speak there first.
fn client_addresses(settings: &Settings) -> Vec<(SocketAddr, Transport)> {
    let plain = settings.listen.iter().map(|address| (*address, Transport::Plain));
    plain.chain(settings.listen_tls.iter().map(|address| (*address, Transport::Tls))).collect()
}

/// Reads the certificates; settings for TLS and listeners for it need each other.
///
/// It is the sockets that count: `taken_over` from another process, or passed by systemd, they need no `--listen-tls`.
fn server_tls(settings: &Settings, sockets: &Sockets, taken_over: bool) -> Result<Option<Arc<ServerTls>>, StartError> {
    if sockets.addresses_of(Transport::Tls).is_empty() {
        return if settings.has_idle_tls() { Err(StartError::TlsIdle) } else { Ok(None) };
    }
    if settings.tls.pairs.is_empty() && settings.tls.directory.is_none() {
        let passed =
            if taken_over { "the running process hands over TLS sockets" } else { "systemd passes TLS sockets" };
        return Err(StartError::CertificatesUnnamed(passed));
    }
    let told = |errors: Vec<FileError>| {
        StartError::Certificates(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    ServerTls::load(settings.tls.clone()).map(Some).map_err(told)
}

/// Sockets that were taken over stay where they are, whatever the settings say.
fn warn_of_other_addresses(sockets: &Sockets, settings: &Settings) {
    let taken = |(address, transport): &(SocketAddr, Transport)| sockets.addresses_of(*transport).contains(address);
    let admin = sockets.admin.local_addr().ok();
    let other = client_addresses(settings).iter().any(|wanted| wanted.0.port() != 0 && !taken(wanted));
    if other || (settings.admin.port() != 0 && admin != Some(settings.admin)) {
        tracing::warn!(
            "the sockets of the running process are taken over, so other addresses in --listen, --listen-tls and --admin are not used; \
             stop the running process first to change them, or use another --state"
        );
    }
}

/// Health and metrics need no token: they are for the machine and its private network only (rule A1).
fn refuse_public_admin(sockets: &Sockets) -> Result<(), StartError> {
    let address = sockets.admin.local_addr()?;
    if network::is_private(address.ip()) { Ok(()) } else { Err(StartError::AdminPublic(address)) }
}

/// What lies over the files from before.
///
/// Overrides that cannot be read may hold a kill. A process that is to take over leaves the running one, which knows
/// them, to serve; any other serves with every flag killed.
fn stand(settings: &Settings, is_successor: bool) -> Result<Standing, StartError> {
    match Standing::read(&settings.state) {
        Ok(standing) => Ok(standing),
        Err(error) if is_successor => Err(StartError::Overrides(error)),
        Err(error) => {
            tracing::error!(%error, "the overrides cannot be read: every flag is killed until `revive --all`");
            Ok(Standing::unreadable(&settings.state, &error))
        }
    }
}

/// The first snapshot, and what it was compiled from.
struct First {
    snapshot: Snapshot,
    in_force: Option<SetHash>,
    named: Vec<NamedFile>,
    findings: Report,
}

/// Reads and compiles the files for the first time; every finding is shown before anything is served (rule C5).
fn first_snapshot(settings: &Settings, listeners: Vec<SocketAddr>) -> Result<First, StartError> {
    let options = compile_options(settings, listeners);
    let (flags, routes) = (FileSet::read(&settings.flags), FileSet::read(&settings.routes));
    let outcome = compile::compile(&flags, &routes, &options, None);
    show(&outcome.report);
    if let Some(draft) = outcome.draft {
        let in_force = Some(SetHash::of(&flags, &routes));
        let (named, findings) = (outcome.named, outcome.report);
        return Ok(First { snapshot: draft.into_snapshot(1), in_force, named, findings });
    }
    let kept = settings.last_good.then(|| control::last_good(&settings.state)).flatten();
    let (flags, routes) = kept.ok_or(StartError::Files)?;
    let options = compile::Options { copied_from: Some(settings.routes.clone()), ..options };
    let outcome = compile::compile(&FileSet::read(&flags), &FileSet::read(&routes), &options, None);
    let draft = outcome.draft.ok_or(StartError::Files)?;
    tracing::error!("the files are refused: starting from the last good set in the state directory");
    // Those of the files themselves come with the first look at them.
    let (named, findings) = (outcome.named, Report::default());
    Ok(First { snapshot: draft.into_snapshot(1), in_force: None, named, findings })
}

fn show(report: &Report) {
    for (severity, line) in report.lines() {
        match severity {
            Severity::Error => tracing::error!("{line}"),
            Severity::Warning => tracing::warn!("{line}"),
            Severity::Note => tracing::info!("{line}"),
        }
    }
}

/// Says once that both addresses accept; scripts wait for this line.
fn announce(sockets: &Sockets, settings: &Settings) {
    let listen: Vec<String> = sockets.addresses_of(Transport::Plain).iter().map(SocketAddr::to_string).collect();
    let admin = sockets.admin.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let listen_tls: Vec<String> = sockets.addresses_of(Transport::Tls).iter().map(SocketAddr::to_string).collect();
    tracing::info!(
        listen = listen.join(","),
        listen_tls = listen_tls.join(","),
        admin,
        workers = settings.workers.get(),
        "listening"
    );
}

/// Offers the sockets to a later process, and drains when one has taken them.
fn offer_sockets(
    settings: &Settings,
    sockets: &Arc<Sockets>,
    lifecycle: &Lifecycle,
    admin: control::AdminDoor,
) -> Result<(), StartError> {
    let offer = match Offer::open(&settings.state) {
        Ok(offer) => offer,
        Err(error) => {
            // A path too long for a unix socket or a full disk must not keep the router from serving.
            tracing::warn!(%error, "no hand-over to a later process will be possible");
            return Ok(());
        }
    };
    let (sockets, lifecycle) = (Arc::clone(sockets), lifecycle.clone());
    std::thread::Builder::new().name("hand-over".to_owned()).spawn(move || match offer.wait_until_taken(&sockets) {
        Ok(()) => {
            tracing::info!("another process has taken the sockets: draining");
            // The other process answers there from now on.
            admin.close();
            lifecycle.advance(Phase::Draining);
        }
        Err(error) => tracing::warn!(%error, "the hand-over socket broke"),
    })?;
    Ok(())
}

fn make_state_dir(settings: &Settings) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.state);
    made.map_err(|source| StartError::State { path: settings.state.clone(), source })
}

/// Raises the soft limit of open files to the hard one: a connection through the router needs two.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
