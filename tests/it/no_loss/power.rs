//! Power losses: the router is killed, and its state directory becomes what was on the disk then and nothing more.

use rustix::process::Signal;

use super::checker::{Violation, check};
use super::crash::seed;
use super::faulty_disk::{Count, Fault, Taken};
use super::history::{History, Seen, Write};
use super::world::World;

/// Small segments: several are begun.
pub(super) const SMALL: &[&str] = &["--journal-bytes-max", "33554432"];
/// Writes of a test, all of them acknowledged and none delivered.
const WRITES: u64 = 120;
/// From this one on, syncs lie in the test of that.
const LIE: u64 = 101;

fn write(world: &World, id: u64) {
    assert_eq!(world.put(&format!("e{}", id % 7), id).status(), 200);
}

fn history(world: &World, writes: u64) -> History {
    let write = |id: u64| Write { id, entity: format!("e{}", id % 7), key: None, seen: Seen::Acknowledged };
    world.look((1..=writes).map(write).collect())
}

#[test]
fn g2_a_write_whose_success_was_seen_arrives_after_a_power_loss() {
    let seed = seed();
    let mut chance = fastrand::Rng::with_seed(seed);
    for mode in ["overlap", "strict", "sync_outcome"] {
        for taken in [Taken::Everything, Taken::Some] {
            let mut world = World::start_faulty("dualwrite", &format!("overflow: fail_closed, mode: {mode}"), SMALL);
            world.modern.kill();
            (1..=WRITES).for_each(|id| write(&world, id));
            world.kill();
            world.disk().lose_power(taken, &mut chance);
            world.resume();
            world.drain();
            check(&history(&world, WRITES)).assert_kept(&format!("{mode}, {taken:?}, seed {seed}"));
        }
    }
}

/// In the first run nothing has synced the names of the files yet but what made them.
#[test]
fn what_was_parked_in_the_first_run_is_there_after_a_power_loss() {
    let mut world = World::start_faulty("dualwrite", "overflow: fail_closed", SMALL);
    let head = "PUT /items/e1 HTTP/1.1\r\nhost: a.example\r\nx-write: 1\r\nx-copy: reject\r\n";
    assert_eq!(world.router.exchange(format!("{head}content-length: 8\r\n\r\n{{\"id\":1}}")).status(), 200);
    world.router.wait_for_metric("banyan_copies_parked", &[], 1.0);
    // Its sync covers the note that the first has come to its end.
    write(&world, 2);
    world.kill();
    world.disk().lose_power(Taken::Everything, &mut fastrand::Rng::with_seed(0));
    world.resume();
    world.drain();
    let verdict = check(&history(&world, 2));
    assert_eq!(verdict.parked, 1, "{verdict:?}");
    verdict.assert_kept("parked");
}

/// A sync that does nothing, as a power loss shows it: the checker has to name each write that it cost, and no other.
#[test]
fn writes_that_were_synced_by_a_lie_are_found_to_be_lost() {
    let mut world = World::start_faulty("dualwrite", "overflow: fail_closed", SMALL);
    world.modern.kill();
    (1..LIE).for_each(|id| write(&world, id));
    world.disk().fail(Fault::Lie);
    (LIE..=WRITES).for_each(|id| write(&world, id));
    assert!(world.disk().count(Count::SyncsLied) > 0);
    world.kill();
    world.disk().heal();
    world.disk().lose_power(Taken::Everything, &mut fastrand::Rng::with_seed(0));
    world.resume();
    world.drain();
    let verdict = check(&history(&world, WRITES));
    let lost: Vec<_> = verdict.violations.iter().filter(|found| matches!(found, Violation::Lost(_))).cloned().collect();
    assert_eq!(lost, (LIE..=WRITES).map(Violation::Lost).collect::<Vec<_>>());
}

/// What the simulation rests on: the shim has seen every write to what is synced in the end.
#[test]
fn after_a_good_end_all_that_is_there_was_synced() {
    let mut world = World::start_faulty("dualwrite", "overflow: fail_closed", SMALL);
    (1..=WRITES).for_each(|id| write(&world, id));
    world.drain();
    world.router.signal(Signal::TERM);
    world.router.wait_for_exit();
    let unsynced = world.disk().unsynced();
    let names = unsynced.iter().map(|path| path.extension().and_then(|name| name.to_str()).unwrap_or_default());
    let left: Vec<_> = names.filter(|name| ["segment", "redb", "key", "run"].contains(name)).collect();
    assert!(left.is_empty(), "{unsynced:?}");
    assert!(world.disk().count(Count::Syncs) > 0);
}
