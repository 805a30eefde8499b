//! Owns a pin: a condition put before all else in a flag's rule, whose other bytes stay.

use std::cmp::Ordering;

use super::layout::{self, Style, flow};
use super::patch::Splice;
use super::split::whole_lines;
use super::{FlagEditor, Found, Pin, entry};
use crate::config::{Diagnostic, Kind, Node};

impl FlagEditor<'_> {
    /// Puts a condition before all else in a flag's rule; the same condition at that place gets the variant instead.
    ///
    /// # Errors
    /// When the document has no such flag.
    pub fn pin(&mut self, flag: &str, pin: Pin<'_>) -> Result<(), Box<Diagnostic>> {
        let found = self.find(flag)?;
        let (near, style) = (found.key, self.style(&found));
        let attribute = style.operation(near, "var", style.string(near, pin.attribute));
        let condition = Style::list(near, vec![attribute, style.string(near, pin.value)]);
        let condition = style.operation(near, "==", condition);
        let variant = style.string(near, pin.variant);
        let rule = entry(found.definition, "targeting");
        match rule.filter(|(.., rule)| rule.as_map().is_none_or(|entries| !entries.is_empty())) {
            None => {
                let body = in_block(&condition, &variant, style, "");
                let rule = style.operation(near, "if", Style::list(near, vec![condition, variant]));
                self.add_rule(&found, rule, &body);
            }
            Some((at, key, rule)) => {
                let path = [&found.path[..], &[at]].concat();
                // An `if` asks its conditions in order: one more at its front says the same as another `if` around it,
                // and the lines below stay where they are.
                match entry(rule, "if").map(|(.., operands)| (operands, operands.as_list())) {
                    Some((_, Some([first, second, ..]))) if same_condition(first, pin) && is_name(second) => {
                        self.repin(&path, second, variant);
                    }
                    Some((operands, Some([first, ..]))) => {
                        self.insert(&path, rule, operands, first, [condition, variant], style);
                    }
                    _ => self.wrap(&path, key, rule, [condition, variant], &found),
                }
            }
        }
        Ok(())
    }

    /// The same pin with another variant.
    fn repin(&mut self, path: &[usize], present: &Node, variant: Node) {
        if present.as_str() == variant.as_str() {
            return;
        }
        let (start, end) = (present.place.start, present.place.end);
        self.splices.push(Splice { start, end, text: flow(&variant) });
        self.expect(&[path, &[0, 1]].concat(), |node| *node = variant);
    }

    /// At the front of an `if`, which asks its conditions in order.
    fn insert(&mut self, path: &[usize], rule: &Node, operands: &Node, first: &Node, pin: [Node; 2], style: Style) {
        let text = &operands.place.file.text;
        let [condition, variant] = &pin;
        let splice = if layout::is_flow(operands) {
            let behind = operands.place.start + 1;
            let line = layout::next_line(text, behind);
            let blank = if text[behind..].starts_with(' ') { "" } else { " " };
            let rest = text[behind..line].trim_start();
            // Where each item has a line of its own, so has the new one.
            if rest.is_empty() || rest.starts_with('#') {
                let indent = layout::indentation(text, first.place.start);
                let lines = [condition, variant].map(|node| format!("{indent}{},", flow(node)));
                whole_lines(text, line, lines.into_iter(), style)
            } else {
                Splice { start: behind, end: behind, text: format!("{}, {},{blank}", flow(condition), flow(variant)) }
            }
        } else {
            // Before comments that belong to the first condition.
            let key = rule.as_map().and_then(|entries| entries.first()).map_or(rule, |(key, _)| key);
            let indent = layout::indentation(text, operands.place.start);
            let lines = [condition, variant].map(|node| format!("{indent}- {}", flow(node)));
            whole_lines(text, layout::next_line(text, key.place.end), lines.into_iter(), style)
        };
        self.splices.push(splice);
        self.expect(&[path, &[0]].concat(), |node| {
            if let Kind::List(items) = &mut node.kind {
                items.splice(0..0, pin);
            }
        });
    }

    /// Around any other rule.
    fn wrap(&mut self, path: &[usize], key: &Node, rule: &Node, pin: [Node; 2], found: &Found<'_>) {
        let style = self.style(found);
        let [condition, variant] = &pin;
        if layout::is_flow(rule) {
            let name = flow(&style.string(rule, "if"));
            let text = format!("{{{name}: [{}, {}, ", flow(condition), flow(variant));
            self.splices.push(Splice { start: rule.place.start, end: rule.place.start, text });
            self.splices.push(Splice { start: rule.place.end, end: rule.place.end, text: "]}".to_owned() });
        } else {
            self.wrap_block(key, rule, &pin, style);
        }
        let near = rule.clone();
        self.expect(path, |node| {
            let [condition, variant] = pin;
            let old = std::mem::replace(node, near.clone());
            *node = style.operation(&near, "if", Style::list(&near, vec![condition, variant, old]));
        });
    }

    /// The old rule becomes the last item of a list and so moves to the right, its comments with it.
    fn wrap_block(&mut self, key: &Node, rule: &Node, pin: &[Node; 2], style: Style) {
        let text = &rule.place.file.text;
        let begin = layout::next_line(text, key.place.end);
        let end = layout::content_end(rule);
        let indent = " ".repeat(layout::column(rule));
        let [condition, variant] = pin;
        let lines = in_block(condition, variant, style, &indent);
        self.splices.push(whole_lines(text, begin, lines.into_iter(), style));
        let first = layout::line_start(text, rule.place.start);
        let mut line = begin;
        while line < end {
            let level = style.level();
            let (at, text_before) = match line.cmp(&first) {
                // Comments above the rule go where its dash is.
                Ordering::Less => (line, level),
                Ordering::Equal => (rule.place.start, format!("{level}- ")),
                // Every line by as much, so that blocks of text within keep their own indentation.
                Ordering::Greater => (line, format!("{level}  ")),
            };
            let next = layout::next_line(text, line);
            // Empty lines stay empty.
            if !text[line..next].trim_end_matches(['\r', '\n']).is_empty() {
                self.splices.push(Splice { start: at, end: at, text: text_before });
            }
            line = next;
        }
    }
}

/// The lines of a rule that is a pin, up to where the old rule may follow.
fn in_block(condition: &Node, variant: &Node, style: Style, indent: &str) -> [String; 3] {
    let below = style.level();
    let name = flow(&style.string(condition, "if"));
    let items = [condition, variant].map(|node| format!("{indent}{below}- {}", flow(node)));
    let [condition, variant] = items;
    [format!("{indent}{name}:"), condition, variant]
}

/// Whether a result is a variant's name and not a rule.
fn is_name(node: &Node) -> bool {
    matches!(node.kind, Kind::Str { .. } | Kind::Bool(_) | Kind::Number(_))
}

/// Whether a condition is the one that a pin would write.
fn same_condition(node: &Node, pin: Pin<'_>) -> bool {
    let operands = node.key("==").and_then(Node::as_list);
    let Some([variable, value]) = operands else { return false };
    variable.key("var").and_then(Node::as_str) == Some(pin.attribute) && value.as_str() == Some(pin.value)
}
