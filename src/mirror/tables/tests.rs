//! Tests of the side tables on real files.

use bytes::Bytes;

use super::*;
use crate::mirror::record::{Body, Gap};

fn parked(id: u128, destination: &str, shape: &str) -> Parked {
    let intent = Intent {
        destination: destination.into(),
        id: CopyId(id),
        primary: "monolith".into(),
        route: "orders".into(),
        epoch: 1,
        unix_ms: 5,
        entity: Some("order:1".into()),
        method: "PUT".into(),
        target: "/orders/1".into(),
        key: "k".into(),
        hops: "".into(),
        headers: Vec::new(),
        body: Body::Inline(vec![Bytes::from_static(b"{}")]),
    };
    let story = Story {
        reason: "refused".into(),
        came: "422".into(),
        said: shape.into(),
        shape: shape.into(),
        attempts: 1,
        unix_ms: 6,
        primary_status: 200,
        created: None,
    };
    Parked { story, intent }
}

fn gap(unix_ms: u64, target: &str) -> Bytes {
    let (destination, route, method) = ("orders".into(), "orders".into(), "PUT".into());
    let reason = "too_large".into();
    Gap { destination, route, entity: None, method, target: target.into(), reason, unix_ms }.encode()
}

#[test]
fn what_is_parked_is_there_after_a_restart_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables.redb");
    let tables = Tables::open(&path).unwrap();
    for (id, destination) in [(1, "orders"), (2, "orders"), (1, "audit"), (2, "orders")] {
        tables.park(&parked(id, destination, "bad")).unwrap();
    }
    drop(tables);
    let tables = Tables::open(&path).unwrap();
    assert_eq!((tables.parked_count("orders"), tables.parked_count("audit"), tables.parked_count("x")), (2, 1, 0));
    let found = tables.parked(CopyId(1)).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].story, parked(1, "orders", "bad").story);
    assert!(tables.unpark("orders", CopyId(1)).unwrap() && !tables.unpark("orders", CopyId(1)).unwrap());
    assert_eq!(tables.parked_count("orders"), 1);
    let mut groups = Vec::new();
    tables
        .each_parked(|parked| {
            groups.push(parked.group());
            true
        })
        .unwrap();
    groups.dedup();
    assert_eq!(groups.len(), 2, "one a destination");
}

#[test]
fn a_gap_counts_once_and_the_oldest_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(&dir.path().join("tables.redb")).unwrap();
    let gaps: Vec<Bytes> = (0..GAPS_MAX + 5).map(|at| gap(at, "/a")).collect();
    tables.add_gaps(&gaps).unwrap();
    tables.add_gaps(&gaps[20..]).unwrap();
    assert_eq!(tables.gap_count("orders"), GAPS_MAX + 5);
    let kept = tables.gaps(usize::MAX).unwrap();
    assert_eq!(kept.len() as u64, GAPS_MAX);
    assert_eq!((kept[0].unix_ms, kept[kept.len() - 1].unix_ms), (GAPS_MAX + 4, 5));
}

#[test]
fn ids_are_known_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let tables = Tables::open(&dir.path().join("tables.redb")).unwrap();
    tables.pair_ids("orders", ("legacy", "17"), ("modern", "m-9")).unwrap();
    assert_eq!(tables.id_at("orders", "legacy", "modern", "17").unwrap().as_deref(), Some("m-9"));
    assert_eq!(tables.id_at("orders", "modern", "legacy", "m-9").unwrap().as_deref(), Some("17"));
    assert_eq!(tables.id_at("other", "legacy", "modern", "17").unwrap(), None);
}

