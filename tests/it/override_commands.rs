//! Operators' commands to a running control plane: in force, on disk, in the history; restores; ends in time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan::compile;
use banyan::config::FileSet;
use banyan::control::{
    self, Action, Command, ControlPlan, Durable, Entry, Handle, Order, Receipt, Refusal, SetHash, Source, Standing,
    read_history,
};
use banyan::flag::{Context, OverrideKind, Reason, Value, Var};
use banyan::observe::{Metrics, Reload};
use banyan::snapshot::{Ruling, Store};
use serde_json::json;
use tempfile::TempDir;

use crate::reload::wait_until;

/// A flag whose split gives `modern` a share.
pub(crate) fn flags(modern: u32) -> String {
    format!(
        "flags:\n  side:\n    state: ENABLED\n    variants: {{legacy: legacy, modern: modern}}\n    defaultVariant: legacy\n    targeting: {{fractional: [[modern, {modern}], [legacy, {}]]}}\n    metadata: {{owner: tests}}\n  other:\n    state: ENABLED\n    variants: {{a: a, b: b}}\n    defaultVariant: a\n    metadata: {{owner: tests}}\n",
        100 - modern
    )
}

pub(crate) const ROUTES: &str = "identity: {targeting_key: [\"header:x-user\"]}\nupstreams: {one: {endpoints: [\"http://127.0.0.1:9\"]}}\nroutes:\n  - {name: side, match: {path: /side}, flag: side, variants: {legacy: one, modern: one}, fallback: one}\n  - {name: other, match: {path: /other}, flag: other, variants: {a: one, b: one}, fallback: one}\n";

/// A control plane in this process, over files and a state directory of its own.
pub(crate) struct Plane {
    root: Arc<TempDir>,
    pub(crate) store: Arc<Store>,
    pub(crate) handle: Handle,
    pub(crate) metrics: Arc<Metrics>,
}

impl Plane {
    pub(crate) fn start() -> Self {
        Self::start_changed(|_| {})
    }

    /// Starts with another plan than usual.
    pub(crate) fn start_changed(change: impl FnOnce(&mut ControlPlan)) -> Self {
        let root = Arc::new(tempfile::tempdir().unwrap());
        for folder in ["flags", "routes", "state"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("flags/f.yaml"), flags(50)).unwrap();
        fs::write(root.path().join("routes/r.yaml"), ROUTES).unwrap();
        Self::start_planned(root.path(), Arc::clone(&root), change)
    }

    /// Starts as `serve` does: what stands is laid over before anything is served.
    pub(crate) fn start_in(root: Arc<TempDir>) -> Self {
        Self::start_at(root.path(), Arc::clone(&root))
    }

    /// Starts on files in a directory that is somebody else's to remove.
    pub(crate) fn start_at(path: &Path, root: Arc<TempDir>) -> Self {
        Self::start_planned(path, root, |_| {})
    }

    fn start_planned(path: &Path, root: Arc<TempDir>, change: impl FnOnce(&mut ControlPlan)) -> Self {
        let (flags_dir, routes_dir, state) = (path.join("flags"), path.join("routes"), path.join("state"));
        let (flags, routes) = (FileSet::read(&flags_dir), FileSet::read(&routes_dir));
        let outcome = compile::compile(&flags, &routes, &compile::Options::default(), None);
        let draft = outcome.draft.unwrap_or_else(|| panic!("{:#?}", outcome.report));
        let standing = Standing::read(&state).unwrap();
        let store = Store::new(standing.lay_over(draft.into_snapshot(1)));
        let admin = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut plan = ControlPlan::new(flags_dir, routes_dir, admin, Arc::clone(&store));
        (plan.signals, plan.debounce_ms, plan.standing) = (false, 10, standing);
        plan.state_dir = Some(state);
        plan.in_force = Some(SetHash::of(&flags, &routes));
        change(&mut plan);
        let metrics = Arc::clone(&plan.metrics);
        Self { root, store, handle: control::start(plan).unwrap(), metrics }
    }

    /// Ends the plane in order and starts another one on the same files.
    pub(crate) fn restart(self) -> Self {
        Self::start_in(self.leave())
    }

