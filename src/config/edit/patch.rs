//! Owns bytes that replace bytes: how they make the new text, and how the difference is shown.

use std::fmt::Write as _;
use std::ops::Range;

use crate::config::ConfigFile;
use crate::config::excerpt::visible;

/// How many unchanged lines stand around a change, as `diff -u` has it.
const CONTEXT_LINES: usize = 3;

/// Bytes to be replaced.
#[derive(Debug, Clone)]
pub(super) struct Splice {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) text: String,
}

/// The text with its splices, which are sorted; `None` when two of them want the same bytes.
pub(super) fn spliced(text: &str, splices: &[Splice]) -> Option<String> {
    let mut made = String::with_capacity(text.len() + 256);
    let mut done = 0;
    for splice in splices {
        made.push_str(text.get(done..splice.start)?);
        made.push_str(&splice.text);
        done = splice.end;
    }
    made.push_str(text.get(done..)?);
    Some(made)
}

/// A run of lines that differs: the lines before, the lines after.
struct Change {
    before: Range<usize>,
    after: Range<usize>,
}

/// Shows the difference; the splices say where it is, so nothing has to be searched.
pub(super) fn unified(before: &ConfigFile, after: &ConfigFile, splices: &[Splice]) -> String {
    let old: Vec<&str> = before.text.split_inclusive('\n').collect();
    let new: Vec<&str> = after.text.split_inclusive('\n').collect();
    let changes = changes(&before.text, splices, &old, &new);
    let path = before.path.display().to_string();
    let path = visible(&path);
    let mut shown = format!("--- {path}\n+++ {path}\n");
    let mut rest = changes.as_slice();
    while !rest.is_empty() {
        let near = |pair: &[Change]| pair[1].before.start - pair[0].before.end <= 2 * CONTEXT_LINES;
        let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
        let (hunk, later) = rest.split_at(count);
        write_hunk(&mut shown, hunk, &old, &new);
        rest = later;
    }
    shown
}

/// The changed runs of lines, narrowed to what really differs.
fn changes(text: &str, splices: &[Splice], old: &[&str], new: &[&str]) -> Vec<Change> {
    let begins: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let line = |at: usize| begins.partition_point(|begin| *begin <= at) - 1;
    let mut touched: Vec<Range<usize>> = Vec::new();
    for splice in splices {
        // Whole lines that are put in touch the line that they push down; narrowing frees it again.
        let range = line(splice.start)..(line(splice.end) + 1).min(old.len());
        match touched.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => touched.push(range),
        }
    }
    let mut changes = Vec::with_capacity(touched.len());
    // How many lines more the new text has up to here.
    let mut grown: isize = 0;
    let mut splices = splices.iter().peekable();
    for range in touched {
        let until = begins.get(range.end).copied().unwrap_or(text.len() + 1);
        let start = range.start.saturating_add_signed(grown);
        while let Some(splice) = splices.next_if(|splice| splice.start < until) {
            let lines = |text: &str| text.matches('\n').count() as isize;
            grown += lines(&splice.text) - lines(&text[splice.start..splice.end]);
        }
        let end = range.end.saturating_add_signed(grown).min(new.len());
        // Text without a newline at its end can grow by a line that no newline counts.
        let end = if range.end == old.len() { new.len() } else { end };
        changes.push(narrowed(range, start..end, old, new));
    }
    changes
}

/// Leaves out lines at both ends that are the same: a splice within a line may touch more than it changes.
fn narrowed(mut before: Range<usize>, mut after: Range<usize>, old: &[&str], new: &[&str]) -> Change {
    while !before.is_empty() && !after.is_empty() && old[before.start] == new[after.start] {
        before.start += 1;
        after.start += 1;
    }
    while !before.is_empty() && !after.is_empty() && old[before.end - 1] == new[after.end - 1] {
        before.end -= 1;
        after.end -= 1;
    }
    Change { before, after }
}

/// Writes changes that are near each other, with the lines between and around them.
fn write_hunk(shown: &mut String, hunk: &[Change], old: &[&str], new: &[&str]) {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return };
    let lead = first.before.start.min(CONTEXT_LINES);
    let trail = (old.len() - last.before.end).min(CONTEXT_LINES);
    let before = first.before.start - lead..last.before.end + trail;
    let after = first.after.start - lead..last.after.end + trail;
    // Writing to a string cannot fail.
    let _ = writeln!(shown, "@@ -{} +{} @@", counted(&before), counted(&after));
    let mut at = before.start;
    for change in hunk {
        (at..change.before.start).for_each(|line| write_line(shown, ' ', old[line]));
        change.before.clone().for_each(|line| write_line(shown, '-', old[line]));
        change.after.clone().for_each(|line| write_line(shown, '+', new[line]));
        at = change.before.end;
    }
    (at..before.end).for_each(|line| write_line(shown, ' ', old[line]));
}

/// A run of lines as `diff -u` counts it.
fn counted(lines: &Range<usize>) -> String {
    let first = if lines.is_empty() { lines.start } else { lines.start + 1 };
    if lines.len() == 1 { first.to_string() } else { format!("{first},{}", lines.len()) }
}

/// Writes a line without its `\r`, which a terminal would obey; JSON and the file have it.
fn write_line(shown: &mut String, sign: char, line: &str) {
    let (text, ended) = line.strip_suffix('\n').map_or((line, false), |text| (text, true));
    let text = text.strip_suffix('\r').unwrap_or(text);
    let end = if ended { "" } else { "\n\\ No newline at end of file" };
    let _ = writeln!(shown, "{sign}{}{end}", visible(text));
}
