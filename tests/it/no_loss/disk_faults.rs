//! The disk under the real router fails: syncs with EIO, writes with ENOSPC or cut short, under traffic, with kills and power
//! losses between; no acknowledged write is lost, and the router goes on when the disk works again.

use std::time::{Duration, Instant};

use super::checker::check;
use super::client::Clients;
use super::crash::{seed, upset, wait_for_writes};
use super::faulty_disk::{Count, Fault, Taken};
use super::history::{Seen, Write};
use super::power::SMALL;
use super::world::World;
use crate::support::PATIENCE;

/// Rounds of one mode; `BANYAN_CRASH_ROUNDS` sets another number.
const ROUNDS: u32 = 12;
/// Each failed sync costs a segment until its copies have arrived, and a journal has sixteen: so often they may arrive.
const ROUNDS_A_DRAIN: u32 = 8;
/// Clients that write at once.
const CLIENTS: u64 = 4;

pub(super) fn wait_until(what: &str, mut is_it: impl FnMut() -> bool) {
    let deadline = Instant::now() + 3 * PATIENCE;
    while !is_it() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn draw(chance: &mut fastrand::Rng) -> Fault {
    let skip = chance.u64(0..20);
    match chance.u8(0..8) {
        0 | 1 => Fault::Sync { skip, fail: 1 },
        2 => Fault::Sync { skip, fail: chance.u64(2..5) },
        3 => Fault::Sync { skip, fail: u64::MAX },
        4 => Fault::Write { skip, fail: chance.u64(1..4) },
        5 => Fault::Write { skip, fail: u64::MAX },
        6 => Fault::Short { every: chance.u64(1..4) },
        _ => Fault::Slow { us: chance.u64(1_000..30_000) },
    }
}

/// Lets a fault strike under traffic; then the router is left in it, or it recovers by itself.
fn strike(world: &World, clients: &Clients, chance: &mut fastrand::Rng) {
    let (fault, disk) = (draw(chance), world.disk());
    let struck = || match fault {
        Fault::Sync { .. } => disk.count(Count::SyncsFailed),
        Fault::Write { .. } => disk.count(Count::WritesFailed),
        Fault::Short { .. } => disk.count(Count::WritesShort),
        Fault::Slow { .. } | Fault::Lie => disk.count(Count::Syncs),
    };
    let before = struck();
    disk.fail(fault);
    wait_until("the fault strikes", || struck() > before);
    match chance.u8(0..3) {
        // Killed where it stands.
        0 => {}
        1 => {
            let (answers, more) = (clients.answered(), chance.usize(1..40));
            wait_until("clients are answered", || clients.answered() >= answers + more);
        }
        _ => {
            disk.heal();
            wait_for_writes(clients, chance.usize(1..20));
        }
    }
}

fn survive(mode: &str) {
    let seed = seed();
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut world = World::start_faulty("dualwrite", &format!("overflow: fail_closed, mode: {mode}"), SMALL);
    let mut clients = Clients::start(world.router.listen, CLIENTS, seed);
    let rounds = super::crash::rounds(ROUNDS);
    let mut losses = 0;
    for round in 1..=rounds {
        wait_for_writes(&clients, chance.usize(1..40));
        strike(&world, &clients, &mut chance);
        std::thread::sleep(Duration::from_micros(chance.u64(0..3_000)));
        world.kill();
        world.disk().heal();
        if chance.bool() {
            losses += 1;
            let taken = if chance.bool() { Taken::Everything } else { Taken::Some };
            world.disk().lose_power(taken, &mut chance);
        }
        upset(&mut world, &mut chance, false);
        world.resume();
        clients.follow(&world.router);
        if round % ROUNDS_A_DRAIN == 0 {
            clients.stop();
            world.verdict(&clients).assert_kept(&format!("{mode}, round {round}, seed {seed}"));
            clients.go_on(CLIENTS, seed ^ u64::from(round));
        }
    }
    clients.stop();
    let verdict = world.verdict(&clients);
    let disk = world.disk();
    let [syncs, writes, short] =
        [Count::SyncsFailed, Count::WritesFailed, Count::WritesShort].map(|what| disk.count(what));
    println!(
        "{mode}: {rounds} rounds, {losses} power losses, {syncs} syncs and {writes} writes failed, {short} cut short, seed {seed}: {verdict:?}"
    );
    verdict.assert_kept(&format!("{mode}, seed {seed}"));
}

#[test]
fn a_failing_disk_loses_nothing_in_mode_overlap() {
    survive("overlap");
}

#[test]
fn a_failing_disk_loses_nothing_in_mode_strict() {
    survive("strict");
}

#[test]
fn a_failing_disk_loses_nothing_in_mode_sync_outcome() {
    survive("sync_outcome");
}

/// Writes as one client does and notes what it saw.
fn write(world: &World, id: u64, writes: &mut Vec<Write>) -> u16 {
    let entity = format!("e{}", id % 7);
    let status = world.put(&entity, id).status();
    writes.push(Write { id, entity, key: None, seen: Seen::of(status) });
    status
}

fn errors(world: &World) -> f64 {
    world.router.metric("banyan_journal_disk_errors_total", &[])
}

fn is_failing(world: &World) -> bool {
    world.router.metric("banyan_journal_failing", &[]) == 1.0
}

/// Nothing arrives before the power is gone, so what arrives afterwards was on the disk.
fn assert_kept_in_the_dark(mut world: World, writes: Vec<Write>, what: &str) {
    world.kill();
    world.disk().lose_power(Taken::Everything, &mut fastrand::Rng::with_seed(0));
    world.resume();
    world.drain();
    check(&world.look(writes)).assert_kept(what);
}

#[test]
fn after_one_failed_sync_the_log_goes_on_in_another_segment_and_no_client_notices() {
    for skip in 0..3 {
        let mut world = World::start_faulty("dualwrite", "overflow: fail_closed", SMALL);
        world.modern.kill();
        let mut writes = Vec::new();
        assert_eq!(write(&world, 1, &mut writes), 200);
        world.disk().fail(Fault::Sync { skip, fail: 1 });
        for id in 2..30 {
            assert_eq!(write(&world, id, &mut writes), 200, "{id}");
        }
        assert_eq!(world.disk().count(Count::SyncsFailed), 1);
        assert!(errors(&world) >= 1.0 && !is_failing(&world), "{}", world.router.metrics());
        assert_kept_in_the_dark(world, writes, "one failed sync");
    }
}

#[test]
fn while_no_sync_works_writes_that_insist_are_refused_and_afterwards_all_goes_on() {
    let mut world = World::start_faulty("dualwrite", "overflow: fail_closed", SMALL);
    world.modern.kill();
    let mut writes = Vec::new();
    assert_eq!(write(&world, 1, &mut writes), 200);
    world.disk().fail(Fault::Sync { skip: 0, fail: u64::MAX });
    for id in 2..10 {
        assert_eq!(write(&world, id, &mut writes), 503, "{id}");
    }
    assert_eq!(world.router.get("/items/e1").status(), 200, "reads need no journal");
    assert!(is_failing(&world) && errors(&world) >= 2.0, "{}", world.router.metrics());
    world.router.wait_for_log("why", |line| line.contains("a write could not be kept for its copy"));
    world.disk().heal();
    wait_until("the disk is tried again", || write(&world, 10 + writes.len() as u64, &mut writes) == 200);
    assert!(!is_failing(&world));
    world.wait_for_gaps();
    let refused = writes.iter().filter(|write| write.seen == Seen::Unknown).count();
    assert_eq!(world.gaps().len(), refused, "the primary has done what was refused, so each is a gap");
    assert_kept_in_the_dark(world, writes, "fail_closed");
}

#[test]
fn while_no_sync_works_a_route_that_sheds_serves_and_each_write_leaves_a_gap() {
    for fault in [Fault::Sync { skip: 0, fail: u64::MAX }, Fault::Write { skip: 0, fail: u64::MAX }] {
        let mut world = World::start_faulty("dualwrite", "overflow: shed", SMALL);
        let mut writes = Vec::new();
        for id in 1..60 {
            match id {
                20 => world.disk().fail(fault),
                40 => {
                    assert!(is_failing(&world));
                    world.disk().heal();
                    world.router.wait_for_metric("banyan_journal_disk_errors_total", &[], 1.0);
                    wait_until("the disk is tried again", || !is_failing(&world));
                }
                _ => {}
            }
            assert_eq!(write(&world, id, &mut writes), 200, "{id}");
        }
        world.drain();
        world.wait_for_gaps();
        let verdict = check(&world.look(writes));
        let counted = world.router.metric("banyan_copies_writes_total", &[r#"what="gap""#]);
        assert_eq!((counted, verdict.gaps), (20.0, 20), "{fault:?}: {verdict:#?}");
        verdict.assert_kept(&format!("{fault:?}"));
    }
}

/// The intent is on the disk, and the outcome comes to one that fails: the copy must arrive without a restart.
#[test]
fn an_outcome_that_comes_while_the_disk_fails_is_not_forgotten() {
    for mode in ["overlap", "sync_outcome"] {
        let mut world = World::start_faulty("dualwrite", &format!("overflow: fail_closed, mode: {mode}"), SMALL);
        let mut writes = Vec::new();
        assert_eq!(write(&world, 1, &mut writes), 200);
        world.drain();
        world.legacy.behave("slow 1000");
        let answer = std::thread::scope(|scope| {
            let writing = scope.spawn(|| world.put("slow", 2).status());
            wait_until("the intent is synced", || world.disk().has_synced("/items/slow"));
            world.disk().fail(Fault::Write { skip: 0, fail: u64::MAX });
            writing.join().unwrap()
        });
        assert_eq!(answer, 200, "{mode}");
        writes.push(Write { id: 2, entity: "slow".to_owned(), key: None, seen: Seen::Acknowledged });
        wait_until("the outcome fails", || is_failing(&world));
        world.disk().heal();
        world.drain();
        check(&world.look(writes)).assert_kept(mode);
    }
}

/// A note of a delivery that is lost, with later ones kept, would bring the older copy again behind the newer one.
#[test]
fn a_delivery_that_could_not_be_noted_is_not_repeated_behind_a_later_one() {
    let mut world = World::start_faulty("dualwrite", "overflow: fail_closed, mode: sync_outcome", SMALL);
    // As long as its outcome is open, nothing behind it is forgotten.
    let mut open = world.router.connect();
    open.send(
        "PUT /items/open HTTP/1.1\r\nhost: a.example\r\nx-primary: stall\r\nx-write: 99\r\ncontent-length: 2\r\n\r\n{}",
    );
    wait_until("the open one is synced", || world.disk().has_synced("/items/open"));
    world.modern.behave("slow 1000");
    let mut writes = Vec::new();
    let mut put = |world: &World, entity: &str| {
        let id = writes.len() as u64 + 1;
        let seen = Seen::of(world.put(entity, id).status());
        writes.push(Write { id, entity: entity.to_owned(), key: None, seen });
        (seen == Seen::Acknowledged).then_some(id)
    };
    let arrived = |world: &World, id: u64| world.modern.entries().iter().any(|entry| entry.owner == Some(id));
    let first = put(&world, "a").unwrap();
    world.disk().fail(Fault::Write { skip: 0, fail: u64::MAX });
    wait_until("the first copy arrives", || arrived(&world, first));
    wait_until("its note fails", || is_failing(&world));
    world.disk().heal();
    world.modern.behave("well");
    wait_until("the disk is tried again", || !is_failing(&world));
    let later = put(&world, "a").unwrap();
    wait_until("the later copy has come to its end", || world.router.metric("banyan_copies_pending", &[]) == 1.0);
    assert!(arrived(&world, later));
    // What is acknowledged behind its note is written behind it.
    put(&world, "c").unwrap();
    writes.push(Write { id: 99, entity: "open".to_owned(), key: None, seen: Seen::Unknown });
    world.kill();
    world.resume();
    world.drain();
    check(&world.look(writes)).assert_kept("the last one is in force");
}
