//! Faults of the disk in the tables beside the journal, and while the router starts: nothing that was acknowledged is lost.

use super::checker::check;
use super::disk_faults::wait_until;
use super::faulty_disk::{Count, Fault, Files, Taken};
use super::history::{Seen, Write};
use super::power::SMALL;
use super::world::World;

const SYNCS: Fault = Fault::Sync { skip: 0, fail: u64::MAX };
const WRITES: Fault = Fault::Write { skip: 0, fail: u64::MAX };

fn struck(world: &World) -> u64 {
    world.disk().count(Count::SyncsFailed) + world.disk().count(Count::WritesFailed)
}

fn seen(entity: &str, id: u64) -> Write {
    Write { id, entity: entity.to_owned(), key: None, seen: Seen::Acknowledged }
}

/// Ends the fault: the router goes on, or is killed in it and has only what was synced.
fn end_fault(world: &mut World, is_power_loss: bool) {
    if is_power_loss {
        world.kill();
        world.disk().heal();
        world.disk().lose_power(Taken::Everything, &mut fastrand::Rng::with_seed(0));
        world.resume();
    } else {
        world.disk().heal();
    }
}

#[test]
fn a_copy_that_cannot_be_parked_waits_in_its_lane_for_the_tables_and_others_go_on() {
    for (fault, is_power_loss) in [(SYNCS, false), (WRITES, true)] {
        let mut world = World::start_faulty("dualwrite", "overflow: fail_closed", SMALL);
        assert_eq!(world.put("before", 1).status(), 200);
        world.drain();
        world.disk().fail_in(Files::Tables, fault);
        let refused = "PUT /items/e1 HTTP/1.1\r\nhost: a.example\r\nx-write: 2\r\nx-copy: reject\r\n";
        assert_eq!(world.router.exchange(format!("{refused}content-length: 8\r\n\r\n{{\"id\":2}}")).status(), 200);
        wait_until("the fault strikes", || struck(&world) > 0);
        assert_eq!((world.put("e1", 3).status(), world.put("other", 4).status()), (200, 200));
        let arrived = |world: &World, id: u64| {
            world.modern.entries().iter().any(|entry| entry.owner == Some(id) && entry.applied)
        };
        wait_until("the other arrives", || arrived(&world, 4));
        assert!(!arrived(&world, 3), "what is behind the one that waits comes behind it");
        assert!(world.router.metric("banyan_copies_pending", &[]) >= 2.0);
        end_fault(&mut world, is_power_loss);
        world.drain();
        let verdict = check(&world.look(vec![seen("before", 1), seen("e1", 2), seen("e1", 3), seen("other", 4)]));
        verdict.assert_kept(&format!("{fault:?}"));
        assert_eq!(verdict.parked, 1, "{verdict:?}");
    }
}

#[test]
fn gaps_that_the_tables_do_not_take_are_there_when_they_do() {
    for (fault, is_power_loss) in [(SYNCS, true), (WRITES, false)] {
        let mut world = World::start_faulty("dualwrite", "overflow: shed, body_bytes_max: 64", SMALL);
        assert_eq!(world.put("before", 1).status(), 200);
        world.drain();
        world.disk().fail_in(Files::Tables, fault);
        for id in 2..10 {
            assert_eq!(world.put_large(&format!("large{id}"), id, 100).status(), 200);
        }
        wait_until("the fault strikes", || struck(&world) > 0);
        // Its sync covers the gaps.
        assert_eq!(world.put("behind", 10).status(), 200);
        end_fault(&mut world, is_power_loss);
        world.drain();
        wait_until("the tables are open again", || world.has_tables());
        wait_until("all gaps are known", || world.gaps().len() == 8);
        let mut writes: Vec<Write> = (2..10).map(|id| seen(&format!("large{id}"), id)).collect();
        writes.extend([seen("before", 1), seen("behind", 10)]);
        let verdict = check(&world.look(writes));
        verdict.assert_kept(&format!("{fault:?}"));
        assert_eq!(verdict.gaps, 8, "{verdict:?}");
    }
}

#[test]
fn a_start_on_a_disk_that_fails_serves_or_says_why_and_nothing_is_lost() {
    let (mut served, mut ended) = (0, 0);
    let once = [Fault::Sync { skip: 2, fail: 1 }, Fault::Write { skip: 2, fail: 1 }];
    for files in [Files::Journal, Files::Tables, Files::All] {
        for fault in [SYNCS, WRITES, once[0], once[1]] {
            let mut world = World::start_faulty("dualwrite", "overflow: fail_closed", SMALL);
            world.modern.kill();
            let mut writes = Vec::new();
            for id in 1..=10 {
                assert_eq!(world.put(&format!("e{}", id % 3), id).status(), 200);
                writes.push(seen(&format!("e{}", id % 3), id));
            }
            world.kill();
            world.disk().fail_in(files, fault);
            match world.try_resume() {
                Ok(()) => {
                    served += 1;
                    let answer = world.put("e1", 11);
                    writes.push(Write { seen: Seen::of(answer.status()), ..seen("e1", 11) });
                    world.kill();
                }
                Err((status, log)) => {
                    ended += 1;
                    assert!(status.code() == Some(1) && log.contains("ERROR"), "{files:?}, {fault:?}: {status}: {log}");
                    assert!(log.contains("os error") || log.contains("I/O error"), "{files:?}, {fault:?}: {log}");
                }
            }
            world.disk().heal();
            world.disk().lose_power(Taken::Everything, &mut fastrand::Rng::with_seed(0));
            world.resume();
            world.drain();
            check(&world.look(writes)).assert_kept(&format!("{files:?}, {fault:?}"));
        }
    }
    println!("{served} starts served, {ended} ended with an error");
    assert!(served > 0 && ended > 0, "{served} starts served, {ended} ended with an error");
}
