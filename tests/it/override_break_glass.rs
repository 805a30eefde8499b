//! Break glass in the real process: the file `KILL` and SIGUSR1, with everything else broken.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use banyan::control::{Entry, read_history};
use rustix::process::Signal;

use crate::reload::wait_until;
use crate::support::origin::Origin;
use crate::support::router::{Router, Setup, member};

/// Two origins, told apart by their answers: the flag is at `right`, the fallback is `left`.
pub(crate) struct Two {
    left: Origin,
    right: Origin,
}

pub(crate) const FLAGS: &str = "flags:\n  side:\n    state: ENABLED\n    variants: {left: left, right: right}\n    defaultVariant: right\n    metadata: {owner: tests}\n";

impl Two {
    pub(crate) fn start() -> Self {
        Self {
            left: Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nleft"),
            right: Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright"),
        }
    }

    pub(crate) fn routes(&self) -> String {
        format!(
            "upstreams:\n  west: {{endpoints: [\"http://{}\"]}}\n  east: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, variants: {{left: west, right: east}}, fallback: west}}\n",
            self.left.address, self.right.address
        )
    }

    pub(crate) fn router(&self) -> Router {
        Setup::routes(self.routes()).flags(FLAGS).start()
    }
}

pub(crate) fn served(router: &Router) -> String {
    let answer = router.get("/");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.text()
}

pub(crate) fn wait_for_side(router: &Router, side: &str) {
    wait_until(side, || served(router) == side);
}

fn state(router: &Router) -> PathBuf {
    router.directory().join("state")
}

fn history(router: &Router) -> Vec<Entry> {
    read_history(&state(router)).unwrap().entries
}

fn wait_for_message(router: &mut Router, text: &str) -> String {
    router.wait_for_log(text, |line| member(line, "message").is_some_and(|message| message.contains(text)))
}

