//! Owns the way from the text of a file to a [`Node`]; JSON is read as the YAML it is.

use std::collections::HashMap;
use std::sync::Arc;

use serde_yaml::granit_parser::{self, Event, Parser, ScalarStyle, Span, Tag};

use super::{ConfigFile, Diagnostic, Kind, Node, Place, Report};

/// How deep a document may nest, in levels: far above any rule a person reads.
const DEPTH_MAX: usize = 128;
/// How many nodes a document may have, expanded aliases included: 100,000 flags of 20 nodes.
const NODES_MAX: usize = 2_000_000;

/// Reads one file's document; findings go to `report`, and `None` means that nothing could be read.
///
/// A duplicate key is reported and its second value left out, so that more findings can follow.
pub fn parse(file: &Arc<ConfigFile>, report: &mut Report) -> Option<Node> {
    if let Err(found) = strict_json(file) {
        report.push(*found);
        return None;
    }
    let options = granit_parser::options! { disallow_directives: true, flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    let events = Parser::new_from_str_with_options(&file.text, options);
    let mut builder = Builder { file, report, stack: Vec::new(), anchors: HashMap::new(), root: None, nodes: 0 };
    match builder.read(events) {
        Ok(()) => builder.root,
        Err(found) => {
            report.push(*found);
            None
        }
    }
}

/// Holds a `*.json` file to JSON's own rules, which its other readers have.
fn strict_json(file: &Arc<ConfigFile>) -> Result<(), Refused> {
    if file.path.extension().is_none_or(|extension| extension != "json") || file.text.trim().is_empty() {
        return Ok(());
    }
    let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&file.text) else { return Ok(()) };
    let line: usize = file.text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (line + error.column().saturating_sub(1)).min(file.text.len());
    let at = (0..=at).rev().find(|at| file.text.is_char_boundary(*at)).unwrap_or(0);
    let place = Place { file: Arc::clone(file), start: at, end: at };
    Err(refuse("syntax", &place, format!("not valid JSON: {error}"), "mend the syntax, or name the file *.yaml"))
}

/// An open list or map.
struct Open {
    anchor: usize,
    place: Place,
    items: Vec<Node>,
    is_map: bool,
}

struct Builder<'a> {
    file: &'a Arc<ConfigFile>,
    report: &'a mut Report,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

type Refused = Box<Diagnostic>;

impl<'i> Builder<'_> {
    fn read(
        &mut self,
        events: impl Iterator<Item = Result<(Event<'i>, Span), granit_parser::ScanError>>,
    ) -> Result<(), Refused> {
        for event in events {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            self.take(event, self.place(span))?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'i>, place: Place) -> Result<(), Refused> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = self.scalar(&text, style, tag.as_deref(), &place)?;
                self.close(Node { kind, place }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.open(anchor, place, false),
            Event::MappingStart(_, anchor, _) => self.open(anchor, place, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.stack.pop() else {
                    return Ok(());
                };
                let place = Place { end: place.end.max(open.place.start), ..open.place };
                let kind = if open.is_map { Kind::Map(self.pairs(open.items)) } else { Kind::List(open.items) };
                self.close(Node { kind, place }, open.anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(refuse(
                        "alias",
                        &place,
                        "an alias inside the node that it names",
                        "write the value out",
                    ));
                };
                self.count(node_count(&node), &place)?;
                self.close(node, 0)
            }
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(refuse("second-document", &place, "a second document in one file", "put it into a file of its own"))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, anchor: usize, place: Place, is_map: bool) -> Result<(), Refused> {
        self.count(1, &place)?;
        if self.stack.len() >= DEPTH_MAX {
            let message = format!("nested more than {DEPTH_MAX} levels deep");
            return Err(refuse("too-deep", &place, message, "split the rule with $ref"));
        }
        self.stack.push(Open { anchor, place, items: Vec::new(), is_map });
        Ok(())
    }

    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Refused> {
        self.count(1, &node.place)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }

    fn count(&mut self, more: usize, place: &Place) -> Result<(), Refused> {
        self.nodes += more;
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        Err(refuse(
            "too-large",
            place,
            format!("more than {NODES_MAX} values in one file"),
            "split the file; do not nest aliases",
        ))
    }

    /// Pairs up a map's items; keys become strings, duplicates are reported.
    fn pairs(&mut self, items: Vec<Node>) -> Vec<(Node, Node)> {
        let mut pairs: Vec<(Node, Node)> = Vec::with_capacity(items.len() / 2);
        let mut seen: HashMap<Box<str>, usize> = HashMap::with_capacity(items.len() / 2);
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let Some(name) = key.as_str().map(Box::<str>::from) else {
                let found = Diagnostic::error(
                    "key-not-string",
                    &key.place,
                    format!("a key is {}, not a string", key.describe()),
                );
                self.report.push(found.help("put the key in quotes"));
                continue;
            };
            if let Some(first) = seen.get(&name) {
                let found =
                    Diagnostic::error("duplicate-key", &key.place, format!("the key `{name}` stands twice in one map"));
                self.report.push(found.also(&pairs[*first].0.place, "first here").help("remove one of the two"));
                continue;
            }
            seen.insert(name, pairs.len());
            pairs.push((key, value));
        }
        pairs
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, place: &Place) -> Result<Kind, Refused> {
        let quoted = !matches!(style, ScalarStyle::Plain);
        let string = Kind::Str { text: text.into(), quoted };
        match tag.map(|tag| (tag.is_yaml_core_schema(), tag.suffix())) {
            None if quoted => Ok(string),
            None => Ok(plain(text).unwrap_or(string)),
            Some((true, "str")) => Ok(Kind::Str { text: text.into(), quoted: true }),
            Some(_) => Err(refuse("tag", place, "tags other than !!str are not read", "remove the tag")),
        }
    }

    fn place(&self, span: Span) -> Place {
        let offset = |marker: granit_parser::Marker| marker.byte_offset().unwrap_or(0).min(self.file.text.len());
        Place { file: Arc::clone(self.file), start: offset(span.start), end: offset(span.end) }
    }

    fn syntax(&self, error: &granit_parser::ScanError) -> Refused {
        let at = error.marker().byte_offset().unwrap_or(0).min(self.file.text.len());
        let place = Place { file: Arc::clone(self.file), start: at, end: at };
        refuse(
            "syntax",
            &place,
            format!("not valid YAML: {}", error.info()),
            "mend the syntax; indentation is by spaces",
        )
    }
}

fn refuse(code: &'static str, place: &Place, message: impl Into<String>, help: &str) -> Refused {
    Box::new(Diagnostic::error(code, place, message).help(help))
}

fn node_count(node: &Node) -> usize {
    match &node.kind {
        Kind::List(items) => 1 + items.iter().map(node_count).sum::<usize>(),
        Kind::Map(pairs) => 1 + pairs.iter().map(|(_, value)| 1 + node_count(value)).sum::<usize>(),
        _ => 1,
    }
}

/// Resolves a plain scalar by YAML 1.2's core schema; `None` means a string.
fn plain(text: &str) -> Option<Kind> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Kind::Null),
        "true" | "True" | "TRUE" => return Some(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Kind::Bool(false)),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Kind::Number(whole.into()));
    }
    let float = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    let float = float.then(|| text.parse::<f64>().ok()).flatten()?;
    serde_json::Number::from_f64(float).map(Kind::Number)
}
