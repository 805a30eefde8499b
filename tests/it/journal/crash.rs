//! Real processes killed by SIGKILL at any moment, on real files: what was acknowledged is there.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use banyan::journal::{AppendError, Durability, Journal, Kind, Lsn};
use bytes::Bytes;

use super::{body, options, read_all};

/// Tells the child's half of the test that it is the child, and where to work.
const DIRECTORY: &str = "BANYAN_TEST_JOURNAL_DIRECTORY";
/// How often a process is killed.
const ROUNDS: u64 = 200;
const THREADS: u64 = 3;

/// The child: appends for ever, says which numbers were acknowledged, and trims what is far behind.
#[test]
fn the_writer_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let journal = Arc::new(Journal::open(options(Path::new(&directory))).unwrap());
    assert!(journal.recovered().lost.is_empty() && journal.recovered().damaged.is_empty());
    let writers = (0..THREADS).map(|thread| {
        let journal = journal.clone();
        std::thread::spawn(move || {
            let mut chance = fastrand::Rng::new();
            loop {
                let (number, bytes) = (chance.u64(..), [10, 300, 2000, 8000][chance.usize(0..4)]);
                let durability = if chance.bool() { Durability::Synced } else { Durability::Written };
                let ticket = match journal.append(Kind::Intent, number, body(number, bytes), durability) {
                    // Whoever trims has not had its turn.
                    Err(AppendError::Full) => {
                        std::thread::yield_now();
                        continue;
                    }
                    appended => appended.unwrap(),
                };
                let lsn = ticket.wait().unwrap();
                // One write a line, so that lines of threads do not mix.
                std::io::stdout().write_all(format!("\nacknowledged {lsn} {number} {bytes}\n").as_bytes()).unwrap();
                if thread == 0 {
                    let below = Lsn(lsn.0.saturating_sub(64));
                    std::io::stdout().write_all(format!("\ntrimming {below}\n").as_bytes()).unwrap();
                    journal.trim(below);
                }
            }
        })
    });
    writers.collect::<Vec<_>>().into_iter().for_each(|writer| writer.join().unwrap());
}

fn start(directory: &Path) -> Child {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "journal::crash::the_writer_that_is_killed", "--nocapture"]);
    process.env(DIRECTORY, directory).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// What children said over all rounds.
#[derive(Default)]
struct Said {
    acknowledged: BTreeMap<Lsn, Bytes>,
    low_water: Lsn,
}

impl Said {
    fn hear(&mut self, line: &str) -> bool {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "acknowledged" if words.len() == 4 => {
                self.acknowledged.insert(Lsn(number(1)), body(number(2), number(3) as usize));
                true
            }
            "trimming" => {
                self.low_water = self.low_water.max(Lsn(number(1)));
                false
            }
            _ => false,
        }
    }

    fn check(&self, journal: &Journal) {
        let found: BTreeMap<_, _> = read_all(journal).into_iter().map(|record| (record.lsn, record)).collect();
        for (lsn, payload) in self.acknowledged.range(self.low_water..) {
            assert_eq!(found.get(lsn).map(|record| &record.payload), Some(payload), "record {lsn} was acknowledged");
        }
        for record in found.values() {
            assert_eq!(record.payload, body(record.epoch, record.payload.len()), "garbage under {}", record.lsn);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_sigkill_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut said = Said::default();
    for _ in 0..ROUNDS {
        let mut process = start(directory.path());
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let (mut heard, wanted) = (0, chance.u32(1..20));
        while heard < wanted {
            heard += u32::from(said.hear(&lines.next().expect("the child runs")));
        }
        // Anywhere between two records or within one.
        std::thread::sleep(Duration::from_micros(chance.u64(0..2000)));
        process.kill().unwrap();
        process.wait().unwrap();
        // What was said before the end counts as well; each line is one write, so all are whole.
        for line in lines {
            said.hear(&line);
        }
        let journal = Journal::open(options(directory.path())).unwrap();
        assert!(journal.recovered().lost.is_empty() && journal.recovered().damaged.is_empty());
        said.check(&journal);
    }
    println!("{} acknowledged records over {ROUNDS} kills", said.acknowledged.len());
}