    /// Ends the plane in order and leaves its files.
    pub(crate) fn leave(self) -> Arc<TempDir> {
        let Self { root, handle, .. } = self;
        handle.join();
        root
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn edit(&self, modern: u32) {
        self.write("flags/f.yaml", &flags(modern));
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.root.path().join(file);
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    fn wait_for_reload(&self, result: Reload, count: u64) {
        wait_until("the reload", || self.metrics.control.reloads(result) >= count);
    }

    pub(crate) fn give(&self, command: Command) -> Receipt {
        self.handle.operator().execute(&order(command)).unwrap()
    }

    fn refused(&self, command: Command) -> String {
        let generation = self.store.snapshot().generation;
        let refusal = self.handle.operator().execute(&order(command)).unwrap_err();
        assert_eq!(self.store.snapshot().generation, generation, "a refusal changes nothing");
        refusal.to_string()
    }

    fn ruling(&self, flag: &str, user: &str) -> Ruling {
        let snapshot = self.store.snapshot();
        snapshot.evaluate(snapshot.rules.flag_ids[flag], &User(user))
    }

    /// Which kind of override decides about a flag.
    pub(crate) fn decider(&self, flag: &str) -> Option<OverrideKind> {
        self.ruling(flag, "ada").overridden
    }

    /// How many of 1000 users get the second variant.
    pub(crate) fn modern(&self, flag: &str) -> usize {
        (0..1000)
            .filter(|user| {
                self.ruling(flag, &format!("user-{user}")).evaluation.variant.is_some_and(|variant| variant.0 == 1)
            })
            .count()
    }

    pub(crate) fn is_pinned(&self, user: u32) -> bool {
        self.ruling("side", &format!("user-{user}")).overridden == Some(OverrideKind::Pin)
    }

    /// The history as it is on disk, once it has an entry for each of these actions.
    fn history(&self, actions: &[Action]) -> Vec<Entry> {
        let read = || read_history(&self.state()).unwrap().entries;
        wait_until("the history", || {
            let entries = read();
            actions.iter().all(|action| entries.iter().any(|entry| entry.action == *action))
        });
        read()
    }
}

struct User<'u>(&'u str);

impl Context for User<'_> {
    fn lookup<'a>(&'a self, var: &Var) -> Value<'a> {
        if &*var.name == "header.x-user" { Value::Str(self.0.into()) } else { Value::Null }
    }

    fn targeting_key(&self) -> Option<&str> {
        Some(self.0)
    }

    fn now_unix_s(&self) -> i64 {
        0
    }
}

pub(crate) fn order(command: Command) -> Order {
    Order { command, who: "ada".into(), why: "errors on checkout".into(), lasts: None, source: Source::Command }
}

fn lasting(command: Command, lasts: Duration) -> Order {
    Order { lasts: Some(lasts), ..order(command) }
}

pub(crate) fn kill(flag: &str) -> Command {
    Command::Kill { flag: flag.into() }
}

pub(crate) fn revive(flag: &str) -> Command {
    Command::Revive { flag: flag.into() }
}

fn set(flag: &str, shares: &[(&str, &str)]) -> Command {
    let shares = shares.iter().map(|(variant, share)| ((*variant).to_owned(), share.parse().unwrap())).collect();
    Command::Set { flag: flag.into(), shares }
}

pub(crate) fn pin(flag: &str, value: &str, variant: &str) -> Command {
    let (attribute, value, variant) = ("header.x-user".into(), value.into(), variant.into());
    Command::Pin { flag: flag.into(), attribute, value, variant }
}

#[test]
fn a_command_is_in_force_on_disk_and_in_the_history_when_it_returns() {
    let plane = Plane::start();
    let receipt = plane.give(kill("side"));
    assert_eq!((receipt.generation, receipt.changed, &receipt.durable), (2, true, &Durable::Yes));
    let ruling = plane.ruling("side", "ada");
    assert_eq!((ruling.evaluation.reason, ruling.overridden), (Reason::Disabled, Some(OverrideKind::Kill)));
    assert_eq!(plane.decider("other"), None);
    assert!(fs::read_to_string(plane.state().join("overrides.json")).unwrap().contains("errors on checkout"));
    let entries = read_history(&plane.state()).unwrap().entries;
    let entry = entries.iter().find(|entry| Some(entry.number) == receipt.entry).unwrap();
    assert_eq!((entry.action, entry.generation, entry.source), (Action::Kill, 2, Source::Command));
    assert_eq!((entry.flag.as_deref(), entry.who.as_deref()), (Some("side"), Some("ada")));
    assert_eq!(entry.why.as_deref(), Some("errors on checkout"));
    assert_eq!(entry.after["kill"]["who"], "ada");

    let receipt = plane.give(revive("side"));
    assert_eq!((receipt.generation, receipt.changed, plane.decider("side")), (3, true, None));
    let again = plane.give(revive("side"));
    assert_eq!((again.generation, again.changed), (3, false), "twice is once");
    assert!(again.remark.is_some_and(|remark| remark.contains("nothing to take back")));
}

