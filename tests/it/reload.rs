//! Reloading: every kind of edit is seen, all or nothing, and what is in force stays when an edit is wrong.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan::compile;
use banyan::config::FileSet;
use banyan::control::{self, ControlPlan, Handle, SetHash, Status, last_good};
use banyan::observe::{Metrics, Reload};
use banyan::snapshot::Store;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::exposition::Exposition;
use crate::support::PATIENCE;

const FLAGS: &str = "flags:\n  side:\n    state: ENABLED\n    variants: {left: left}\n    defaultVariant: left\n    metadata: {owner: tests}\n";

/// A route file whose one route has a name that tells versions apart.
pub(crate) fn routes(name: &str) -> String {
    format!(
        "upstreams:\n  one: {{endpoints: [\"http://127.0.0.1:9\"]}}\nroutes:\n  - {{name: {name}, match: {{path: \"/{{*rest}}\"}}, upstream: one}}\n"
    )
}

/// A control plane in this process, over files in a directory of its own, without a data plane.
pub(crate) struct Plane {
    root: TempDir,
    pub(crate) store: Arc<Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) handle: Handle,
    status: watch::Receiver<Status>,
    /// Attempts that a test has waited for, by how they ended.
    seen: [u64; Reload::ALL.len()],
    runtime: tokio::runtime::Runtime,
}

impl Plane {
    /// Starts on files with the route `first`, told of changes by the kernel alone: the poll would hide what is missed.
    pub(crate) fn watching() -> Self {
        Self::start(routes("first"), |plan| plan.poll_ms = 0)
    }

    /// Starts with the poll alone.
    fn polling() -> Self {
        Self::start(routes("first"), |plan| (plan.watch, plan.poll_ms) = (false, 20))
    }

    pub(crate) fn start(routes: String, change: impl FnOnce(&mut ControlPlan)) -> Self {
        let root = TempDir::new().unwrap();
        let (flags_dir, routes_dir) = (root.path().join("flags"), root.path().join("routes"));
        write(&flags_dir.join("flags.yaml"), FLAGS);
        write(&routes_dir.join("routes.yaml"), &routes);
        Self::start_in(root, flags_dir, routes_dir, change)
    }

    fn start_in(root: TempDir, flags: PathBuf, routes: PathBuf, change: impl FnOnce(&mut ControlPlan)) -> Self {
        let (flag_set, route_set) = (FileSet::read(&flags), FileSet::read(&routes));
        let outcome = compile::compile(&flag_set, &route_set, &compile::Options::default(), None);
        let draft = outcome.draft.unwrap_or_else(|| panic!("{:#?}", outcome.report));
        let store = Store::new(draft.into_snapshot(1));
        let admin = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut plan = ControlPlan::new(flags, routes, admin, Arc::clone(&store));
        plan.signals = false;
        plan.debounce_ms = 20;
        plan.in_force = Some(SetHash::of(&flag_set, &route_set));
        change(&mut plan);
        let metrics = Arc::clone(&plan.metrics);
        let handle = control::start(plan).unwrap();
        let status = handle.status();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { root, store, metrics, handle, status, seen: [0; Reload::ALL.len()], runtime }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Waits for a state of affairs.
    fn wait(&mut self, what: &str, is_so: impl FnMut(&Status) -> bool) -> Status {
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.status.wait_for(is_so)).await });
        let status = *waited.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}")).unwrap();
        self.seen = Reload::ALL.map(|result| self.metrics.control.reloads(result));
        status
    }

    /// Waits until the route in force has this name.
    fn wait_for_route(&mut self, name: &str) {
        let store = Arc::clone(&self.store);
        self.wait(name, |now| now.generation == store.snapshot().generation && route(&store) == name);
    }

    /// Waits until a reload that no test has waited for ended so.
    fn wait_for(&mut self, result: Reload) -> Status {
        let (metrics, seen) = (Arc::clone(&self.metrics), self.seen[result as usize]);
        self.wait(result.as_str(), |_| metrics.control.reloads(result) > seen)
    }

    fn page(&self) -> Exposition {
        Exposition::read(&self.metrics.render())
    }
}

fn route(store: &Store) -> String {
    let snapshot = store.snapshot();
    snapshot.rules.routes.payloads().map(|route| route.name.to_string()).collect::<Vec<_>>().join("+")
}

/// Writes in place.
fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Writes beside and renames, as careful editors and `git` do.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("tmp~");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

#[test]
fn a_file_renamed_into_place_is_seen() {
    let mut plane = Plane::watching();
    replace(&plane.path("routes/routes.yaml"), &routes("second"));
    plane.wait_for_route("second");
    assert_eq!(plane.store.snapshot().generation, 2);
}

