//! Owns how new YAML looks beside what is there: indentation, line ends, quotes, flow or block.

use crate::config::{Kind, Node};

/// Words that some reader of YAML takes for something else than a string.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// How a file is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// The end of a line.
    pub(super) newline: &'static str,
    /// Spaces a level.
    step: usize,
    /// Whether every string stands in quotes: JSON, or YAML that looks like it.
    quotes: bool,
}

impl Style {
    /// The style of a flag and its file.
    pub(super) fn of(document: &Node, key: &Node, definition: &Node) -> Self {
        let file = &document.place.file;
        let first_line = file.text.split_inclusive('\n').next().unwrap_or_default();
        let json = file.path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
        let member = definition.as_map().and_then(|entries| entries.first()).map(|(key, _)| key);
        let quoted = |node: &Node| matches!(node.kind, Kind::Str { quoted: true, .. });
        let columns = member.map(|member| column(member).saturating_sub(column(key)));
        Self {
            newline: if first_line.ends_with("\r\n") { "\r\n" } else { "\n" },
            step: columns.filter(|step| (1..=8).contains(step) && !is_flow(definition)).unwrap_or(2),
            quotes: json || member.is_some_and(quoted),
        }
    }

    /// As many spaces as a level has.
    pub(super) fn level(self) -> String {
        " ".repeat(self.step)
    }

    /// A new string, with quotes where it needs them.
    pub(super) fn string(self, near: &Node, text: &str) -> Node {
        let quoted = self.quotes || !is_plain(text);
        Node { kind: Kind::Str { text: text.into(), quoted }, place: near.place.clone() }
    }

    /// A new whole number.
    pub(super) fn number(near: &Node, number: u32) -> Node {
        Node { kind: Kind::Number(number.into()), place: near.place.clone() }
    }

    /// A new list.
    pub(super) fn list(near: &Node, items: Vec<Node>) -> Node {
        Node { kind: Kind::List(items), place: near.place.clone() }
    }

    /// A new map with one entry.
    pub(super) fn operation(self, near: &Node, name: &str, operand: Node) -> Node {
        let entry = (self.string(near, name), operand);
        Node { kind: Kind::Map(vec![entry]), place: near.place.clone() }
    }
}

/// Writes a new node on one line, in flow style, which JSON shares.
pub(super) fn flow(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Number(number) => number.to_string(),
        // JSON's escapes are YAML's, too.
        Kind::Str { text, quoted: true } => serde_json::Value::from(&**text).to_string(),
        Kind::Str { text, quoted: false } => text.to_string(),
        Kind::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}: {}", flow(key), flow(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Whether a list or map is written in brackets.
pub(super) fn is_flow(node: &Node) -> bool {
    let first = node.place.file.text.as_bytes().get(node.place.start);
    match &node.kind {
        // A block list that is indented no further than its key begins, to the parser, with its first item.
        Kind::List(items) => {
            first == Some(&b'[') && items.first().is_none_or(|item| item.place.start != node.place.start)
        }
        Kind::Map(_) => first == Some(&b'{'),
        _ => false,
    }
}

/// Where the line of an offset begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |found| found + 1)
}

/// Where the next line begins, or the end of the text.
pub(super) fn next_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |found| at + found + 1)
}

/// The blanks that the line of an offset begins with.
pub(super) fn indentation(text: &str, at: usize) -> &str {
    let line = &text[line_start(text, at)..];
    &line[..line.len() - line.trim_start_matches(' ').len()]
}

/// Whether nothing but blanks stands before a node on its line.
pub(super) fn begins_line(node: &Node) -> bool {
    let text = &node.place.file.text;
    text[line_start(text, node.place.start)..node.place.start].bytes().all(|byte| byte == b' ')
}

/// Bytes from the beginning of the line, which count as columns as long as they are blanks.
pub(super) fn column(node: &Node) -> usize {
    node.place.start - line_start(&node.place.file.text, node.place.start)
}

/// Where the content of a node ends: the parser counts blank lines and comments behind a block as part of it.
pub(super) fn content_end(node: &Node) -> usize {
    let text = &node.place.file.text;
    let mut end = node.place.end;
    if !matches!(node.kind, Kind::List(_) | Kind::Map(_)) || is_flow(node) {
        return node.place.start + text[node.place.start..end].trim_end().len();
    }
    let last = match &node.kind {
        Kind::Map(entries) => entries.last().map(|(key, value)| key.place.end.max(content_end(value))),
        Kind::List(items) => items.last().map(content_end),
        _ => None,
    };
    loop {
        end = text[..end].trim_end().len();
        let line = line_start(text, end);
        if line <= node.place.start || !text[line..end].trim_start().starts_with('#') {
            break;
        }
        end = line;
    }
    // A block scalar may well end with lines that look like comments.
    end.max(last.unwrap_or(0))
}

/// Whether a string may stand without quotes anywhere, for any reader.
fn is_plain(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    first && rest && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}
