//! Tests of the side tables on real files.

use bytes::Bytes;

use super::*;
use crate::mirror::record::Body;

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