#[test]
fn everything_that_lies_over_the_files_survives_a_restart() {
    let plane = Plane::start();
    plane.give(set("side", &[("modern", "100%")]));
    plane.give(pin("side", "bob", "legacy"));
    plane.give(kill("other"));
    let plane = plane.restart();
    assert_eq!(plane.store.snapshot().generation, 1, "from the very first generation");
    assert_eq!(plane.decider("other"), Some(OverrideKind::Kill));
    assert_eq!(plane.decider("side"), Some(OverrideKind::Split));
    assert_eq!(plane.ruling("side", "bob").overridden, Some(OverrideKind::Pin));
    assert_eq!(plane.modern("side"), 1000);

    plane.give(Command::KillAll);
    let plane = plane.restart();
    assert_eq!(plane.decider("side"), Some(OverrideKind::KillAll));
    plane.give(Command::ReviveAll);
    assert_eq!(plane.decider("other"), Some(OverrideKind::Kill), "kills of single flags stay");
    for command in
        [Command::Unset { flag: "side".into() }, Command::Unpin { flag: "side".into(), pin: None }, revive("other")]
    {
        assert!(plane.give(command).changed);
    }
    let plane = plane.restart();
    assert_eq!((plane.decider("side"), plane.decider("other")), (None, None));
    assert_eq!(plane.modern("side"), Plane::start().modern("side"));
}

#[test]
fn shares_follow_the_file_and_misfits_are_kept_and_shown() {
    let plane = Plane::start();
    plane.give(set("side", &[("modern", "90%")]));
    let before = plane.modern("side");
    assert!((860..940).contains(&before), "{before}");
    plane.edit(10);
    plane.wait_for_reload(Reload::Published, 1);
    assert_eq!(plane.modern("side"), before, "an edit of the file moves nobody under an override");

    // The split is gone from the file: the override cannot apply, and nothing fails.
    let other =
        flags(50).replace("    targeting: {fractional: [[modern, 50], [legacy, 50]]}\n", "").replace("modern", "third");
    plane.write("routes/r.yaml", &ROUTES.replace("modern", "third"));
    plane.write("flags/f.yaml", &other);
    wait_until("the misfit is counted", || plane.metrics.control.overrides_misfit.value() == 1);
    assert_eq!((plane.decider("side"), plane.modern("side")), (None, 0));
    let shown = plane.handle.operator().overrides();
    assert_eq!(shown["not_applicable"][0]["flag"], "side");
    assert_eq!(shown["flags"]["side"]["split"]["shares"], json!([["modern", "90%"]]));

    plane.write("routes/r.yaml", ROUTES);
    plane.edit(20);
    wait_until("it applies again", || plane.metrics.control.overrides_misfit.value() == 0);
    assert_eq!(plane.modern("side"), before);
}

#[test]
fn what_does_not_fit_is_refused_with_help() {
    let plane = Plane::start();
    assert!(plane.refused(kill("sied")).contains("did you mean `side`?"));
    assert!(plane.refused(revive("nobody")).contains("no flag `nobody`"));
    assert!(plane.refused(set("side", &[("modren", "1%")])).contains("did you mean `modern`?"));
    assert!(plane.refused(set("side", &[("modern", "60%"), ("legacy", "60%")])).contains("more than 100%"));
    assert!(plane.refused(pin("side", "ada", "third")).contains("no variant `third`"));
    let tenant = Command::Pin {
        flag: "side".into(),
        attribute: "tenant".into(),
        value: "acme".into(),
        variant: "modern".into(),
    };
    assert!(plane.refused(tenant).contains("no request has the attribute `tenant`"));
    assert!(
        plane
            .refused(Command::Restore { generation: 77 })
            .contains("generation 77 is not kept; kept are the rules of 1")
    );
    let operator = plane.handle.operator();
    for (lasts, said) in [(0, "before it begins"), (31 * 86_400, "30 days at most")] {
        let refusal = operator.execute(&lasting(kill("side"), Duration::from_secs(lasts))).unwrap_err();
        assert!(refusal.to_string().contains(said), "{refusal}");
    }
    assert!(matches!(operator.execute(&lasting(revive("side"), Duration::from_secs(9))), Err(Refusal::Lasting(_))));
    assert!(matches!(operator.execute(&Order { why: " ".into(), ..order(kill("side")) }), Err(Refusal::Reason(_))));
    assert!(matches!(
        operator.execute(&Order { who: "x".repeat(300), ..order(kill("side")) }),
        Err(Refusal::Reason(_))
    ));
    let rehearsed = operator.rehearse(&order(kill("side")), None).unwrap();
    assert_eq!((rehearsed.before.is_null(), rehearsed.after["kill"]["who"].as_str()), (true, Some("ada")));
    assert_eq!(plane.store.snapshot().generation, 1, "a rehearsal changes nothing");
}

