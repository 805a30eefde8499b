//! Appending and reading back while all is well: order, wake-ups, limits, modes of files, the lock.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use banyan::journal::{AppendError, Durability, Journal, Kind, Lsn, OpenError, Options, Payload, ReadError};
use bytes::Bytes;

use super::{SEGMENT_BYTES, body, open, options, payloads, put, put_synced, read_all};

#[test]
fn what_is_appended_is_read_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let parts = vec![Bytes::from_static(b"one "), Bytes::new(), Bytes::from_static(b"record")];
    let first = journal.append(Kind::Intent, 7, parts, Durability::Synced).unwrap().wait().unwrap();
    let second = journal.append(Kind::Outcome, 8, Payload::from(Bytes::new()), Durability::Written).unwrap();
    assert_eq!((first, second.wait().unwrap()), (Lsn(1), Lsn(2)));
    let records = read_all(&journal);
    assert_eq!((records[0].kind, records[0].epoch, &records[0].payload[..]), (Kind::Intent, 7, &b"one record"[..]));
    assert_eq!((records[1].kind, records[1].epoch, records[1].payload.len()), (Kind::Outcome, 8, 0));
    assert_eq!(journal.read(Lsn(2)).unwrap(), records[1]);
    assert!(matches!(journal.read(Lsn(3)), Err(ReadError::Absent(Lsn(3)))));
}

#[test]
fn it_goes_on_where_it_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..5 {
        let journal = open(dir.path());
        assert!(journal.recovered().closed && !journal.recovered().torn, "{:?}", journal.recovered());
        assert_eq!(payloads(&journal), expected);
        for number in 0..20 {
            expected.push(body(round * 100 + number, 700));
            put(&journal, expected.last().unwrap().clone(), Durability::Written);
        }
        assert_eq!(payloads(&journal), expected);
    }
}

#[test]
fn every_record_is_found_by_its_number_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(Options {
        segment_bytes: 512 * 1024,
        bytes_max: 16 * 512 * 1024,
        record_bytes_max: 64 * 1024,
        ..options(dir.path())
    })
    .unwrap();
    let mut numbers = HashMap::new();
    for number in 0..600 {
        let bytes = (number as usize * 97) % 9000;
        numbers.insert(put(&journal, body(number, bytes), Durability::Written), (number, bytes));
    }
    assert!(journal.usage().segments > 3, "{:?}", journal.usage());
    for (lsn, (number, bytes)) in numbers {
        assert_eq!(journal.read(lsn).unwrap().payload, body(number, bytes));
    }
}

#[test]
fn sixteen_threads_append_and_all_of_it_is_there_in_order() {
    const THREADS: u64 = 16;
    const EACH: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    let threads = (0..THREADS).map(|thread| {
        let journal = journal.clone();
        std::thread::spawn(move || {
            let append = |number| {
                let durability = if number % 3 == 0 { Durability::Synced } else { Durability::Written };
                (number, put(&journal, format!("{thread} {number}"), durability))
            };
            (0..EACH).map(append).collect::<Vec<_>>()
        })
    });
    let threads: Vec<_> = threads.collect();
    let acknowledged: Vec<Vec<_>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let stats = journal.stats().clone();
    drop(journal);
    let journal = open(dir.path());
    let found: HashMap<Lsn, Bytes> = read_all(&journal).into_iter().map(|r| (r.lsn, r.payload)).collect();
    assert_eq!(found.len() as u64, THREADS * EACH);
    for (thread, records) in acknowledged.iter().enumerate() {
        assert!(records.is_sorted_by_key(|(_, lsn)| *lsn), "one thread's records keep its order");
        for (number, lsn) in records {
            assert_eq!(found[lsn], format!("{thread} {number}"));
        }
    }
    assert_eq!(stats.queue_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(stats.fsync.count() > 0);
}

#[test]
fn tickets_and_news_wake_the_runtimes_of_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    let workers = (0..4).map(|worker| {
        let journal = journal.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut news = journal.written();
                for number in 0..50 {
                    let ticket = journal.append(Kind::Intent, 0, body(number, 10), Durability::Synced).unwrap();
                    let lsn = ticket.await.unwrap();
                    news.wait_for(|written| *written > lsn).await.unwrap();
                    assert_eq!(journal.read(lsn).unwrap().payload, body(number, 10), "worker {worker}");
                }
            });
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.join().unwrap();
    }
    assert_eq!(*journal.written().borrow(), Lsn(201));
}

