//! Settings: precedence, defaults, and what is refused.

use std::ffi::OsString;
use std::path::PathBuf;

use banyan::cli::{SettingOptions, settle};
use banyan::config::{Format, Report};
use banyan::flag::Hashing;
use banyan::limits::Limits;
use banyan::settings::{AdminAuth, LogFormat, Settings};
use banyan::tls::Alpn;
use banyan::tls::server::{ClientAuth, ServerPlan, UnknownNames};
use clap::Parser;
use tempfile::TempDir;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    options: SettingOptions,
}

fn given(arguments: &[&str]) -> SettingOptions {
    let line = ["banyan"].iter().chain(arguments);
    Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).options
}

fn refused(arguments: &[&str]) -> String {
    Line::try_parse_from(["banyan"].iter().chain(arguments)).unwrap_err().to_string()
}

fn settled(options: &SettingOptions) -> Settings {
    settle(options, std::iter::empty()).unwrap_or_else(|report| panic!("{}", shown(&report)))
}

fn shown(report: &Report) -> String {
    report.render(Format::Text { colour: false })
}

/// Settings from a file with this text, and the directory that holds it.
fn with_file(text: &str, mut options: SettingOptions) -> (Result<Settings, Report>, TempDir) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("banyan.yaml");
    std::fs::write(&path, text).unwrap();
    options.settings = Some(path);
    (settle(&options, std::iter::empty()), dir)
}

#[test]
fn nothing_given_is_the_documented_defaults() {
    let settings = settled(&given(&[]));
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.flags, PathBuf::from("flags"));
    assert_eq!(settings.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(settings.admin, "127.0.0.1:9901".parse().unwrap());
    assert_eq!(settings.workers, std::thread::available_parallelism().unwrap());
}

/// A plan without HTTP/2, which the tests below turn off.
fn tls_plan(names: &[&str], client_auth: ClientAuth, unknown_names: UnknownNames) -> ServerPlan {
    let pair = |name: &&str| (format!("{name}.pem").into(), format!("{name}.key").into());
    ServerPlan {
        pairs: names.iter().map(pair).collect(),
        directory: Some("certs".into()),
        client_ca: Some("ca.pem".into()),
        client_auth,
        unknown_names,
        alpn: Alpn::Http1,
    }
}

#[test]
fn the_command_line_reaches_every_setting() {
    let settings = settled(&given(&[
        "--flags=f",
        "--routes=r",
        "--listen=127.0.0.1:1",
        "--listen=[::1]:2",
        "--admin=127.0.0.1:3",
        "--admin-host=banyan.internal,banyan.example",
        "--admin-tokens=tokens",
        "--admin-auth=all",
        "--state=s",
        "--workers=4",
        "--access-log=off",
        "--access-log-sample=0.25",
        "--log=debug",
        "--log-format=json",
        "--hashing=v2",
        "--listen-tls=127.0.0.1:4",
        "--tls-certificate=a.pem,b.pem",
        "--tls-key=a.key,b.key",
        "--tls-directory=certs",
        "--tls-client-ca=ca.pem",
        "--tls-client-auth=optional",
        "--tls-unknown-sni=refuse",
        "--proxy-protocol-from=10.1.0.0/16",
        "--expose-decision",
        "--trusted-proxies=10.0.0.0/8,192.168.0.0/16",
        "--via=edge-1",
        "--tracing=off",
        "--http2=off",
        "--access-log-headers=x-user-id,x-tenant",
        "--poll-ms=0",
        "--debounce-ms=5",
        "--dns-interval-ms=500",
        "--last-good",
        "--limit=head_bytes_max=65536",
        "--limit=drain_timeout_ms=5",
    ]));
    let expected = Settings {
        flags: "f".into(),
        routes: "r".into(),
        listen: vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()],
        listen_tls: vec!["127.0.0.1:4".parse().unwrap()],
        tls: tls_plan(&["a", "b"], ClientAuth::Optional, UnknownNames::Refuse),
        proxy_protocol_from: vec!["10.1.0.0/16".parse().unwrap()],
        admin: "127.0.0.1:3".parse().unwrap(),
        admin_hosts: vec!["banyan.internal".into(), "banyan.example".into()],
        admin_tokens: Some("tokens".into()),
        admin_auth: AdminAuth::All,
        state: "s".into(),
        workers: 4.try_into().unwrap(),
        access_log: None,
        access_log_sample: 0.25,
        access_log_headers: vec!["x-user-id".parse().unwrap(), "X-Tenant".parse().unwrap()],
        log: "debug".into(),
        log_format: LogFormat::Json,
        hashing: Hashing::V2,
        expose_decision: true,
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "192.168.0.0/16".parse().unwrap()],
        via: Some("edge-1".into()),
        tracing: false,
        http2: false,
        poll_ms: 0,
        debounce_ms: 5,
        dns_interval_ms: 500,
        last_good: true,
        limits: Limits { head_bytes_max: 65_536, drain_timeout_ms: 5, ..Limits::default() },
        ..Settings::default()
    };
    assert_eq!(settings, expected);
}