#[test]
fn what_has_a_time_ends_by_itself_with_an_entry() {
    let plane = Plane::start();
    let operator = plane.handle.operator();
    operator.execute(&lasting(kill("side"), Duration::from_millis(150))).unwrap();
    operator.execute(&lasting(set("other", &[("b", "100%")]), Duration::from_secs(3600))).unwrap();
    assert_eq!(plane.decider("side"), Some(OverrideKind::Kill));
    wait_until("it ends", || plane.decider("side").is_none());
    assert_eq!(plane.decider("other"), Some(OverrideKind::Split), "the other has its time");
    let entries = plane.history(&[Action::Expire]);
    let end = entries.iter().find(|entry| entry.action == Action::Expire).unwrap();
    assert_eq!((end.flag.as_deref(), end.source), (Some("side"), Source::Router));

    // Over a restart the wall clock decides: what ended meanwhile is not in force for a single request.
    operator.execute(&lasting(Command::KillAll, Duration::from_millis(40))).unwrap();
    let Plane { root, handle, .. } = plane;
    handle.join();
    std::thread::sleep(Duration::from_millis(60));
    let plane = Plane::start_in(root);
    assert_eq!((plane.decider("side"), plane.decider("other")), (None, Some(OverrideKind::Split)));
}

#[test]
fn a_restore_is_a_swap_and_holds_until_it_is_released() {
    let plane = Plane::start();
    let first = plane.store.snapshot();
    plane.edit(10);
    plane.wait_for_reload(Reload::Published, 1);
    let second = Arc::clone(&plane.store.snapshot().rules);
    assert_eq!(plane.handle.operator().restorable(), [1, 2]);

    // Broken files on disk do not matter.
    plane.write("flags/f.yaml", "flags: {{{");
    plane.wait_for_reload(Reload::Rejected, 1);
    let receipt = plane.give(Command::Restore { generation: 1 });
    assert_eq!((receipt.generation, receipt.changed), (3, true));
    assert!(Arc::ptr_eq(&plane.store.snapshot().rules, &first.rules), "the very rules: nothing was compiled");
    plane.give(kill("other"));
    assert_eq!(plane.decider("other"), Some(OverrideKind::Kill), "overrides lie over restored rules, too");

    plane.edit(30);
    plane.wait_for_reload(Reload::Held, 1);
    assert!(Arc::ptr_eq(&plane.store.snapshot().rules, &first.rules), "good files wait");
    plane.give(Command::Restore { generation: 2 });
    assert!(Arc::ptr_eq(&plane.store.snapshot().rules, &second), "a newer restore takes its place");

    let receipt = plane.give(Command::Release);
    assert!(receipt.changed);
    let third = plane.store.snapshot();
    assert!(!Arc::ptr_eq(&third.rules, &first.rules) && !Arc::ptr_eq(&third.rules, &second), "the files that waited");
    assert_eq!(plane.metrics.control.reloads(Reload::Published), 1, "nothing was compiled for it");
    assert!(!plane.give(Command::Release).changed);
    plane.edit(40);
    plane.wait_for_reload(Reload::Published, 2);
    plane.history(&[Action::Restore, Action::Hold, Action::Release, Action::Reject, Action::Publish]);
}

#[test]
fn taking_the_edit_back_under_a_restore_waits_as_well() {
    let plane = Plane::start();
    plane.edit(10);
    plane.wait_for_reload(Reload::Published, 1);
    plane.give(Command::Restore { generation: 1 });
    plane.edit(30);
    plane.wait_for_reload(Reload::Held, 1);
    plane.edit(10);
    plane.wait_for_reload(Reload::Held, 2);
    plane.give(Command::Release);
    let expected = Plane::start();
    expected.edit(10);
    expected.wait_for_reload(Reload::Published, 1);
    assert_eq!(plane.modern("side"), expected.modern("side"), "what the files say last");
}

#[test]
fn sixteen_sets_of_rules_are_kept() {
    let plane = Plane::start();
    for edit in 1..=20 {
        plane.edit(edit);
        plane.wait_for_reload(Reload::Published, edit.into());
    }
    let kept = plane.handle.operator().restorable();
    assert_eq!(kept.len(), 16);
    assert!(plane.refused(Command::Restore { generation: 1 }).contains("not kept"));
    assert!(plane.give(Command::Restore { generation: kept[0] }).changed);
}

