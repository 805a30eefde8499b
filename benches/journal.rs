//! Durable records a second: the journal beside fjall and redb, same machine, same run, one after the other in rounds.
//!
//! Each writer waits for its record to be synced before it makes the next one. fjall and redb run twice: as their API
//! has it, where each writer syncs for itself, and grouped by a thread of this bench, which puts all that waits into one
//! transaction with one sync. `--test` runs everything once, as CI does.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use banyan::journal::{Durability, Journal, Kind, Options};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::TableDefinition;
use tempfile::TempDir;

const SIZES: [usize; 3] = [512, 8 * 1024, 256 * 1024];
const WRITERS: [usize; 3] = [1, 16, 128];
const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
/// Records that one transaction of a group takes at most: what the journal's batch takes at 256 KiB.
const GROUP_MAX: usize = 128;

/// What is measured: how often and how long.
struct Plan {
    rounds: usize,
    warm_up: Duration,
    time: Duration,
}

/// What each store takes before anything is measured: three segments, so that the journal's files go round.
const PREFILL_BYTES: usize = 192 * 1024 * 1024;

/// Something that keeps records.
trait Store: Send + Sync {
    /// Returns when the record is durable.
    fn put(&self, number: u64, record: &Bytes);
}

/// A way to open a store in a directory.
type Contender = (&'static str, fn(&Path) -> Box<dyn Store>);

const CONTENDERS: [Contender; 5] = [
    ("journal", |dir| Box::new(Journal::open(Options::new(dir)).expect("a journal"))),
    ("fjall", |dir| Box::new(Fjall::open(dir))),
    ("fjall, grouped", |dir| {
        let store = Fjall::open(dir);
        Box::new(Grouped::start(move |records| store.put_all(records)))
    }),
    ("redb", |dir| Box::new(Redb::open(dir))),
    ("redb, grouped", |dir| {
        let store = Redb::open(dir);
        Box::new(Grouped::start(move |records| store.put_all(records)))
    }),
];

impl Store for Journal {
    fn put(&self, number: u64, record: &Bytes) {
        let ticket = self.append(Kind::Intent, 0, record.clone(), Durability::Synced).expect("room");
        let lsn = ticket.wait().expect("a working disk");
        // Settled at once, as by a delivery that keeps up: segments go round.
        if number.is_multiple_of(64) {
            self.trim(lsn);
        }
    }
}

struct Fjall {
    database: Database,
    records: Keyspace,
}

impl Fjall {
    fn open(dir: &Path) -> Self {
        let database = Database::builder(dir).open().expect("a database");
        let records = database.keyspace("records", KeyspaceCreateOptions::default).expect("a keyspace");
        Self { database, records }
    }

    fn put_all(&self, records: &[(u64, Bytes)]) {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (number, record) in records {
            batch.insert(&self.records, number.to_be_bytes(), &record[..]);
        }
        batch.commit().expect("a working disk");
    }
}

impl Store for Fjall {
    fn put(&self, number: u64, record: &Bytes) {
        self.records.insert(number.to_be_bytes(), &record[..]).expect("a working disk");
        self.database.persist(PersistMode::SyncData).expect("a working disk");
    }
}

struct Redb {
    database: redb::Database,
}

impl Redb {
    fn open(dir: &Path) -> Self {
        Self { database: redb::Database::create(dir.join("redb")).expect("a database") }
    }

    fn put_all(&self, records: &[(u64, Bytes)]) {
        // A transaction's durability is `Immediate` unless told otherwise.
        let transaction = self.database.begin_write().expect("a working disk");
        {
            let mut table = transaction.open_table(TABLE).expect("a table");
            for (number, record) in records {
                table.insert(number, &record[..]).expect("a working disk");
            }
        }
        transaction.commit().expect("a working disk");
    }
}

impl Store for Redb {
    fn put(&self, number: u64, record: &Bytes) {
        self.put_all(&[(number, record.clone())]);
    }
}

/// One thread that writes what waits in one go, as the journal's does.
struct Grouped {
    records: Mutex<Sender<(u64, Bytes, SyncSender<()>)>>,
}

impl Grouped {
    fn start(put_all: impl Fn(&[(u64, Bytes)]) + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || Self::run(&receiver, put_all));
        Self { records: Mutex::new(sender) }
    }

    fn run(receiver: &Receiver<(u64, Bytes, SyncSender<()>)>, put_all: impl Fn(&[(u64, Bytes)])) {
        while let Ok(first) = receiver.recv() {
            let waiting = std::iter::once(first).chain(receiver.try_iter()).take(GROUP_MAX);
            let (records, replies): (Vec<_>, Vec<_>) =
                waiting.map(|(number, record, reply)| ((number, record), reply)).unzip();
            put_all(&records);
            replies.iter().for_each(|reply| reply.send(()).expect("a writer that waits"));
        }
    }
}

