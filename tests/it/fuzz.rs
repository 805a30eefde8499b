//! The fuzz targets as ordinary tests: the committed corpus, and random mutations of it.

use std::fs;
use std::path::PathBuf;

use crate::fuzz_targets::{TARGETS, run};

/// Mutations of each target's corpus; the seed of a failure is in its message.
const MUTATIONS: usize = 3_000;

/// The inputs of a target's corpus: `tests/fixtures/corpus/TARGET/`.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Changes an input in a few places: bytes go, come, change, or are taken from another input.
fn mutate(draw: &mut fastrand::Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = draw.choice(corpus).expect("a corpus").clone();
    for _ in 0..draw.usize(1..6) {
        let at = draw.usize(..=bytes.len());
        let end = (at + draw.usize(..16)).min(bytes.len());
        match draw.u8(..4) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.insert(at, draw.u8(..)),
            2 if at < bytes.len() => {
                bytes[at] = draw.choice(b"\r\n \t:,;{}[]&*%/.-_0aA\xff\0".iter()).copied().unwrap()
            }
            _ => {
                let other = draw.choice(corpus).expect("a corpus");
                let from = draw.usize(..=other.len());
                let to = (from + draw.usize(..64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

/// Runs a target on an input, and says which it was when something does not hold.
fn judge(name: &str, input: &[u8], context: &str) {
    let outcome = std::panic::catch_unwind(|| run(name, input));
    assert!(outcome.is_ok(), "{name}, {context}: {:?}", String::from_utf8_lossy(input));
}

/// The corpus and its mutations, on one target.
fn holds_on_its_corpus(name: &str) {
    let corpus = corpus(name);
    assert!(corpus.len() >= 5, "{name} has hardly a corpus");
    for input in &corpus {
        judge(name, input, "corpus");
    }
    let seed = fastrand::u64(..);
    let mut draw = fastrand::Rng::with_seed(seed);
    for number in 0..MUTATIONS {
        judge(name, &mutate(&mut draw, &corpus), &format!("seed {seed}, mutation {number}"));
    }
}

/// A test for each target, and one that there is no other.
macro_rules! hold {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            holds_on_its_corpus(stringify!($name));
        })*

        #[test]
        fn every_target_is_run() {
            let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

hold!(
    request_head,
    response_head,
    route_matcher,
    upstream_response,
    upstream_chunks,
    proxy_protocol,
    flag_files,
    route_files
);
