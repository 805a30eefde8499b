//! What must hold for an edit of any flag file in any layout: the meant scalar changes, every other byte stays.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;

use crate::edit_layouts::{add, kill, pin, set};

/// A document to be written.
enum Doc {
    /// A word or number, which may be asked for by its name.
    Scalar {
        text: String,
        number: bool,
        name: Option<String>,
    },
    Map(Vec<(String, Doc)>),
    List(Vec<Doc>),
}

/// Writes documents in a layout that the choices choose.
struct Writer {
    choices: Vec<u8>,
    used: usize,
    text: String,
    newline: &'static str,
    step: usize,
    /// Where the named scalars are, without their quotes.
    places: BTreeMap<String, Range<usize>>,
}

const COMMENT: &str = "# ENABLED: [modern, 10], {state: *x} 'it\"s";

fn word(text: &str) -> Doc {
    Doc::Scalar { text: text.to_owned(), number: false, name: None }
}

fn map(entries: Vec<(&str, Doc)>) -> Doc {
    Doc::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

impl Writer {
    fn new(choices: Vec<u8>) -> Self {
        let mut writer =
            Self { choices, used: 0, text: String::new(), newline: "\n", step: 2, places: BTreeMap::new() };
        writer.newline = ["\n", "\r\n"][writer.pick(2)];
        writer.step = 1 + writer.pick(6);
        if writer.pick(8) == 0 {
            writer.text.push('\u{feff}');
        }
        writer
    }

    fn pick(&mut self, count: usize) -> usize {
        self.used += 1;
        usize::from(self.choices[self.used % self.choices.len()]) % count
    }

    fn blanks(&mut self, least: usize, count: usize) {
        let blanks = least + self.pick(count);
        self.text.push_str(&" ".repeat(blanks));
    }

    /// Ends a line: blanks, a comment, empty lines, lines of comment.
    fn end_line(&mut self) {
        self.blanks(0, 3);
        if self.pick(4) == 0 {
            self.text.push(' ');
            self.text.push_str(COMMENT);
        }
        self.text.push_str(self.newline);
        while self.pick(5) == 0 {
            if self.pick(2) == 0 {
                self.blanks(0, 9);
                self.text.push_str(COMMENT);
            }
            self.text.push_str(self.newline);
        }
    }

    fn scalar(&mut self, text: &str, number: bool, name: Option<&String>) {
        let quote = if number { "" } else { ["", "", "'", "\""][self.pick(4)] };
        self.text.push_str(quote);
        if let Some(name) = name {
            self.places.insert(name.clone(), self.text.len()..self.text.len() + text.len());
        }
        self.text.push_str(text);
        self.text.push_str(quote);
    }

    /// Between the parts of a flow collection: nothing, a blank, or a new line that is indented far enough.
    fn gap(&mut self, indent: usize) {
        match self.pick(12) {
            0..=4 => {}
            5..=9 => self.text.push(' '),
            choice => {
                if choice == 10 {
                    self.text.push(' ');
                    self.text.push_str(COMMENT);
                }
                self.text.push_str(self.newline);
                self.blanks(indent + 1, 4);
            }
        }
    }

    fn flow(&mut self, doc: &Doc, indent: usize) {
        let (open, close, count) = match doc {
            Doc::Scalar { text, number, name } => return self.scalar(text, *number, name.as_ref()),
            Doc::Map(entries) => ('{', '}', entries.len()),
            Doc::List(items) => ('[', ']', items.len()),
        };
        self.text.push(open);
        for at in 0..count {
            self.gap(indent);
            let value = match doc {
                Doc::Map(entries) => {
                    self.scalar(&entries[at].0, false, None);
                    self.text.push_str(": ");
                    &entries[at].1
                }
                Doc::List(items) => &items[at],
                Doc::Scalar { .. } => doc,
            };
            self.flow(value, indent);
            if at + 1 < count {
                self.text.push(',');
            }
        }
        self.gap(indent);
        self.text.push(close);
    }

    /// The lines of a block collection; the first of them may stand behind a dash.
    fn block(&mut self, doc: &Doc, indent: usize, mut inline: bool) {
        let begin = |writer: &mut Self, inline: &mut bool| {
            if !std::mem::take(inline) {
                writer.text.push_str(&" ".repeat(indent));
            }
        };
        match doc {
            Doc::Map(entries) => {
                for (key, value) in entries {
                    begin(self, &mut inline);
                    self.scalar(key, false, None);
                    self.text.push(':');
                    self.value(value, indent);
                }
            }
            Doc::List(items) => {
                for item in items {
                    begin(self, &mut inline);
                    self.text.push('-');
                    let blanks = 1 + self.pick(3);
                    self.text.push_str(&" ".repeat(blanks));
                    if matches!(item, Doc::Scalar { .. }) || self.pick(2) == 0 {
                        self.flow(item, indent);
                        self.end_line();
                    } else {
                        self.block(item, indent + 1 + blanks, true);
                    }
                }
            }
            Doc::Scalar { .. } => {}
        }
    }

    fn value(&mut self, doc: &Doc, indent: usize) {
        if matches!(doc, Doc::Scalar { .. }) || self.pick(2) == 0 {
            self.blanks(1, 3);
            self.flow(doc, indent);
            return self.end_line();
        }
        self.end_line();
        let level = if matches!(doc, Doc::List(_)) && self.pick(3) == 0 { 0 } else { self.step };
        self.block(doc, indent + level, false);
    }

    /// The whole file, sometimes without a newline at its end.
    fn file(mut self, doc: &Doc) -> (String, BTreeMap<String, Range<usize>>) {
        if self.pick(3) == 0 {
            self.text.push_str(COMMENT);
            self.text.push_str(self.newline);
        }
        if self.pick(6) == 0 {
            self.flow(doc, 0);
            self.end_line();
        } else {
            self.block(doc, 0, false);
        }
        if self.pick(3) == 0 {
            let length = self.text.trim_end().len();
            self.text.truncate(length);
        }
        (self.text, self.places)
    }
}

/// A rule: a split, one within an `if`, or none.
fn rule(kind: usize, flag: usize, weights: &[u32]) -> Option<Doc> {
    let pair = |at: usize, weight: u32| {
        let name = Some(format!("weight {flag} {at}"));
        Doc::List(vec![word(["x", "y", "z"][at % 3]), Doc::Scalar { text: weight.to_string(), number: true, name }])
    };
    let pairs = weights.iter().enumerate().map(|(at, weight)| pair(at, *weight));
    let seed = kind.is_multiple_of(2).then(|| map(vec![("var", word("seed"))]));
    let split = map(vec![("fractional", Doc::List(seed.into_iter().chain(pairs).collect()))]);
    let condition =
        || map(vec![("in", Doc::List(vec![map(vec![("var", word("tenant"))]), Doc::List(vec![word("x")])]))]);
    match kind % 6 {
        0 => None,
        1 | 2 => Some(split),
        3 => Some(map(vec![("if", Doc::List(vec![condition(), word("x"), split]))])),
        4 => Some(map(vec![("or", Doc::List(vec![split, condition()]))])),
        _ => Some(map(vec![("if", Doc::List(vec![condition(), split]))])),
    }
}

fn flag(number: usize, kind: usize, weights: &[u32]) -> (String, Doc) {
    let name = Some(format!("state {number}"));
    let mut entries = vec![
        ("state", Doc::Scalar { text: "ENABLED".to_owned(), number: false, name }),
        ("variants", map(vec![("x", word("x")), ("y", word("y")), ("z", word("z"))])),
        ("defaultVariant", word("x")),
        ("metadata", map(vec![("owner", word("ENABLED"))])),
    ];
    if let Some(rule) = rule(kind, number, weights) {
        entries.insert(kind % 5, ("targeting", rule));
    }
    entries.rotate_left(kind % 3);
    (format!("flag-{number}"), map(entries))
}

/// A file, what each flag's rule is, and where the named scalars are.
#[derive(Debug)]
struct File {
    text: String,
    kinds: Vec<usize>,
    places: BTreeMap<String, Range<usize>>,
}

fn files() -> impl Strategy<Value = File> {
    let flags = prop::collection::vec((0_usize..60, prop::collection::vec(0_u32..1000, 2..5)), 1..4);
    (flags, prop::collection::vec(any::<u8>(), 40..400)).prop_map(|(flags, choices)| {
        let docs = flags.iter().enumerate().map(|(number, (kind, weights))| flag(number, *kind, weights)).collect();
        let (text, places) = Writer::new(choices).file(&map(vec![("flags", Doc::Map(docs))]));
        File { text, kinds: flags.iter().map(|(kind, _)| kind % 6).collect(), places }
    })
}

fn without_blanks(text: &str) -> Vec<char> {
    text.chars().filter(|character| !character.is_whitespace()).collect()
}

/// Everything that was there is there in its order, blanks aside.
fn holds_all_of(new: &str, old: &str) -> bool {
    let mut new = without_blanks(new).into_iter();
    without_blanks(old).into_iter().all(|wanted| new.any(|found| found == wanted))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_state_changes_and_no_other_byte(file in files()) {
        for number in 0..file.kinds.len() {
            let mut wanted = file.text.clone();
            wanted.replace_range(file.places[&format!("state {number}")].clone(), "DISABLED");
            let made = kill("a.yaml", &file.text, &format!("flag-{number}")).map_err(|found| found.message.clone());
            prop_assert_eq!(made, Ok(wanted));
        }
    }

    #[test]
    fn weights_change_and_no_other_byte(file in files(), new in prop::collection::vec(0_u32..100_000, 5)) {
        for (number, _) in file.kinds.iter().enumerate().filter(|(_, kind)| **kind > 0) {
            let places = (0..).map_while(|at| file.places.get(&format!("weight {number} {at}")));
            let places: Vec<_> = places.cloned().collect();
            let mut wanted = file.text.clone();
            for (place, weight) in places.iter().zip(&new).rev() {
                wanted.replace_range(place.clone(), &weight.to_string());
            }
            let made = set("a.yaml", &file.text, &format!("flag-{number}"), &new[..places.len()]);
            prop_assert_eq!(made.map_err(|found| found.message.clone()), Ok(wanted));
        }
    }

    #[test]
    fn a_new_split_and_a_pin_keep_all_that_was_there(file in files()) {
        for (number, kind) in file.kinds.iter().enumerate() {
            let key = format!("flag-{number}");
            if *kind == 0 {
                let made = add("a.yaml", &file.text, &key).map_err(|found| found.message.clone());
                prop_assert!(made.as_ref().is_ok_and(|made| holds_all_of(made, &file.text)), "{made:?}");
            }
            let made = pin("a.yaml", &file.text, &key).map_err(|found| found.message.clone());
            prop_assert!(made.as_ref().is_ok_and(|made| holds_all_of(made, &file.text)), "{made:?}");
        }
    }
}
