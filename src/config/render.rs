//! Owns how a report is shown: to a person, to a program, to GitHub. Nothing in a file can steer the terminal.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::excerpt::{Excerpt, visible};
use super::{ConfigFile, Diagnostic, Place, Report, Severity};

/// Findings of one code in a log: one renamed upstream may be used by 100,000 routes.
const LINES_A_CODE_MAX: usize = 20;

/// How a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a person, with source lines; in colour or not.
    Text {
        /// Whether to colour by terminal escapes.
        colour: bool,
    },
    /// One JSON object.
    Json,
    /// Workflow commands that GitHub shows at the lines of a pull request.
    Github,
}

/// A place as people count it, from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Finds the positions of places; it reads each file once.
#[derive(Debug, Default)]
pub struct Positions {
    /// Where lines begin, by the address of the file: a report has many places in few files.
    lines: HashMap<*const ConfigFile, Vec<usize>>,
}

impl Positions {
    /// Where a place begins.
    pub fn start(&mut self, place: &Place) -> Position {
        self.at(&place.file, place.start)
    }

    /// Where a place ends.
    pub fn end(&mut self, place: &Place) -> Position {
        self.at(&place.file, place.end.max(place.start))
    }

    fn at(&mut self, file: &std::sync::Arc<ConfigFile>, offset: usize) -> Position {
        let text = &file.text;
        let lines = self
            .lines
            .entry(std::sync::Arc::as_ptr(file))
            .or_insert_with(|| std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect());
        let line = lines.partition_point(|begin| *begin <= offset).max(1);
        let begin = lines[line - 1];
        let column = text.get(begin..offset).map_or(0, |before| before.chars().count()) + 1;
        Position { line, column }
    }
}

impl Report {
    /// Shows all findings and a summary.
    pub fn render(&self, format: Format) -> String {
        let mut positions = Positions::default();
        match format {
            Format::Text { colour } => self.text(&mut positions, colour),
            Format::Json => {
                let mut text = format!("{:#}", self.json(&mut positions));
                text.push('\n');
                text
            }
            Format::Github => {
                let lines = self.diagnostics.iter().map(|found| github(found, &mut positions));
                lines.fold(String::new(), |text, line| text + &line + "\n")
            }
        }
    }

    /// Each finding on a line of its own, for logs; of one code at most 20, then how many more.
    pub fn lines(&self) -> impl Iterator<Item = (Severity, String)> {
        let mut positions = Positions::default();
        let mut counts: BTreeMap<&str, (Severity, usize)> = BTreeMap::new();
        let mut lines = Vec::new();
        for found in &self.diagnostics {
            let (_, count) = counts.entry(found.code).or_insert((found.severity, 0));
            *count += 1;
            if *count <= LINES_A_CODE_MAX {
                lines.push((found.severity, one_line(found, &mut positions)));
            }
        }
        for (code, (severity, count)) in counts.into_iter().filter(|(_, (_, count))| *count > LINES_A_CODE_MAX) {
            let more = count - LINES_A_CODE_MAX;
            lines.push((severity, format!("and {more} more [{code}]; `banyan check` shows all")));
        }
        lines.into_iter()
    }

    /// Says how many findings there are: `2 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let counts =
            [Severity::Error, Severity::Warning, Severity::Note].map(|severity| (self.count(severity), severity));
        let parts: Vec<_> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, severity)| format!("{count} {}{}", severity.as_str(), if *count == 1 { "" } else { "s" }))
            .collect();
        if parts.is_empty() { "nothing to complain about".to_owned() } else { parts.join(", ") }
    }

    fn text(&self, positions: &mut Positions, colour: bool) -> String {
        let paint = Paint(colour);
        self.diagnostics.iter().fold(String::new(), |mut text, found| {
            block(&mut text, found, positions, &paint);
            text.push('\n');
            text
        })
    }

    fn json(&self, positions: &mut Positions) -> Value {
        let found: Vec<Value> = self.diagnostics.iter().map(|found| json_of(found, positions)).collect();
        json!({
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "notes": self.count(Severity::Note),
            "diagnostics": found,
        })
    }
}

/// Colours, or none.
struct Paint(bool);