#[test]
fn a_file_written_in_place_is_seen_again_and_again() {
    let mut plane = Plane::watching();
    for name in ["second", "third", "fourth"] {
        write(&plane.path("routes/routes.yaml"), &routes(name));
        plane.wait_for_route(name);
    }
}

#[test]
fn no_edit_of_many_is_missed() {
    let mut plane = Plane::watching();
    let path = plane.path("routes/routes.yaml");
    for edit in 1..=60 {
        if edit % 10 == 0 {
            replace(&path, &format!("broken{edit}: ["));
            plane.wait_for(Reload::Rejected);
        }
        let name = format!("edit{edit}");
        if edit % 2 == 0 {
            replace(&path, &routes(&name))
        } else {
            write(&path, &routes(&name))
        }
        plane.wait_for_route(&name);
    }
}

#[test]
fn both_directories_are_watched() {
    let mut plane = Plane::watching();
    let disabled = FLAGS.replace("ENABLED", "DISABLED");
    replace(&plane.path("flags/flags.yaml"), &disabled);
    plane.wait_for(Reload::Published);
    assert!(!plane.store.snapshot().rules.flags[0].enabled);
}

#[test]
fn a_config_map_swap_is_seen() {
    let root = TempDir::new().unwrap();
    let routes_dir = root.path().join("routes");
    write(&root.path().join("flags/flags.yaml"), FLAGS);
    write(&routes_dir.join("..2026_01/routes.yaml"), &routes("first"));
    symlink("..2026_01", routes_dir.join("..data")).unwrap();
    symlink("..data/routes.yaml", routes_dir.join("routes.yaml")).unwrap();
    let flags_dir = root.path().join("flags");
    let mut plane = Plane::start_in(root, flags_dir, routes_dir.clone(), |plan| plan.poll_ms = 0);
    for (version, name) in [("..2026_02", "second"), ("..2026_03", "third")] {
        write(&routes_dir.join(version).join("routes.yaml"), &routes(name));
        symlink(version, routes_dir.join("..data_tmp")).unwrap();
        fs::rename(routes_dir.join("..data_tmp"), routes_dir.join("..data")).unwrap();
        plane.wait_for_route(name);
    }
}

#[test]
fn a_directory_deleted_and_made_again_is_watched_again() {
    let mut plane = Plane::watching();
    for round in 0..3 {
        fs::remove_dir_all(plane.path("routes")).unwrap();
        plane.wait_for(Reload::Rejected);
        write(&plane.path("routes/routes.yaml"), &routes(&format!("made{round}")));
        plane.wait_for_route(&format!("made{round}"));
        write(&plane.path("routes/routes.yaml"), &routes(&format!("edited{round}")));
        plane.wait_for_route(&format!("edited{round}"));
    }
}

#[test]
fn a_directory_moved_away_and_replaced_is_seen() {
    let mut plane = Plane::watching();
    write(&plane.path("next/routes.yaml"), &routes("second"));
    fs::rename(plane.path("routes"), plane.path("earlier")).unwrap();
    fs::rename(plane.path("next"), plane.path("routes")).unwrap();
    plane.wait_for_route("second");
    write(&plane.path("routes/routes.yaml"), &routes("third"));
    plane.wait_for_route("third");
}

#[test]
fn a_directory_that_is_a_link_is_followed_when_it_is_turned() {
    let root = TempDir::new().unwrap();
    let (flags_dir, current) = (root.path().join("flags"), root.path().join("current"));
    write(&flags_dir.join("flags.yaml"), FLAGS);
    write(&root.path().join("release1/routes.yaml"), &routes("first"));
    write(&root.path().join("release2/routes.yaml"), &routes("second"));
    symlink("release1", &current).unwrap();
    let mut plane = Plane::start_in(root, flags_dir, current.clone(), |plan| plan.poll_ms = 0);
    symlink("release2", plane.path("turned")).unwrap();
    fs::rename(plane.path("turned"), current).unwrap();
    plane.wait_for_route("second");
    write(&plane.path("release2/routes.yaml"), &routes("third"));
    plane.wait_for_route("third");
}

#[test]
fn a_new_subdirectory_is_watched_too() {
    let mut plane = Plane::watching();
    write(&plane.path("routes/team/more.yaml"), "routes:\n  - {name: more, match: {path: /more}, upstream: one}\n");
    plane.wait_for_route("first+more");
    write(&plane.path("routes/team/more.yaml"), "routes:\n  - {name: most, match: {path: /more}, upstream: one}\n");
    plane.wait_for_route("first+most");
}

