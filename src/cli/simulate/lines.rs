//! Owns reading logs line by line, in bounded memory and with a sign of life; it does not know what a line means.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest line in bytes; the rest of a longer one is skipped. Heads are at most 64 KiB unless a limit says otherwise.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// How often a sign of life is given on stderr.
const SIGN_EVERY: Duration = Duration::from_secs(2);
/// Lines between two looks at the clock.
const LINES_A_LOOK: u64 = 1024;

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    /// The file.
    pub(super) path: &'p Path,
    /// The line, from 1.
    pub(super) line: u64,
}

/// Gives every line of the files to `take`; what is longer than can be is given cut, which no JSON survives.
///
/// # Errors
/// When a file cannot be read, with its name.
pub(super) fn read_all(paths: &[PathBuf], mut take: impl FnMut(&[u8], Place<'_>)) -> Result<(), String> {
    let mut progress = Progress::new();
    for path in paths {
        let read = if path.as_os_str() == "-" {
            read(&mut io::stdin().lock(), path, &mut progress, &mut take)
        } else {
            File::open(path)
                .and_then(|file| read(&mut BufReader::with_capacity(256 * 1024, file), path, &mut progress, &mut take))
        };
        read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    }
    progress.end();
    Ok(())
}

fn read(
    reader: &mut impl BufRead,
    path: &Path,
    progress: &mut Progress,
    take: &mut impl FnMut(&[u8], Place<'_>),
) -> io::Result<()> {
    let (mut bytes, mut line) = (Vec::new(), 0);
    loop {
        bytes.clear();
        if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        if bytes.len() as u64 == LINE_BYTES_MAX && !bytes.ends_with(b"\n") {
            skip_line(reader)?;
        }
        line += 1;
        let text = bytes.trim_ascii();
        if !text.is_empty() {
            take(text, Place { path, line });
        }
        progress.count();
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (used, is_over) = (end.map_or(buffer.len(), |at| at + 1), end.is_some() || buffer.is_empty());
        reader.consume(used);
        if is_over {
            return Ok(());
        }
    }
}

/// Says on stderr how far it is, once it takes long.
struct Progress {
    lines: u64,
    started: Instant,
    said: Option<Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { lines: 0, started: Instant::now(), said: None }
    }

    fn count(&mut self) {
        self.lines += 1;
        if self.lines.is_multiple_of(LINES_A_LOOK) && self.said.unwrap_or(self.started).elapsed() >= SIGN_EVERY {
            self.said = Some(Instant::now());
            self.say("");
        }
    }

    fn end(&self) {
        if self.said.is_some() {
            self.say(", all read");
        }
    }

    fn say(&self, end: &str) {
        let rate = self.lines as f64 / self.started.elapsed().as_secs_f64();
        eprintln!("banyan: {} lines, {rate:.0} a second{end}", self.lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(u64, usize)> {
        let mut found = Vec::new();
        let mut take = |line: &[u8], place: Place<'_>| found.push((place.line, line.len()));
        read(&mut BufReader::with_capacity(7, bytes), Path::new("log"), &mut Progress::new(), &mut take).unwrap();
        found
    }

    #[test]
    fn lines_are_numbered_and_blank_ones_are_none() {
        assert_eq!(lines(b"ab\n\n  \ncde\r\nf"), [(1, 2), (4, 3), (5, 1)]);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn an_endless_line_costs_its_limit_only() {
        let max = LINE_BYTES_MAX as usize;
        for length in [max - 1, max, max + 1, 3 * max] {
            let mut bytes = vec![b'x'; length];
            bytes.extend_from_slice(b"\nnext\n");
            assert_eq!(lines(&bytes), [(1, length.min(max)), (2, 4)], "{length}");
        }
    }
}
