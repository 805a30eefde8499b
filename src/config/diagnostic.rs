//! Owns what is told to the person who edits a file: what, where and how to mend it.

use std::path::Path;

use super::Place;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing: for instance a part of a stage that is not in force.
    Note,
    /// Probably not what was meant; the set is still published.
    Warning,
    /// The set is refused.
    Error,
}

impl Severity {
    /// Names it, as in rendered diagnostics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding about the files.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name for scripts and the docs, such as `duplicate-key`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where; `None` only for findings about a whole directory.
    pub place: Option<Place>,
    /// A second place, with its label, such as the first of two equal keys.
    pub also: Option<(Place, String)>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Makes an error.
    pub fn error(code: &'static str, place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, Some(place.clone()), message)
    }

    /// Makes a warning.
    pub fn warning(code: &'static str, place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, Some(place.clone()), message)
    }

    /// Makes a note.
    pub fn note(code: &'static str, place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, Some(place.clone()), message)
    }

    /// Makes a diagnostic with or without a place.
    pub fn new(severity: Severity, code: &'static str, place: Option<Place>, message: impl Into<String>) -> Self {
        Self { severity, code, message: message.into(), place, also: None, help: None }
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn also(mut self, place: &Place, label: impl Into<String>) -> Self {
        self.also = Some((place.clone(), label.into()));
        self
    }
}

/// All findings about a set of files.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The findings in the order of files and places.
    pub diagnostics: Vec<Diagnostic>,
}

impl From<Box<Diagnostic>> for Report {
    /// A report of one finding.
    fn from(found: Box<Diagnostic>) -> Self {
        Self { diagnostics: vec![*found] }
    }
}

impl Report {
    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Whether the set must be refused.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// How many findings are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|found| found.severity == severity).count()
    }

    /// Brings the findings into the order of files and places; those about whole directories come first.
    pub fn sort(&mut self) {
        fn key(found: &Diagnostic) -> Option<(&Path, usize)> {
            found.place.as_ref().map(|place| (&*place.file.path, place.start))
        }
        self.diagnostics.sort_by(|left, right| key(left).cmp(&key(right)));
    }
}
