//! Owns how far a long run has come: for people on stderr, and in a file, so that a run that was cut short goes on where it was.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// How wide the bar is, in characters.
const BAR: usize = 30;

/// How far it has come.
#[derive(Debug)]
pub(super) struct Progress {
    /// Entities that are done, of this run and earlier ones.
    pub(super) done: usize,
    all: usize,
    file: Option<PathBuf>,
    is_shown: bool,
}

impl Progress {
    /// Begins where the file says, if there is one.
    pub(super) fn begin(file: Option<&Path>, all: usize) -> Result<Self, String> {
        let done = match file.map(std::fs::read_to_string) {
            None => 0,
            Some(Ok(text)) => read(&text, all).ok_or_else(|| {
                let file = file.unwrap_or(Path::new("")).display();
                format!("{file} is about another list of entities; remove it to begin anew")
            })?,
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Some(Err(error)) => return Err(format!("{}: {error}", file.unwrap_or(Path::new("")).display())),
        };
        Ok(Self { done, all, file: file.map(Into::into), is_shown: std::io::stderr().is_terminal() })
    }

    /// Notes that some more are done.
    pub(super) fn advance(&mut self, more: usize) -> Result<(), String> {
        self.done += more;
        if let Some(file) = &self.file {
            let written = std::fs::write(file, format!("{} of {}\n", self.done, self.all));
            written.map_err(|error| format!("{}: {error}", file.display()))?;
        }
        if self.is_shown {
            let full = BAR * self.done / self.all.max(1);
            let bar = format!("{}{}", "#".repeat(full), ".".repeat(BAR - full));
            let _ = write!(std::io::stderr(), "\r[{bar}] {} of {}", self.done, self.all);
        }
        Ok(())
    }

    /// Ends the line of the bar; a run that is over need not be gone on with.
    pub(super) fn end(&self) {
        if self.is_shown && self.all > 0 {
            let _ = writeln!(std::io::stderr());
        }
        if let Some(file) = &self.file {
            // What stays is only a run that would have nothing to do.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Reads `17 of 200`, if it is about as many.
fn read(text: &str, all: usize) -> Option<usize> {
    let (done, of) = text.trim().split_once(" of ")?;
    let (done, of): (usize, usize) = (done.parse().ok()?, of.parse().ok()?);
    (of == all && done <= all).then_some(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_where_it_was_and_not_in_another_list() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("progress");
        let mut first = Progress::begin(Some(&file), 10).unwrap();
        first.advance(4).unwrap();
        assert_eq!(Progress::begin(Some(&file), 10).unwrap().done, 4);
        assert!(Progress::begin(Some(&file), 11).is_err());
        first.end();
        assert_eq!(Progress::begin(Some(&file), 11).unwrap().done, 0);
    }
}
