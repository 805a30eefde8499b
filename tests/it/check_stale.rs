//! `check --stale`: which flags may be removed, by the state directory of a router or by the times of the files.

use std::fs::{self, File};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(86_400);

const FLAGS: &str = "\
flags:
  resting:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: legacy
    targeting: {fractional: [[modern, 100], [legacy, 0]]}
    metadata: {owner: tests}
  moving:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: legacy
    targeting: {fractional: [[modern, 10], [legacy, 90]]}
    metadata: {owner: tests}
";
const ROUTES: &str = "\
identity: {targeting_key: [\"header:x-user\"]}
upstreams: {one: {endpoints: [\"http://127.0.0.1:9\"]}}
routes:
  - {name: a, match: {path: /a}, flag: resting, variants: {legacy: one, modern: one}, fallback: one}
  - {name: b, match: {path: /b}, flag: moving, variants: {legacy: one, modern: one}, fallback: one}
";

struct Files(TempDir);

impl Files {
    fn new(flags: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (folder, text) in [("flags", flags), ("routes", ROUTES)] {
            fs::create_dir(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("f.yaml"), text).unwrap();
        }
        Self(root)
    }

    /// Sets when the flag file was last changed.
    fn aged(self, age: Duration) -> Self {
        let file = File::options().write(true).open(self.0.path().join("flags/f.yaml")).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        self
    }

    /// Leaves what a router would have kept.
    fn kept(self, usage: &Value) -> Self {
        fs::create_dir(self.0.path().join("state")).unwrap();
        fs::write(self.0.path().join("state/flag-usage.json"), usage.to_string()).unwrap();
        self
    }

    fn check(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
        command.arg("check").args(arguments).current_dir(self.0.path()).output().unwrap()
    }

    fn codes(&self, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
        let output = self.check(&[arguments, &["--json"]].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let codes =
            report["diagnostics"].as_array().unwrap().iter().map(|found| found["code"].as_str().unwrap().into());
        (output.status.code(), codes.collect())
    }
}

fn days_ago(days: u32) -> u64 {
    let then = SystemTime::now() - DAY * days;
    u64::try_from(then.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[test]
fn a_flag_that_rests_is_stale_when_its_file_has_not_changed_for_long() {
    assert_eq!(Files::new(FLAGS).codes(&["--stale"]), (Some(0), vec![]));
    let files = Files::new(FLAGS).aged(DAY * 45);
    assert_eq!(files.codes(&["--stale"]), (Some(3), vec!["at-rest".to_owned()]));
    assert_eq!(files.codes(&["--stale", "--stale-days", "46"]), (Some(0), vec![]));
    assert_eq!(files.codes(&[]), (Some(0), vec![]));
    let text = String::from_utf8(files.check(&["--stale"]).stdout).unwrap();
    let since = text.split("since ").nth(1).unwrap()[..10].to_owned();
    super::snapshot!("check_stale", text.replace(&since, "DATE"));
}

#[test]
fn what_a_router_has_seen_counts_more_than_the_time_of_the_file() {
    let usage = |rest: &str, days| {
        json!({"resting": {"rest": rest, "rests_since_unix_ms": days_ago(days),
        "asked_unix_ms": null, "watched_since_unix_ms": days_ago(days)}})
    };
    let files = Files::new(FLAGS).kept(&usage("`modern`", 40));
    assert_eq!(files.codes(&["--stale"]), (Some(3), vec!["at-rest".to_owned()]));
    assert!(String::from_utf8(files.check(&["--stale"]).stdout).unwrap().contains("has done so for 40 days"));
    let files = Files::new(FLAGS).aged(DAY * 45).kept(&usage("`modern`", 2));
    assert_eq!(files.codes(&["--stale"]), (Some(0), vec![]));
    // It has rested elsewhere, so only the file says something.
    let files = Files::new(FLAGS).kept(&usage("`legacy`", 40));
    assert_eq!(files.codes(&["--stale"]), (Some(0), vec![]));
}

#[test]
fn expired_flags_and_those_without_an_owner_are_stale_and_errors_come_first() {
    let files = Files::new(&FLAGS.replacen("owner: tests", "expires: \"2020-01-31\"", 1));
    let (code, mut codes) = files.codes(&["--stale"]);
    codes.sort();
    assert_eq!((code, codes), (Some(3), vec!["expired".to_owned(), "no-owner".to_owned()]));
    assert_eq!(files.codes(&[]).0, Some(0));
    let broken = Files::new(&FLAGS.replace("defaultVariant: legacy", "defaultVariant: legaci")).aged(DAY * 45);
    assert_eq!(broken.codes(&["--stale"]).0, Some(1));
}

#[test]
fn an_unreadable_record_is_told_and_the_file_counts() {
    let files = Files::new(FLAGS).aged(DAY * 45);
    fs::create_dir(files.0.path().join("state")).unwrap();
    fs::write(files.0.path().join("state/flag-usage.json"), "{").unwrap();
    assert_eq!(files.codes(&["--stale"]), (Some(3), vec!["flag-usage".to_owned(), "at-rest".to_owned()]));
    assert_eq!(files.check(&["--stale-days", "3"]).status.code(), Some(2));
}