impl Store for Grouped {
    fn put(&self, number: u64, record: &Bytes) {
        let (reply, done) = sync_channel(1);
        self.records.lock().expect("no panic").send((number, record.clone(), reply)).expect("a thread that groups");
        done.recv().expect("a thread that groups");
    }
}

/// Records a second of so many writers, warm-up left out.
fn measure(plan: &Plan, store: &dyn Store, first: &AtomicU64, size: usize, writers: usize) -> f64 {
    let (counting, stop, count) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let mut elapsed = Duration::ZERO;
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                // Not to be compressed.
                let mut chance = fastrand::Rng::new();
                let record: Bytes = std::iter::repeat_with(|| chance.u8(..)).take(size).collect();
                while !stop.load(Ordering::Relaxed) {
                    store.put(first.fetch_add(1, Ordering::Relaxed), &record);
                    count.fetch_add(u64::from(counting.load(Ordering::Relaxed)), Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(plan.warm_up);
        let started = Instant::now();
        counting.store(true, Ordering::Relaxed);
        std::thread::sleep(plan.time);
        counting.store(false, Ordering::Relaxed);
        elapsed = started.elapsed();
        stop.store(true, Ordering::Relaxed);
    });
    count.load(Ordering::Relaxed) as f64 / elapsed.as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The open stores, in the order of the contenders; each with its directory and the number of its next record.
type Stores = Vec<(Box<dyn Store>, AtomicU64, TempDir)>;

fn open(prefill_bytes: usize) -> Stores {
    let opened = CONTENDERS.iter().map(|(_, open)| {
        // On the disk of the build, not in /tmp, which may be memory.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let (store, next) = (open(dir.path()), AtomicU64::new(0));
        let record = Bytes::from(vec![b'x'; 1024 * 1024]);
        for _ in 0..prefill_bytes / record.len() {
            // The journal trims at each of these numbers.
            store.put(next.fetch_add(64, Ordering::Relaxed), &record);
        }
        (store, next, dir)
    });
    opened.collect()
}

fn compare(plan: &Plan, stores: &Stores, size: usize, writers: usize) {
    let mut figures = vec![Vec::new(); CONTENDERS.len()];
    for _ in 0..plan.rounds {
        for ((store, next, _), figures) in stores.iter().zip(&mut figures) {
            figures.push(measure(plan, &**store, next, size, writers));
        }
    }
    let medians: Vec<f64> = figures.into_iter().map(median).collect();
    let ours = medians[0];
    print!("{size:>8}{writers:>9}");
    medians.iter().for_each(|figure| print!("{figure:>16.0}"));
    let (api, grouped) = (medians[1].max(medians[3]), medians[2].max(medians[4]));
    println!("{:>12.1}{:>12.1}", ours / api, ours / grouped);
}

fn main() {
    let once = std::env::args().any(|argument| argument == "--test");
    let ms = Duration::from_millis;
    let plan = match once {
        true => Plan { rounds: 1, warm_up: ms(1), time: ms(10) },
        false => Plan { rounds: 5, warm_up: ms(200), time: ms(600) },
    };
    println!("durable records/s, median of {} rounds; ratios to the better of fjall and redb", plan.rounds);
    print!("{:>8}{:>9}", "bytes", "writers");
    CONTENDERS.iter().for_each(|(name, _)| print!("{name:>16}"));
    println!("{:>12}{:>12}", "x API", "x grouped");
    let stores = open(if once { 0 } else { PREFILL_BYTES });
    for size in SIZES {
        for writers in WRITERS {
            compare(&plan, &stores, size, writers);
        }
    }
}