#[test]
fn a_dropped_ticket_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    drop(journal.append(Kind::Intent, 0, Bytes::from_static(b"kept"), Durability::Synced).unwrap());
    put_synced(&journal, "next");
    assert_eq!(payloads(&journal), ["kept", "next"]);
}

#[test]
fn a_cursor_follows_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut cursor = journal.cursor(Lsn::FIRST);
    for number in 0..100 {
        assert!(cursor.next().unwrap().is_none());
        put(&journal, body(number, 900), Durability::Written);
        assert_eq!(cursor.next().unwrap().unwrap().payload, body(number, 900));
    }
}

#[test]
fn limits_refuse_at_once_and_leave_a_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let journal =
        Journal::open(Options { bytes_max: 8 * SEGMENT_BYTES, high_water_percent: 50, ..options(dir.path()) }).unwrap();
    let too_large = journal.append(Kind::Intent, 0, body(0, 8 * 1024 + 1), Durability::Synced).unwrap_err();
    assert!(matches!(too_large, AppendError::TooLarge { bytes: 8193, bytes_max: 8192 }));
    let fill = |kind| loop {
        match journal.append(kind, 0, body(1, 1000), Durability::Written).and_then(|ticket| ticket.wait()) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(fill(Kind::Intent), AppendError::Full));
    let usage = journal.usage();
    assert!(usage.live_bytes <= usage.high_water_bytes && usage.live_bytes + 2000 > usage.high_water_bytes);
    assert!(matches!(fill(Kind::Gap), AppendError::Full));
    assert!(journal.usage().live_bytes <= usage.bytes_max && journal.is_above_high_water());
    let next = *journal.written().borrow();
    journal.trim(next);
    assert!(!journal.is_above_high_water(), "{:?}", journal.usage());
    put_synced(&journal, "again");
    assert_eq!(payloads(&journal), ["again"]);
}

#[test]
fn the_queue_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(Options { queue_bytes_max: 4096, ..options(dir.path()) }).unwrap();
    let intent = |bytes| journal.append(Kind::Intent, 0, body(0, bytes), Durability::Written);
    assert!(matches!(intent(4096), Err(AppendError::QueueFull)), "with its head it is larger");
    intent(4064).unwrap().wait().unwrap();
    assert_eq!(journal.usage().queue_bytes, 0);
    assert_eq!(journal.stats().records_refused.load(std::sync::atomic::Ordering::Relaxed), 1);
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn nobody_else_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("state/journal");
    let journal = open(&place);
    put_synced(&journal, "secret");
    journal.store_side(Bytes::from_static(b"secret")).unwrap().wait().unwrap();
    let mut files = 0;
    for folder in [place.clone(), place.join("side")] {
        assert_eq!(mode(&folder), 0o700);
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
            assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
            files += 1;
        }
    }
    assert!(files >= 3, "lock, segment and side file");
}

#[test]
fn a_second_process_is_kept_out_and_waits_as_long_as_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let refused = Journal::open(options(dir.path())).unwrap_err();
    assert!(matches!(&refused, OpenError::Locked { holder, .. } if *holder == std::process::id().to_string()));
    assert!(refused.to_string().contains("holds the journal"), "{refused}");
    let patient = Options { lock_wait: std::time::Duration::from_secs(60), ..options(dir.path()) };
    let waiting = std::thread::spawn(move || Journal::open(patient).unwrap());
    put_synced(&journal, "before the hand-over");
    journal.close();
    assert!(matches!(journal.append(Kind::Intent, 0, Bytes::new(), Durability::Written), Err(AppendError::Closed)));
    let next = waiting.join().unwrap();
    assert_eq!(payloads(&next), ["before the hand-over"]);
}

#[test]
fn limits_that_contradict_each_other_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let told = |change: fn(&mut Options)| {
        let mut options = options(dir.path());
        change(&mut options);
        Journal::open(options).unwrap_err().to_string()
    };
    assert!(told(|o| o.record_bytes_max = 16 * 1024).contains("does not fit into a segment"));
    assert!(told(|o| o.bytes_max = 3 * SEGMENT_BYTES).contains("at least 4 segments"));
    assert!(told(|o| o.high_water_percent = 101).contains("not from 1 to 100"));
}
