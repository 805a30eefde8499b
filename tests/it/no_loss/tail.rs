//! The journal's files damaged while the router is down: what was not acknowledged may go, all else stays or is reported.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::checker::{Violation, check};
use super::client::Clients;
use super::crash::{seed, wait_for_writes};
use super::history::{History, Seen, Write};
use super::world::World;

/// Small segments, so that a test looks at few bytes.
const SMALL: &[&str] = &["--journal-bytes-max", "33554432"];
/// Where records begin in a segment, and the bytes of a record before its payload (docs/journal.md).
const HEADER_BYTES: usize = 4096;
const RECORD_HEAD_BYTES: usize = 32;
/// Writes of a test, all of them acknowledged and none delivered.
const WRITES: u64 = 120;

/// A router that was killed with so many acknowledged writes in its journal.
fn killed_with_a_backlog(writes: u64) -> World {
    let mut world = World::start("dualwrite", "overflow: fail_closed", SMALL);
    world.modern.kill();
    for id in 1..=writes {
        assert_eq!(world.put(&format!("e{}", id % 7), id).status(), 200);
    }
    world.kill();
    world
}

/// The segment that holds what was written last, and its bytes.
fn last_segment(world: &World) -> (PathBuf, Vec<u8>) {
    let journals = world.router.directory().join("state/journal");
    let mut found = Vec::new();
    let mut folders = vec![journals];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "segment") {
                found.push(path);
            }
        }
    }
    found.sort();
    let holds = |path: &Path| fs::read(path).unwrap().windows(3).any(|bytes| bytes == b"PUT");
    let path = found.into_iter().rev().find(|path| holds(path)).expect("a segment with a write");
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

/// Where the body of a write stands.
fn place(bytes: &[u8], id: u64) -> usize {
    let body = format!("{{\"id\":{id}}}");
    bytes.windows(body.len()).position(|window| window == body.as_bytes()).expect("its body is in the segment")
}

/// One byte behind the last record that was written. It may end with zeros, as that of a write without a body does.
fn end(bytes: &[u8]) -> usize {
    let number = |at: usize| bytes.get(at + 8..at + 16).map_or(0, |lsn| u64::from_le_bytes(lsn.try_into().unwrap()));
    let payload = |at: usize| u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
    let (mut at, mut next) = (HEADER_BYTES, number(HEADER_BYTES));
    while next != 0 && number(at) == next {
        at += (RECORD_HEAD_BYTES + payload(at)).next_multiple_of(8);
        next += 1;
    }
    at
}

fn overwrite(path: &Path, at: usize, with: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(with, at as u64).unwrap();
}

fn history(world: &World, writes: u64) -> History {
    let write = |id: u64| Write { id, entity: format!("e{}", id % 7), key: None, seen: Seen::Acknowledged };
    world.look((1..=writes).map(write).collect())
}

#[test]
fn garbage_behind_what_was_written_loses_nothing() {
    let mut chance = fastrand::Rng::with_seed(seed());
    for round in 0..8_u32 {
        let mut world = killed_with_a_backlog(WRITES);
        let (path, bytes) = last_segment(&world);
        let end = end(&bytes);
        let (from, to) = (chance.usize(0..end), chance.usize(1..6_000));
        // A record that was begun: bytes of another one, or anything at all.
        let mut garbage: Vec<u8> = bytes[from..(from + to).min(end)].to_vec();
        if round % 2 == 0 {
            chance.fill(&mut garbage);
        }
        overwrite(&path, end, &garbage);
        world.resume();
        world.drain();
        check(&history(&world, WRITES)).assert_kept(&format!("{} bytes behind {end}", garbage.len()));
    }
}

/// An fsync that was skipped, as a power loss would show it: the checker has to find each write that it cost.
#[test]
fn records_that_were_never_synced_are_found_to_be_lost() {
    let mut world = killed_with_a_backlog(WRITES);
    let (path, bytes) = last_segment(&world);
    let first = 101;
    let at = place(&bytes, first);
    overwrite(&path, at, &vec![0; bytes.len() - at]);
    world.resume();
    world.drain();
    let verdict = check(&history(&world, WRITES));
    let lost: Vec<_> = verdict.violations.iter().filter(|found| matches!(found, Violation::Lost(_))).cloned().collect();
    assert_eq!(lost, (first..=WRITES).map(Violation::Lost).collect::<Vec<_>>());
}

#[test]
fn damage_inside_acknowledged_data_is_reported() {
    // In a body, and in the bytes before it, among them a record's head.
    for back in [0, 200, 400] {
        let mut world = killed_with_a_backlog(WRITES);
        let (path, bytes) = last_segment(&world);
        let at = place(&bytes, 40) - back;
        overwrite(&path, at, &[bytes[at] ^ 0x41]);
        world.resume();
        let said = world.router.logs().into_iter().any(|line| line.contains("ERROR") && line.contains("journal"));
        assert!(
            said,
            "{back} bytes before: the log does not say that records are damaged:\n{}",
            world.router.logs().join("\n")
        );
        world.drain();
        let verdict = check(&history(&world, WRITES));
        let lost = |id| verdict.violations.contains(&Violation::Lost(id));
        assert!(!lost(1) && !lost(30) && lost(40), "{verdict:?}");
    }
}

/// Real traffic, killed and torn again and again: as in the crash test, with small segments and damage behind the end.
#[test]
fn torn_tails_under_traffic_lose_nothing() {
    let seed = seed();
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut world = World::start("dualwrite", "overflow: fail_closed, mode: strict", SMALL);
    let mut clients = Clients::start(world.router.listen, 3, seed);
    for _ in 0..15 {
        wait_for_writes(&clients, chance.usize(5..60));
        world.kill();
        let (path, bytes) = last_segment(&world);
        let mut garbage = vec![0; chance.usize(1..3_000)];
        chance.fill(&mut garbage);
        overwrite(&path, end(&bytes), &garbage);
        world.resume();
        clients.follow(&world.router);
    }
    clients.stop();
    world.verdict(&clients).assert_kept(&format!("seed {seed}"));
}
