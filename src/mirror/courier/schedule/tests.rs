//! Tests of the schedule: what may go when, and that no order of events loses, doubles or reorders a copy.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::mirror::record::Body;

pub(in crate::mirror::courier) fn intent(id: u128, entity: Option<&str>, target: &str) -> Intent {
    Intent {
        destination: "modern".into(),
        id: CopyId(id),
        primary: "legacy".into(),
        route: "orders".into(),
        epoch: 1,
        unix_ms: 1,
        entity: entity.map(Into::into),
        method: if entity.is_some() { "PUT" } else { "POST" }.into(),
        target: target.into(),
        key: format!("key-{id}").into(),
        hops: "".into(),
        headers: Vec::new(),
        body: Body::Inline(vec![Bytes::from_static(b"{}")]),
    }
}

pub(in crate::mirror::courier) fn outcome(id: u128, class: Class, entity: Option<&str>) -> Outcome {
    Outcome {
        destination: "modern".into(),
        id: CopyId(id),
        class,
        status: 200,
        is_final: true,
        entity: entity.map(Into::into),
        created: entity.map(Into::into),
    }
}

/// A schedule of copies, each of an entity, all acknowledged.
fn acknowledged(entities: &[&str]) -> Schedule {
    let mut schedule = Schedule::default();
    for (at, entity) in (1..).zip(entities) {
        schedule.admit(Lsn(at), None, &intent(u128::from(at), Some(entity), "/"), 10);
        schedule.outcome(&outcome(u128::from(at), Class::Acknowledged, None));
    }
    schedule
}

fn next(schedule: &mut Schedule, now_ms: u64) -> Option<u64> {
    schedule.head(now_ms)?;
    schedule.take().map(|job| job.lsn.0)
}

#[test]
fn one_goes_at_a_time_for_an_entity_and_others_beside_it() {
    let mut schedule = acknowledged(&["a", "a", "b", "a"]);
    assert_eq!((next(&mut schedule, 0), next(&mut schedule, 0), next(&mut schedule, 0)), (Some(1), Some(3), None));
    schedule.end(Lsn(1));
    assert_eq!((next(&mut schedule, 0), next(&mut schedule, 0)), (Some(2), None));
    schedule.end(Lsn(2));
    schedule.end(Lsn(3));
    assert_eq!(next(&mut schedule, 0), Some(4));
    schedule.end(Lsn(4));
    assert_eq!((schedule.oldest(), schedule.bytes(), schedule.closed()), (None, 0, 0));
}

#[test]
fn an_open_copy_holds_back_what_is_behind_it() {
    let mut schedule = Schedule::default();
    schedule.admit(Lsn(1), None, &intent(1, Some("a"), "/"), 1);
    schedule.admit(Lsn(2), None, &intent(2, Some("a"), "/"), 1);
    schedule.outcome(&outcome(2, Class::Acknowledged, None));
    assert_eq!(next(&mut schedule, 0), None);
    schedule.outcome(&outcome(1, Class::Acknowledged, None));
    assert_eq!(next(&mut schedule, 0), Some(1));
}

#[test]
fn a_copy_that_waits_keeps_its_place_and_blocks_nobody_else() {
    let mut schedule = acknowledged(&["a", "a", "b"]);
    schedule.head(0);
    let job = schedule.take().unwrap();
    schedule.put_back(&job, 100);
    assert_eq!((next(&mut schedule, 50), next(&mut schedule, 50)), (Some(3), None));
    assert_eq!(next(&mut schedule, 100), Some(1));
}

#[test]
fn what_was_created_waits_for_its_create() {
    let mut schedule = Schedule::default();
    schedule.admit(Lsn(1), None, &intent(1, None, "/orders"), 1);
    schedule.admit(Lsn(2), None, &intent(2, Some("order:17"), "/orders/17"), 1);
    schedule.outcome(&outcome(2, Class::Acknowledged, None));
    schedule.admit(Lsn(3), None, &intent(3, None, "/orders"), 1);
    schedule.outcome(&outcome(1, Class::Acknowledged, Some("order:17")));
    schedule.outcome(&outcome(3, Class::Acknowledged, Some("order:18")));
    // Creates whose names are known hold up nobody but what they made.
    assert_eq!((next(&mut schedule, 0), next(&mut schedule, 0), next(&mut schedule, 0)), (Some(1), Some(3), None));
    schedule.end(Lsn(1));
    assert_eq!((next(&mut schedule, 0), next(&mut schedule, 0)), (Some(2), None));
}

