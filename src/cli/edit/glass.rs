//! Owns the last way of `kill`: the file `KILL` in the state directory, which a router looks for whatever else is broken.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Shown;
use crate::config::{Diagnostic, Severity};
use crate::control::BREAK_GLASS_FILE;

/// Writes the file and gives its path; a file that is there already has killed already.
fn write(state: &Path, reason: &str) -> io::Result<PathBuf> {
    let path = state.join(BREAK_GLASS_FILE);
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(mut file) => {
            // That it is there is what counts: a full disk takes the file, and no reason or promise with it.
            let _ = writeln!(file, "{reason}").and_then(|()| file.sync_all());
            let _ = File::open(state).and_then(|dir| dir.sync_all());
            Ok(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
        Err(error) => Err(error),
    }
}

impl Shown {
    /// Whether a kill could not be written, and not because there is no such flag.
    pub(in crate::cli) fn is_stuck(&self) -> bool {
        let mistaken = self.report.diagnostics.iter().any(|found| found.code == "unknown-flag");
        self.verb == "kill" && self.report.has_errors() && !mistaken
    }

    /// Kills every flag of a router that runs on the state directory.
    pub(in crate::cli) fn break_glass(&mut self, reason: &str) {
        let Some(state) = self.state.clone().filter(|state| fs::metadata(state).is_ok()) else {
            return self.name_break_glass();
        };
        match write(&state, reason) {
            Ok(path) => self.glass = Some(path),
            Err(error) => {
                let message = format!("{} cannot be written: {error}", state.join(BREAK_GLASS_FILE).display());
                let found = Diagnostic::new(Severity::Error, "break-glass", None, message);
                self.report.push(found.help("send the router's process SIGUSR1: `kill -USR1 PID` kills every flag"));
            }
        }
    }

    /// Says what is left when a kill cannot be written: the file that a router looks for whatever its flag files say.
    pub(in crate::cli) fn name_break_glass(&mut self) {
        let Some(state) = &self.state else { return };
        let file = state.join(BREAK_GLASS_FILE);
        let message = "a running router can be told without its flag files, for all flags at once";
        let help = format!(
            "`banyan kill --all`, or `touch {}` in the state directory of that router; remove it to go back",
            file.display()
        );
        self.note("break-glass", message, &help);
    }

    /// Adds something that is worth knowing.
    pub(in crate::cli) fn note(&mut self, code: &'static str, message: &str, help: &str) {
        self.report.push(Diagnostic::new(Severity::Note, code, None, message.to_owned()).help(help));
    }
}
