//! The checker against histories with one planted fault each: what it does not catch here, it would not catch in a crash.

use super::checker::{Violation, check};
use super::history::{Entry, Gap, History, Parked, Seen, Write};

fn write(id: u64, entity: &str, seen: Seen) -> Write {
    Write { id, entity: entity.to_owned(), key: Some(format!("k{id}")), seen }
}

fn entry(id: u64, entity: &str, is_copy: bool) -> Entry {
    Entry {
        owner: Some(id),
        value: Some(id),
        entity: entity.to_owned(),
        key: Some(format!("k{id}")),
        applied: true,
        status: 200,
        is_copy,
    }
}

/// Six acknowledged writes about two entities, all of them on both sides.
fn sound() -> History {
    let about = |id: u64| ["a", "b"][usize::from(id % 2 == 1)];
    History {
        writes: (0..6).map(|id| write(id, about(id), Seen::Acknowledged)).collect(),
        sides: [false, true].map(|is_copy| (0..6).map(|id| entry(id, about(id), is_copy)).collect()),
        ..History::default()
    }
}

fn assert_finds(history: &History, expected: &[Violation]) {
    let found: Vec<_> = check(history).violations.into_iter().collect();
    assert_eq!(found, expected);
}

#[test]
fn a_sound_history_is_kept() {
    let verdict = check(&sound());
    verdict.assert_kept("nothing was planted");
    assert_eq!((verdict.acknowledged, verdict.attempts, verdict.repeated), (6, 6, 0));
}

#[test]
fn a_dropped_record_is_found() {
    let mut history = sound();
    history.sides[1].remove(2);
    assert_finds(&history, &[Violation::Lost(2)]);
    // The last one leaves the sides different as well.
    let mut history = sound();
    history.sides[1].remove(5);
    assert_finds(&history, &[Violation::Lost(5), Violation::Diverged("b".to_owned())]);
}

#[test]
fn a_copy_that_was_asked_for_and_not_done_is_lost() {
    let mut history = sound();
    history.sides[1][2].applied = false;
    assert_finds(&history, &[Violation::Lost(2)]);
}

#[test]
fn a_dropped_record_that_is_parked_is_not_lost() {
    let mut history = sound();
    history.sides[1].remove(5);
    history.parked.push(Parked { key: "k5".to_owned() });
    let verdict = check(&history);
    verdict.assert_kept("it is parked");
    assert_eq!(verdict.parked, 1);
}

#[test]
fn a_gap_counts_only_where_the_route_sheds_and_only_once() {
    let mut history = sound();
    history.sides[1].remove(3);
    history.gaps.push(Gap { entity: "b".to_owned() });
    assert_finds(&history, &[Violation::Lost(3), Violation::Shed("b".to_owned())]);
    history.may_shed = true;
    assert_eq!(check(&history).gaps, 1);
    check(&history).assert_kept("one gap for one write");
    history.sides[1].remove(1);
    assert_finds(&history, &[Violation::Lost(3)]);
}

#[test]
fn a_reordered_lane_is_found() {
    let mut history = sound();
    history.sides[1].swap(0, 2);
    assert_finds(&history, &[Violation::Reordered(0, 2)]);
    let mut history = sound();
    history.sides[1].swap(3, 5);
    assert_finds(&history, &[Violation::Reordered(3, 5), Violation::Diverged("b".to_owned())]);
}

#[test]
fn order_across_entities_is_not_promised() {
    let mut history = sound();
    history.sides[1].swap(0, 1);
    check(&history).assert_kept("different lanes");
}

#[test]
fn a_repetition_after_later_ones_is_allowed_once_all_are_repeated() {
    let mut history = sound();
    let again: Vec<_> = [2, 4].map(|id| entry(id, "a", true)).into();
    history.sides[1].extend(again);
    let verdict = check(&history);
    verdict.assert_kept("at least once");
    assert_eq!(verdict.repeated, 2);
    // But one that is left behind leaves an old state.
    history.sides[1].pop();
    assert_finds(&history, &[Violation::Diverged("a".to_owned())]);
}

#[test]
fn a_delivered_rejected_write_is_found() {
    let mut history = sound();
    history.writes.push(write(6, "a", Seen::Rejected));
    history.sides[0].push(Entry { applied: false, status: 422, ..entry(6, "a", false) });
    check(&history).assert_kept("it is rejected and not copied");
    history.sides[1].insert(0, entry(6, "a", true));
    assert_finds(&history, &[Violation::DeliveredRejected(6)]);
    // Even when its client saw nothing, what a side refused must not be on the other one.
    history.writes[6].seen = Seen::Unknown;
    assert_finds(&history, &[Violation::DeliveredRejected(6)]);
}

#[test]
fn a_copy_under_another_key_is_found() {
    let mut history = sound();
    history.sides[1].insert(3, Entry { key: Some("other".to_owned()), ..entry(2, "a", true) });
    assert_finds(&history, &[Violation::OtherKey(2)]);
    // A key that nobody gave must still be the same in all attempts and at the side that served.
    let mut history = sound();
    history.writes[2].key = None;
    history.sides[1][2].key = Some("made".to_owned());
    assert_finds(&history, &[Violation::OtherKey(2)]);
    history.sides[0][2].key = Some("made".to_owned());
    check(&history).assert_kept("made by the router, and the same everywhere");
    history.sides[1][2].key = None;
    assert_finds(&history, &[Violation::OtherKey(2)]);
}

