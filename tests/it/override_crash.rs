//! Overrides and history across SIGKILL at any moment: what was acknowledged is there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use banyan::control::{Durable, Order, read_history};
use serde_json::Value;

use crate::override_commands::{Plane, flags, kill, order};

/// Tells the child's half of the test that it is the child, and where to work.
const DIRECTORY: &str = "BANYAN_TEST_CRASH_DIRECTORY";
/// The number of the child's first command.
const FIRST: &str = "BANYAN_TEST_CRASH_FIRST";
/// How often the process is killed.
const ROUNDS: u32 = 30;

/// The child: gives numbered commands for ever and says which of them were acknowledged as durable.
#[test]
fn the_child_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let plane = Plane::start_at(Path::new(&directory), Arc::new(tempfile::tempdir().unwrap()));
    let operator = plane.handle.operator();
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    for number in first.. {
        let receipt = operator.execute(&Order { why: number.to_string(), ..order(kill("side")) }).unwrap();
        assert_eq!(receipt.durable, Durable::Yes);
        println!("acknowledged {number} {}", receipt.entry.unwrap());
    }
}

fn child(directory: &Path, first: u64) -> Child {
    let mut process = Process::new(std::env::current_exe().unwrap());
    process.args(["--exact", "override_crash::the_child_that_is_killed", "--nocapture"]);
    process.env(DIRECTORY, directory).env(FIRST, first.to_string());
    process.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// The number of the command that stands in the file.
fn standing(state: &Path) -> u64 {
    let text = fs::read_to_string(state.join("overrides.json")).expect("a whole file is there at any moment");
    let written: Value = serde_json::from_str(&text).expect("and it can be read");
    written["overrides"]["flags"]["side"]["kill"]["why"].as_str().unwrap().parse().unwrap()
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    for folder in ["flags", "routes", "state"] {
        fs::create_dir(directory.path().join(folder)).unwrap();
    }
    fs::write(directory.path().join("flags/f.yaml"), flags(50)).unwrap();
    fs::write(directory.path().join("routes/r.yaml"), crate::override_commands::ROUTES).unwrap();
    let state: PathBuf = directory.path().join("state");
    let seed = fastrand::u64(..);
    let mut chance = fastrand::Rng::with_seed(seed);
    let (mut next, mut acknowledged) = (1, Vec::new());
    for round in 0..ROUNDS {
        let mut process = child(directory.path(), next);
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut heard, wanted) = (0, chance.u32(1..20));
        let mut note = |line: &str| {
            let mut words = line.split(' ').skip_while(|word| *word != "acknowledged").skip(1);
            if let (Some(number), Some(entry)) = (words.next(), words.next()) {
                let (number, entry): (u64, u64) = (number.parse().unwrap(), entry.parse().unwrap());
                acknowledged.push((number, entry));
                heard += 1;
            }
            heard
        };
        while note(&lines.next().expect("the child runs").unwrap()) < wanted {}
        // Anywhere between two commands or within one.
        std::thread::sleep(Duration::from_micros(chance.u64(0..3000)));
        process.kill().unwrap();
        process.wait().unwrap();
        // What was said before the end counts as well; the last line may be cut.
        for line in lines.map_while(Result::ok).filter(|line| line.split(' ').count() >= 3) {
            note(&line);
        }
        let (last, _) = *acknowledged.last().unwrap();
        let stands = standing(&state);
        assert!(stands >= last, "seed {seed}, round {round}: {last} was acknowledged, {stands} stands");
        next = stands + 1;
    }
    let history = read_history(&state).unwrap();
    assert_eq!(history.unreadable, 0, "seed {seed}");
    assert!(history.entries.windows(2).all(|pair| pair[0].number + 1 == pair[1].number), "seed {seed}: no gap");
    for (number, entry) in acknowledged {
        let found = history.entries.iter().find(|found| found.number == entry);
        let why = found.and_then(|found| found.why.clone());
        assert_eq!(why, Some(number.to_string()), "seed {seed}: entry {entry}");
    }
}
