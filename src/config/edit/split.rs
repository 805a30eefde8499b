//! Owns a flag's one split: finding it, its weights, and putting one where there is none.

use super::layout::{self, Style, flow};
use super::patch::Splice;
use super::{FlagEditor, Found, entry, refuse};
use crate::config::{Diagnostic, Kind, Node, Positions};

/// A split as it stands in a file.
#[derive(Debug)]
pub struct SplitDoc {
    /// The variants of the pairs in file order; `None` where the rule computes one.
    pub variants: Vec<Option<Box<str>>>,
    /// Where the operands are in the document.
    path: Vec<usize>,
    style: Style,
}

/// The operands of a `fractional`, with the way to them.
type Fractional<'d> = (Vec<usize>, &'d Node);

impl FlagEditor<'_> {
    /// Finds the one split of a flag; `None` when the flag has no rule. `documents` are all files of the set, for `$ref`.
    ///
    /// # Errors
    /// When there are several, when the rule has none or shares one by `$ref`, or when weights are computed.
    pub fn split(&self, flag: &str, documents: &[Node]) -> Result<Option<SplitDoc>, Box<Diagnostic>> {
        let found = self.find(flag)?;
        let Some((at, _, rule)) = entry(found.definition, "targeting").filter(|(.., rule)| !is_empty(rule)) else {
            return Ok(None);
        };
        let mut splits = Vec::new();
        collect(rule, &mut [&found.path[..], &[at]].concat(), &mut splits);
        if let Some(shared) = shared_split(rule, documents) {
            let message = format!("the flag `{flag}` has its split in `$evaluators`, which other flags may share");
            return Err(refuse("shared-split", &shared.place, message, "edit the shared rule by hand"));
        }
        match splits.as_slice() {
            [(path, operands)] => {
                let variants = pairs(operands).map(variant).collect::<Result<_, _>>()?;
                Ok(Some(SplitDoc { variants, path: path.clone(), style: self.style(&found) }))
            }
            [] => {
                let message =
                    format!("the flag `{flag}` has a rule without `fractional`, so there are no shares to set");
                Err(refuse(
                    "no-split",
                    &rule.place,
                    message,
                    "write `fractional: [[modern, 10], [legacy, 90]]` where it belongs",
                ))
            }
            [(_, first), (_, second), ..] => {
                let mut positions = Positions::default();
                let lines: Vec<_> =
                    splits.iter().map(|(_, split)| positions.start(&split.place).line.to_string()).collect();
                let lines = lines.join(" and ");
                let message = format!("the flag `{flag}` has {} splits, in lines {lines}", splits.len());
                let found = Diagnostic::error("several-splits", &first.place, message);
                Err(Box::new(found.also(&second.place, "the second").help("edit the one that you mean by hand")))
            }
        }
    }

    /// Gives the pairs of a split their weights, in file order.
    pub fn set_weights(&mut self, split: &SplitDoc, weights: &[u32]) {
        let Some(operands) = at(self.document, &split.path) else { return };
        let first = operands.as_list().map_or(0, |list| list.len() - pairs(operands).count());
        let placed: Vec<_> = pairs(operands).zip(weights).enumerate().map(|(at, found)| (at + first, found)).collect();
        for (number, (pair, weight)) in placed {
            // A weight that says the same in another form, such as 1e1, stays as it is written.
            let path = [&split.path[..], &[number]].concat();
            match pair.as_list() {
                Some([_, written]) if is_number(written, *weight) => {}
                Some([_, written]) => {
                    let (start, end) = (written.place.start, written.place.end);
                    self.splices.push(Splice { start, end, text: weight.to_string() });
                    self.expect(&path, |node| set_item(node, 1, Style::number(pair, *weight)));
                }
                Some([variant]) if *weight != 1 => {
                    self.splices.push(weight_behind(pair, variant, *weight, split.style));
                    self.expect(&path, |node| push_item(node, Style::number(pair, *weight)));
                }
                _ => {}
            }
        }
    }

    /// Gives a flag that has no rule a split.
    ///
    /// # Errors
    /// When the document has no such flag.
    pub fn add_split(&mut self, flag: &str, pairs: &[(&str, u32)]) -> Result<(), Box<Diagnostic>> {
        let found = self.find(flag)?;
        let (near, style) = (found.key, self.style(&found));
        let pairs = pairs.iter().map(|(variant, weight)| {
            Style::list(near, vec![style.string(near, variant), Style::number(near, *weight)])
        });
        let pairs = Style::list(near, pairs.collect());
        let body = [format!("{}: {}", flow(&style.string(near, "fractional")), flow(&pairs))];
        let rule = style.operation(near, "fractional", pairs);
        self.add_rule(&found, rule, &body);
        Ok(())
    }

    /// Gives a flag without a rule one; `body` are its lines in block style, from their own left edge.
    pub(super) fn add_rule(&mut self, found: &Found<'_>, rule: Node, body: &[String]) {
        let style = self.style(found);
        let definition = found.definition;
        if let Some((at, _, empty)) = entry(definition, "targeting") {
            let text = flow(&rule);
            self.splices.push(Splice { start: empty.place.start, end: empty.place.end, text });
            return self.expect(&[&found.path[..], &[at]].concat(), |node| *node = rule);
        }
        let entries = definition.as_map().unwrap_or_default();
        let after = entry(definition, "defaultVariant").map_or(entries.len().saturating_sub(1), |(at, ..)| at);
        let Some((key, value)) = entries.get(after) else { return };
        let name = style.string(definition, "targeting");
        let splice = if layout::is_flow(definition) {
            let member = format!("{}: {}", flow(&name), flow(&rule));
            entry_in_flow(key, value, &member, style)
        } else {
            entry_in_block(key, value, &flow(&name), body, style)
        };
        self.splices.push(splice);
        self.expect(&found.path, |node| {
            if let Kind::Map(entries) = &mut node.kind {
                entries.insert(after + 1, (name, rule));
            }
        });
    }
}

