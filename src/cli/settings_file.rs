//! Owns the reading of a settings file into the same form as the command line.

use std::path::Path;
use std::str::FromStr;

use super::limit_names;
use super::options::{
    ACCESS_LOGS, ADMIN_AUTHS, CLIENT_AUTHS, Choices, HASHINGS, INTERVAL_MAX_MS, JOURNAL_BYTES_MIN, LOG_FORMATS, SWITCH,
    SettingOptions, UNKNOWN_NAMES, WORKERS_MAX, via,
};
use crate::config::{self, Diagnostic, Fields, FileSet, Kind, Node, Report, Text, did_you_mean};
use crate::limits::Limits;
use crate::tls::server::ClientAuth;

/// Reads a settings file; findings go to `report`.
pub(super) fn read(path: &Path, report: &mut Report) -> SettingOptions {
    let set = FileSet::read_file(path);
    report.diagnostics.extend(set.report.diagnostics);
    let node = set.files.first().and_then(|file| config::parse(file, report));
    // An empty settings file sets nothing, and that is what it says.
    match node.filter(|node| !matches!(node.kind, Kind::Null)) {
        Some(node) => settings(&node, report).unwrap_or_default(),
        None => SettingOptions::default(),
    }
}

fn settings(node: &Node, report: &mut Report) -> Option<SettingOptions> {
    let mut fields = Fields::open(node, "a settings file", report)?;
    let path = |text: Text| std::path::PathBuf::from(&*text.text);
    let settings = SettingOptions {
        settings: None,
        flags: fields.text("flags", report).map(path),
        routes: fields.text("routes", report).map(path),
        listen: parsed_list(&mut fields, "listen", "an address with a port, such as 127.0.0.1:8080", report),
        listen_tls: parsed_list(&mut fields, "listen_tls", "an address with a port, such as 0.0.0.0:443", report),
        tls_certificate: parsed_list(&mut fields, "tls_certificate", "a file", report),
        tls_key: parsed_list(&mut fields, "tls_key", "a file", report),
        tls_directory: fields.text("tls_directory", report).map(path),
        tls_client_ca: fields.text("tls_client_ca", report).map(path),
        tls_client_auth: tls_client_auth(&mut fields, report),
        tls_unknown_sni: choice(&mut fields, "tls_unknown_sni", UNKNOWN_NAMES, report),
        proxy_protocol_from: parsed_list(&mut fields, "proxy_protocol_from", "a network, such as 10.0.0.0/8", report),
        admin: parsed(&mut fields, "admin", "an address with a port, such as 127.0.0.1:9901", report),
        admin_host: parsed_list(&mut fields, "admin_host", "a host name, such as banyan.internal", report),
        admin_tokens: fields.text("admin_tokens", report).map(path),
        admin_auth: choice(&mut fields, "admin_auth", ADMIN_AUTHS, report),
        state: fields.text("state", report).map(path),
        workers: fields.number("workers", 0..=WORKERS_MAX.into(), report).and_then(|n| n.try_into().ok()),
        access_log: choice(&mut fields, "access_log", ACCESS_LOGS, report),
        access_log_sample: share(&mut fields, report),
        access_log_headers: parsed_list(
            &mut fields,
            "access_log_headers",
            "a header name, such as x-user-id; none that carries credentials",
            report,
        ),
        log: fields.text("log", report).map(|text| text.text.into()),
        log_format: choice(&mut fields, "log_format", LOG_FORMATS, report),
        hashing: choice(&mut fields, "hashing", HASHINGS, report),
        expose_decision: switch(&mut fields, "expose_decision", report),
        trusted_proxies: parsed_list(&mut fields, "trusted_proxies", "a network, such as 10.0.0.0/8", report),
        via: fields.text("via", report).and_then(|text| match via(&text.text) {
            Ok(via) => Some(via),
            Err(help) => {
                report.push(bad("via", &text).help(help));
                None
            }
        }),
        tracing: switch(&mut fields, "tracing", report),
        http2: switch(&mut fields, "http2", report),
        metrics: switch(&mut fields, "metrics", report),
        poll_ms: fields.number32("poll_ms", 0..=INTERVAL_MAX_MS, report),
        debounce_ms: fields.number32("debounce_ms", 0..=60_000, report),
        dns_interval_ms: fields.number32("dns_interval_ms", 100..=INTERVAL_MAX_MS, report),
        last_good: switch(&mut fields, "last_good", report),
        journal_bytes_max: fields.number("journal_bytes_max", JOURNAL_BYTES_MIN..=u64::MAX >> 1, report),
        journal_key: fields.text("journal_key", report).map(path),
        limits: fields.node("limits").map(|node| limits(node, report)).unwrap_or_default(),
    };
    fields.close(report);
    Some(settings)
}

