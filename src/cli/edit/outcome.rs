//! Owns how an edit is shown: as text for people, as JSON for scripts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::{REFUSED, grouped, print};
use crate::config::{Format, Report, visible};
use crate::flag::Move;

/// How many flags are listed with their moves; JSON has all.
const LISTED_MAX: usize = 20;

/// What an edit did.
pub(in crate::cli) struct Shown {
    pub(super) verb: &'static str,
    reason: Option<String>,
    dry_run: bool,
    /// The router's state directory, once the settings are known.
    pub(super) state: Option<PathBuf>,
    /// The files that change, each with its difference.
    pub(super) files: Vec<(PathBuf, String)>,
    /// The files that were written.
    pub(super) written: Vec<PathBuf>,
    /// Who moves, by flag.
    pub(super) moves: Vec<FlagMoves>,
    /// What all of the sample have.
    pub(super) attributes: Vec<(String, String)>,
    /// What the edit brings up, or why it was refused.
    pub(super) report: Report,
    /// Why it is the files that are edited, where a router that runs comes first.
    pub(in crate::cli) because: Option<String>,
    /// The file that kills every flag, if it came to that.
    pub(super) glass: Option<PathBuf>,
}

/// The moves of one flag's users.
pub(super) struct FlagMoves {
    pub(super) flag: Box<str>,
    /// How many were asked.
    pub(super) sampled: u32,
    /// Those who do not stay.
    pub(super) moves: Vec<Move>,
}

impl Shown {
    pub(super) fn new(verb: &'static str, reason: Option<String>, dry_run: bool) -> Self {
        Self {
            verb,
            reason,
            dry_run,
            state: None,
            files: Vec::new(),
            written: Vec::new(),
            moves: Vec::new(),
            attributes: Vec::new(),
            report: Report::default(),
            because: None,
            glass: None,
        }
    }

    /// The router's state directory, as far as the settings could be read.
    pub(in crate::cli) fn state(&self) -> Option<&Path> {
        self.state.as_deref().filter(|_| !self.report.has_errors())
    }

    /// Prints it, and says by the exit code whether the edit was done.
    pub(in crate::cli) fn print(&self, json: bool) -> ExitCode {
        print(&if json { self.to_json() } else { self.to_text() });
        if self.is_done() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
    }

    /// Whether what was asked for holds, by whichever way.
    fn is_done(&self) -> bool {
        self.glass.is_some() || !self.report.has_errors()
    }

    /// By which way it was done; null where it was not.
    fn way(&self) -> Option<&'static str> {
        let file = (!self.report.has_errors()).then_some("file");
        if self.glass.is_some() { Some("break-glass") } else { file }
    }

    /// One JSON object with the same members whatever the outcome.
    fn to_json(&self) -> String {
        let paths = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let files = self.files.iter().map(|(path, diff)| json!({"path": path.display().to_string(), "diff": diff}));
        // The report's own form is what `check --json` prints.
        let report: Value = serde_json::from_str(&self.report.render(Format::Json)).unwrap_or_default();
        let object = json!({
            "verb": self.verb,
            "done": self.is_done(),
            "way": self.way(),
            "not_live_because": self.because,
            "break_glass": self.glass.as_ref().map(|path| path.display().to_string()),
            "dry_run": self.dry_run,
            "reason": self.reason,
            "flags": self.moves.iter().map(FlagMoves::to_json).collect::<Vec<_>>(),
            "files": files.collect::<Vec<_>>(),
            "written": paths(&self.written),
            "findings": report["diagnostics"],
        });
        format!("{object:#}\n")
    }

    /// The difference first, then who moves, then findings, and last what became of it.
    fn to_text(&self) -> String {
        let mut text = String::new();
        for (_, diff) in &self.files {
            text.push_str(diff);
            text.push('\n');
        }
        for flag in self.moves.iter().take(LISTED_MAX) {
            flag.write(&mut text);
        }
        if self.moves.len() > LISTED_MAX {
            let _ = writeln!(text, "and {} flags more; --json lists all", self.moves.len() - LISTED_MAX);
        }
        if let Some(first) = self.moves.first() {
            let _ = writeln!(text, "{}\n", self.sample(first.sampled));
        }
        text.push_str(&self.report.render(Format::Text { colour: false }));
        if let Some(reason) = &self.reason {
            let _ = writeln!(text, "reason: {reason}");
        }
        self.write_end(&mut text);
        self.write_way(&mut text);
        text
    }

    /// What the sample assumes.
    fn sample(&self, keys: u32) -> String {
        let having: Vec<String> = self.attributes.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
        let having = having.join(", ");
        match (keys, self.attributes.is_empty()) {
            (1, _) => format!("sampled: the user with {having}, at this moment, without other attributes"),
            (_, true) => format!(
                "sampled: the targeting keys user-0 to user-{}, at this moment, without attributes: cohorts of rules are not in it",
                keys - 1
            ),
            (_, false) => format!(
                "sampled: the targeting keys user-0 to user-{}, all with {having}, at this moment, without other attributes",
                keys - 1
            ),
        }
    }

    /// What became of it; a script reads the exit code, a person this.
    fn write_end(&self, text: &mut String) {
        // Writing to a string cannot fail.
        let _ = if self.report.has_errors() {
            match self.written.as_slice() {
                [] => writeln!(text, "refused: nothing was written"),
                // Another file was changed by others between two exchanges.
                _ => writeln!(text, "refused in the middle: only these were written"),
            }
        } else if self.files.is_empty() {
            writeln!(text, "nothing to do: the files say so already")
        } else if self.dry_run {
            writeln!(text, "nothing was written (--dry-run)")
        } else {
            Ok(())
        };
        for path in &self.written {
            let _ = writeln!(text, "written: {}", path.display());
        }
        if !self.written.is_empty() {
            text.push_str("a router that reads these files takes them up by itself; `banyan reload` waits for it\n");
        }
    }
}

impl Shown {
    /// Which way was taken, where there are several.
    fn write_way(&self, text: &mut String) {
        // Writing to a string cannot fail.
        if let Some(because) = &self.because {
            let _ = writeln!(text, "the running router was not told: {}", visible(because));
        }
        if let Some(path) = &self.glass {
            let _ = writeln!(
                text,
                "way: break glass: {} is written, and a router that runs there kills EVERY flag; remove it to go back",
                path.display()
            );
        }
    }
}

impl FlagMoves {
    /// How many do not stay.
    fn moved(&self) -> u32 {
        self.moves.iter().map(|found| found.keys).sum()
    }

    fn to_json(&self) -> Value {
        let moves = self.moves.iter().map(|found| json!({"from": found.from, "to": found.to, "keys": found.keys}));
        json!({
            "flag": self.flag,
            "sampled": self.sampled,
            "moved": self.moved(),
            "moves": moves.collect::<Vec<_>>(),
        })
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "{}: {} of {} sampled users move",
            visible(&self.flag),
            grouped(self.moved().into()),
            grouped(self.sampled.into())
        );
        for found in &self.moves {
            let name = |variant: &Option<Box<str>>| visible(variant.as_deref().unwrap_or("fallback"));
            let _ = writeln!(text, "{:>9}  {} -> {}", grouped(found.keys.into()), name(&found.from), name(&found.to));
        }
    }
}