fn entry_in_flow(key: &Node, value: &Node, member: &str, style: Style) -> Splice {
    let text = &key.place.file.text;
    let at = value.place.end;
    let blanks = if layout::begins_line(key) {
        format!("{}{}", style.newline, layout::indentation(text, key.place.start))
    } else {
        " ".to_owned()
    };
    Splice { start: at, end: at, text: format!(",{blanks}{member}") }
}

fn entry_in_block(key: &Node, value: &Node, name: &str, body: &[String], style: Style) -> Splice {
    let text = &key.place.file.text;
    let end = if matches!(value.kind, Kind::Null) { key.place.end } else { layout::content_end(value) };
    // An alias has its place elsewhere; it stands on the line of its key.
    let at = layout::next_line(text, end.max(key.place.end));
    let indent = layout::indentation(text, key.place.start);
    let below = style.level();
    let lines =
        std::iter::once(format!("{indent}{name}:")).chain(body.iter().map(|line| format!("{indent}{below}{line}")));
    whole_lines(text, at, lines, style)
}

/// Lines to be put before the line that begins at an offset, or behind the last one.
pub(super) fn whole_lines(text: &str, at: usize, lines: impl Iterator<Item = String>, style: Style) -> Splice {
    let lines: Vec<String> = lines.collect();
    let unended = at == text.len() && !text.ends_with('\n');
    let text = match unended {
        true => lines.iter().map(|line| format!("{}{line}", style.newline)).collect(),
        false => lines.iter().map(|line| format!("{line}{}", style.newline)).collect(),
    };
    Splice { start: at, end: at, text }
}

