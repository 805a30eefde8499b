//! A state directory on a disk that fills up, in earnest: a small file system of its own.

use super::checker::check;
use super::history::{Seen, Write};
use super::world::World;

/// Bytes of the file system; the journal is told that it may take more.
const DISK_BYTES: u64 = 24 * 1024 * 1024;
const JOURNAL: &[&str] = &["--journal-bytes-max", "67108864"];
/// Bytes of each body: some hundreds fill the disk.
const BODY_BYTES: usize = 32 * 1024;
const WRITES: u64 = 1_200;

/// Writes until the disk must be full, with nobody to deliver to.
fn fill(copies: &str) -> (World, Vec<Write>) {
    let mut world = World::start_on_disk("dualwrite", copies, JOURNAL, DISK_BYTES);
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
fn a_full_disk_with_fail_closed_refuses_writes_and_loses_none() {
    let (mut world, writes) = fill("overflow: fail_closed");
    let refused = writes.iter().filter(|write| write.seen == Seen::Unknown).count();
    let acknowledged = writes.len() - refused;
    println!("{acknowledged} acknowledged, {refused} refused");
    assert!(refused > 100 && acknowledged > 100, "{acknowledged} acknowledged, {refused} refused");
    // Reads need no journal.
    assert!(matches!(world.router.get("/items/e1").status(), 200));
    world.drain();
    check(&world.look(writes)).assert_kept("fail_closed");
    // There is room again once all has been delivered.
    assert_eq!(world.put_large("again", WRITES + 1, BODY_BYTES).status(), 200);
}

#[test]
fn a_full_disk_with_shed_serves_every_write_and_reports_each_that_is_not_copied() {
    let (mut world, writes) = fill("overflow: shed");
    assert!(writes.iter().all(|write| write.seen == Seen::Acknowledged));
    world.drain();
    let verdict = check(&world.look(writes));
    println!("{verdict:?}");
    verdict.assert_kept("shed");
    assert!(verdict.gaps > 100, "{verdict:?}");
}
