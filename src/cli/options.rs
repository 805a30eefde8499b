//! Owns the settings as given, on the command line and in the environment, and their way to [`Settings`].
//!
//! The command line beats the environment, which beats the settings file, which beats the default.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::limit_names;
use super::settings_file;
use crate::config::{Diagnostic, Report, Severity, did_you_mean};
use crate::flag::Hashing;
use crate::network::Network;
use crate::settings::{AdminAuth, LogFormat, LoggedHeader, Settings};
use crate::tls::Alpn;
use crate::tls::server::{ClientAuth, ServerPlan, UnknownNames};

/// A closed set of words and what each means.
pub(super) type Choices<T, const N: usize> = [(&'static str, T); N];

pub(super) const HASHINGS: Choices<Hashing, 2> = [("v3", Hashing::V3), ("v2", Hashing::V2)];
pub(super) const LOG_FORMATS: Choices<LogFormat, 2> = [("json", LogFormat::Json), ("text", LogFormat::Text)];
pub(super) const ACCESS_LOGS: Choices<AccessLog, 3> =
    [("json", AccessLog(Some(LogFormat::Json))), ("text", AccessLog(Some(LogFormat::Text))), ("off", AccessLog(None))];
pub(super) const CLIENT_AUTHS: Choices<ClientAuth, 3> =
    [("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
pub(super) const UNKNOWN_NAMES: Choices<UnknownNames, 2> =
    [("default", UnknownNames::Default), ("refuse", UnknownNames::Refuse)];
pub(super) const ADMIN_AUTHS: Choices<AdminAuth, 2> = [("api", AdminAuth::Api), ("all", AdminAuth::All)];
pub(super) const SWITCH: Choices<bool, 2> = [("on", true), ("off", false)];

/// More workers than this are a slip of the finger.
pub(super) const WORKERS_MAX: u16 = 1024;
/// The smallest journal in bytes: sixteen segments of 2 MiB.
pub(super) const JOURNAL_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// The longest interval between two looks at files or names: a day in milliseconds.
pub(super) const INTERVAL_MAX_MS: u32 = 86_400_000;

/// The settings as given; what is not given is `None`.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct SettingOptions {
    /// A YAML file with any of these settings, named with `_` instead of `-`.
    #[arg(long, env = "BANYAN_SETTINGS", value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// The directory of flag files [default: flags].
    #[arg(long, env = "BANYAN_FLAGS", value_name = "DIR")]
    pub flags: Option<PathBuf>,
    /// The directory of route files [default: routes].
    #[arg(long, env = "BANYAN_ROUTES", value_name = "DIR")]
    pub routes: Option<PathBuf>,
    /// Where clients connect in the clear; may repeat [default: 127.0.0.1:8080, or nowhere with --listen-tls].
    #[arg(long, env = "BANYAN_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
    /// Where clients connect over TLS; may repeat [default: nowhere].
    #[arg(long, env = "BANYAN_LISTEN_TLS", value_name = "ADDR", value_delimiter = ',')]
    pub listen_tls: Vec<SocketAddr>,
    /// A PEM file with a certificate and its chain; may repeat, the first is shown to clients that name nobody.
    #[arg(long, env = "BANYAN_TLS_CERTIFICATE", value_name = "FILE", value_delimiter = ',')]
    pub tls_certificate: Vec<PathBuf>,
    /// The PEM file with the key of a certificate; as many as certificates, in the same order.
    #[arg(long, env = "BANYAN_TLS_KEY", value_name = "FILE", value_delimiter = ',')]
    pub tls_key: Vec<PathBuf>,
    /// A directory of certificates: NAME.crt with NAME.key, and directories with tls.crt and tls.key.
    #[arg(long, env = "BANYAN_TLS_DIRECTORY", value_name = "DIR")]
    pub tls_directory: Option<PathBuf>,
    /// A PEM file with the authorities that sign the certificates of clients.
    #[arg(long, env = "BANYAN_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Whether clients show a certificate [default: required with --tls-client-ca, else off].
    #[arg(long, env = "BANYAN_TLS_CLIENT_AUTH", value_name = "WHETHER", value_parser = one_of(CLIENT_AUTHS))]
    pub tls_client_auth: Option<ClientAuth>,
    /// What a client gets that asks for a name without a certificate: the first one, or an alert [default: default].
    #[arg(long, env = "BANYAN_TLS_UNKNOWN_SNI", value_name = "WHAT", value_parser = one_of(UNKNOWN_NAMES))]
    pub tls_unknown_sni: Option<UnknownNames>,
    /// Networks whose connections begin with a PROXY protocol header, such as 10.0.0.0/8 [default: none].
    #[arg(long, env = "BANYAN_PROXY_PROTOCOL_FROM", value_name = "NETS", value_delimiter = ',')]
    pub proxy_protocol_from: Vec<Network>,
    /// Where the admin API, OFREP, health, readiness and metrics are served [default: 127.0.0.1:9901].
    #[arg(long, env = "BANYAN_ADMIN", value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// A host name that the admin address answers to, besides localhost and its addresses; may repeat.
    #[arg(long, env = "BANYAN_ADMIN_HOST", value_name = "NAME", value_delimiter = ',')]
    pub admin_host: Vec<String>,
    /// A file with tokens of the admin API, besides the one in the state directory: lines of ROLE NAME SECRET.
    #[arg(long, env = "BANYAN_ADMIN_TOKENS", value_name = "FILE")]
    pub admin_tokens: Option<PathBuf>,
    /// What needs a token: the admin API, or metrics and OFREP, too [default: api].
    #[arg(long, env = "BANYAN_ADMIN_AUTH", value_name = "WHAT", value_parser = one_of(ADMIN_AUTHS))]
    pub admin_auth: Option<AdminAuth>,
    /// The directory for what survives a restart [default: state].
    #[arg(long, env = "BANYAN_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// How many workers; 0 is one a core [default: 0].
    #[arg(long, env = "BANYAN_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(..=i64::from(WORKERS_MAX)))]
    pub workers: Option<u16>,
    /// The access log: a line a request on stdout [default: json].
    #[arg(long, env = "BANYAN_ACCESS_LOG", value_name = "FORMAT", value_parser = one_of(ACCESS_LOGS))]
    pub access_log: Option<AccessLog>,
    /// The share of requests in the access log, from 0 to 1 [default: 1].
    #[arg(long, env = "BANYAN_ACCESS_LOG_SAMPLE", value_name = "SHARE", value_parser = share)]
    pub access_log_sample: Option<f64>,
    /// Request headers that a line of the access log shows, so that `simulate` can replay it [default: none].
    #[arg(long, env = "BANYAN_ACCESS_LOG_HEADERS", value_name = "NAMES", value_delimiter = ',')]
    pub access_log_headers: Vec<LoggedHeader>,
    /// What is logged, such as `info` or `banyan=debug` [default: info].
    #[arg(long, env = "BANYAN_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How the log is written [default: text].
    #[arg(long, env = "BANYAN_LOG_FORMAT", value_name = "FORMAT", value_parser = one_of(LOG_FORMATS))]
    pub log_format: Option<LogFormat>,
    /// How `fractional` hashes; v2 for the buckets of older flagd [default: v3].
    #[arg(long, env = "BANYAN_HASHING", value_name = "GENERATION", value_parser = one_of(HASHINGS))]
    pub hashing: Option<Hashing>,
    /// Whether answers carry the decision to clients [default: off].
    #[arg(long, env = "BANYAN_EXPOSE_DECISION", value_name = "ON", value_parser = one_of(SWITCH),
          num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub expose_decision: Option<bool>,
    /// Networks whose X-Forwarded-* headers are believed, such as 10.0.0.0/8 [default: none].
    #[arg(long, env = "BANYAN_TRUSTED_PROXIES", value_name = "NETS", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,
    /// The router's name in `Via`, or `off` [default: banyan].
    #[arg(long, env = "BANYAN_VIA", value_name = "NAME", value_parser = via)]
    pub via: Option<Via>,
    /// Whether `traceparent` is passed on or made [default: on].
    #[arg(long, env = "BANYAN_TRACING", value_name = "ON", value_parser = one_of(SWITCH))]
    pub tracing: Option<bool>,
    /// Whether clients may speak HTTP/2 [default: on].
    #[arg(long, env = "BANYAN_HTTP2", value_name = "ON", value_parser = one_of(SWITCH))]
    pub http2: Option<bool>,
    /// Whether requests are counted for /metrics [default: on].
    #[arg(long, env = "BANYAN_METRICS", value_name = "ON", value_parser = one_of(SWITCH))]
    pub metrics: Option<bool>,
    /// How often the files are compared, besides notification; 0 for never [default: 2000].
    #[arg(long, env = "BANYAN_POLL_MS", value_name = "MS", value_parser = clap::value_parser!(u32).range(..=i64::from(INTERVAL_MAX_MS)))]
    pub poll_ms: Option<u32>,
    /// How long the files must be quiet before they are read [default: 50].
    #[arg(long, env = "BANYAN_DEBOUNCE_MS", value_name = "MS", value_parser = clap::value_parser!(u32).range(..=60_000))]
    pub debounce_ms: Option<u32>,
    /// How often names of upstreams are resolved [default: 10000].
    #[arg(long, env = "BANYAN_DNS_INTERVAL_MS", value_name = "MS", value_parser = clap::value_parser!(u32).range(100..=i64::from(INTERVAL_MAX_MS)))]
    pub dns_interval_ms: Option<u32>,
    /// Start from the last good set when the present one is refused [default: off].
    #[arg(long, env = "BANYAN_LAST_GOOD", value_name = "ON", value_parser = one_of(SWITCH),
          num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub last_good: Option<bool>,
    /// The bytes that the journal of copied writes may take, from 32 MiB [default: 4294967296].
    #[arg(long, env = "BANYAN_JOURNAL_BYTES_MAX", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(JOURNAL_BYTES_MIN..))]
    pub journal_bytes_max: Option<u64>,
    /// A file of 32 random bytes: the key for credentials of routes with `credentials: encrypt` [default: none].
    #[arg(long, env = "BANYAN_JOURNAL_KEY", value_name = "FILE")]
    pub journal_key: Option<PathBuf>,
    /// A limit of the data plane, such as head_bytes_max=65536; may repeat. 0 turns one off.
    #[arg(long = "limit", env = "BANYAN_LIMIT", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = limit_names::parse)]
    pub limits: Vec<(String, u64)>,
}

/// How the access log is written; `None` for no access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLog(pub Option<LogFormat>);

/// The name in `Via`; `None` for no `Via`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via(pub Option<Box<str>>);

/// Reads `off` or a pseudonym, which is a token (RFC 9110 section 7.6.3).
///
/// # Errors
/// When it is neither.
pub(super) fn via(text: &str) -> Result<Via, String> {
    if text == "off" {
        return Ok(Via(None));
    }
    match http::HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(Via(Some(text.into()))),
        Err(_) => Err("use letters, digits, `-`, `.` and `_`, or `off`".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "not a number from 0 to 1".to_owned())
}

pub(super) fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    choices: Choices<T, N>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(choices.map(|(name, _)| name)).try_map(move |name| {
        let found = choices.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value).ok_or("not one of the possible values")
    })
}

/// Makes the settings from what was given, the settings file and the defaults.
///
/// `variables` are the names of the environment: one that looks like a setting but is none is an error, because the
/// setting that was meant is not in force.
///
/// # Errors
/// Everything that is wrong with the settings file, and settings that contradict each other.
pub fn settle(given: &SettingOptions, variables: impl Iterator<Item = OsString>) -> Result<Settings, Report> {
    let mut report = Report::default();
    unknown_variables(variables, &mut report);
    let file = given.settings.as_deref().map(|path| settings_file::read(path, &mut report)).unwrap_or_default();
    let settings = cook(given, &file);
    contradictions(&settings, &mut report);
    tls_contradictions(&settings, given, &file, &mut report);
    report.sort();
    if report.has_errors() { Err(report) } else { Ok(settings) }
}

fn cook(given: &SettingOptions, file: &SettingOptions) -> Settings {
    let default = Settings::default();
    let mut limits = default.limits;
    for (name, value) in file.limits.iter().chain(&given.limits) {
        // Both sources have checked names and values.
        let _ = limit_names::set(&mut limits, name, *value);
    }
    macro_rules! first {
        ($name:ident) => {
            given.$name.clone().or_else(|| file.$name.clone()).unwrap_or(default.$name)
        };
    }
    let workers = given.workers.or(file.workers).and_then(|workers| NonZeroUsize::new(workers.into()));
    let listen_tls = first_list(&given.listen_tls, &file.listen_tls, Vec::new());
    // Who asks for TLS does not ask for a port in the clear.
    let listen = if listen_tls.is_empty() { default.listen } else { Vec::new() };
    let via = given.via.clone().or_else(|| file.via.clone());
    Settings {
        flags: first!(flags),
        routes: first!(routes),
        listen: first_list(&given.listen, &file.listen, listen),
        listen_tls,
        tls: tls(given, file, first!(http2), default.tls),
        admin: first!(admin),
        admin_hosts: first_list(&given.admin_host, &file.admin_host, Vec::new()),
        admin_tokens: given.admin_tokens.clone().or_else(|| file.admin_tokens.clone()),
        admin_auth: first!(admin_auth),
        state: first!(state),
        workers: workers.unwrap_or(default.workers),
        access_log: given.access_log.or(file.access_log).map_or(default.access_log, |chosen| chosen.0),
        access_log_sample: first!(access_log_sample),
        access_log_headers: first_list(&given.access_log_headers, &file.access_log_headers, Vec::new()),
        log: first!(log),
        log_format: first!(log_format),
        hashing: first!(hashing),
        expose_decision: first!(expose_decision),
        trusted_proxies: first_list(&given.trusted_proxies, &file.trusted_proxies, default.trusted_proxies),
        proxy_protocol_from: first_list(&given.proxy_protocol_from, &file.proxy_protocol_from, Vec::new()),
        via: via.map_or(default.via, |via| via.0),
        tracing: first!(tracing),
        http2: first!(http2),
        metrics: first!(metrics),
        poll_ms: first!(poll_ms),
        debounce_ms: first!(debounce_ms),
        dns_interval_ms: first!(dns_interval_ms),
        last_good: first!(last_good),
        journal_bytes_max: first!(journal_bytes_max),
        journal_key: given.journal_key.clone().or_else(|| file.journal_key.clone()),
        limits,
    }
}

fn tls(given: &SettingOptions, file: &SettingOptions, http2: bool, default: ServerPlan) -> ServerPlan {
    // Certificates and keys belong together: both come from the same source.
    let source = if given.tls_certificate.is_empty() && given.tls_key.is_empty() { file } else { given };
    let client_ca = given.tls_client_ca.clone().or_else(|| file.tls_client_ca.clone());
    // Who names authorities wants them to count.
    let unsaid = if client_ca.is_some() { ClientAuth::Required } else { ClientAuth::Off };
    ServerPlan {
        pairs: source.tls_certificate.iter().cloned().zip(source.tls_key.iter().cloned()).collect(),
        directory: given.tls_directory.clone().or_else(|| file.tls_directory.clone()),
        client_ca,
        client_auth: given.tls_client_auth.or(file.tls_client_auth).unwrap_or(unsaid),
        unknown_names: given.tls_unknown_sni.or(file.tls_unknown_sni).unwrap_or(default.unknown_names),
        alpn: if http2 { Alpn::Either } else { Alpn::Http1 },
    }
}

fn first_list<T: Clone>(given: &[T], file: &[T], default: Vec<T>) -> Vec<T> {
    [given, file].into_iter().find(|list| !list.is_empty()).map_or(default, <[T]>::to_vec)
}

fn contradictions(settings: &Settings, report: &mut Report) {
    let mut refuse = |code, message: String, help: &str| {
        report.push(Diagnostic::new(Severity::Error, code, None, message).help(help));
    };
    // Port 0 is another port for each listener.
    let listen = [&*settings.listen, &settings.listen_tls].concat();
    if settings.admin.port() != 0 && listen.contains(&settings.admin) {
        let message = format!("`listen` and `admin` are both {}", settings.admin);
        refuse("same-address", message, "health and metrics must not be reached by clients: give admin its own port");
    }
    let twice = listen.iter().enumerate().find(|(at, one)| one.port() != 0 && listen[..*at].contains(one));
    if let Some((_, twice)) = twice {
        refuse("same-address", format!("`listen` names {twice} twice"), "remove one of the two");
    }
    if settings.flags == settings.routes {
        let message = format!("`flags` and `routes` are both `{}`", settings.flags.display());
        refuse("same-directory", message, "keep flag files and route files in directories of their own");
    }
}

fn tls_contradictions(settings: &Settings, given: &SettingOptions, file: &SettingOptions, report: &mut Report) {
    let mut refuse = |message: String, help: &str| {
        report.push(Diagnostic::new(Severity::Error, "tls-settings", None, message).help(help));
    };
    for source in [given, file] {
        let (certificates, keys) = (source.tls_certificate.len(), source.tls_key.len());
        if certificates != keys {
            let message = format!("there are {certificates} of `tls_certificate` and {keys} of `tls_key`");
            refuse(message, "give each certificate its key, in the same order");
        }
    }
    let plan = &settings.tls;
    if !settings.listen_tls.is_empty() && plan.pairs.is_empty() && plan.directory.is_none() {
        let help = "give --tls-certificate FILE with --tls-key FILE, or --tls-directory DIR";
        refuse("`listen_tls` needs a certificate".to_owned(), help);
    }
    if plan.client_auth != ClientAuth::Off && plan.client_ca.is_none() {
        let help = "name the authorities that sign the certificates of clients: --tls-client-ca FILE";
        refuse("`tls_client_auth` has nobody to trust".to_owned(), help);
    }
}

/// Reports `BANYAN_…` variables that are no setting, except those that Kubernetes makes for a service `banyan`.
fn unknown_variables(variables: impl Iterator<Item = OsString>, report: &mut Report) {
    let command = SettingOptions::augment_args(clap::Command::new("banyan"));
    let known: Vec<&str> = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    for name in variables.filter_map(|name| name.into_string().ok()) {
        let kubernetes = name == "BANYAN_PORT" || name.contains("_PORT_") || name.contains("_SERVICE_");
        if !name.starts_with("BANYAN_") || kubernetes || name.ends_with("_PORT") || known.contains(&&*name) {
            continue;
        }
        let message = format!("the environment variable `{name}` is no setting");
        let mut found = Diagnostic::new(Severity::Error, "unknown-setting", None, message);
        found.help = did_you_mean(&name, known.iter().copied());
        report.push(found);
    }
}
