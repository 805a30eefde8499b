//! Checks appending, rotation and repair of the history on real files.

use serde_json::json;

use super::*;
use crate::control::Source;
use crate::control::history::{Action, read_history};

fn event(generation: u64) -> Event {
    Event { why: Some("because".into()), ..Event::new(Action::Kill, Source::Command, generation) }
}

fn numbers(dir: &Path) -> Vec<u64> {
    read_history(dir).unwrap().entries.iter().map(|entry| entry.number).collect()
}

#[test]
fn entries_are_numbered_on_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(HistoryLog::new(dir.path()).append(&[event(1), event(2)]).unwrap(), 1);
    let mut log = HistoryLog::new(dir.path());
    assert_eq!(log.append(&[event(3)]).unwrap(), 3);
    assert_eq!(log.append(&[event(4)]).unwrap(), 4);
    assert_eq!(numbers(dir.path()), [1, 2, 3, 4]);
}

#[test]
fn two_processes_may_write_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, mut new) = (HistoryLog::new(dir.path()), HistoryLog::new(dir.path()));
    for turn in 0..4 {
        assert_eq!(old.append(&[event(turn)]).unwrap(), 2 * turn + 1);
        assert_eq!(new.append(&[event(turn)]).unwrap(), 2 * turn + 2);
    }
    assert_eq!(numbers(dir.path()).len(), 8);
}

#[test]
fn a_torn_tail_is_cut_at_every_length() {
    let dir = tempfile::tempdir().unwrap();
    HistoryLog::new(dir.path()).append(&[event(1), event(2)]).unwrap();
    let path = segments(&dir.path().join(DIRECTORY)).unwrap().pop().unwrap().1;
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in first..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(numbers(dir.path()), [1], "a reader leaves a torn tail of {length} bytes out");
        assert_eq!(HistoryLog::new(dir.path()).append(&[event(9)]).unwrap(), 2, "after {length} bytes");
        assert_eq!(numbers(dir.path()), [1, 2], "after {length} bytes");
    }
}

#[test]
fn segments_rotate_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = HistoryLog::new(dir.path());
    let big = Event { after: json!("x".repeat(256 * 1024)), ..event(1) };
    let (batch, mut last) = (vec![big; 16], 0);
    for _ in 0..SEGMENTS_MAX + 3 {
        last = log.append(&batch).unwrap() + 15;
    }
    let kept = segments(&dir.path().join(DIRECTORY)).unwrap();
    assert_eq!(kept.len(), SEGMENTS_MAX);
    let bytes: u64 = kept.iter().map(|(_, path)| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < (SEGMENTS_MAX as u64 + 1) * (SEGMENT_BYTES_MAX + 1024 * 1024), "{bytes} bytes are kept");
    let numbers = numbers(dir.path());
    assert_eq!(numbers.last(), Some(&last));
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "without a gap");
}

#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    HistoryLog::new(dir.path()).append(&[event(1)]).unwrap();
    let path = segments(&dir.path().join(DIRECTORY)).unwrap().pop().unwrap().1;
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}