#[test]
fn a_kill_does_not_wait_for_a_compile() {
    let plane = Plane::start();
    let mut large = flags(50);
    for number in 0..60_000 {
        large.push_str(&format!(
            "  flag-{number}:\n    state: ENABLED\n    variants: {{a: a, b: b}}\n    defaultVariant: a\n    targeting: {{fractional: [[a, 50], [b, 50]]}}\n    metadata: {{owner: tests}}\n"
        ));
    }
    for part in ["flags/a.yaml", "flags/b.yaml"] {
        // Below the limit of a file's size.
        let half = large.len() / 2;
        let cut = half + large[half..].find("  flag-").unwrap();
        let text = if part == "flags/a.yaml" { large[..cut].to_owned() } else { format!("flags:\n{}", &large[cut..]) };
        plane.write(part, &text);
    }
    plane.write("flags/f.yaml", "flags:\n  late:\n    state: ENABLED\n    variants: {a: a}\n    defaultVariant: a\n");
    let mut commands = 0;
    while plane.metrics.control.reloads(Reload::Published) + plane.metrics.control.reloads(Reload::Rejected) == 0 {
        let before = plane.store.snapshot().generation;
        let receipt = plane.give(if commands % 2 == 0 { kill("side") } else { revive("side") });
        assert!(receipt.generation > before);
        commands += 1;
    }
    assert!(commands > 3, "{commands} commands while it compiled");
    let entries = plane.history(&[Action::Publish]);
    assert!(entries.windows(2).all(|pair| pair[0].number < pair[1].number));
}

#[test]
fn generations_never_go_back_whoever_publishes() {
    let plane = Plane::start();
    let deadline = Instant::now() + Duration::from_secs(2);
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let operator = plane.handle.operator();
            scope.spawn(move || {
                let mut last = 0;
                while Instant::now() < deadline {
                    let command =
                        if last % 2 == 0 { pin("side", &format!("user-{worker}"), "modern") } else { kill("other") };
                    let receipt = operator.execute(&order(command)).unwrap();
                    assert!(receipt.generation > last || !receipt.changed, "{} after {last}", receipt.generation);
                    last = receipt.generation;
                }
            });
        }
        let (mut seen, mut edit) = (0, 0);
        while Instant::now() < deadline {
            let generation = plane.store.snapshot().generation;
            assert!(generation >= seen);
            seen = generation;
            edit = (edit + 1) % 100;
            plane.edit(edit);
        }
    });
    plane.handle.join();
}

#[test]
fn a_full_disk_leaves_it_in_force_and_says_so() {
    let plane = Plane::start();
    // The temporary file leads to a device that is always full.
    std::os::unix::fs::symlink("/dev/full", plane.state().join("overrides.json.new")).unwrap();
    let receipt = plane.give(kill("side"));
    assert_eq!(plane.decider("side"), Some(OverrideKind::Kill));
    match receipt.durable {
        Durable::No(why) => assert!(why.contains("No space left"), "{why}"),
        Durable::Yes => panic!("a full disk keeps nothing"),
    }
    assert_eq!(plane.metrics.control.overrides_undurable.value(), 1);
    fs::remove_file(plane.state().join("overrides.json.new")).unwrap();
    wait_until("it is written after all", || plane.metrics.control.overrides_undurable.value() == 0);
    let plane = plane.restart();
    assert_eq!(plane.decider("side"), Some(OverrideKind::Kill));
}

#[test]
fn the_history_says_what_an_edit_changed_and_why_one_was_refused() {
    let plane = Plane::start();
    plane.edit(10);
    plane.wait_for_reload(Reload::Published, 1);
    plane.write("flags/f.yaml", "flags:\n  side: {state: ENABLED}\n");
    plane.wait_for_reload(Reload::Rejected, 1);
    let entries = plane.history(&[Action::Start, Action::Publish, Action::Reject]);
    let publish = entries.iter().find(|entry| entry.action == Action::Publish).unwrap();
    assert_eq!(publish.source, Source::File);
    assert_eq!(publish.before["changed"]["side"]["shares"], json!([["modern", 50], ["legacy", 50]]));
    assert_eq!(publish.after["changed"]["side"]["shares"], json!([["modern", 10], ["legacy", 90]]));
    assert!(publish.after["changed"].get("other").is_none(), "what did not change is not named");
    let reject = entries.iter().find(|entry| entry.action == Action::Reject).unwrap();
    assert_eq!(reject.generation, 2, "the one that stays");
    assert!(reject.after["findings"][0].as_str().unwrap().contains("f.yaml:"), "{:?}", reject.after);
}
