//! The router killed with SIGKILL at random points under real traffic, many times: every acknowledged write is where it belongs.

use std::time::{Duration, Instant};

use super::checker::{Violation, check};
use super::client::Clients;
use super::world::{World, stage};
use crate::support::PATIENCE;

/// Clients that write at once.
const CLIENTS: u64 = 4;

/// Kills of one run of the tests; `BANYAN_CRASH_ROUNDS` sets another number.
const ROUNDS: u32 = 200;

/// The seed of everything random, from `BANYAN_CRASH_SEED` or drawn.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("BANYAN_CRASH_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("BANYAN_CRASH_SEED={seed}");
    seed
}

/// `BANYAN_CRASH_ROUNDS`, or the usual number.
pub(super) fn rounds(usual: u32) -> u32 {
    std::env::var("BANYAN_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Lets the traffic run for so many acknowledged writes more.
pub(crate) fn wait_for_writes(clients: &Clients, more: usize) {
    let until = clients.acknowledged() + more;
    let deadline = Instant::now() + 3 * PATIENCE;
    while clients.acknowledged() < until {
        assert!(Instant::now() < deadline, "no write is acknowledged any more: {:?}", clients.writes().last());
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Without copies nothing is safe: if the checker is silent here, it sees nothing.
#[test]
fn without_copies_every_acknowledged_write_is_found_to_be_lost() {
    let seed = seed();
    let world = World::start("off", "", &[]);
    let mut clients = Clients::start(world.router.listen, CLIENTS, seed);
    wait_for_writes(&clients, 200);
    clients.stop();
    let history = super::history::History {
        writes: clients.writes(),
        sides: [world.legacy.entries(), world.modern.entries()],
        ..Default::default()
    };
    let verdict = check(&history);
    let lost = verdict.violations.iter().filter(|violation| matches!(violation, Violation::Lost(_))).count();
    assert_eq!(lost, verdict.acknowledged, "seed {seed}: {verdict:#?}");
    assert!(verdict.violations.iter().any(|violation| matches!(violation, Violation::Diverged(_))));
}

#[test]
fn acknowledged_writes_survive_sigkill_at_random_points() {
    let seed = seed();
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut world = World::start("dualwrite", "overflow: fail_closed", &[]);
    let mut clients = Clients::start(world.router.listen, CLIENTS, seed);
    let rounds = rounds(ROUNDS);
    for round in 0..rounds {
        if round % 20 == 0 {
            println!("round {round}, {} acknowledged", clients.acknowledged());
        }
        // Three quarters in `dualwrite`, the rest in `live`: what was on its way arrives in between.
        if round == rounds / 4 * 3 {
            clients.stop();
            world.verdict(&clients).assert_kept(&format!("seed {seed}, before live"));
            world.router.edit_flags(&stage("live"));
            world.router.wait_for_metric("banyan_config_reloads_total", &[r#"result="published""#], 1.0);
            clients.follow(&world.router);
            clients.go_on(CLIENTS, seed ^ 0x11ee);
        }
        wait_for_writes(&clients, chance.usize(1..60));
        // Anywhere within a write, too.
        std::thread::sleep(Duration::from_micros(chance.u64(0..3_000)));
        world.kill();
        upset(&mut world, &mut chance, round >= rounds / 4 * 3);
        world.resume();
        clients.follow(&world.router);
    }
    clients.stop();
    let verdict = world.verdict(&clients);
    println!("crash test: {rounds} rounds, seed {seed}: {verdict:?}");
    verdict.assert_kept(&format!("seed {seed}"));
    assert!(verdict.acknowledged > 10 * rounds as usize, "{verdict:?}");
}

/// Kills, starts or slows one of the services, mostly the one that gets the copies.
pub(super) fn upset(world: &mut World, chance: &mut fastrand::Rng, is_live: bool) {
    // Who serves comes back at once, or nothing would be acknowledged any more.
    let (server, copied) =
        if is_live { (&mut world.modern, &mut world.legacy) } else { (&mut world.legacy, &mut world.modern) };
    match chance.u8(0..10) {
        0 => {
            server.kill();
            server.resume();
        }
        1 => copied.kill(),
        2..=5 if !copied.is_running() => copied.resume(),
        2..=4 => copied.behave("well"),
        6 if copied.is_running() => copied.behave("busy"),
        7 if copied.is_running() => copied.behave("slow 10"),
        _ => {}
    }
}
