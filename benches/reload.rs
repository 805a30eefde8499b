//! How long a reload takes: reading, compiling and publishing sets of 10, 1,000 and 100,000 routes and flags, next to
//! parsing the same YAML alone; and from a saved file to its being in force.
//!
//! `--test` runs everything once with small sets.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan::compile::{Options, compile};
use banyan::config::{self, FileSet, Report};
use banyan::control::{self, ControlPlan, SetHash};
use banyan::snapshot::Store;
use tempfile::TempDir;

/// Entries in one file; 100,000 in one would pass the limit of a file's size.
const ENTRIES_A_FILE: usize = 5_000;

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (sizes, edits): (&[usize], usize) = if is_test { (&[10, 100], 3) } else { (&[10, 1_000, 100_000], 300) };
    println!(
        "{:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>14}",
        "entries", "read", "parse", "compile", "publish", "all", "compile/parse"
    );
    for size in sizes {
        stages(*size, if *size > 10_000 || is_test { 3 } else { 30 });
    }
    for size in sizes.iter().filter(|size| **size <= 1_000) {
        save_to_effect(*size, edits);
    }
}

/// Times the stages of a reload, the best of some rounds each.
fn stages(size: usize, rounds: usize) {
    let root = TempDir::new().expect("a directory");
    write_set(root.path(), size);
    let dirs = [root.path().join("flags"), root.path().join("routes")];
    let (read, sets) = best(rounds, || dirs.each_ref().map(|dir| FileSet::read(dir)));
    let (parse, _) = best(rounds, || {
        let mut report = Report::default();
        let files = sets.iter().flat_map(|set| &set.files);
        files.filter_map(|file| config::parse(file, &mut report)).collect::<Vec<_>>()
    });
    let [flags, routes] = &sets;
    let first = compile(flags, routes, &Options::default(), None);
    let store = Store::new(first.draft.unwrap_or_else(|| panic!("{}", first.report.summary())).into_snapshot(1));
    let (mut compiled, mut published) = (Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        let previous = store.snapshot();
        let started = Instant::now();
        let draft = compile(flags, routes, &Options::default(), Some(&previous)).draft.expect("it compiled before");
        compiled = compiled.min(started.elapsed());
        drop(previous);
        let next = draft.into_snapshot(store.snapshot().generation + 1);
        let started = Instant::now();
        // The replaced snapshot is freed here, too.
        store.publish(next);
        published = published.min(started.elapsed());
    }
    println!(
        "{size:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>14.2}",
        shown(read),
        shown(parse),
        shown(compiled),
        shown(published),
        shown(read + compiled + published),
        compiled.as_secs_f64() / parse.as_secs_f64()
    );
}

/// Edits a file of a running control plane over and over, and times each edit until it is in force.
fn save_to_effect(size: usize, edits: usize) {
    let root = TempDir::new().expect("a directory");
    write_set(root.path(), size);
    let (flags_dir, routes_dir) = (root.path().join("flags"), root.path().join("routes"));
    let (flags, routes) = (FileSet::read(&flags_dir), FileSet::read(&routes_dir));
    let draft = compile(&flags, &routes, &Options::default(), None).draft.expect("the set is right");
    let store = Store::new(draft.into_snapshot(1));
    let admin = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let mut plan = ControlPlan::new(flags_dir.clone(), routes_dir, admin, Arc::clone(&store));
    plan.signals = false;
    plan.in_force = Some(SetHash::of(&flags, &routes));
    let debounce_ms = plan.debounce_ms;
    let handle = control::start(plan).expect("the control plane starts");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut status = handle.status();

    let mut times: Vec<Duration> = (1..=edits)
        .map(|edit| {
            let before = store.snapshot().generation;
            let text = flag_file(0, size.min(ENTRIES_A_FILE), edit);
            let started = Instant::now();
            fs::write(flags_dir.join("next~"), text).expect("it can be written");
            fs::rename(flags_dir.join("next~"), flags_dir.join("0.yaml")).expect("it can be renamed");
            let published = status.wait_for(|now| now.generation > before);
            runtime.block_on(async { published.await.map(drop) }).expect("the control plane lives");
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| shown(times[((times.len() - 1) as f64 * share).round() as usize]);
    println!(
        "save to effect, {size} entries, {edits} edits, debounce {debounce_ms} ms: p50 {} p99 {} max {}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    handle.join();
}

/// Runs some rounds and gives the shortest time and the last result.
fn best<T>(rounds: usize, mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut timed = || {
        let started = Instant::now();
        let result = run();
        (started.elapsed(), result)
    };
    let mut found = timed();
    for _ in 1..rounds {
        let next = timed();
        found = (found.0.min(next.0), next.1);
    }
    found
}

fn shown(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 1.0 { format!("{:.0} µs", ms * 1e3) } else { format!("{ms:.1} ms") }
}

/// Writes as many flags and as many routes; every route has its flag.
fn write_set(root: &Path, size: usize) {
    for (number, first) in (0..size).step_by(ENTRIES_A_FILE).enumerate() {
        let last = (first + ENTRIES_A_FILE).min(size);
        write(&root.join(format!("flags/{number}.yaml")), &flag_file(first, last, 0));
        let mut routes = String::from("routes:\n");
        for entry in first..last {
            routes += &format!(
                "  - name: r{entry}\n    match: {{host: shop.example, path: \"/api/r{entry}/{{*rest}}\"}}\n    flag: f{entry}\n    variants: {{legacy: monolith, modern: orders}}\n    fallback: monolith\n"
            );
        }
        write(&root.join(format!("routes/{number}.yaml")), &routes);
    }
    let upstreams = "identity: {targeting_key: [\"header:x-user-id\"]}\nupstreams:\n  monolith: {endpoints: [\"http://127.0.0.1:9001\"]}\n  orders: {endpoints: [\"http://127.0.0.1:9002\"]}\n";
    write(&root.join("routes/upstreams.yaml"), upstreams);
}

/// Makes a flag file; each `edit` moves the split, so that the content differs.
fn flag_file(first: usize, last: usize, edit: usize) -> String {
    let modern = edit % 999 + 1;
    (first..last).fold(String::from("flags:\n"), |text, entry| {
        text + &format!(
            "  f{entry}:\n    state: ENABLED\n    variants: {{legacy: legacy, modern: modern}}\n    defaultVariant: legacy\n    targeting: {{fractional: [[modern, {modern}], [legacy, {}]]}}\n    metadata: {{owner: team}}\n",
            1_000 - modern
        )
    })
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
    fs::write(path, text).expect("it can be written");
}