#[test]
fn the_poll_alone_sees_edits() {
    let mut plane = Plane::polling();
    write(&plane.path("routes/routes.yaml"), &routes("second"));
    plane.wait_for_route("second");
    replace(&plane.path("routes/routes.yaml"), &routes("third"));
    plane.wait_for_route("third");
    fs::remove_dir_all(plane.path("routes")).unwrap();
    plane.wait_for(Reload::Rejected);
    write(&plane.path("routes/routes.yaml"), &routes("fourth"));
    plane.wait_for_route("fourth");
}

#[test]
fn the_poll_sees_what_the_kernel_does_not_tell() {
    let mut plane = Plane::start(routes("first"), |plan| plan.poll_ms = 20);
    write(&plane.path("elsewhere/routes.yaml"), &routes("second"));
    fs::remove_file(plane.path("routes/routes.yaml")).unwrap();
    symlink("../elsewhere/routes.yaml", plane.path("routes/routes.yaml")).unwrap();
    plane.wait_for_route("second");
    // An edit behind a link to a file makes no event in the directory.
    write(&plane.path("elsewhere/routes.yaml"), &routes("third"));
    plane.wait_for_route("third");
}

#[test]
fn a_rejected_set_keeps_the_last_good_one_and_says_so() {
    let mut plane = Plane::watching();
    for broken in ["routes: [", "", "routes:\n  - {name: lost, match: {path: /}, upstream: nobody}\n"] {
        replace(&plane.path("routes/routes.yaml"), broken);
        let status = plane.wait_for(Reload::Rejected);
        assert_eq!((status.generation, route(&plane.store)), (1, "first".to_owned()), "{broken}");
    }
    let page = plane.page();
    assert_eq!(page.value(r#"banyan_config_reloads_total{result="rejected"}"#), 3.0);
    assert!(page.value("banyan_config_stale_seconds") > 0.0);

    // The change is taken back: nothing is published, and nothing is stale.
    replace(&plane.path("routes/routes.yaml"), &routes("first"));
    let status = plane.wait_for(Reload::Unchanged);
    assert_eq!(status.generation, 1);
    assert_eq!(plane.page().value("banyan_config_stale_seconds"), 0.0);

    replace(&plane.path("routes/routes.yaml"), &routes("second"));
    plane.wait_for_route("second");
    let page = plane.page();
    assert_eq!(page.value("banyan_config_generation"), 2.0);
    assert_eq!(page.value(r#"banyan_config_reloads_total{result="published"}"#), 1.0);
    assert!(page.value("banyan_config_last_reload_timestamp_seconds") > 1.7e9);
}

#[test]
fn a_broken_flag_file_keeps_good_routes_out() {
    let mut plane = Plane::watching();
    fs::write(plane.path("flags/flags.yaml"), "flags: [").unwrap();
    plane.wait_for(Reload::Rejected);
    fs::write(plane.path("routes/routes.yaml"), routes("second")).unwrap();
    let status = plane.wait_for(Reload::Rejected);
    assert_eq!((status.generation, route(&plane.store)), (1, "first".to_owned()));
    fs::write(plane.path("flags/flags.yaml"), FLAGS).unwrap();
    plane.wait_for_route("second");
}

#[test]
fn the_same_bytes_publish_nothing() {
    let mut plane = Plane::watching();
    replace(&plane.path("routes/routes.yaml"), &routes("first"));
    assert_eq!(plane.wait_for(Reload::Unchanged).generation, 1);
}

#[test]
fn a_request_reloads_and_accepts_a_smaller_set() {
    let many = (0..40).fold(routes("first"), |text, number| {
        text + &format!("  - {{name: r{number}, match: {{path: /r{number}}}, upstream: one}}\n")
    });
    let mut plane = Plane::start(many, |plan| plan.poll_ms = 0);
    write(&plane.path("routes/routes.yaml"), &routes("second"));
    assert_eq!(plane.wait_for(Reload::Rejected).generation, 1, "suddenly much smaller");
    plane.handle.reload();
    plane.wait_for_route("second");
    plane.handle.reload();
    assert_eq!(plane.wait_for(Reload::Published).generation, 3, "a request publishes unchanged files as well");
}

#[test]
fn a_storm_of_edits_is_coalesced_and_its_end_is_in_force() {
    let mut plane = Plane::watching();
    let path = plane.path("routes/routes.yaml");
    let started = Instant::now();
    for edit in 1..=1_000 {
        replace(&path, &routes(&format!("edit{edit}")));
    }
    let took = started.elapsed();
    let during = plane.store.snapshot().generation;
    plane.wait_for_route("edit1000");
    let published = u128::from(plane.store.snapshot().generation - 1);
    // With a quiet period of 20 ms a reload begins every 60 ms at most, and one comes after the end.
    assert!(published <= took.as_millis() / 60 + 2, "{published} generations in {took:?}");
    assert!(during > 1 || took.as_millis() < 500, "files that never come to rest are read all the same: {took:?}");
}

#[test]
fn replaced_snapshots_are_freed_when_the_last_reader_lets_go() {
    let mut plane = Plane::watching();
    let mut reader = plane.store.reader();
    let first = Arc::downgrade(reader.load());
    for name in ["second", "third"] {
        replace(&plane.path("routes/routes.yaml"), &routes(name));
        plane.wait_for_route(name);
    }
    wait_until("the held snapshot is counted", || plane.page().value("banyan_config_snapshots_held") == 1.0);
    assert!(first.upgrade().is_some(), "a worker still serves by it");
    assert_eq!(reader.load().generation, 3);
    wait_until("the snapshot is freed", || plane.page().value("banyan_config_snapshots_held") == 0.0);
    assert!(first.upgrade().is_none());
}

#[test]
fn the_last_good_files_are_kept() {
    let state = TempDir::new().unwrap();
    let state_dir = state.path().to_owned();
    assert!(last_good(&state_dir).is_none());
    let kept = state_dir.clone();
    let mut plane = Plane::start(routes("first"), |plan| plan.state_dir = Some(kept));
    let kept_route = || {
        let (flags, routes) = last_good(&state_dir)?;
        let (flags, routes) = (FileSet::read(&flags), FileSet::read(&routes));
        let draft = compile::compile(&flags, &routes, &compile::Options::default(), None).draft?;
        Some(route(&Store::new(draft.into_snapshot(1))))
    };
    wait_until("what it started from is kept", || kept_route().as_deref() == Some("first"));
    for name in ["second", "third", "fourth"] {
        write(&plane.path("routes/team/a.yaml"), "routes: []\n");
        replace(&plane.path("routes/routes.yaml"), &routes(name));
        plane.wait_for_route(name);
        wait_until("the copy is there", || kept_route().as_deref() == Some(name));
    }
    write(&plane.path("routes/routes.yaml"), "routes: [");
    plane.wait_for(Reload::Rejected);
    assert_eq!(kept_route().as_deref(), Some("fourth"));
    plane.handle.join();
    let is_copy = |path: PathBuf| path.is_dir() && path.file_name().unwrap().to_str().unwrap().starts_with("last-good");
    let copies = fs::read_dir(&state_dir).unwrap().filter(|entry| is_copy(entry.as_ref().unwrap().path())).count();
    assert_eq!(copies, 2, "one copy, and the link to it");
}

#[test]
fn a_new_name_has_addresses_when_it_comes_into_force() {
    let mut plane = Plane::watching();
    let named = routes("second").replace("127.0.0.1:9", "ip6-localhost.invalid:9");
    write(&plane.path("routes/routes.yaml"), &named);
    plane.wait_for_route("second");
    assert!(plane.store.snapshot().upstreams[0].endpoints[0].addresses.is_empty(), "there is no such name");
    wait_until("the failure is counted", || plane.page().value("banyan_dns_failures_total") >= 1.0);

    let named = routes("third").replace("127.0.0.1:9", "localhost:9");
    write(&plane.path("routes/routes.yaml"), &named);
    plane.wait_for_route("third");
    let snapshot = plane.store.snapshot();
    let addresses = &snapshot.upstreams[0].endpoints[0].addresses;
    assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback()), "{addresses:?}");
}

#[test]
fn a_first_snapshot_can_have_its_names_resolved_before_it_is_served() {
    let root = TempDir::new().unwrap();
    let named =
        routes("first").replace(r#"["http://127.0.0.1:9"]"#, r#"["http://localhost:9", "http://nobody.invalid:9"]"#);
    write(&root.path().join("flags/flags.yaml"), FLAGS);
    write(&root.path().join("routes/routes.yaml"), &named);
    let sets = ["flags", "routes"].map(|name| FileSet::read(&root.path().join(name)));
    let draft = compile::compile(&sets[0], &sets[1], &compile::Options::default(), None).draft.unwrap();
    let metrics = Metrics::new();
    let first = control::resolve_names(draft.into_snapshot(1), &[], &metrics, PATIENCE).unwrap();
    let [known, unknown] = &*first.upstreams[0].endpoints else { panic!("two endpoints") };
    assert!(!known.addresses.is_empty() && unknown.addresses.is_empty());
    assert_eq!(first.generation, 1);
    assert_eq!(metrics.control.dns_failures.value(), 1);
}

/// Waits for what sends no notice of its own.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