impl Paint {
    fn by(&self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Note => "1;36",
        };
        self.code(code, text)
    }

    fn frame(&self, text: &str) -> String {
        self.code("1;34", text)
    }

    fn bold(&self, text: &str) -> String {
        self.code("1", text)
    }

    fn code(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn block(text: &mut String, found: &Diagnostic, positions: &mut Positions, paint: &Paint) {
    let head = format!("{}[{}]", found.severity.as_str(), found.code);
    let message = format!(": {}", visible(&found.message));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}{}", paint.by(found.severity, &head), paint.bold(&message));
    let lines = [found.place.as_ref(), found.also.as_ref().map(|(place, _)| place)];
    let widest = lines.into_iter().flatten().map(|place| positions.start(place).line).max().unwrap_or(0);
    let margin = " ".repeat(widest.max(1).ilog10() as usize + 1);
    if let Some(place) = &found.place {
        source(text, place, "-->", "", &margin, positions, |line| paint.by(found.severity, line), paint);
    }
    if let Some((place, label)) = &found.also {
        source(text, place, ":::", label, &margin, positions, |line| paint.frame(line), paint);
    }
    if let Some(help) = &found.help {
        for (index, line) in help.lines().enumerate() {
            let lead = if index == 0 { paint.frame("= help:") } else { " ".repeat(7) };
            let _ = writeln!(text, "{margin} {lead} {}", visible(line));
        }
    }
}

/// Shows a place: where it is, its line, and what is meant in it.
#[expect(clippy::too_many_arguments, reason = "one call for each of the two kinds of place, on the same screen")]
fn source(
    text: &mut String,
    place: &Place,
    arrow: &str,
    label: &str,
    margin: &str,
    positions: &mut Positions,
    mark: impl Fn(&str) -> String,
    paint: &Paint,
) {
    let at = positions.start(place);
    let path = visible(&place.file.path.display().to_string());
    let _ = writeln!(text, "{margin}{} {path}:{}:{}", paint.frame(arrow), at.line, at.column);
    let Some(excerpt) = Excerpt::of(place) else {
        if !label.is_empty() {
            let _ = writeln!(text, "{margin} {} {}", paint.frame("|"), visible(label));
        }
        return;
    };
    let bar = paint.frame("|");
    let number = format!("{:>width$}", at.line, width = margin.len());
    let sign = if arrow == "-->" { "^" } else { "-" };
    let marks = format!("{}{}", sign.repeat(excerpt.marked), if label.is_empty() { "" } else { " " });
    let marks = mark(&format!("{marks}{}", visible(label)));
    let _ = writeln!(text, "{margin} {bar}");
    let _ = writeln!(text, "{} {bar} {}", paint.frame(&number), excerpt.line);
    let _ = writeln!(text, "{margin} {bar} {}{marks}", " ".repeat(excerpt.before));
}

fn json_of(found: &Diagnostic, positions: &mut Positions) -> Value {
    let mut at = |place: &Place| {
        let (start, end) = (positions.start(place), positions.end(place));
        json!({
            "path": place.file.path.display().to_string(),
            "line": start.line,
            "column": start.column,
            "end_line": end.line,
            "end_column": end.column,
        })
    };
    let also = found.also.as_ref().map(|(place, label)| {
        let mut also = at(place);
        also["label"] = json!(label);
        also
    });
    json!({
        "severity": found.severity.as_str(),
        "code": found.code,
        "message": found.message,
        "place": found.place.as_ref().map(at),
        "also": also,
        "help": found.help,
    })
}

fn github(found: &Diagnostic, positions: &mut Positions) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let kind = match found.severity {
        Severity::Note => "notice",
        other => other.as_str(),
    };
    let mut message = found.message.clone();
    if let Some((place, label)) = &found.also {
        let at = positions.start(place);
        let _ = write!(message, " ({label}: {}:{}:{})", place.file.path.display(), at.line, at.column);
    }
    if let Some(help) = &found.help {
        let _ = write!(message, "\nhelp: {help}");
    }
    let at = found.place.as_ref().map(|place| {
        let (start, end) = (positions.start(place), positions.end(place));
        let file = property(&place.file.path.display().to_string());
        format!("file={file},line={},col={},endLine={},", start.line, start.column, end.line)
    });
    format!("::{kind} {}title={}::{}", at.unwrap_or_default(), property(found.code), data(&message))
}

fn one_line(found: &Diagnostic, positions: &mut Positions) -> String {
    let mut line = String::new();
    if let Some(place) = &found.place {
        let at = positions.start(place);
        let _ = write!(line, "{}:{}:{}: ", place.file.path.display(), at.line, at.column);
    }
    let _ = write!(line, "{} [{}]", found.message, found.code);
    if let Some((place, label)) = &found.also {
        let at = positions.start(place);
        let _ = write!(line, "; {label}: {}:{}:{}", place.file.path.display(), at.line, at.column);
    }
    if let Some(help) = &found.help {
        let _ = write!(line, "; help: {help}");
    }
    visible(&line)
}
