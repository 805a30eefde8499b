//! The format as `docs/journal.md` tells it: the page's example is read by the program, the program's files by a
//! reader that was written after the page.

use std::path::Path;
use std::sync::Arc;

use banyan::journal::{Durability, Kind, Lsn};

use super::memory_disk::MemoryDisk;
use super::{SEGMENT_BYTES, open_on, read_all};

const DIR: &str = "/journal";
const SEGMENT: &str = "/journal/0000000000000001.segment";
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/journal.md");

/// A segment with two records, of a new journal.
fn sample() -> Vec<u8> {
    let disk = MemoryDisk::default();
    let journal = open_on(Arc::new(disk.clone()), Path::new(DIR));
    let side = journal.store_side(b"a large body".to_vec()).unwrap().wait().unwrap();
    let append = [
        journal.append(Kind::Intent, 7, b"PUT /orders/17".to_vec(), Durability::Synced),
        journal.append_naming(side, Kind::Outcome, 7, b"201".to_vec(), Durability::Synced),
    ];
    for ticket in append {
        ticket.unwrap().wait().unwrap();
    }
    disk.files().remove(Path::new(SEGMENT)).unwrap()
}

/// As `hexdump -C` prints it, rows of zeros left out.
fn hexdump(bytes: &[u8]) -> String {
    let rows = bytes.chunks(16).enumerate().filter(|(_, row)| row.iter().any(|byte| *byte != 0));
    let row = |(number, row): (usize, &[u8])| {
        let (left, right) = row.split_at(8);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let shown = row.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' });
        format!("{:08x}  {}  {}  |{}|\n", number * 16, hex(left), hex(right), shown.collect::<String>())
    };
    rows.map(row).collect()
}

/// The bytes of the page's example.
fn example() -> Vec<u8> {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let block = page.split("```hexdump\n").nth(1).and_then(|rest| rest.split("```").next());
    let block = block.unwrap_or_else(|| panic!("docs/journal.md has no example; one is\n{}", hexdump(&sample())));
    let mut bytes = vec![0; SEGMENT_BYTES as usize];
    for line in block.lines() {
        let mut words = line.split('|').next().unwrap().split_whitespace();
        let offset = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        for (at, word) in words.enumerate() {
            bytes[offset + at] = u8::from_str_radix(word, 16).unwrap();
        }
    }
    bytes
}

/// Reads a segment by the page's tables alone.
fn read_by_the_page(segment: &[u8]) -> Vec<(u64, u64, u8, u64, Vec<u8>)> {
    let number = |at: usize, bytes: usize| {
        segment[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    assert_eq!((&segment[..8], number(8, 8), number(16, 8)), (&b"BANYANJ1"[..], 1, SEGMENT_BYTES));
    let mut sum = crc32c(0, &segment[..32]);
    assert_eq!(number(32, 4), u64::from(sum));
    let (mut at, mut records) = (4096, Vec::new());
    while segment[at + 24] != 0 {
        let length = number(at + 4, 4) as usize;
        let end = (at + 32 + length).next_multiple_of(8);
        sum = crc32c(sum, &segment[at + 4..end]);
        assert_eq!(number(at, 4), u64::from(sum));
        let payload = segment[at + 32..at + 32 + length].to_vec();
        records.push((number(at + 8, 8), number(at + 16, 8), segment[at + 24], number(at + 25, 7), payload));
        at = end;
    }
    records
}

/// CRC-32C bit by bit, so that the checksum is judged by something else than what made it.
fn crc32c(before: u32, bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(!before, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

#[test]
fn files_are_as_the_page_says() {
    let expected = [(1, 7, 1, 0, b"PUT /orders/17".to_vec()), (2, 7, 2, 1, b"201".to_vec())];
    assert_eq!(crc32c(0, b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    assert_eq!(read_by_the_page(&sample()), expected);
    assert_eq!(read_by_the_page(&example()), expected, "the example of the page; one now is\n{}", hexdump(&sample()));
}

#[test]
fn the_example_of_the_page_is_a_journal() {
    let disk = MemoryDisk::of([(SEGMENT.into(), example())].into());
    let journal = open_on(Arc::new(disk), Path::new(DIR));
    let records = read_all(&journal);
    assert_eq!(records.len(), 2, "one that is whole now is\n{}", hexdump(&sample()));
    assert_eq!((records[0].lsn, records[0].kind, records[0].epoch), (Lsn(1), Kind::Intent, 7));
    assert_eq!(&records[0].payload[..], b"PUT /orders/17");
    assert_eq!((records[1].kind, records[1].side.unwrap().number()), (Kind::Outcome, 1));
}
