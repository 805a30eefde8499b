//! The dashboard in a real browser, with a real router behind it: what is pressed is in force, and what is in force is shown.
//!
//! Each scene of `judges/dashboard.js` is a test with a router of its own. `PICTURES=DIR` keeps what it looked like.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::judges::node;
use crate::support::Origin;
use crate::support::router::{Router, Setup};

/// A flag whose name, owner and variants try to be markup.
const MARKUP: &str = "  \"<img src=x onerror=alert(1)>\":\n    state: ENABLED\n    variants: {legacy: legacy, modern: modern}\n    defaultVariant: legacy\n    metadata: {owner: \"<script>alert(2)</script>\"}\n";

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The shipped flags in one file.
fn flags() -> String {
    let search = shipped("flags/search.yaml");
    let (_, search) = search.split_once("flags:\n").expect("a flag file");
    shipped("flags/orders.yaml") + search
}

/// Starts a router with the shipped files, whose upstreams say who they are.
fn start(flags: &str) -> (Router, [Origin; 2]) {
    let legacy = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nlegacy");
    let modern = Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nmodern");
    let routes = shipped("routes/shop.yaml")
        .replace("127.0.0.1:9001", &legacy.address.to_string())
        .replace("127.0.0.1:9002", &modern.address.to_string());
    (Setup::routes(routes).flags(flags).start(), [legacy, modern])
}

fn play_with(scene: &str, flags: &str) {
    let (router, _origins) = start(flags);
    let token = fs::read_to_string(router.directory().join("state/admin.token")).expect("the router wrote a token");
    let given = json!({
        "admin": router.admin.to_string(),
        "listen": router.listen.to_string(),
        "token": token.trim(),
        "directory": router.directory(),
        "banyan": env!("CARGO_BIN_EXE_banyan"),
        "pictures": std::env::var("PICTURES").ok(),
    });
    let mut command = node("dashboard.js");
    command.arg(scene).arg(given.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().expect("node runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scene} (`make tools` installs Chromium and its driver):\n{said}");
}

fn play(scene: &str) {
    play_with(scene, &flags());
}

#[test]
fn nothing_is_shown_without_a_token_and_the_tab_alone_keeps_it() {
    play("token");
}

#[test]
fn a_kill_with_its_reason_is_served_and_shown_and_taken_back() {
    play("kill");
}

#[test]
fn every_flag_is_killed_and_revived() {
    play("killAll");
}

#[test]
fn a_share_says_who_would_move_before_anybody_does() {
    play("share");
}

#[test]
fn what_the_router_refuses_is_shown_where_it_was_asked() {
    play("refusal");
}

#[test]
fn a_broken_file_is_shown_as_check_prints_it() {
    play("broken");
}

#[test]
fn an_edit_on_disk_and_its_traffic_show_without_a_reload() {
    play("live");
}

#[test]
fn the_keyboard_alone_is_enough_for_a_kill() {
    play("keyboard");
}

#[test]
fn a_phone_has_room_for_everything() {
    play("phone");
}

#[test]
fn both_colour_schemes_can_be_read() {
    play("schemes");
}

#[test]
fn markup_in_names_and_reasons_is_text() {
    play_with("markup", &(flags() + MARKUP));
}

#[test]
fn everything_comes_from_the_listener_under_a_strict_policy() {
    play("policy");
}
