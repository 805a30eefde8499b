//! Tests of reading a real journal: a restart after any number of records loses nothing, reorders nothing and sends nothing that
//! was settled.

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;

use super::super::schedule::tests::{intent, outcome};
use super::*;
use crate::journal::{Durability, Options};
use crate::mirror::record::{Class, Settled};

fn open(dir: &Path) -> Journal {
    let small =
        Options { segment_bytes: 64 * 1024, bytes_max: 1024 * 1024, record_bytes_max: 4096, ..Options::new(dir) };
    Journal::open(small).unwrap()
}

fn append(journal: &Journal, kind: Kind, payload: impl Into<crate::journal::Payload>) {
    journal.append(kind, 1, payload, Durability::Written).unwrap().wait().unwrap();
}

/// Reads all there is.
fn read(scan: &mut Scan, journal: &Journal, schedule: &mut Schedule) {
    while scan.read(journal, schedule) {}
}

/// Delivers up to `most` copies and settles them; gives their keys.
fn deliver(journal: &Journal, scan: &Scan, schedule: &mut Schedule, most: usize) -> Vec<u64> {
    let mut sent = Vec::new();
    while sent.len() < most && scan.is_complete() && schedule.head(0).is_some() {
        let job = schedule.take().unwrap();
        sent.push(u64::try_from(job.id.0).unwrap());
        let end = Settlement {
            destination: "modern".into(),
            id: job.id,
            intent: job.lsn.0,
            how: Settled::Delivered,
            lane: job.lane,
        };
        append(journal, Kind::Delivered, end.encode());
        schedule.end(job.lsn);
    }
    sent
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_at_any_point_loses_and_reorders_nothing(
        writes in proptest::collection::vec((0_u8..3, any::<bool>()), 1..40),
        stops in proptest::collection::vec(0_usize..6, 1..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        let mut left = (1_u64..).zip(&writes);
        let mut sent = Vec::new();
        for (round, stop) in stops.iter().enumerate() {
            for (id, (entity, answers)) in left.by_ref().take(writes.len() / stops.len() + 1) {
                append(&journal, Kind::Intent, intent(id.into(), Some(&format!("e{entity}")), "/").encode());
                if *answers {
                    append(&journal, Kind::Outcome, outcome(id.into(), Class::Acknowledged, None).encode());
                }
            }
            let (mut scan, mut schedule) = (Scan::new(&journal, "modern"), Schedule::default());
            read(&mut scan, &journal, &mut schedule);
            sent.extend(deliver(&journal, &scan, &mut schedule, *stop));
            if round % 2 == 0 {
                journal.trim(schedule.oldest().unwrap_or(scan.position()).min(scan.position()));
            }
            drop(journal);
            journal = open(dir.path());
        }
        let (mut scan, mut schedule) = (Scan::new(&journal, "modern"), Schedule::default());
        read(&mut scan, &journal, &mut schedule);
        sent.extend(deliver(&journal, &scan, &mut schedule, usize::MAX));
        let written = writes.len() - left.count();
        prop_assert_eq!(sent.len(), written, "each once, as no settlement was lost: {:?}", sent);
        let mut lanes: HashMap<u8, Vec<u64>> = HashMap::new();
        for id in sent {
            lanes.entry(writes[usize::try_from(id).unwrap() - 1].0).or_default().push(id);
        }
        for (entity, lane) in lanes {
            prop_assert!(lane.is_sorted(), "entity {}: {:?}", entity, lane);
        }
    }
}

#[test]
fn nothing_is_sent_before_the_settlements_of_earlier_runs_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for id in 1..=300_u64 {
        append(&journal, Kind::Intent, intent(id.into(), Some("e"), "/").encode());
        append(&journal, Kind::Outcome, outcome(id.into(), Class::Acknowledged, None).encode());
    }
    drop(journal);
    let journal = open(dir.path());
    let (mut scan, mut schedule) = (Scan::new(&journal, "modern"), Schedule::default());
    assert!(scan.read(&journal, &mut schedule) && !scan.is_complete(), "one turn is not all");
    read(&mut scan, &journal, &mut schedule);
    assert!(scan.is_complete());
}

#[test]
fn a_full_schedule_hears_of_fences_and_outcomes_ahead_and_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(Options::new(dir.path())).unwrap();
    let last = JOBS_MAX as u64 + 10;
    let mut ticket = None;
    for id in 1..=last {
        let entity = format!("e{}", id % 1_000);
        for (kind, payload) in [
            (Kind::Intent, intent(id.into(), Some(&entity), "/").encode()),
            (Kind::Outcome, vec![outcome(id.into(), Class::Acknowledged, None).encode()]),
        ] {
            ticket = Some(loop {
                match journal.append(kind, 1, payload.clone(), Durability::Written) {
                    Ok(ticket) => break ticket,
                    Err(_) => ticket.take().map_or((), |ticket: crate::journal::Ticket| drop(ticket.wait())),
                }
            });
        }
    }
    let fence = Fence { destination: "modern".into(), entity: "e1".into(), epoch: 2 };
    append(&journal, Kind::Epoch, fence.encode());
    let (mut scan, mut schedule) = (Scan::new(&journal, "modern"), Schedule::default());
    read(&mut scan, &journal, &mut schedule);
    assert!(scan.is_complete() && schedule.closed() == JOBS_MAX);
    let head = schedule.head(0).unwrap();
    assert!(head.superseded && head.entity.as_deref() == Some("e1"), "{head:?}");
    let mut ended = 0;
    while schedule.closed() > 0 {
        while schedule.head(0).is_some() {
            let job = schedule.take().unwrap();
            schedule.end(job.lsn);
            ended += 1;
        }
        read(&mut scan, &journal, &mut schedule);
    }
    assert_eq!(ended, last);
}
