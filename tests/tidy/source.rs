//! Owns reading the tree: Rust files with their comments and strings blanked, text files as they are.
//!
//! Blanking keeps every line where it was, so that what is found can be named by its line.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One Rust file.
pub(super) struct Source {
    /// The path from the package's root, with `/`.
    pub(super) path: String,
    /// The file as it is.
    pub(super) text: String,
    /// The file without comments, strings and what is compiled for tests only.
    pub(super) code: String,
}

impl Source {
    fn read(path: &Path) -> Source {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let code = without_tests(&mask(&text));
        Source { path: relative(path), text, code }
    }

    /// Tells whether the file holds tests only.
    pub(super) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

/// The package's root.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a text file by its path from the root.
pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Reads the Rust files under the folders, in the order of their paths.
pub(super) fn sources(folders: &[&str]) -> Vec<Source> {
    files(folders, "rs").iter().map(|path| Source::read(path)).collect()
}

/// Lists the files under the folders that end with `.extension`; a folder that does not exist holds none.
pub(super) fn files(folders: &[&str], extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), extension, &mut found);
    }
    found.sort();
    found
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// Says a path from the root, with `/`.
pub(super) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// Writes a line that the test runner does not capture: figures are to be seen when all is well, too.
pub(super) fn report(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "tidy: {line}").expect("stdout takes a line");
}

/// Fails with everything that was found, not with the first.
pub(super) fn none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}\n", found.join("\n  "));
}

/// The number of the line that a byte stands on.
pub(super) fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Tells whether the byte may be part of an identifier.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The places where `word` stands alone, not inside a longer identifier.
pub(super) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = at == 0 || !is_word(bytes[at - 1]);
        before && bytes.get(at + word.len()).is_none_or(|&next| !is_word(next))
    })
}

/// Blanks comments, strings and character literals.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => until(bytes, at, b"\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment(bytes, at),
            b'"' => string(bytes, at),
            b'r' if at == 0 || !is_word(bytes[at - 1]) || bytes[at - 1] == b'b' => raw_string(bytes, at),
            b'\'' => character(bytes, at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("whole literals and comments were blanked")
}

/// The end of what starts at `from` and lasts until `stop`, which is not part of it.
fn until(bytes: &[u8], from: usize, stop: &[u8]) -> usize {
    bytes[from..].windows(stop.len()).position(|window| window == stop).map_or(bytes.len(), |length| from + length)
}

fn block_comment(bytes: &[u8], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// `r"…"`, `r#"…"#`; anything else that begins with an `r` has no length.
fn raw_string(bytes: &[u8], from: usize) -> usize {
    let hashes = bytes[from + 1..].iter().take_while(|&&byte| byte == b'#').count();
    if bytes.get(from + 1 + hashes) != Some(&b'"') {
        return from;
    }
    let stop = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    (until(bytes, from + 2 + hashes, &stop) + stop.len()).min(bytes.len())
}

/// `'x'` and `'\n'`, but not the lifetime `'a`.
fn character(bytes: &[u8], from: usize) -> usize {
    if bytes.get(from + 1) == Some(&b'\\') {
        return (until(bytes, from + 3, b"'") + 1).min(bytes.len());
    }
    let length = match bytes.get(from + 1) {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    };
    if bytes.get(from + 1 + length) == Some(&b'\'') { from + 2 + length } else { from }
}

/// Blanks each item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(from) = out.find("#[cfg(test)]") {
        let end = item_end(&out, from + "#[cfg(test)]".len());
        let blank: String = out[from..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(from..end, &blank);
    }
    out
}

/// The end of the item at `from`: its `;`, or the brace that closes its body.
pub(super) fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn masking_hides_comments_and_literals_and_nothing_else() {
    let hidden = mask("a // crate::x\n\"crate::\\\"y\" /* a /* b */ c */ r#\"crate::\"z\"# 'c' '\\'' &'a T r b");
    assert!(!hidden.contains("crate"), "{hidden}");
    assert!(hidden.contains("&'a T r b"), "{hidden}");
    assert!(hidden.starts_with("a ") && hidden.matches('\n').count() == 1);
}

#[test]
fn items_for_tests_are_left_out() {
    let code = without_tests(
        "use a;\n#[cfg(test)]\nmod tests {\n fn f() { x.unwrap() }\n}\nfn g() {}\n#[cfg(test)]\nmod t;\n",
    );
    assert!(!code.contains("unwrap") && !code.contains("mod t") && code.contains("fn g() {}"), "{code}");
}
