//! The side tables: parked records and the map of ids, over restarts and a crash.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use banyan::tables::{Group, IdPair, Parked, Tables, TablesError};

const MIB: u64 = 1024 * 1024;

fn open(dir: &Path) -> Tables {
    Tables::open(&dir.join("tables.redb"), MIB).unwrap()
}

fn ids(tables: &Tables, primary: &str, other: &str) -> (Option<String>, Option<String>) {
    (tables.other_id("orders", primary).unwrap(), tables.primary_id("orders", other).unwrap())
}

fn pair<'a>(primary: &'a str, other: &'a str) -> IdPair<'a> {
    IdPair { namespace: "orders", primary, other }
}

fn group(name: &str, records: u64, bytes: u64) -> Group {
    Group { name: name.to_owned(), records, bytes }
}

fn numbers(listed: Vec<Parked>) -> Vec<u64> {
    listed.into_iter().map(|parked| parked.id).collect()
}

#[test]
fn parked_records_are_grouped_listed_replaced_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(dir.path());
    for id in 1..=10 {
        tables.park(id, if id % 2 == 0 { "orders 400" } else { "orders 422" }, &vec![id as u8; 100]).unwrap();
    }
    assert_eq!(tables.parked_groups().unwrap(), [group("orders 400", 5, 500), group("orders 422", 5, 500)]);
    drop(tables);
    let tables = open(dir.path());
    assert_eq!(numbers(tables.parked_in("orders 400", None, 3).unwrap()), [2, 4, 6]);
    assert_eq!(numbers(tables.parked_in("orders 400", Some(6), 3).unwrap()), [8, 10]);
    assert!(tables.parked_in("orders 400", Some(u64::MAX), 3).unwrap().is_empty());
    assert!(tables.parked_in("orders 40", None, 3).unwrap().is_empty(), "not by the first letters");
    // An edited record may fail in another way.
    tables.park(4, "orders 422", b"edited").unwrap();
    let edited = tables.parked(4).unwrap().unwrap();
    assert_eq!((&edited.group[..], &edited.record[..]), ("orders 422", &b"edited"[..]));
    assert_eq!(tables.parked_groups().unwrap(), [group("orders 400", 4, 400), group("orders 422", 6, 506)]);
    for id in [2, 6, 8, 10] {
        assert!(tables.unpark(id).unwrap());
        assert!(!tables.unpark(id).unwrap(), "only once");
    }
    assert_eq!(tables.parked_groups().unwrap(), [group("orders 422", 6, 506)]);
    assert_eq!(tables.parked(2).unwrap(), None);
}

#[test]
fn parked_records_take_no_more_room_than_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(dir.path());
    tables.park(1, "large", &vec![0; MIB as usize - 10]).unwrap();
    let full = tables.park(2, "large", &[0; 11]).unwrap_err();
    assert!(matches!(full, TablesError::Full { .. }) && full.to_string().contains("replay or drop some"), "{full}");
    assert_eq!(tables.parked(2).unwrap(), None);
    let kept = tables.park(1, "large", &vec![0; MIB as usize + 1]).unwrap_err();
    assert!(matches!(kept, TablesError::Full { .. }));
    assert_eq!(tables.parked_groups().unwrap(), [group("large", 1, MIB - 10)], "a refused change changes nothing");
    tables.park(1, "large", &vec![0; MIB as usize]).unwrap();
}

#[test]
fn ids_are_mapped_both_ways_and_never_to_two() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(dir.path());
    tables.map_all_ids(&[pair("17", "a"), pair("18", "b")]).unwrap();
    tables.map_ids(IdPair { namespace: "customers", primary: "17", other: "z" }).unwrap();
    drop(tables);
    let tables = open(dir.path());
    let some = |id: &str| Some(id.to_owned());
    assert_eq!(ids(&tables, "17", "a"), (some("a"), some("17")));
    assert_eq!(tables.other_id("customers", "17").unwrap(), some("z"));
    tables.map_ids(pair("17", "a")).unwrap();
    assert_eq!(ids(&tables, "17", "a"), (some("a"), some("17")), "twice is once");
    // 17 takes over what was 18's.
    tables.map_ids(pair("17", "b")).unwrap();
    assert_eq!(ids(&tables, "17", "b"), (some("b"), some("17")));
    assert_eq!(ids(&tables, "18", "a"), (None, None));
    assert!(tables.forget_ids("orders", "17").unwrap() && !tables.forget_ids("orders", "17").unwrap());
    assert_eq!(ids(&tables, "17", "b"), (None, None));
    assert_eq!(tables.primary_id("customers", "z").unwrap(), some("17"));
}

#[test]
fn what_was_kept_is_there_after_a_crash_and_nobody_else_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(dir.path());
    let path = dir.path().join("tables.redb");
    for id in 0..20 {
        tables.park(id, "g", b"record").unwrap();
        tables.map_ids(pair(&id.to_string(), &format!("other {id}"))).unwrap();
        // What a killed process leaves: the file as it is, without closing.
        let crashed = tempfile::tempdir().unwrap();
        std::fs::copy(&path, crashed.path().join("tables.redb")).unwrap();
        let found = open(crashed.path());
        assert_eq!(found.parked_groups().unwrap(), [group("g", id + 1, 6 * (id + 1))]);
        assert_eq!(found.primary_id("orders", &format!("other {id}")).unwrap(), Some(id.to_string()));
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = Tables::open(&path, MIB).unwrap_err().to_string();
    assert!(refused.contains("tables.redb"), "{refused}");
}
