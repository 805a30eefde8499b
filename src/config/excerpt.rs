//! Owns the part of a source line that is shown with a finding: escaped, cropped, with what is meant measured out.

use super::Place;

/// How many columns of a line are shown.
const COLUMNS_MAX: usize = 110;
/// How many columns before the place are kept when a line is cropped.
const BEFORE_MAX: usize = 40;

/// A line, ready to be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) line: String,
    /// Columns before what is meant.
    pub(super) before: usize,
    /// Columns of what is meant, at least one.
    pub(super) marked: usize,
}

impl Excerpt {
    /// The line of a place; `None` when there is no text, as with a file that could not be read.
    pub(super) fn of(place: &Place) -> Option<Self> {
        let text = &*place.file.text;
        let start = floor(text, place.start);
        let end = floor(text, place.end.max(start));
        if text.is_empty() {
            return None;
        }
        let begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let stop = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let head = text[begin..start].trim_start_matches('\u{feff}');
        let marked = &text[start..end.min(stop)];
        let rest = text[end.min(stop)..stop].trim_end_matches('\r');
        // A minified file is one line of megabytes: look at no more of it than can be shown.
        let fits = !first_chars(&text[begin..stop], COLUMNS_MAX).1;
        let before_max = if fits { COLUMNS_MAX } else { BEFORE_MAX };
        let (head, cut_before) = last_chars(head, before_max);
        let (marked, cut_marked) = first_chars(marked, if fits { COLUMNS_MAX } else { COLUMNS_MAX - BEFORE_MAX });
        let head = visible(head);
        let marked = visible(marked.trim_end_matches('\r'));
        let lead = if cut_before { "…" } else { "" };
        let before = lead.chars().count() + head.chars().count();
        let width = marked.chars().count();
        let left = if cut_marked { 0 } else { COLUMNS_MAX.saturating_sub(before + width) };
        let (rest, cut_rest) = first_chars(rest, left);
        let tail = if cut_marked || cut_rest { "…" } else { "" };
        let line = format!("{lead}{head}{marked}{}{tail}", visible(rest));
        Some(Self { line: line.trim_end().to_owned(), before, marked: width.max(1) })
    }
}

/// Makes everything that could steer or deceive a terminal visible; tabs become spaces.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => shown.push_str("    "),
            '\n' => shown.push_str("\\n"),
            hidden if hidden.is_control() || deceives(hidden) => shown.extend(hidden.escape_unicode()),
            plain => shown.push(plain),
        }
    }
    shown
}

/// Characters that reorder or hide text ("Trojan Source", CVE-2021-42574).
fn deceives(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn first_chars(text: &str, most: usize) -> (&str, bool) {
    text.char_indices().nth(most).map_or((text, false), |(at, _)| (&text[..at], true))
}

fn last_chars(text: &str, most: usize) -> (&str, bool) {
    let Some(last) = most.checked_sub(1) else {
        return ("", !text.is_empty());
    };
    match text.char_indices().rev().nth(last) {
        Some((at, _)) if at > 0 => (&text[at..], true),
        _ => (text, false),
    }
}