fn bad(name: &str, text: &Text) -> Diagnostic {
    Diagnostic::error("bad-setting", &text.place, format!("`{}` is no value for `{name}`", text.text))
}

fn parse<T: FromStr>(name: &str, text: &Text, form: &str, report: &mut Report) -> Option<T> {
    let value = text.text.parse().ok();
    if value.is_none() {
        report.push(bad(name, text).help(format!("write {form}")));
    }
    value
}

fn parsed<T: FromStr>(fields: &mut Fields<'_>, name: &'static str, form: &str, report: &mut Report) -> Option<T> {
    parse(name, &fields.text(name, report)?, form, report)
}

/// A list, or a single one.
fn parsed_list<T: FromStr>(fields: &mut Fields<'_>, name: &'static str, form: &str, report: &mut Report) -> Vec<T> {
    let single = fields.node(name).is_some_and(|node| matches!(node.kind, Kind::Str { .. }));
    let texts = if single { fields.text(name, report).map(|text| vec![text]) } else { fields.texts(name, report) };
    texts.unwrap_or_default().iter().filter_map(|text| parse(name, text, form, report)).collect()
}

fn choice<T: Copy, const N: usize>(
    fields: &mut Fields<'_>,
    name: &'static str,
    choices: Choices<T, N>,
    report: &mut Report,
) -> Option<T> {
    let text = fields.text(name, report)?;
    let found = choices.iter().find(|(known, _)| **known == *text.text).map(|(_, value)| *value);
    if found.is_none() {
        report.push(bad(name, &text).help(format!("use one of: {}", choices.map(|(known, _)| known).join(", "))));
    }
    found
}

/// `on`, `off`, `true` or `false`: YAML readers disagree about the first two.
fn switch(fields: &mut Fields<'_>, name: &'static str, report: &mut Report) -> Option<bool> {
    match fields.node(name)?.kind {
        Kind::Bool(value) => Some(value),
        _ => choice(fields, name, SWITCH, report),
    }
}

/// `off` may have been read as a boolean.
fn tls_client_auth(fields: &mut Fields<'_>, report: &mut Report) -> Option<ClientAuth> {
    match fields.node("tls_client_auth")?.kind {
        Kind::Bool(false) => Some(ClientAuth::Off),
        _ => choice(fields, "tls_client_auth", CLIENT_AUTHS, report),
    }
}

fn share(fields: &mut Fields<'_>, report: &mut Report) -> Option<f64> {
    let name = "access_log_sample";
    let node = fields.node(name)?;
    let share = match &node.kind {
        Kind::Number(number) => number.as_f64().filter(|share| (0.0..=1.0).contains(share)),
        _ => None,
    };
    if share.is_none() {
        let message = format!("`{name}` is not a number from 0 to 1");
        report.push(Diagnostic::error("out-of-range", &node.place, message));
    }
    share
}

fn limits(node: &Node, report: &mut Report) -> Vec<(String, u64)> {
    let Some(entries) = node.as_map() else {
        report.push(Diagnostic::error(
            "wrong-type",
            &node.place,
            format!("`limits` is {}, not a map", node.describe()),
        ));
        return Vec::new();
    };
    entries.iter().filter_map(|(key, value)| limit(key, value, report)).collect()
}

fn limit(key: &Node, node: &Node, report: &mut Report) -> Option<(String, u64)> {
    let name = key.as_str()?;
    if !limit_names::NAMES.contains(&name) {
        let mut found = Diagnostic::error("unknown-key", &key.place, format!("unknown limit `{name}`"));
        found.help = did_you_mean(name, limit_names::NAMES.iter().copied());
        report.push(found);
        return None;
    }
    let value = match &node.kind {
        Kind::Number(number) => number.as_u64(),
        _ => None,
    };
    let fits = value.ok_or_else(|| format!("`{name}` is not a whole number from 0")).and_then(|value| {
        limit_names::set(&mut Limits::default(), name, value)?;
        Ok((name.to_owned(), value))
    });
    fits.map_err(|message| report.push(Diagnostic::error("out-of-range", &node.place, message))).ok()
}