#[test]
fn a_key_that_the_client_gave_is_kept() {
    let mut history = sound();
    history.sides[0][2].key = Some("made".to_owned());
    history.sides[1][2].key = Some("made".to_owned());
    assert_finds(&history, &[Violation::OtherKey(2)]);
}

#[test]
fn a_second_call_of_the_primary_is_found() {
    let mut history = sound();
    history.sides[0].insert(1, entry(0, "a", false));
    assert_finds(&history, &[Violation::CalledTwice(0)]);
}

#[test]
fn a_success_that_nobody_did_is_found() {
    let mut history = sound();
    history.writes.push(write(6, "c", Seen::Acknowledged));
    assert_finds(&history, &[Violation::MadeUp(6)]);
}

#[test]
fn a_copy_of_nothing_is_found() {
    let mut history = sound();
    history.sides[1].insert(0, entry(77, "a", true));
    let found = check(&history).violations;
    assert!(found.iter().any(|violation| matches!(violation, Violation::FromNowhere(_))), "{found:?}");
}

#[test]
fn an_unknown_outcome_that_is_resolved_by_reading_is_no_disorder() {
    let mut history = sound();
    // Write 2 failed with 500 after it was done; the side was read when 4 had been done already.
    history.writes[2].seen = Seen::Unknown;
    history.sides[0][2].status = 500;
    history.sides[1][2].value = Some(4);
    let verdict = check(&history);
    verdict.assert_kept("resolved");
    assert_eq!((verdict.resolved, verdict.unknown), (1, 1));
}

#[test]
fn an_unseen_write_may_be_on_one_side_only_where_it_was_not_durable_first() {
    let mut history = sound();
    history.writes.push(write(6, "a", Seen::Unknown));
    history.sides[0].push(entry(6, "a", false));
    let verdict = check(&history);
    verdict.assert_kept("nobody saw it acknowledged");
    assert_eq!(verdict.unfinished, 1);
    history.is_strict = true;
    assert_finds(&history, &[Violation::Diverged("a".to_owned())]);
}

#[test]
fn a_late_delete_is_found() {
    let mut history = sound();
    for (side, is_copy) in [(0, false), (1, true)] {
        let at = if side == 0 { 2 } else { 6 };
        history.sides[side].insert(at, Entry { value: None, ..entry(8, "a", is_copy) });
    }
    history.writes.push(write(8, "a", Seen::Acknowledged));
    assert_finds(&history, &[Violation::Reordered(8, 4), Violation::Diverged("a".to_owned())]);
}

#[test]
fn a_late_delete_is_no_fault_where_reading_found_that_it_is_gone() {
    // Write 0 is resolved by reading, once before and once after a later write has deleted it: the second time behind write 4.
    let mut history = sound();
    history.sides[1].remove(0);
    history.sides[1].push(Entry { value: None, ..entry(0, "a", true) });
    for (side, is_copy) in [(0, false), (1, true)] {
        history.sides[side].push(Entry { value: None, ..entry(6, "a", is_copy) });
    }
    history.writes.push(write(6, "a", Seen::Acknowledged));
    check(&history).assert_kept("a write that set something, resolved by deleting");
    // And one that was a delete itself.
    history.sides[0][0].value = None;
    check(&history).assert_kept("a delete, resolved by deleting");
    history.sides[0][6].value = Some(6);
    history.sides[1][6].value = Some(6);
    assert_finds(&history, &[Violation::Reordered(0, 4)]);
}

#[test]
fn a_delete_that_finds_nothing_has_arrived() {
    let mut history = sound();
    history.writes.push(write(6, "a", Seen::Acknowledged));
    let delete = |is_copy| Entry { value: None, ..entry(6, "a", is_copy) };
    history.sides[0].push(delete(false));
    // An earlier copy, of an unknown outcome, has deleted it already.
    history.sides[1].push(Entry { owner: Some(4), key: Some("k4".to_owned()), ..delete(true) });
    history.sides[1].push(Entry { applied: false, status: 404, ..delete(true) });
    check(&history).assert_kept("it is gone on both sides");
    history.sides[1].pop();
    assert_finds(&history, &[Violation::Lost(6)]);
}

#[test]
fn a_delete_that_found_nothing_and_is_repeated_after_later_ones_came_in_order() {
    let mut history = sound();
    for log in &mut history.sides {
        log[2].value = None;
    }
    // An earlier copy had deleted it; then 2 and 4 came, and both came again.
    let again: Vec<_> = history.sides[1][2..5].to_vec();
    history.sides[1][2] = Entry { applied: false, status: 404, ..again[0].clone() };
    history.sides[1].extend([again[0].clone(), again[2].clone()]);
    check(&history).assert_kept("repeated");
    history.sides[1].remove(2);
    assert_finds(&history, &[Violation::Reordered(2, 4)]);
}

#[test]
fn a_resolved_outcome_may_bring_back_what_this_side_served_before_the_roles_changed() {
    let mut history = sound();
    // The other side serves now; it failed at write 6, and holds the copy of 4.
    history.writes.push(write(6, "a", Seen::Unknown));
    history.sides[1].push(Entry { applied: false, status: 500, ..entry(6, "a", false) });
    history.sides[0].push(Entry { value: Some(4), ..entry(6, "a", true) });
    check(&history).assert_kept("both hold 4");
    // But no side gets a copy of what it has served itself.
    history.sides[0].push(entry(4, "a", true));
    let found = check(&history).violations;
    assert!(found.iter().any(|violation| matches!(violation, Violation::FromNowhere(_))), "{found:?}");
}
