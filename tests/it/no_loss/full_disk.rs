//! A state directory on a disk that fills up, in earnest: a small file system of its own.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::checker::check;
use super::disk_faults::wait_until;
use super::history::{Seen, Write};
use super::world::World;

/// Bytes of the file system, and what the journal is told that it may take: more than there is, or less.
const SMALL_DISK: (u64, &str) = (24 * 1024 * 1024, "67108864");
const SMALL_JOURNAL: (u64, &str) = (96 * 1024 * 1024, "33554432");
/// Bytes of each body: some hundreds fill the disk.
const BODY_BYTES: usize = 32 * 1024;
const WRITES: u64 = 1_200;
/// Writes to entities with long names, and bytes of a name.
const LONG_NAMES: u64 = 600;
const NAME_BYTES: usize = 6_000;

/// Writes until the disk must be full, with nobody to deliver to.
fn fill(copies: &str, (disk, journal): (u64, &str)) -> (World, Vec<Write>) {
    let mut world = World::start_on_disk("dualwrite", copies, &["--journal-bytes-max", journal], disk);
    world.modern.kill();
    let mut writes = Vec::new();
    for id in 1..=WRITES {
        let entity = format!("e{id}");
        let answer = world.put_large(&entity, id, BODY_BYTES);
        let seen = Seen::of(answer.status());
        assert!(matches!(answer.status(), 200 | 503), "{} {}", answer.status(), answer.text());
        writes.push(Write { id, entity, key: None, seen });
    }
    (world, writes)
}

#[test]
fn with_fail_closed_writes_are_refused_and_none_is_lost() {
    for room in [SMALL_DISK, SMALL_JOURNAL] {
        let (mut world, writes) = fill("overflow: fail_closed", room);
        let refused = writes.iter().filter(|write| write.seen == Seen::Unknown).count();
        let acknowledged = writes.len() - refused;
        println!("{acknowledged} acknowledged, {refused} refused");
        assert!(refused > 100 && acknowledged > 100, "{acknowledged} acknowledged, {refused} refused");
        // Reads need no journal.
        assert_eq!(world.router.get("/items/e1").status(), 200);
        world.drain();
        check(&world.look(writes)).assert_kept("fail_closed");
        // There is room again once all has been delivered.
        assert_eq!(world.put_large("again", WRITES + 1, BODY_BYTES).status(), 200);
    }
}

#[test]
fn with_shed_every_write_is_served_and_each_that_is_not_copied_is_reported() {
    for room in [SMALL_DISK, SMALL_JOURNAL] {
        let (mut world, writes) = fill("overflow: shed", room);
        assert!(writes.iter().all(|write| write.seen == Seen::Acknowledged));
        world.drain();
        world.wait_for_gaps();
        let verdict = check(&world.look(writes));
        println!("{verdict:?}");
        verdict.assert_kept("shed");
        assert!(verdict.gaps > 100, "{verdict:?}");
        assert_eq!(world.router.metric("banyan_copies_writes_total", &[r#"what="gap_lost""#]), 0.0);
    }
}

/// The journal has no segment to write a gap into, and the tables have no room either.
#[test]
fn gaps_wait_in_memory_for_room_on_a_disk_that_others_have_filled() {
    let mut world =
        World::start_on_disk("dualwrite", "overflow: shed", &["--journal-bytes-max", SMALL_JOURNAL.1], SMALL_DISK.0);
    let filler = world.state().join("filler");
    fill_up(&filler);
    let mut writes = Vec::new();
    // Together they are more than the pages that the tables have already.
    for id in 1..=LONG_NAMES {
        let entity = format!("e{id}-{}", "x".repeat(NAME_BYTES));
        assert_eq!(world.put(&entity, id).status(), 200);
        writes.push(Write { id, entity, key: None, seen: Seen::Acknowledged });
    }
    assert_eq!(world.router.metric("banyan_copies_writes_total", &[r#"what="gap""#]), LONG_NAMES as f64);
    world.router.wait_for_metric("banyan_copies_gaps_waiting", &[], 1.0);
    std::fs::remove_file(filler).unwrap();
    world.drain();
    world.wait_for_gaps();
    let verdict = check(&world.look(writes));
    verdict.assert_kept("shed");
    // A mark may come before the journal has seen that there is room again, and is shed, too.
    assert!(verdict.gaps >= LONG_NAMES as usize, "{verdict:?}");
    assert_eq!(world.router.metric("banyan_copies_gaps_waiting", &[]), 0.0);
    assert!(world.router.logs().iter().any(|line| line.contains("wait in memory")));
}

/// The note of a delivery finds no room, and waits: what is acknowledged later must not get into the journal before it.
#[test]
fn nothing_overtakes_a_note_that_waits_for_room_on_a_full_disk() {
    let mut world =
        World::start_on_disk("dualwrite", "overflow: shed", &["--journal-bytes-max", SMALL_JOURNAL.1], SMALL_DISK.0);
    // As long as its outcome is open, nothing behind it is forgotten.
    let mut open = world.router.connect();
    let stalled = "PUT /items/open HTTP/1.1\r\nhost: a.example\r\nx-primary: stall\r\nx-write: 99999\r\n";
    open.send(format!("{stalled}content-length: 2\r\n\r\n{{}}"));
    wait_until("the open one is kept", || world.router.metric("banyan_copies_pending", &[]) == 1.0);
    world.modern.behave("slow 8000");
    let acknowledged =
        |entity: &str, id: u64| Write { id, entity: entity.to_owned(), key: None, seen: Seen::Acknowledged };
    assert_eq!(world.put("a", 1).status(), 200);
    let filler = world.state().join("filler");
    fill_up(&filler);
    let mut writes = vec![acknowledged("a", 1)];
    // Gaps take what is left of the segments.
    let mut id = 1;
    while world.router.metric("banyan_copies_gaps_waiting", &[]) == 0.0 {
        id += 1;
        assert!(id < 4 * LONG_NAMES, "no gap ever waits");
        let entity = format!("e{id}-{}", "x".repeat(NAME_BYTES));
        assert_eq!(world.put(&entity, id).status(), 200);
        writes.push(acknowledged(&entity, id));
    }
    let arrived = |world: &World, id: u64| world.modern.entries().iter().any(|entry| entry.owner == Some(id));
    wait_until("the first copy arrives", || arrived(&world, 1));
    std::fs::remove_file(filler).unwrap();
    world.modern.behave("well");
    // It is shed until the journal has seen that there is room.
    let before = id;
    while !arrived(&world, id) {
        id += 1;
        assert_eq!(world.put("a", id).status(), 200);
        writes.push(acknowledged("a", id));
        let until = std::time::Instant::now() + std::time::Duration::from_millis(500);
        while !arrived(&world, id) && std::time::Instant::now() < until {
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        assert!(id < before + 100, "no copy arrives any more");
    }
    world.wait_for_gaps();
    writes.push(Write { id: 99_999, entity: "open".to_owned(), key: None, seen: Seen::Unknown });
    // A note that got behind a later one, or was forgotten, sends the first once more when the router starts again.
    world.kill_keeping_state();
    world.resume();
    world.drain();
    check(&world.look(writes)).assert_kept("the last one is in force");
}

/// Writes a file until there is no byte left.
fn fill_up(path: &Path) {
    let mut file = File::create(path).unwrap();
    for bytes in [65_536, 1] {
        while file.write_all(&vec![0; bytes]).is_ok() {}
    }
}
