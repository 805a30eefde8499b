//! Owns edits of flag files in place: the smallest change of bytes, proven by reading the result again.
//!
//! An edit is text in, text out. It never writes a file, and it never decides what a change means to users.

mod layout;
mod patch;
mod pin;
mod sameness;
mod split;

use std::sync::Arc;

pub use split::SplitDoc;

use super::{ConfigFile, Diagnostic, Kind, Node, Place, Report, did_you_mean, parse};
use layout::Style;
use patch::Splice;

/// Edits the flags of one file.
///
/// Every method notes bytes to be replaced and does the same to a copy of the document. [`FlagEditor::finish`] reads
/// the new text and holds it against that copy: what differs in anything else is refused.
#[derive(Debug)]
pub struct FlagEditor<'d> {
    document: &'d Node,
    expected: Node,
    splices: Vec<Splice>,
}

/// A file with its edits.
#[derive(Debug)]
pub struct Edited {
    /// The file as it was read.
    pub before: Arc<ConfigFile>,
    /// The same path with the new text.
    pub after: Arc<ConfigFile>,
    splices: Vec<Splice>,
}

/// A condition that goes before all others: who has this value gets this variant.
#[derive(Debug, Clone, Copy)]
pub struct Pin<'p> {
    /// What rules call the attribute.
    pub attribute: &'p str,
    /// The value.
    pub value: &'p str,
    /// The variant.
    pub variant: &'p str,
}

/// A flag in a document: where, by the positions of children, and its key and definition.
#[derive(Debug, Clone)]
struct Found<'d> {
    path: Vec<usize>,
    key: &'d Node,
    definition: &'d Node,
}

/// The entry of a map: its position, key and value.
type Entry<'d> = (usize, &'d Node, &'d Node);

impl<'d> FlagEditor<'d> {
    /// Begins to edit a document.
    pub fn new(document: &'d Node) -> Self {
        Self { document, expected: document.clone(), splices: Vec::new() }
    }

    /// Enables or disables a flag; it stays untouched when it is that already.
    ///
    /// # Errors
    /// When the document has no such flag or the flag no state.
    pub fn set_state(&mut self, flag: &str, enabled: bool) -> Result<(), Box<Diagnostic>> {
        let found = self.find(flag)?;
        self.set_state_of(&found, enabled)
    }

    /// Enables or disables every flag of the document.
    ///
    /// # Errors
    /// When a flag has no state.
    pub fn set_every_state(&mut self, enabled: bool) -> Result<(), Box<Diagnostic>> {
        let Some((section, _, flags)) = entry(self.document, "flags") else { return Ok(()) };
        for (at, (key, definition)) in flags.as_map().unwrap_or_default().iter().enumerate() {
            self.set_state_of(&Found { path: vec![section, at], key, definition }, enabled)?;
        }
        Ok(())
    }

    fn set_state_of(&mut self, found: &Found<'_>, enabled: bool) -> Result<(), Box<Diagnostic>> {
        let (word, other) = if enabled { ("ENABLED", "DISABLED") } else { ("DISABLED", "ENABLED") };
        let Some((at, _, state)) = entry(found.definition, "state") else {
            return Err(refuse(
                "missing-state",
                &found.key.place,
                format!("the flag `{}` has no `state`", found.key.as_str().unwrap_or_default()),
                "add it",
            ));
        };
        if state.as_str() == Some(word) {
            return Ok(());
        }
        let quoted = matches!(state.kind, Kind::Str { quoted: true, .. });
        let kind = Kind::Str { text: word.into(), quoted };
        let place = &state.place;
        let written = &place.file.text[place.start..place.end];
        // In the middle of its quotes, whatever those are.
        self.splices.push(match written.match_indices(other).collect::<Vec<_>>().as_slice() {
            [(at, _)] => {
                let start = place.start + at;
                Splice { start, end: start + other.len(), text: word.to_owned() }
            }
            _ => {
                let text = layout::flow(&Node { kind: kind.clone(), place: place.clone() });
                Splice { start: place.start, end: place.end, text }
            }
        });
        self.expect(&[&found.path[..], &[at]].concat(), |node| node.kind = kind);
        Ok(())
    }