#[test]
fn the_journal_and_metrics_are_set_both_ways() {
    let settings = settled(&given(&["--journal-bytes-max=100000000", "--journal-key=journal.key", "--metrics=off"]));
    assert!(!settings.metrics);
    assert_eq!((settings.journal_bytes_max, settings.journal_key), (100_000_000, Some("journal.key".into())));
    let (settings, _dir) = with_file("journal_bytes_max: 50000000\njournal_key: j.key\nmetrics: off\n", given(&[]));
    let settings = settings.unwrap_or_else(|report| panic!("{}", shown(&report)));
    assert!(!settings.metrics);
    assert_eq!((settings.journal_bytes_max, settings.journal_key), (50_000_000, Some("j.key".into())));
}

#[test]
fn the_file_reaches_every_setting_and_the_command_line_beats_it() {
    let text = "\
flags: f
routes: r
listen: [127.0.0.1:1]
listen_tls: 127.0.0.1:4
tls_certificate: [a.pem]
tls_key: a.key
tls_directory: certs
tls_client_ca: ca.pem
tls_unknown_sni: default
proxy_protocol_from: [10.1.0.0/16, \"::1\"]
admin: 127.0.0.1:3
admin_host: [banyan.internal, banyan.example]
admin_tokens: tokens
admin_auth: all
state: s
workers: 4
access_log: text
access_log_sample: 0.5
access_log_headers: x-user-id
log: debug
log_format: json
hashing: v2
expose_decision: true
trusted_proxies: 10.0.0.0/8
via: off
tracing: off
http2: off
poll_ms: 1
debounce_ms: 2
dns_interval_ms: 300
last_good: on
limits: {head_bytes_max: 1000, fields_max: 10}
";
    let options = given(&["--workers=2", "--via=edge", "--limit=fields_max=20", "--last-good=off"]);
    let (settings, _dir) = with_file(text, options);
    let settings = settings.unwrap_or_else(|report| panic!("{}", shown(&report)));
    let expected = Settings {
        flags: "f".into(),
        routes: "r".into(),
        listen: vec!["127.0.0.1:1".parse().unwrap()],
        listen_tls: vec!["127.0.0.1:4".parse().unwrap()],
        tls: tls_plan(&["a"], ClientAuth::Required, UnknownNames::Default),
        proxy_protocol_from: vec!["10.1.0.0/16".parse().unwrap(), "::1".parse().unwrap()],
        admin: "127.0.0.1:3".parse().unwrap(),
        admin_hosts: vec!["banyan.internal".into(), "banyan.example".into()],
        admin_tokens: Some("tokens".into()),
        admin_auth: AdminAuth::All,
        state: "s".into(),
        workers: 2.try_into().unwrap(),
        access_log: Some(LogFormat::Text),
        access_log_sample: 0.5,
        access_log_headers: vec!["x-user-id".parse().unwrap()],
        log: "debug".into(),
        log_format: LogFormat::Json,
        hashing: Hashing::V2,
        expose_decision: true,
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        via: Some("edge".into()),
        tracing: false,
        http2: false,
        poll_ms: 1,
        debounce_ms: 2,
        dns_interval_ms: 300,
        last_good: false,
        limits: Limits { head_bytes_max: 1_000, fields_max: 20, ..Limits::default() },
        ..Settings::default()
    };
    assert_eq!(settings, expected);
}

#[test]
fn everything_wrong_with_a_file_is_said_at_once() {
    let text = "\
listn: 127.0.0.1:1
admin: localhost
workers: many
access_log: xml
access_log_sample: 2
trusted_proxies: [10.0.0.0/33]
via: \"two words\"
tracing: maybe
poll_ms: -1
limits: {head_bytes: 1, fields_max: 1.5, drain_timeout_ms: 5000000000}
";
    let (settings, dir) = with_file(text, SettingOptions::default());
    let shown = shown(&settings.unwrap_err()).replace(&dir.path().display().to_string(), "DIR");
    super::snapshot!("settings_file", shown);
}

#[test]
fn an_empty_file_sets_nothing_and_a_missing_one_is_an_error() {
    let (settings, _dir) = with_file("# nothing yet\n", SettingOptions::default());
    assert_eq!(settings.unwrap_or_else(|report| panic!("{}", shown(&report))), Settings::default());
    assert!(settle(&given(&["--settings=nowhere.yaml"]), std::iter::empty()).unwrap_err().has_errors());
}

#[test]
fn wrong_values_on_the_command_line_are_refused() {
    assert!(refused(&["--access-log-headers=x-user-id,Cookie"]).contains("carries credentials"));
    assert!(refused(&["--limit=head_bytes=1"]).contains("did you mean `head_bytes_max`?"));
    assert!(refused(&["--limit=head_bytes_max"]).contains("NAME=VALUE"));
    assert!(refused(&["--limit=drain_timeout_ms=5000000000"]).contains("too large"));
    assert!(refused(&["--access-log=xml"]).contains("json"));
    assert!(refused(&["--access-log-sample=1.5"]).contains("0 to 1"));
    assert!(refused(&["--workers=1025"]).contains("1024"));
    assert!(refused(&["--dns-interval-ms=0"]).contains("100"));
    assert!(refused(&["--listen=8080"]).contains("--listen"));
    assert!(refused(&["--via=a b"]).contains("off"));
    assert!(refused(&["--trusted-proxies=10.0.0.0/33"]).contains("not a network"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let codes = |arguments: &[&str]| -> Vec<&'static str> {
        let report = settle(&given(arguments), std::iter::empty()).unwrap_err();
        report.diagnostics.iter().map(|found| found.code).collect()
    };
    assert_eq!(codes(&["--listen=127.0.0.1:1", "--admin=127.0.0.1:1"]), ["same-address"]);
    assert_eq!(codes(&["--listen=127.0.0.1:1,127.0.0.1:1"]), ["same-address"]);
    assert_eq!(codes(&["--flags=x", "--routes=x"]), ["same-directory"]);
    settled(&given(&["--listen=127.0.0.1:0,127.0.0.1:0", "--admin=127.0.0.1:0"]));
}

#[test]
fn a_misspelt_variable_is_an_error_and_what_kubernetes_sets_is_not() {
    let variables = |names: &[&str]| names.iter().map(OsString::from).collect::<Vec<_>>().into_iter();
    let report = settle(&SettingOptions::default(), variables(&["BANYAN_LISTN", "PATH"])).unwrap_err();
    assert!(shown(&report).contains("did you mean `BANYAN_LISTEN`?"), "{}", shown(&report));
    let fine = ["BANYAN_LISTEN", "BANYAN_PORT", "BANYAN_PORT_8080_TCP", "BANYAN_SERVICE_HOST", "HOME"];
    assert!(settle(&SettingOptions::default(), variables(&fine)).is_ok());
}
