//! The verbs `check`, `schema` and `completions` as a shell sees them.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::authority::{Authority, Order};

/// Runs the program in a directory, without settings from the outside.
fn banyan(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BANYAN_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(dir).output().unwrap()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A directory with one flag that no route uses, and one plain route.
fn directory(route: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    for name in ["flags", "routes"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let flag = "flags:\n  a:\n    state: ENABLED\n    variants: {x: x, y: y}\n    defaultVariant: x\n    metadata: {owner: me}\n";
    std::fs::write(dir.path().join("flags/a.yaml"), flag).unwrap();
    let routes = format!("upstreams: {{m: {{endpoints: [\"127.0.0.1:9001\"]}}}}\nroutes:\n  - {route}\n");
    std::fs::write(dir.path().join("routes/a.yaml"), routes).unwrap();
    dir
}

const PLAIN: &str = "{name: all, match: {path: /}, upstream: m}";
const BROKEN: &str = "{name: all, match: {path: /}, upstraem: m}";

#[test]
fn the_shipped_files_are_clean() {
    let output = banyan(repository(), &["check"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    super::snapshot!("check_shipped", out(&output));
    let json: serde_json::Value =
        serde_json::from_slice(&banyan(repository(), &["check", "--json"], &[]).stdout).unwrap();
    assert_eq!((&json["errors"], &json["warnings"]), (&0.into(), &0.into()));
}

#[test]
fn warnings_pass_and_errors_do_not() {
    let dir = directory(PLAIN);
    let output = banyan(dir.path(), &["check"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).contains("warning[unused-flag]"), "{}", out(&output));
    assert!(out(&output).ends_with("1 flag, 1 route, 1 upstream: 1 warning\n"), "{}", out(&output));

    let dir = directory(BROKEN);
    let output = banyan(dir.path(), &["check"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("did you mean `upstream`?"), "{}", out(&output));
    assert!(out(&output).ends_with("errors\n"), "{}", out(&output));
    assert!(!out(&output).contains('\x1b'), "no colours into a pipe");
}

#[test]
fn a_missing_directory_is_an_error_of_its_own() {
    let dir = TempDir::new().unwrap();
    let output = banyan(dir.path(), &["check"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("error[no-directory]: `flags` cannot be read"), "{}", out(&output));
    assert!(out(&output).contains("error[no-directory]: `routes` cannot be read"), "{}", out(&output));
}

#[test]
fn wrong_usage_is_exit_code_two() {
    for wrong in
        [&["check", "--format", "xml"][..], &["check", "--json", "--format", "json"], &["schema", "x"], &[], &["x"]]
    {
        assert_eq!(banyan(repository(), wrong, &[]).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn directories_come_from_the_command_line_then_the_environment_then_the_settings_file() {
    let (good, bad) = (directory(PLAIN), directory(BROKEN));
    let place = |dir: &TempDir, name: &str| dir.path().join(name).display().to_string();
    let elsewhere = TempDir::new().unwrap();
    let settings = elsewhere.path().join("banyan.yaml");
    std::fs::write(&settings, format!("flags: {}\nroutes: {}\n", place(&bad, "flags"), place(&bad, "routes"))).unwrap();
    let settings = ["--settings", settings.to_str().unwrap()];

    let from_file = banyan(elsewhere.path(), &["check", settings[0], settings[1]], &[]);
    assert!(out(&from_file).contains("upstraem"), "{}", out(&from_file));
    let routes = place(&good, "routes");
    let from_environment = [("BANYAN_ROUTES", &*routes)];
    let output = banyan(elsewhere.path(), &["check", settings[0], settings[1]], &from_environment);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    let command_line = ["check", settings[0], settings[1], "--routes", &*place(&bad, "routes")];
    assert_eq!(banyan(elsewhere.path(), &command_line, &from_environment).status.code(), Some(1));
}

#[test]
fn an_unknown_setting_is_refused_by_check() {
    let dir = directory(PLAIN);
    std::fs::write(dir.path().join("banyan.yaml"), "listn: 127.0.0.1:1\n").unwrap();
    let output = banyan(dir.path(), &["check", "--settings", "banyan.yaml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("did you mean `listen`?"), "{}", out(&output));
}

/// What `check` says about settings for listeners of TLS.
fn check_tls(settings: &str, spoil: impl Fn(&Authority)) -> Output {
    let (dir, authority) = (directory(PLAIN), Authority::new("tests"));
    authority.server(&["a.example"]);
    spoil(&authority);
    let (certificate, key) = (authority.path("server.crt"), authority.path("server.key"));
    let pair = format!("tls_certificate: {}\ntls_key: {}\n", certificate.display(), key.display());
    std::fs::write(dir.path().join("banyan.yaml"), format!("{pair}{settings}")).unwrap();
    banyan(dir.path(), &["check", "--settings", "banyan.yaml"], &[])
}

#[test]
fn certificates_that_serve_could_not_use_are_refused_by_check() {
    const TLS: &str = "listen_tls: 127.0.0.1:8443\n";
    assert_eq!(check_tls(TLS, |_| {}).status.code(), Some(0));
    let mismatch = check_tls(TLS, |authority| {
        authority.write("server.key", &authority.issue_for(&["a.example"]).key);
    });
    assert_eq!(mismatch.status.code(), Some(1));
    assert!(out(&mismatch).contains("error[tls-certificate]"), "{}", out(&mismatch));
    assert!(out(&mismatch).contains("a key that is not the certificate's"), "{}", out(&mismatch));
    let missing = check_tls(TLS, |authority| std::fs::remove_file(authority.path("server.crt")).unwrap());
    assert_eq!(missing.status.code(), Some(1));
    assert!(out(&missing).contains("server.crt: cannot be read"), "{}", out(&missing));
    let expired = check_tls(TLS, |authority| {
        let names = &["a.example"][..];
        authority.install("server", &authority.issue(&Order { names, years: (2020, 2021), ..Order::default() }));
    });
    assert_eq!(expired.status.code(), Some(0), "serve would start");
    assert!(out(&expired).contains("warning[tls-certificate]") && out(&expired).contains("has expired"));
    // Without an address for them they may be for sockets that systemd passes.
    let idle = check_tls("", |_| {});
    assert_eq!(idle.status.code(), Some(0));
    assert!(out(&idle).contains("`listen_tls` names no address"), "{}", out(&idle));
}

#[test]
fn an_upstream_at_the_own_listener_is_found_by_the_listen_option() {
    let dir = directory(PLAIN);
    let output = banyan(dir.path(), &["check", "--listen", "0.0.0.0:9001"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("error[own-listener]"), "{}", out(&output));
}

#[test]
fn github_gets_annotations() {
    let dir = directory(BROKEN);
    let output = banyan(dir.path(), &["check", "--format", "github"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        out(&output).contains("::error file=routes/a.yaml,line=3,col=35,endLine=3,title=unknown-key::"),
        "{}",
        out(&output)
    );
}

#[test]
fn schemas_and_completions_are_printed() {
    for files in ["flags", "routes"] {
        let output = banyan(repository(), &["schema", files], &[]);
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(schema["type"], "object");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = out(&banyan(repository(), &["completions", shell], &[]));
        assert!(script.contains("check") && script.contains("banyan"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let output = Command::new("sh")
        .args([
            "-c",
            "\"$0\" schema flags | head -c 10; \"$0\" completions bash | head -c 10",
            env!("CARGO_BIN_EXE_banyan"),
        ])
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn help_teaches() {
    super::snapshot!("help_check", out(&banyan(repository(), &["check", "--help"], &[("COLUMNS", "100")])));
    let serve = out(&banyan(repository(), &["serve", "--help"], &[]));
    for taught in ["  head_bytes_max=32768\n", "BANYAN_LISTEN", "--settings banyan.yaml", "beats the environment"] {
        assert!(serve.contains(taught), "{taught}: {serve}");
    }
}