    /// Ends the editing; `None` when nothing had to be changed.
    ///
    /// # Errors
    /// When the new text does not read as the document with exactly the intended changes, for instance because a
    /// value is shared by an anchor.
    pub fn finish(mut self) -> Result<Option<Edited>, Box<Diagnostic>> {
        self.splices.sort_by_key(|splice| (splice.start, splice.end));
        let Some(first) = self.splices.first() else {
            return Ok(None);
        };
        let before = Arc::clone(&self.document.place.file);
        let place = Place { file: Arc::clone(&before), start: first.start, end: first.end };
        let unfit = || {
            let message = "this layout cannot be edited in place";
            refuse("layout", &place, message, "edit the file by hand; `banyan check` judges the result")
        };
        let text = patch::spliced(&before.text, &self.splices).ok_or_else(|| shared(&place, "the same value twice"))?;
        let after = Arc::new(ConfigFile { path: before.path.clone(), text });
        let mut report = Report::default();
        let read = parse(&after, &mut report).filter(|_| !report.has_errors()).ok_or_else(unfit)?;
        match sameness::first_difference(&self.expected, &read) {
            None => Ok(Some(Edited { before, after, splices: self.splices })),
            Some(path) if before.text.contains('*') => Err(shared(&place, &format!("`{path}`"))),
            Some(_) => Err(unfit()),
        }
    }

    fn find(&self, flag: &str) -> Result<Found<'d>, Box<Diagnostic>> {
        let flags = entry(self.document, "flags");
        let found = flags.and_then(|(at, _, flags)| Some((at, entry(flags, flag)?)));
        let Some((section, (at, key, definition))) = found else {
            let known = flags.and_then(|(_, _, flags)| flags.as_map()).unwrap_or_default();
            return Err(unknown_flag(flag, known.iter().filter_map(|(key, _)| key.as_str())));
        };
        Ok(Found { path: vec![section, at], key, definition })
    }

    /// Does to the copy what the splices do to the text.
    fn expect(&mut self, path: &[usize], change: impl FnOnce(&mut Node)) {
        let mut node = &mut self.expected;
        for at in path {
            node = match &mut node.kind {
                Kind::Map(entries) => &mut entries[*at].1,
                Kind::List(items) => &mut items[*at],
                _ => return,
            };
        }
        change(node);
    }

    fn style(&self, found: &Found<'_>) -> Style {
        Style::of(self.document, found.key, found.definition)
    }
}

impl Edited {
    /// The difference as a unified diff of whole lines, for people: nothing in it can steer a terminal.
    pub fn diff(&self) -> String {
        patch::unified(&self.before, &self.after, &self.splices)
    }
}

/// Says that no flag has a name.
pub fn unknown_flag<'c>(flag: &str, known: impl IntoIterator<Item = &'c str> + Clone) -> Box<Diagnostic> {
    let mut found = Diagnostic::new(super::Severity::Error, "unknown-flag", None, format!("there is no flag `{flag}`"));
    found.help = did_you_mean(flag, known);
    Box::new(found)
}

fn shared(place: &Place, what: &str) -> Box<Diagnostic> {
    let message = format!("the edit would change {what} as well: an anchor shares the value");
    refuse("shared-value", place, message, "write the value out where the alias stands, then edit again")
}

fn refuse(code: &'static str, place: &Place, message: impl Into<String>, help: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(code, place, message).help(help))
}

fn entry<'d>(node: &'d Node, name: &str) -> Option<Entry<'d>> {
    let entries = node.as_map()?.iter().enumerate();
    entries.map(|(at, (key, value))| (at, key, value)).find(|(_, key, _)| key.as_str() == Some(name))
}