/// A weight for a pair that has none.
fn weight_behind(pair: &Node, variant: &Node, weight: u32, style: Style) -> Splice {
    let text = &pair.place.file.text;
    if layout::is_flow(pair) {
        let at = variant.place.end;
        return Splice { start: at, end: at, text: format!(", {weight}") };
    }
    let line = format!("{}- {weight}", " ".repeat(layout::column(pair)));
    whole_lines(text, layout::next_line(text, layout::content_end(variant)), std::iter::once(line), style)
}

fn at<'d>(document: &'d Node, path: &[usize]) -> Option<&'d Node> {
    path.iter().try_fold(document, |node, at| match &node.kind {
        Kind::Map(entries) => entries.get(*at).map(|(_, value)| value),
        Kind::List(items) => items.get(*at),
        _ => None,
    })
}

fn is_empty(rule: &Node) -> bool {
    matches!(&rule.kind, Kind::Map(entries) if entries.is_empty())
}

fn is_number(node: &Node, number: u32) -> bool {
    matches!(&node.kind, Kind::Number(found) if found.as_f64() == Some(f64::from(number)))
}

fn set_item(node: &mut Node, at: usize, item: Node) {
    if let Kind::List(items) = &mut node.kind {
        items[at] = item;
    }
}

fn push_item(node: &mut Node, item: Node) {
    if let Kind::List(items) = &mut node.kind {
        items.push(item);
    }
}

/// The pairs of a split, without its bucketing value.
fn pairs(operands: &Node) -> impl Iterator<Item = &Node> {
    operands.as_list().unwrap_or_default().iter().filter(|operand| operand.as_list().is_some())
}

/// The variant of a pair, whose weight must stand there.
fn variant(pair: &Node) -> Result<Option<Box<str>>, Box<Diagnostic>> {
    let variant = match pair.as_list().unwrap_or_default() {
        [variant] => variant,
        [variant, Node { kind: Kind::Number(_), .. }] => variant,
        [_, weight] => {
            let message = "the rule computes this weight";
            return Err(refuse("computed-weight", &weight.place, message, "edit the rule by hand"));
        }
        _ => {
            let message = "this is not a pair of variant and weight";
            return Err(refuse("bad-pair", &pair.place, message, "write `[live, 10]`"));
        }
    };
    Ok(match &variant.kind {
        Kind::Str { text, .. } => Some(text.clone()),
        Kind::Bool(value) => Some(value.to_string().into()),
        Kind::Number(number) => Some(number.to_string().into()),
        _ => None,
    })
}

fn operation(node: &Node) -> Option<(&str, &Node)> {
    match node.as_map()? {
        [(name, operands)] => Some((name.as_str()?, operands)),
        _ => None,
    }
}

/// Every `fractional` of a rule, in reading order; those within another one's operands too.
fn collect<'d>(node: &'d Node, path: &mut Vec<usize>, found: &mut Vec<Fractional<'d>>) {
    if let Some(("fractional", operands)) = operation(node) {
        found.push(([&path[..], &[0]].concat(), operands));
    }
    // Also what only looks like an operator: one too many is refused, one too few would be edited by mistake.
    let children: Vec<&Node> = match &node.kind {
        Kind::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
        Kind::List(items) => items.iter().collect(),
        _ => return,
    };
    for (at, child) in children.into_iter().enumerate() {
        path.push(at);
        collect(child, path, found);
        path.pop();
    }
}

/// The `$ref` whose shared rule has a split.
fn shared_split<'d>(node: &'d Node, documents: &[Node]) -> Option<&'d Node> {
    if let Some(("$ref", name)) = operation(node) {
        let bodies = documents.iter().filter_map(|document| document.key("$evaluators")?.key(name.as_str()?));
        let mut splits = Vec::new();
        bodies.for_each(|body| collect(body, &mut Vec::new(), &mut splits));
        return (!splits.is_empty()).then_some(node);
    }
    match &node.kind {
        Kind::Map(entries) => entries.iter().find_map(|(_, value)| shared_split(value, documents)),
        Kind::List(items) => items.iter().find_map(|item| shared_split(item, documents)),
        _ => None,
    }
}