#[test]
fn a_walk_sees_each_once_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let tables = Tables::open(&directory.path().join("tables")).unwrap();
    let gaps: Vec<Bytes> = (0..25).map(|number| gap(number / 2, &format!("/orders/{number}"))).collect();
    tables.add_gaps(&gaps).unwrap();
    for id in 0..25 {
        tables.park(&parked(id, if id % 2 == 0 { "one" } else { "other" }, "no")).unwrap();
    }
    let (mut targets, mut ids) = (Vec::new(), Vec::new());
    let mut at = Some(Position::start());
    while let Some(position) = at {
        let (page, next) = tables.gaps_behind(&position, 10).unwrap();
        assert!(page.len() <= 10);
        targets.extend(page.into_iter().map(|gap| gap.target));
        at = next.map(|next| Position::of_text(&next.to_text()).unwrap());
    }
    let mut at = Some(Position::start());
    while let Some(position) = at {
        let (page, next) = tables.parked_behind(&position, 10).unwrap();
        // What goes meanwhile moves nothing else.
        tables.unpark(&page[0].intent.destination, page[0].intent.id).unwrap();
        ids.extend(page.into_iter().map(|parked| parked.intent.id.0));
        at = next;
    }
    targets.sort_unstable();
    targets.dedup();
    ids.sort_unstable();
    assert_eq!(targets.len(), 25);
    assert_eq!(ids, (0..25).collect::<Vec<_>>());
    assert_eq!(Position::of_text("elsewhere"), None);
}

fn gap_about(entity: &str, unix_ms: u64) -> Bytes {
    let entity: Box<str> = entity.into();
    let (destination, route, method) = ("orders".into(), "orders".into(), "PUT".into());
    let (target, reason) = (entity.clone(), "too_large".into());
    Gap { destination, route, entity: Some(entity), method, target, reason, unix_ms }.encode()
}

#[test]
fn a_mended_gap_is_in_no_list_and_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables.redb");
    let tables = Tables::open(&path).unwrap();
    let gaps = [gap_about("/1", 10), gap_about("/1", 20), gap_about("/2", 10)];
    tables.add_gaps(&gaps).unwrap();
    assert_eq!(tables.mend_gaps("orders", &["/3"], 100).unwrap(), 0);
    // One that is as old as the look at both sides may have come behind it.
    assert_eq!(tables.mend_gaps("orders", &["/1"], 20).unwrap(), 1);
    assert_eq!(tables.mend_gaps("orders", &["/1"], 20).unwrap(), 0);
    drop(tables);
    let tables = Tables::open(&path).unwrap();
    // The journal shows them again after a restart.
    tables.add_gaps(&gaps).unwrap();
    assert_eq!((tables.gap_count("orders"), tables.mended_count("orders")), (3, 1));
    let left: Vec<_> = tables.gaps(1).unwrap().into_iter().map(|gap| (gap.target, gap.unix_ms)).collect();
    assert_eq!(left, [("/1".into(), 20)]);
    assert_eq!(tables.gaps(10).unwrap().len(), 2);
    assert_eq!(tables.gaps_behind(&Position::start(), 10).unwrap().0.len(), 2);
    assert_eq!(tables.mend_gaps("orders", &["/1", "/2"], 100).unwrap(), 2);
    assert_eq!(tables.gaps(10).unwrap(), []);
}

#[test]
fn the_newest_copy_that_has_arrived_behind_a_parked_one_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables.redb");
    let tables = Tables::open(&path).unwrap();
    let one = parked(1, "orders", "bad");
    tables.park(&one).unwrap();
    let arrive = |id: u128, unix_ms: u64, entity: &str| {
        let write = Later { method: "PUT".into(), target: "/orders/1".into(), key: id.to_string().into(), unix_ms };
        let (destination, entity) = ("orders".into(), Some(entity.into()));
        let arrival =
            Arrival { destination, id: CopyId(id), entity, write, has_arrived: true, state_since_unix_ms: None };
        tables.arrive(&arrival).unwrap();
    };
    arrive(2, 4, "order:1");
    arrive(3, 9, "order:2");
    assert_eq!(tables.later_than(&one.intent).unwrap(), None, "that is older, that about something else");
    arrive(4, 7, "order:1");
    arrive(5, 6, "order:1");
    assert_eq!(tables.later_than(&one.intent).unwrap().unwrap().key, "4".into());
    // It was replayed, and is parked again.
    tables.unpark("orders", CopyId(1)).unwrap();
    tables.park(&one).unwrap();
    assert!(tables.later_than(&one.intent).unwrap().is_some() && tables.minds("orders", false));
    arrive(1, 5, "order:1");
    assert_eq!((tables.parked_count("orders"), tables.minds("orders", false)), (0, false));
    assert_eq!(tables.later_than(&one.intent).unwrap(), None);
}