#[test]
fn the_file_sends_every_flag_to_its_fallback_until_it_is_gone() {
    let two = Two::start();
    let mut router = two.router();
    assert_eq!(served(&router), "right");
    fs::write(state(&router).join("KILL"), "errors after deploy 17\n").unwrap();
    wait_for_side(&router, "left");
    let line = wait_for_message(&mut router, "break glass: every flag gives its fallback");
    assert_eq!(member(&line, "why").as_deref(), Some("errors after deploy 17"));
    assert_eq!(router.metric("banyan_overrides_in_force", &[r#"kind="kill_all""#]), 1.0);

    fs::remove_file(state(&router).join("KILL")).unwrap();
    wait_for_side(&router, "right");
    assert_eq!(router.metric("banyan_overrides_in_force", &[]), 0.0);
}

#[test]
fn a_file_that_cannot_be_read_kills_all_the_same() {
    let two = Two::start();
    let router = two.router();
    // A directory, a dangling link and a pipe: none has a reason in it, and the pipe must not be waited for.
    let path = state(&router).join("KILL");
    fs::create_dir(&path).unwrap();
    wait_for_side(&router, "left");
    fs::remove_dir(&path).unwrap();
    wait_for_side(&router, "right");
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    wait_for_side(&router, "left");
    fs::remove_file(&path).unwrap();
    wait_for_side(&router, "right");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    wait_for_side(&router, "left");
}

#[test]
fn the_file_works_with_corrupt_flag_and_route_files() {
    let two = Two::start();
    let mut router = two.router();
    router.edit_flags("flags: {{{{");
    router.edit_routes("\0\0\0");
    wait_for_message(&mut router, "rejected");
    assert_eq!(served(&router), "right", "the last good generation");
    fs::write(state(&router).join("KILL"), "").unwrap();
    wait_for_side(&router, "left");
}

#[test]
fn a_kill_before_the_start_is_in_force_for_the_first_request() {
    let two = Two::start();
    let mut router = two.router();
    fs::write(state(&router).join("KILL"), "before").unwrap();
    wait_for_side(&router, "left");
    router.signal(Signal::KILL);
    router.wait_for_exit();
    let arguments = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2"];
    let mut again = router.again(&arguments);
    // Deadlines and retries have no part in this: it is the very first request.
    assert_eq!(served(&again), "left");
    wait_for_message(&mut again, "every flag is killed from the start");
}

#[test]
fn the_signal_kills_every_flag_and_survives_a_kill_of_the_process() {
    let two = Two::start();
    let mut router = two.router();
    assert_eq!(served(&router), "right");
    router.signal(Signal::USR1);
    wait_for_side(&router, "left");
    // The signal does not wait for the disk; wait until it has answered.
    let file = state(&router).join("overrides.json");
    wait_until("the file", || fs::read_to_string(&file).is_ok_and(|text| text.contains("\"signal\"")));
    router.signal(Signal::KILL);
    router.wait_for_exit();
    let again = router.again(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2"]);
    assert_eq!(served(&again), "left");
}

#[test]
fn the_signal_works_without_a_state_directory() {
    let two = Two::start();
    let mut router = two.router();
    // Nothing is to be under way in there.
    wait_until("the start is noted", || state(&router).join("last-good").exists() && !history(&router).is_empty());
    fs::remove_dir_all(state(&router)).unwrap();
    router.signal(Signal::USR1);
    wait_for_side(&router, "left");
    wait_for_message(&mut router, "overrides or history cannot be written");
    assert_eq!(router.metric("banyan_overrides_not_durable", &[]), 1.0);
    // The disk comes back: what is owed is written without being asked for.
    fs::create_dir(state(&router)).unwrap();
    wait_until("the file", || state(&router).join("overrides.json").exists());
    wait_for_message(&mut router, "overrides and history are on disk again");
    assert_eq!(router.metric("banyan_overrides_not_durable", &[]), 0.0);
}

#[test]
fn a_vanished_state_directory_does_not_take_a_kill_back() {
    let two = Two::start();
    let router = two.router();
    fs::write(state(&router).join("KILL"), "").unwrap();
    wait_for_side(&router, "left");
    fs::rename(state(&router), router.directory().join("elsewhere")).unwrap();
    router.signal(Signal::HUP);
    router.wait_for_metric("banyan_config_reloads_total", &[r#"result="published""#], 1.0);
    assert_eq!(served(&router), "left", "nobody removed the file");
}

#[test]
fn unreadable_overrides_kill_every_flag_and_are_kept_aside() {
    let two = Two::start();
    let mut router = two.router();
    router.signal(Signal::KILL);
    router.wait_for_exit();
    let state = state(&router);
    for text in ["", "{\"version\": 1, \"overr", "{\"version\": 2, \"overrides\": {}}", "[]", "\0\0\0\0"] {
        fs::write(state.join("overrides.json"), text).unwrap();
        let mut again = router.again(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"]);
        assert_eq!(served(&again), "left", "{text:?}");
        wait_for_message(&mut again, "the overrides cannot be read: every flag is killed");
        wait_until("what is in force is on disk", || {
            fs::read_to_string(state.join("overrides.json")).is_ok_and(|text| text.contains("could not be read"))
        });
        assert_eq!(fs::read_to_string(state.join("overrides.json.unreadable")).unwrap(), text);
        again.signal(Signal::KILL);
        again.wait_for_exit();
    }
}

#[test]
fn a_successor_that_cannot_read_the_overrides_leaves_the_running_one_to_serve() {
    let two = Two::start();
    let router = two.router();
    // The running one replaces a ruined file at once; a directory in its place it cannot.
    fs::create_dir(state(&router).join("overrides.json")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    let output = command.args(["serve", "--log-format", "json"]).current_dir(router.directory()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("overrides in the state directory cannot be read"));
    assert_eq!(served(&router), "right");
}

#[test]
fn a_read_only_state_directory_serves_and_kills() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let two = Two::start();
    for (folder, text) in [("flags", FLAGS.to_owned()), ("routes", two.routes())] {
        fs::create_dir(directory.path().join(folder)).unwrap();
        fs::write(directory.path().join(folder).join("test.yaml"), text).unwrap();
    }
    let path = directory.path().join("state");
    fs::create_dir(&path).unwrap();
    // A file system of its own, mounted read-only, in a name space of its own: permissions do not stop root.
    let mut command = Command::new("unshare");
    let serve = "mount -t tmpfs -o size=64k,ro none state && exec \"$0\" serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 --log-format json --access-log off --workers 2";
    command.args(["-Urm", "sh", "-c", serve, env!("CARGO_BIN_EXE_banyan")]);
    let mut router = Router::run(command, Arc::clone(&directory));
    assert_eq!(served(&router), "right");
    router.signal(Signal::USR1);
    wait_for_side(&router, "left");
    wait_for_message(&mut router, "overrides or history cannot be written");
}

#[test]
fn the_history_is_read_with_the_router_down() {
    let two = Two::start();
    let mut router = two.router();
    fs::write(state(&router).join("KILL"), "escape \u{1b}[31m").unwrap();
    wait_for_side(&router, "left");
    wait_until("the entry", || history(&router).len() == 2);
    router.signal(Signal::KILL);
    router.wait_for_exit();
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
        let output = command.arg("history").args(arguments).current_dir(router.directory()).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, listed, _) = ask(&[]);
    assert_eq!((code, listed.lines().count()), (0, 2), "{listed}");
    assert!(listed.contains("kill-all") && listed.contains("break-glass"), "{listed}");
    assert!(!listed.contains('\u{1b}'), "a reason cannot steer a terminal");
    let (_, json, _) = ask(&["--json", "--limit", "1"]);
    let entry: Entry = serde_json::from_str(&json).unwrap();
    assert_eq!((entry.number, entry.why.as_deref()), (2, Some("escape \u{1b}[31m")));
    let (code, shown, _) = ask(&["show", "2"]);
    assert!(code == 0 && shown.contains("action     kill-all"), "{shown}");
    let (code, _, said) = ask(&["show", "99"]);
    assert_eq!((code, said.as_str()), (1, "banyan: there is no such entry; the last one is 2\n"));
    assert_eq!(ask(&["--limit", "many"]).0, 2);
}