/// A write whose outcome is unknown, then one after the other of the same entity, each a method with its target and class.
fn behind_an_unknown(writes: &[(&str, &str, Class)]) -> (Schedule, Job) {
    let mut schedule = Schedule::default();
    for (at, (method, target, class)) in (1..).zip([("PATCH", "/a", Class::Unknown)].iter().chain(writes)) {
        let intent = Intent { method: (*method).into(), ..intent(u128::from(at), Some("a"), target) };
        schedule.admit(Lsn(at), None, &intent, 1);
        schedule.outcome(&outcome(u128::from(at), *class, None));
    }
    schedule.head(0);
    let job = schedule.take().unwrap();
    (schedule, job)
}

#[test]
fn what_a_state_holds_is_not_done_again() {
    use Class::{Acknowledged as Done, Rejected, Unknown};
    let patch = ("PATCH", "/a", Done);
    for (writes, wanted) in [
        (vec![], None),
        (vec![patch], Some(2)),
        // What says what is to be goes out again, unless something that adds stands behind it.
        (vec![("PUT", "/a", Done), ("DELETE", "/a", Done)], None),
        (vec![("PUT", "/a", Done), patch, ("PUT", "/a", Done)], Some(3)),
        (vec![patch, ("PATCH", "/a", Rejected), patch], Some(4)),
        // Behind what is not known, or stands elsewhere, nobody can tell.
        (vec![patch, ("PUT", "/a", Unknown), patch], Some(2)),
        (vec![patch, ("PATCH", "/a/lines/1", Done), patch], Some(2)),
        (vec![("PATCH", "/a?x=y", Done)], None),
    ] {
        let (schedule, job) = behind_an_unknown(&writes);
        assert_eq!(schedule.covered_to(&job).map(|lsn| lsn.0), wanted, "{writes:?}");
    }
}

#[test]
fn a_state_holds_nothing_of_another_primary_or_lane_nor_a_create() {
    let (mut schedule, job) = behind_an_unknown(&[]);
    let patch = |id, entity| Intent { method: "PATCH".into(), ..intent(id, Some(entity), "/a") };
    schedule.admit(Lsn(2), None, &patch(2, "b"), 1);
    schedule.admit(Lsn(3), None, &Intent { primary: "modern".into(), ..patch(3, "a") }, 1);
    schedule.admit(Lsn(4), None, &patch(4, "a"), 1);
    for id in 2..5 {
        schedule.outcome(&outcome(id, Class::Acknowledged, None));
    }
    assert_eq!(schedule.covered_to(&job), None);
    let (mut schedule, job) = behind_an_unknown(&[]);
    schedule.admit(Lsn(2), None, &intent(2, None, "/a"), 1);
    schedule.outcome(&outcome(2, Class::Acknowledged, Some("a")));
    assert_eq!(schedule.covered_to(&job), None);
    // What is only accepted may be done later.
    let (mut schedule, job) = behind_an_unknown(&[]);
    schedule.admit(Lsn(2), None, &patch(2, "a"), 1);
    schedule.outcome(&Outcome { status: 202, ..outcome(2, Class::Acknowledged, None) });
    assert_eq!(schedule.covered_to(&job), None);
    // What an open write comes to is not in the state for sure.
    let (mut schedule, job) = behind_an_unknown(&[]);
    schedule.admit(Lsn(2), None, &patch(2, "a"), 1);
    assert_eq!(schedule.covered_to(&job), None);
}

#[test]
fn what_became_known_after_the_state_was_asked_for_is_sent() {
    let (mut schedule, job) =
        behind_an_unknown(&[("PUT", "/a", Class::Acknowledged), ("PATCH", "/a", Class::Acknowledged)]);
    let to = schedule.covered_to(&job).unwrap();
    let late = Intent { method: "PATCH".into(), ..intent(4, Some("a"), "/a") };
    schedule.admit(Lsn(4), None, &late, 1);
    schedule.outcome(&outcome(4, Class::Acknowledged, None));
    schedule.cover(&job, to);
    schedule.end(job.lsn);
    let mut sent = Vec::new();
    while schedule.head(0).is_some() {
        let job = schedule.take().unwrap();
        sent.push((job.lsn.0, job.covered));
        schedule.end(job.lsn);
    }
    assert_eq!(sent, [(2, true), (3, true), (4, false)]);
    // A fence that comes meanwhile is stronger: what it keeps back is for a person.
    let (mut schedule, job) = behind_an_unknown(&[("PATCH", "/a", Class::Acknowledged)]);
    let to = schedule.covered_to(&job).unwrap();
    schedule.fence("a", Lsn(9));
    schedule.cover(&job, to);
    schedule.end(job.lsn);
    schedule.head(0);
    assert!(schedule.take().is_some_and(|job| job.superseded && !job.covered));
}

