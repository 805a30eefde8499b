//! The verbs `kill`, `revive`, `set`, `pin`, `restore`, `release` at a running router, and the ways of a kill in their order.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;

use crate::edit_verbs::{banyan, out};
use crate::override_break_glass::{FLAGS, Two, served, wait_for_side};
use crate::override_commands::Plane;
use crate::reload::wait_until;
use crate::support::Router;
use crate::support::router::Setup;

/// Runs a verb in the router's directory, which must succeed.
fn done(router: &Router, arguments: &[&str]) -> String {
    let output = banyan(router.directory(), arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", out(&output));
    out(&output)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", out(output)))
}

fn flag_file(directory: &Path) -> PathBuf {
    directory.join("flags/test.yaml")
}

#[test]
fn kill_takes_the_running_router_first_and_leaves_the_file() {
    let two = Two::start();
    let router = two.router();
    let told = done(&router, &["kill", "side", "--reason", "errors", "--who", "ada"]);
    assert_eq!(served(&router), "left", "in force when the verb returns");
    for said in
        ["in force on all workers: generation 2, by state/admin.sock", "durable: it survives a restart", "\"ada via "]
    {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert_eq!(fs::read_to_string(flag_file(router.directory())).unwrap(), FLAGS);
    done(&router, &["revive", "side"]);
    assert_eq!(served(&router), "right");
    let all = banyan(router.directory(), &["kill", "--all", "--for", "30m", "--json"]);
    let all = json(&all);
    assert_eq!((&all["done"], &all["durable"], &all["way"]), (&true.into(), &true.into(), &"state/admin.sock".into()));
    assert_eq!(served(&router), "left");
    done(&router, &["revive", "--all", "--live"]);
    assert_eq!(served(&router), "right");
    let output = banyan(router.directory(), &["kill", "sied"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("did you mean `side`"), "{}", out(&output));
}

#[test]
fn an_acknowledged_kill_is_there_after_a_kill_of_the_process() {
    let two = Two::start();
    let mut router = two.router();
    done(&router, &["kill", "side", "--reason", "errors", "--live"]);
    router.signal(Signal::KILL);
    router.wait_for_exit();
    let again = router.again(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2"]);
    assert_eq!(served(&again), "left");
    assert!(done(&again, &["revive", "side"]).contains("in force on all workers"), "the socket is the later process's");
    assert_eq!(served(&again), "right");
}

#[test]
fn with_the_admin_listener_down_a_kill_edits_the_file() {
    let plane = Plane::start();
    plane.handle.admin_door().close();
    let directory = plane.state().parent().unwrap().to_owned();
    wait_until("the door is closed", || {
        std::os::unix::net::UnixStream::connect(plane.state().join("admin.sock")).is_err()
    });
    let live = banyan(&directory, &["kill", "side", "--live", "--admin", &plane.handle.address().to_string()]);
    assert_eq!(live.status.code(), Some(3), "{}", out(&live));
    assert!(out(&live).contains("no router answers"), "{}", out(&live));
    let output = banyan(&directory, &["kill", "side", "--reason", "errors"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).contains("the running router was not told: no router answers (state/admin.sock:"));
    assert!(fs::read_to_string(directory.join("flags/f.yaml")).unwrap().contains("  side:\n    state: DISABLED"));
    wait_until("the router takes the file up", || {
        let snapshot = plane.store.snapshot();
        !snapshot.rules.flags[snapshot.rules.flag_ids["side"].0 as usize].enabled
    });
    // The way back is the way it was given.
    let output = banyan(&directory, &["revive", "side", "--json"]);
    assert_eq!((&json(&output)["done"], &json(&output)["way"]), (&true.into(), &"file".into()), "{}", out(&output));
}

#[test]
fn with_broken_or_read_only_files_a_kill_takes_the_router() {
    let two = Two::start();
    let router = two.router();
    let file = flag_file(router.directory());
    fs::write(&file, "flags: {side: {state: MAYBE\n").unwrap();
    router.wait_for_metric("banyan_config_reloads_total", &[r#"result="rejected""#], 1.0);
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&file, permissions).unwrap();
    done(&router, &["kill", "side", "--reason", "errors"]);
    assert_eq!(served(&router), "left");
    done(&router, &["revive", "side"]);
    assert_eq!(served(&router), "right");
    // So does an earlier generation.
    done(&router, &["restore", "1", "--reason", "errors"]);
    assert!(done(&router, &["restore"]).contains("restored from 1"));
    done(&router, &["release", "--reason", "mended"]);
    assert!(!done(&router, &["restore"]).contains("restored from"));
}

#[test]
fn with_a_full_disk_and_a_corrupt_file_a_kill_is_in_memory_and_says_so() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let two = Two::start();
    for (folder, text) in [("flags", FLAGS.to_owned()), ("routes", two.routes())] {
        fs::create_dir(directory.path().join(folder)).unwrap();
        fs::write(directory.path().join(folder).join("test.yaml"), text).unwrap();
    }
    fs::create_dir(directory.path().join("state")).unwrap();
    // A small file system in a name space of its own; the verb reaches it through the process.
    let mut command = Command::new("unshare");
    let serve = "mount -t tmpfs -o size=256k none state && exec \"$0\" serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 --log-format json --access-log off --workers 2";
    command.args(["-Urm", "sh", "-c", serve, env!("CARGO_BIN_EXE_banyan")]);
    let router = Router::run(command, Arc::clone(&directory));
    let state = PathBuf::from(format!("/proc/{}/root{}/state", router.pid(), directory.path().display()));
    wait_until("the start is noted", || state.join("last-good").exists() && state.join("history").exists());
    let mut filler = fs::File::create(state.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    fs::write(flag_file(directory.path()), "flags: {side: {state: MAYBE\n").unwrap();
    let told = done(&router, &["kill", "side", "--reason", "errors", "--state", state.to_str().unwrap()]);
    assert!(told.contains("NOT durable: No space left on device"), "{told}");
    assert_eq!(served(&router), "left");
    assert_eq!(router.metric("banyan_overrides_not_durable", &[]), 1.0);
    let again = banyan(router.directory(), &["kill", "side", "--state", state.to_str().unwrap(), "--json"]);
    assert_eq!((&json(&again)["done"], &json(&again)["durable"]), (&true.into(), &false.into()), "{}", out(&again));
    // With room again it becomes durable by itself.
    drop(filler);
    fs::remove_file(state.join("filler")).unwrap();
    wait_until("it is on disk", || router.metric("banyan_overrides_not_durable", &[]) == 0.0);
    assert!(fs::read_to_string(state.join("overrides.json")).unwrap().contains("\"kill\""));
}

#[test]
fn with_neither_router_nor_files_a_kill_of_all_breaks_the_glass() {
    let two = Two::start();
    let router = two.router();
    fs::write(flag_file(router.directory()), "flags: {side: {state: MAYBE\n").unwrap();
    // Nobody listens there.
    let nowhere = ["--admin", "127.0.0.1:1"];
    let one = banyan(router.directory(), &[&["kill", "side"], &nowhere[..]].concat());
    assert_eq!(one.status.code(), Some(1));
    assert!(out(&one).contains("note[break-glass]") && out(&one).contains("`banyan kill --all`"), "{}", out(&one));
    assert_eq!(served(&router), "right", "a kill of one flag is not made one of all");
    let all = done(&router, &[&["kill", "--all", "--reason", "all is on fire"], &nowhere[..]].concat());
    assert!(all.contains("way: break glass: state/KILL is written"), "{all}");
    wait_for_side(&router, "left");
    assert_eq!(fs::read_to_string(router.directory().join("state/KILL")).unwrap(), "all is on fire\n");
    fs::remove_file(router.directory().join("state/KILL")).unwrap();
    wait_for_side(&router, "right");
    let by_wish = banyan(router.directory(), &[&["kill", "side", "--break-glass", "--json"], &nowhere[..]].concat());
    let told = json(&by_wish);
    assert_eq!(
        (&told["done"], &told["way"], &told["break_glass"]),
        (&true.into(), &"break-glass".into(), &"state/KILL".into())
    );
    wait_for_side(&router, "left");
}

#[test]
fn set_and_pin_lie_over_the_file_until_they_are_taken_back() {
    let two = Two::start();
    let identity = "identity: {targeting_key: [\"header:x-user\"]}\n".to_owned();
    let router = Setup::routes(identity + &two.routes()).flags(FLAGS).start();
    let reason = ["--live", "--reason", "a test"];
    let verb = |words: &[&str]| done(&router, &[words, &reason[..]].concat());
    let served = |router: &Router| router.exchange("GET / HTTP/1.1\r\nhost: a.example\r\nx-user: ada\r\n\r\n").text();
    let shown = verb(&["set", "side", "left=100%", "right=0%", "--dry-run"]);
    assert!(shown.contains("10000 of 10000 sampled users would move"), "{shown}");
    assert_eq!(served(&router), "right");
    verb(&["set", "side", "left=100%", "right=0%", "--for", "30m"]);
    assert_eq!(served(&router), "left");
    verb(&["pin", "side", "method=GET", "right"]);
    assert_eq!(served(&router), "right");
    verb(&["pin", "side", "method=GET", "--release"]);
    assert_eq!(served(&router), "left");
    verb(&["set", "side", "--release"]);
    assert_eq!(served(&router), "right");
    assert_eq!(fs::read_to_string(flag_file(router.directory())).unwrap(), FLAGS);
    for wrong in [
        &["set", "side", "left=1%", "--live"][..],
        &["set", "side", "left=1%", "--for", "1m"],
        &["pin", "side", "--release"],
    ] {
        assert_eq!(banyan(router.directory(), wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// A regression: `set` told who moves by the files, while a kill in the router held and nobody moved.
#[test]
fn an_edit_of_a_file_says_what_lies_over_it_in_the_router() {
    let two = Two::start();
    let router = two.router();
    let edit = ["set", "side", "right=100%", "--dry-run"];
    let over = "that still holds, and nobody moves until it is taken back";
    assert!(!done(&router, &edit).contains(over));
    done(&router, &["kill", "side", "--reason", "errors", "--who", "ada"]);
    let told = done(&router, &edit);
    assert!(told.contains("the flag `side` is killed in the running router, by ada via "), "{told}");
    assert!(told.contains(over) && told.contains("`banyan revive side --reason TEXT` takes it back"), "{told}");
    let found = json(&banyan(router.directory(), &[&edit[..], &["--json"]].concat()));
    let codes: Vec<_> = found["findings"].as_array().unwrap().iter().map(|found| &found["code"]).collect();
    assert!(codes.contains(&&Value::from("lies-over")), "{found}");
    assert!(done(&router, &["pin", "side", "tenant=acme", "left", "--dry-run"]).contains(over));
    done(&router, &["revive", "side"]);
    done(&router, &["kill", "--all", "--reason", "errors"]);
    assert!(done(&router, &edit).contains("`banyan revive --all --reason TEXT` takes it back"));
    done(&router, &["revive", "--all", "--live"]);
    done(&router, &["set", "side", "left=50%", "--live", "--reason", "a try"]);
    assert!(done(&router, &edit).contains("`banyan set side --live --release --reason TEXT` takes them back"));
    done(&router, &["set", "side", "--live", "--release", "--reason", "over"]);
    assert!(!done(&router, &edit).contains(over));
}

#[test]
fn an_address_needs_its_token() {
    let plane = Plane::start();
    let (address, elsewhere) = (plane.handle.address().to_string(), tempfile::tempdir().unwrap());
    let token_file = plane.state().join("admin.token");
    let told = |token: &str| {
        let arguments =
            ["kill", "side", "--live", "--admin", &address, "--token-file", token, "--reason", "x", "--json"];
        banyan(elsewhere.path(), &arguments)
    };
    let output = told(token_file.to_str().unwrap());
    assert_eq!((output.status.code(), &json(&output)["generation"]), (Some(0), &2.into()), "{}", out(&output));
    fs::write(elsewhere.path().join("wrong"), "0123456789abcdef0123456789abcdef").unwrap();
    let output = told("wrong");
    assert_eq!((output.status.code(), &json(&output)["code"]), (Some(3), &"unknown-token".into()));
    let output = told("missing");
    assert!(
        output.status.code() == Some(3) && out(&output).contains("there is no token: missing:"),
        "{}",
        out(&output)
    );
}
