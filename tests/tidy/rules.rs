//! Holds how the sources read: lengths, first lines, names, and what may not be left in.

use super::source::{Source, item_end, line, none, report, sources, words};

/// The most lines of a file, tests apart.
const FILE_LINES_MAX: usize = 400;

/// The most lines of a function: one screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc"];

/// What may stand in no shipped code, tests apart.
const NOT_IN_CODE: &[&str] = &[".unwrap()", "todo!", "unimplemented!", "dbg!"];

/// What may stand in no file, comments included; split, so that this file does not find itself.
const NOT_ANYWHERE: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

fn shipped() -> Vec<Source> {
    let mut sources = sources(&["src"]);
    sources.retain(|source| !source.is_test());
    assert!(sources.len() > 10, "the tree was not read");
    sources
}

fn everything() -> Vec<Source> {
    sources(&["src", "tests", "benches"])
}

/// The name, first line and number of lines of each function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let rest = code[at + 2..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let lines = code[at..item_end(code, at)].matches('\n').count() + 1;
        if !name.is_empty() {
            found.push((name, line(code, at), lines));
        }
    }
    found
}

#[test]
fn files_fit_and_functions_fit_a_screen() {
    let (mut found, mut lines, mut longest) = (Vec::new(), 0, 0);
    let sources = shipped();
    for source in &sources {
        // Inline tests are blanked: they do not count.
        let length = source.code.trim_end().lines().count();
        lines += length;
        if length > FILE_LINES_MAX {
            found.push(format!("{}: {length} lines, at most {FILE_LINES_MAX}", source.path));
        }
        for (name, at, length) in functions(&source.code) {
            longest = longest.max(length);
            if length > FUNCTION_LINES_MAX {
                found.push(format!("{}:{at}: fn {name} has {length} lines, at most {FUNCTION_LINES_MAX}", source.path));
            }
        }
    }
    let mean = lines / sources.len();
    report(&format!("{} source files, {lines} lines, mean {mean} a file, longest function {longest}", sources.len()));
    none("too long", &found);
}

#[test]
fn every_file_says_first_what_it_owns() {
    let silent = |source: &Source| !source.text.starts_with("//! ");
    let found: Vec<_> = everything().iter().filter(|source| silent(source)).map(|source| source.path.clone()).collect();
    none("files that do not begin with `//! `", &found);
}

#[test]
fn names_say_what_is_inside() {
    let empty = |part: &str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    let found: Vec<_> =
        everything().into_iter().map(|source| source.path).filter(|path| path.split('/').any(empty)).collect();
    none("empty names", &found);
}

#[test]
fn nothing_unfinished_is_left_in() {
    let mut found = Vec::new();
    for source in shipped() {
        for pattern in NOT_IN_CODE {
            let places = source.code.match_indices(pattern);
            found.extend(places.map(|(at, _)| format!("{}:{}: {pattern}", source.path, line(&source.code, at))));
        }
    }
    for source in everything() {
        for pattern in NOT_ANYWHERE {
            let places = words(&source.text, pattern);
            found.extend(places.map(|at| format!("{}:{}: {pattern}", source.path, line(&source.text, at))));
        }
    }
    none("left in", &found);
}

#[test]
fn no_test_is_ignored() {
    let mut found = Vec::new();
    for source in everything() {
        let places = source.text.match_indices(concat!("#[ig", "nore"));
        found.extend(places.map(|(at, _)| format!("{}:{}", source.path, line(&source.text, at))));
    }
    none("ignored tests", &found);
}

#[test]
fn functions_are_measured_to_their_closing_brace() {
    let code = "fn a() {\n  if x { y }\n}\ntrait T {\n  fn b();\n  fn c(&self) -> [u8; 4] {\n    1\n  }\n}\ntype F = fn(u8);\n";
    let found = functions(code);
    assert_eq!(found, [("a".to_owned(), 1, 3), ("b".to_owned(), 5, 1), ("c".to_owned(), 6, 3)]);
}