#[test]
fn a_create_comes_before_what_was_under_way_when_its_name_became_known() {
    let mut schedule = Schedule::default();
    schedule.admit(Lsn(1), None, &intent(1, None, "/orders"), 1);
    schedule.admit(Lsn(2), None, &intent(2, Some("e"), "/orders/e"), 1);
    schedule.outcome(&outcome(2, Class::Acknowledged, None));
    schedule.head(0);
    let early = schedule.take().unwrap();
    schedule.outcome(&outcome(1, Class::Acknowledged, Some("e")));
    assert_eq!(next(&mut schedule, 0), None, "one is under way in its lane");
    schedule.put_back(&early, 5);
    assert_eq!(next(&mut schedule, 10), Some(1));
    schedule.end(Lsn(1));
    assert_eq!(next(&mut schedule, 10), Some(2));
}

#[test]
fn a_fence_takes_older_copies_of_its_entity_and_no_others() {
    let mut schedule = acknowledged(&["a", "a", "b"]);
    schedule.head(0);
    let job = schedule.take().unwrap();
    schedule.fence("a", Lsn(2));
    schedule.put_back(&job, 1_000);
    let head = schedule.head(0).unwrap();
    assert!(head.superseded && head.lsn == Lsn(1), "it does not wait for its time");
    schedule.end(Lsn(1));
    assert!(!schedule.head(0).unwrap().superseded);
}

#[test]
fn a_fence_holds_for_copies_that_are_read_after_it() {
    let mut schedule = Schedule::default();
    schedule.fence("a", Lsn(9));
    schedule.admit(Lsn(3), None, &intent(3, Some("a"), "/"), 1);
    schedule.admit(Lsn(4), None, &intent(4, None, "/orders"), 1);
    schedule.admit(Lsn(10), None, &intent(10, Some("a"), "/"), 1);
    schedule.outcome(&outcome(4, Class::Acknowledged, Some("a")));
    let fenced = |schedule: &Schedule, lsn| schedule.jobs[&Lsn(lsn)].superseded;
    assert_eq!([3, 4, 10].map(|lsn| fenced(&schedule, lsn)), [true, true, false]);
    schedule.forget_fences(Lsn(20));
    assert_eq!(schedule.fences.len(), 1, "one older than it is still there");
    schedule.end(Lsn(3));
    schedule.end(Lsn(4));
    schedule.forget_fences(Lsn(20));
    assert!(schedule.fences.is_empty());
}

#[test]
fn what_an_earlier_run_left_open_is_unknown_and_a_half_told_success_is_one() {
    let mut schedule = Schedule::default();
    for at in 1..=3 {
        schedule.admit(Lsn(at), None, &intent(u128::from(at), None, &format!("/{at}")), 1);
    }
    schedule.outcome(&Outcome { is_final: false, ..outcome(2, Class::Acknowledged, None) });
    schedule.give_up_open_below(Lsn(3));
    let class = |lsn| schedule.jobs[&Lsn(lsn)].class;
    assert_eq!([class(1), class(2), class(3)], [Some(Class::Unknown), Some(Class::Acknowledged), None]);
    assert_eq!((next(&mut schedule, 0), next(&mut schedule, 0), next(&mut schedule, 0)), (Some(1), Some(2), None));
}

#[test]
fn a_replay_is_not_ended_by_the_settlement_of_the_first_try() {
    let mut schedule = acknowledged(&["a"]);
    schedule.admit(Lsn(5), None, &intent(1, Some("a"), "/"), 1);
    schedule.end_settled(Lsn(1), CopyId(1));
    schedule.outcome(&outcome(1, Class::Acknowledged, None));
    schedule.end_settled(Lsn(5), CopyId(2));
    assert_eq!(next(&mut schedule, 0), Some(5));
}

/// What happens, in the order of the journal, and what the destination says to each attempt.
#[derive(Debug, Clone)]
enum Event {
    Put(u8),
    Create(u8),
    Fence(u8),
}

fn events() -> impl Strategy<Value = Vec<(Event, u8, u8)>> {
    let event = prop_oneof![
        6 => (0_u8..4).prop_map(Event::Put),
        2 => (0_u8..4).prop_map(Event::Create),
        1 => (0_u8..4).prop_map(Event::Fence)
    ];
    proptest::collection::vec((event, 0_u8..10, any::<u8>()), 1..80)
}

