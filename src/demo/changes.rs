//! Owns what the demo shows of the router's log: how the last reload ended and what was found in the files.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::Value;

/// How many findings are shown; `banyan check` shows all.
const FINDINGS_MAX: usize = 6;

/// A sink for the router's log, JSON lines, that keeps the last reload.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    /// A line that has not ended.
    open: Vec<u8>,
    /// Findings since the last reload ended.
    findings: Vec<String>,
    last: Option<Change>,
    count: u64,
}

/// The end of a reload.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Counts the changes heard, from 1.
    pub(super) number: u64,
    /// What the router said.
    pub(super) message: String,
    /// When.
    pub(super) at: Instant,
    /// What was found in the files.
    pub(super) findings: Vec<String>,
}

impl Changes {
    /// How the last reload ended.
    pub(super) fn last(&self) -> Option<Change> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// What was found and belongs to no reload: why the router did not start.
    pub fn findings(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).findings.clone()
    }
}

impl Heard {
    fn event(&mut self, line: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Value>(line) else { return };
        let message = event["message"].as_str().unwrap_or_default().to_owned();
        let is_end = ["published", "rejected", "the files are those in force again"];
        if event.get("generation").is_some() && is_end.iter().any(|start| message.starts_with(start)) {
            self.count += 1;
            let message = format!("generation {}: {message}", event["generation"]);
            let findings = std::mem::take(&mut self.findings);
            self.last = Some(Change { number: self.count, message, at: Instant::now(), findings });
        } else if matches!(event["level"].as_str(), Some("ERROR" | "WARN")) {
            self.findings.truncate(FINDINGS_MAX - 1);
            self.findings.push(message);
        }
    }
}

impl Write for Changes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.open.extend_from_slice(bytes);
        while let Some(end) = heard.open.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = heard.open.drain(..=end).collect();
            heard.event(&line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_belong_to_the_reload_that_follows() {
        let mut changes = Changes::default();
        let lines = "{\"level\":\"ERROR\",\"message\":\"a.yaml:1: bad\"}\n{\"level\":\"ERROR\",\"message\":\"rejected; x\",\"gen";
        changes.write_all(lines.as_bytes()).expect("it takes all");
        assert!(changes.last().is_none());
        assert_eq!(changes.findings(), ["a.yaml:1: bad"]);
        changes.write_all(b"eration\":3}\nnot json\n").expect("it takes all");
        let last = changes.last().expect("a rejection");
        assert_eq!((last.number, last.message.as_str()), (1, "generation 3: rejected; x"));
        assert_eq!(last.findings, ["a.yaml:1: bad"]);
        assert!(changes.findings().is_empty());
    }
}
