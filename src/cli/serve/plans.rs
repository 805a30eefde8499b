//! Owns what each part of the program is told at its start, as the settings have it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::StartError;
use crate::compile;
use crate::control::{ControlPlan, Listener, ListenerKind, SetHash};
use crate::head::{Policy, TraceMode};
use crate::lifecycle::Lifecycle;
use crate::listen::{Sockets, Transport};
use crate::mirror::{self, Mirror, courier};
use crate::observe::{self, AccessLog, Metrics};
use crate::proxy;
use crate::settings::{LogFormat, Settings};
use crate::snapshot::{JournalOverflow, Snapshot, Store};

pub(super) fn compile_options(settings: &Settings, listeners: Vec<SocketAddr>) -> compile::Options {
    let now_unix_s = crate::cli::now_unix_s();
    compile::Options { hashing: settings.hashing, listeners, now_unix_s, ..compile::Options::default() }
}

pub(super) fn proxy_options(
    settings: &Settings,
    access_log: Option<Arc<AccessLog>>,
) -> Result<proxy::Options, StartError> {
    let via = settings.via.as_ref().map(|name| name.parse().map_err(|_| StartError::Via(name.clone()))).transpose()?;
    let policy = Policy {
        via,
        trusted: settings.trusted_proxies.clone().into(),
        trace: if settings.tracing { TraceMode::default() } else { TraceMode::Off },
        ..Policy::default()
    };
    Ok(proxy::Options {
        limits: settings.limits.clone(),
        policy,
        expose_decision: settings.expose_decision,
        proxy_protocol_from: settings.proxy_protocol_from.clone().into(),
        tls: None,
        http2: settings.http2,
        metrics: settings.metrics,
        access_log,
        mirror: None,
        access_log_headers: settings.access_log_headers.iter().map(|header| header.name().clone()).collect(),
    })
}

fn mirror_plan(settings: &Settings) -> mirror::OpenPlan {
    mirror::OpenPlan {
        state: settings.state.clone(),
        name: settings.via.clone().unwrap_or_else(|| "banyan".into()),
        bytes_max: settings.journal_bytes_max,
        key_file: settings.journal_key.clone(),
    }
}

pub(super) fn start_access_log(settings: &Settings, metrics: &Metrics) -> io::Result<Option<Arc<AccessLog>>> {
    let Some(format) = settings.access_log else { return Ok(None) };
    let (sink, dropped) = (Box::new(io::stdout()), Arc::clone(&metrics.access_lines_dropped));
    let log = AccessLog::start(log_format(format), settings.access_log_sample, sink, dropped)?;
    Ok(Some(Arc::new(log)))
}

pub(super) fn log_format(format: LogFormat) -> observe::LogFormat {
    match format {
        LogFormat::Json => observe::LogFormat::Json,
        LogFormat::Text => observe::LogFormat::Text,
    }
}

pub(super) fn control_plan(
    settings: &Settings,
    in_force: Option<SetHash>,
    sockets: &Sockets,
    store: &Arc<Store>,
    metrics: &Arc<Metrics>,
    lifecycle: &Lifecycle,
) -> io::Result<ControlPlan> {
    let (flags, routes) = (settings.flags.clone(), settings.routes.clone());
    Ok(ControlPlan {
        in_force,
        options: compile_options(settings, sockets.client_addresses()),
        metrics: Arc::clone(metrics),
        lifecycle: lifecycle.clone(),
        poll_ms: settings.poll_ms,
        debounce_ms: settings.debounce_ms,
        dns_interval_ms: settings.dns_interval_ms,
        drain_timeout_ms: settings.limits.drain_timeout_ms,
        state_dir: Some(settings.state.clone()),
        listeners: client_listeners(sockets),
        admin_hosts: settings.admin_hosts.clone(),
        admin_tokens: settings.admin_tokens.clone(),
        admin_auth: settings.admin_auth,
        ..ControlPlan::new(flags, routes, sockets.admin.try_clone()?, Arc::clone(store))
    })
}

/// Where clients are served, for the report.
fn client_listeners(sockets: &Sockets) -> Vec<Listener> {
    let kinds = [(Transport::Plain, ListenerKind::Clients), (Transport::Tls, ListenerKind::ClientsTls)];
    let listeners = kinds.into_iter().flat_map(|(transport, kind)| {
        let addresses = sockets.addresses_of(transport).into_iter();
        addresses.map(move |address| Listener { address: address.to_string(), kind })
    });
    listeners.collect()
}

/// Opens what keeps writes for their copies, and the journals that earlier processes have left.
///
/// A state directory that cannot be written to must not keep the router from serving and killing: writes are then served and
/// not copied, unless a route says that it would rather refuse them.
pub(super) fn open_copies(
    settings: &Settings,
    snapshot: &Snapshot,
    metrics: &Metrics,
) -> Result<(Option<Arc<Mirror>>, Vec<PathBuf>), StartError> {
    let opened = mirror::open(mirror_plan(settings)).map_err(StartError::from);
    let opened = opened.and_then(|opened| match courier::count(&opened.mirror) {
        Ok(()) => Ok(opened),
        Err(error) => Err(StartError::Count(error)),
    });
    let error = match opened {
        Ok(mirror::Opened { mirror, elders }) => {
            metrics.show_copies(Arc::clone(&mirror) as _);
            return Ok((Some(mirror), elders));
        }
        Err(error) => error,
    };
    let mut rules = snapshot.rules.routes.payloads().filter_map(|route| route.copies.as_ref());
    if rules.any(|rules| rules.overflow == JournalOverflow::FailClosed) {
        return Err(error);
    }
    tracing::error!(%error, "no write is copied until the router is started with a state directory that it can write to");
    Ok((None, Vec::new()))
}