proptest! {
    /// Whatever the order of outcomes, answers and fences: each copy ends once, an entity's copies end in their order, what was rejected
    /// or fenced is never sent, and nothing is left over.
    #[test]
    fn every_copy_ends_once_and_in_order(events in events()) {
        let mut schedule = Schedule::default();
        let (mut open, mut about) = (Vec::new(), HashMap::new());
        let (mut fences, mut sent): (HashMap<String, u64>, Vec<u64>) = Default::default();
        let mut ends: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let (mut random, mut now_ms) = (fastrand::Rng::with_seed(7), 0);
        let mut pump = |schedule: &mut Schedule, about: &HashMap<u64, (String, Class)>, fences: &HashMap<String, u64>, chance: u8| {
            now_ms += 10;
            while schedule.head(now_ms).is_some() {
                let job = schedule.take().expect("the head");
                let (entity, class) = &about[&job.lsn.0];
                let is_sent = !job.superseded && *class != Class::Rejected;
                assert!(!is_sent || fences.get(entity).is_none_or(|at| job.lsn.0 > *at), "a fenced one is sent");
                if is_sent && random.u8(..) < chance {
                    schedule.put_back(&job, now_ms + random.u64(0..30));
                    continue;
                }
                if is_sent {
                    sent.push(job.lsn.0);
                }
                ends.entry(entity.clone()).or_default().push(job.lsn.0);
                schedule.end(job.lsn);
            }
        };
        for (at, (event, class, chance)) in (1_u64..).zip(&events) {
            let class = match class { 0 => Class::Rejected, 1 => Class::Unknown, _ => Class::Acknowledged };
            match event {
                Event::Put(entity) => {
                    let entity = format!("e{entity}");
                    schedule.admit(Lsn(at), None, &intent(at.into(), Some(&entity), "/"), 1);
                    about.insert(at, (entity, class));
                    open.push((at, class, None));
                }
                Event::Create(collection) => {
                    let (target, entity) = (format!("/c{collection}"), format!("n{at}"));
                    schedule.admit(Lsn(at), None, &intent(at.into(), None, &target), 1);
                    let names = (class == Class::Acknowledged).then(|| entity.clone());
                    about.insert(at, (entity, class));
                    open.push((at, class, names));
                }
                Event::Fence(entity) => {
                    let entity = format!("e{entity}");
                    schedule.fence(&entity, Lsn(at));
                    fences.insert(entity, at);
                }
            }
            if chance % 3 != 0 && !open.is_empty() {
                let (id, class, names): (u64, _, Option<String>) = open.swap_remove(usize::from(*chance) % open.len());
                schedule.outcome(&outcome(id.into(), class, names.as_deref()));
            }
            pump(&mut schedule, &about, &fences, *chance);
        }
        for (id, class, names) in open {
            schedule.outcome(&outcome(id.into(), class, names.as_deref()));
        }
        for _ in 0..1_000 {
            pump(&mut schedule, &about, &fences, 40);
        }
        prop_assert_eq!(schedule.jobs.len(), 0);
        prop_assert!(schedule.lanes.are_empty() && schedule.ready.is_empty() && schedule.waiting.is_empty());
        prop_assert_eq!(ends.values().map(Vec::len).sum::<usize>(), about.len());
        for ended in ends.values() {
            prop_assert!(ended.is_sorted(), "{:?}", ended);
        }
        for lsn in sent {
            prop_assert!(about[&lsn].1 != Class::Rejected);
        }
    }
}

#[test]
fn what_is_given_up_is_never_sent_and_later_copies_go_on() {
    let mut schedule = acknowledged(&["a", "a", "b", "c"]);
    assert_eq!(next(&mut schedule, 0), Some(1));
    schedule.head(0);
    let waiting = schedule.take().unwrap();
    schedule.put_back(&waiting, 50);
    schedule.admit(Lsn(5), None, &intent(5, Some("d"), "/"), 10);
    schedule.drop_below(Lsn(7));
    let given_up = |schedule: &Schedule| schedule.dropped(9).iter().map(|job| job.lsn.0).collect::<Vec<_>>();
    // The first is under way, the outcome of the fifth is open, and the sixth is read later.
    assert_eq!((given_up(&schedule), next(&mut schedule, 99)), (vec![2, 3, 4], None));
    for (lsn, entity) in [(6, "b"), (7, "a")] {
        schedule.admit(Lsn(lsn), None, &intent(u128::from(lsn), Some(entity), "/"), 10);
        schedule.outcome(&outcome(u128::from(lsn), Class::Acknowledged, None));
    }
    schedule.outcome(&outcome(5, Class::Acknowledged, None));
    let first = schedule.jobs[&Lsn(1)].clone();
    schedule.put_back(&first, 999);
    assert_eq!((given_up(&schedule), next(&mut schedule, 99)), (vec![1, 2, 3, 4, 5, 6], None));
    for lsn in 1..=6 {
        schedule.end(Lsn(lsn));
    }
    assert_eq!((given_up(&schedule), next(&mut schedule, 99), schedule.closed()), (vec![], Some(7), 1));
}
