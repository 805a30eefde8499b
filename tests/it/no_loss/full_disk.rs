//! A state directory on a disk that fills up, in earnest: a small file system of its own.

use super::checker::{Violation, check};
use super::history::{Seen, Write};
use super::world::World;

/// Bytes of the file system, and what the journal is told that it may take: more than there is, or less.
const SMALL_DISK: (u64, &str) = (24 * 1024 * 1024, "67108864");
const SMALL_JOURNAL: (u64, &str) = (96 * 1024 * 1024, "33554432");
/// Bytes of each body: some hundreds fill the disk.
const BODY_BYTES: usize = 32 * 1024;
const WRITES: u64 = 1_200;

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
    let (mut world, writes) = fill("overflow: shed", SMALL_JOURNAL);
    assert!(writes.iter().all(|write| write.seen == Seen::Acknowledged));
    world.drain();
    let verdict = check(&world.look(writes));
    println!("{verdict:?}");
    verdict.assert_kept("shed");
    assert!(verdict.gaps > 100, "{verdict:?}");
}

/// No record can be written any more, not even of a gap: the count is what is left to say it.
#[test]
fn with_shed_on_a_full_disk_every_write_is_served_and_those_that_are_not_copied_are_counted() {
    let (mut world, writes) = fill("overflow: shed", SMALL_DISK);
    assert!(writes.iter().all(|write| write.seen == Seen::Acknowledged));
    world.drain();
    let verdict = check(&world.look(writes));
    let lost = verdict.violations.iter().filter(|found| matches!(found, Violation::Lost(_))).count();
    let counted = world.router.metric("banyan_copies_writes_total", &[r#"what="gap""#]);
    assert!(lost > 100 && counted == (lost + verdict.gaps) as f64, "{counted} counted, {lost} lost: {verdict:?}");
}
