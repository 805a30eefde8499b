//! Holds the pages: those that must be there, links between them, and the glossary's words.

use std::collections::BTreeSet;
use std::process::Command;

use super::source::{files, is_word, none, read, relative, report, root, sources};

/// What a reader is promised.
const PAGES: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/dependencies.md",
    "docs/flags.md",
    "docs/glossary.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/routes.md",
    "docs/runbook.md",
    "docs/security.md",
];

/// Words that the glossary forbids, and what is said instead. Only those that have no other meaning here.
const FORBIDDEN: &[(&str, &str)] = &[
    ("backend", "upstream"),
    ("backends", "upstreams"),
    ("canary analysis", "guard"),
    ("dead letter", "parked"),
    ("feature toggle", "flag"),
    ("feature toggles", "flags"),
    ("frontend", "downstream"),
    ("new monolith", "modern"),
    ("new service", "modern"),
    ("new system", "modern"),
    ("old monolith", "legacy"),
    ("old service", "legacy"),
    ("old system", "legacy"),
];

/// The page that lists the forbidden words may say them.
const GLOSSARY: &str = "docs/glossary.md";

/// A page with its text.
pub(super) struct Page {
    /// The path from the root.
    pub(super) path: String,
    /// Its Markdown.
    pub(super) text: String,
}

/// A fenced block of a page.
pub(super) struct Block {
    /// The page and the line of the opening fence.
    pub(super) place: String,
    /// What follows the opening fence: `yaml`, `sh`, `yaml fragment`.
    pub(super) info: String,
    /// The lines inside.
    pub(super) text: String,
}

/// Reads all pages: those at the root and those under `docs/`.
pub(super) fn pages() -> Vec<Page> {
    let mut paths: Vec<String> = files(&["docs"], "md").iter().map(|path| relative(path)).collect();
    paths.extend(["README.md", "CHANGELOG.md"].into_iter().filter(|path| root().join(path).exists()).map(String::from));
    paths.into_iter().map(|path| Page { text: read(&path), path }).collect()
}

/// The fenced blocks of a page.
pub(super) fn blocks(page: &Page) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in page.text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if open => open = false,
            Some(info) => {
                open = true;
                let place = format!("{}:{}", page.path, number + 1);
                blocks.push(Block { place, info: info.trim().to_owned(), text: String::new() });
            }
            None if open => {
                let block = blocks.last_mut().expect("an open block was pushed");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// The page with fenced blocks blanked; lines stay where they are.
pub(super) fn prose(text: &str) -> String {
    let mut open = false;
    let line = |line: &str| {
        let fence = line.trim_start().starts_with("```");
        open ^= fence;
        if fence || open { String::new() } else { line.to_owned() }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The text between single backticks, with the number of the line.
pub(super) fn code_spans(prose: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose.lines().enumerate() {
        found.extend(line.split('`').skip(1).step_by(2).map(|span| (number + 1, span)));
    }
    found
}

fn without_code_spans(prose: &str) -> String {
    let outside = |line: &str| line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    prose.lines().map(outside).collect::<Vec<_>>().join("\n")
}

/// The targets of `[text](target)`, with the number of the line.
fn links(prose: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose.lines().enumerate() {
        let targets = line.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default());
        found.extend(targets.map(|target| (number + 1, target)));
    }
    found
}

/// The anchors that a page's headings make.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept = heading.to_lowercase().replace(|c: char| !c.is_alphanumeric() && !" -_".contains(c), "");
        kept.replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// Says what is wrong with a link, if anything is.
fn broken(page: &Page, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let folder = root().join(&page.path).parent().expect("a page stands in a folder").to_owned();
    let path = if file.is_empty() { root().join(&page.path) } else { folder.join(file) };
    if !path.exists() {
        return Some(format!("{file} does not exist"));
    }
    let anchor = anchor.filter(|_| path.extension().is_some_and(|extension| extension == "md"))?;
    let text = std::fs::read_to_string(&path).expect("a page can be read");
    (!anchors(&text).contains(anchor)).then(|| format!("{} has no heading #{anchor}", path.display()))
}

/// The forbidden words in a text, with the numbers of the lines.
fn forbidden(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        for (word, instead) in FORBIDDEN {
            // A hyphen joins: `x-frontend-id` is a name, not the word.
            let joins = |byte: &u8| is_word(*byte) || *byte == b'-';
            let joined = |at: usize| {
                let bytes = lower.as_bytes();
                (at > 0 && joins(&bytes[at - 1])) || bytes.get(at + word.len()).is_some_and(joins)
            };
            if lower.match_indices(word).any(|(at, _)| !joined(at)) {
                found.push((number + 1, format!("say {instead}, not {word}")));
            }
        }
    }
    found
}

/// The comments of a Rust file, each on its line.
fn comments(text: &str) -> String {
    let comment = |line: &str| line.trim_start().strip_prefix("//").map(without_code_spans).unwrap_or_default();
    text.lines().map(comment).collect::<Vec<_>>().join("\n")
}

/// What `banyan ARGUMENTS --help` prints.
pub(super) fn help(arguments: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_banyan");
    let output = Command::new(program).args(arguments).arg("--help").output().expect("the program runs");
    assert!(output.status.success(), "banyan {arguments:?} --help failed");
    String::from_utf8(output.stdout).expect("help is text")
}

/// The verbs that a help lists.
pub(super) fn verbs_in(help: &str) -> BTreeSet<String> {
    let commands = help.split("Commands:").nth(1).unwrap_or_default();
    let first = |line: &str| line.split_whitespace().next().map(String::from);
    commands.lines().skip(1).take_while(|line| line.starts_with(' ')).filter_map(first).collect()
}

/// The verbs that `banyan --help` lists.
pub(super) fn verbs() -> BTreeSet<String> {
    let help = help(&[]);
    let verbs = verbs_in(&help);
    assert!(verbs.contains("serve") && verbs.contains("check"), "banyan --help lists no verbs:\n{help}");
    verbs
}

#[test]
fn the_promised_pages_are_there() {
    let missing: Vec<_> =
        PAGES.iter().filter(|page| !root().join(page).exists()).map(|page| page.to_string()).collect();
    none("missing pages", &missing);
}

#[test]
fn links_between_pages_resolve() {
    let (mut found, mut count) = (Vec::new(), 0);
    for page in pages() {
        for (line, target) in links(&prose(&page.text)) {
            count += 1;
            found.extend(broken(&page, target).map(|why| format!("{}:{line}: {why}", page.path)));
        }
    }
    report(&format!("{} pages, {count} links", pages().len()));
    none("broken links", &found);
}

#[test]
fn the_glossarys_words_are_used() {
    let mut found = Vec::new();
    let mut look = |path: &str, text: &str| {
        found.extend(forbidden(text).into_iter().map(|(line, why)| format!("{path}:{line}: {why}")));
    };
    for page in pages().iter().filter(|page| page.path != GLOSSARY) {
        look(&page.path, &without_code_spans(&prose(&page.text)));
    }
    for source in sources(&["src", "tests", "benches"]) {
        look(&source.path, &comments(&source.text));
    }
    // `help` is clap's own verb and has no help.
    for verb in verbs().iter().filter(|verb| *verb != "help") {
        look(&format!("banyan {verb} --help"), &help(&[verb]));
    }
    none("words that the glossary forbids", &found);
}

#[test]
fn the_glossary_lists_what_is_forbidden() {
    let glossary = read(GLOSSARY).to_lowercase();
    let singular = |word: &&(&str, &str)| !word.0.ends_with('s') && !word.0.contains(' ');
    let missing = FORBIDDEN.iter().filter(singular).filter(|(word, _)| !glossary.contains(word));
    none(
        "forbidden words that the glossary does not list",
        &missing.map(|(word, _)| word.to_string()).collect::<Vec<_>>(),
    );
}

#[test]
fn pages_are_taken_apart() {
    let text = "# A `b` c!\n[x](y.md#z) `banyan check`\n```yaml fragment\nfrontend\n```\na Frontend, x-frontend-id\n"
        .to_owned();
    let page = Page { path: "p.md".to_owned(), text };
    let blocks = blocks(&page);
    assert_eq!(
        (blocks[0].info.as_str(), blocks[0].text.as_str(), blocks[0].place.as_str()),
        ("yaml fragment", "frontend\n", "p.md:3")
    );
    let prose = prose(&page.text);
    assert_eq!(links(&prose), [(2, "y.md#z")]);
    assert_eq!(code_spans(&prose), [(1, "b"), (2, "banyan check")]);
    assert!(anchors(&page.text).contains("a-b-c"));
    assert_eq!(forbidden(&prose), [(6, "say downstream, not frontend".to_owned())]);
    assert!(broken(&page, "no-such-page.md").is_some() && broken(&page, "https://example.org/x").is_none());
    assert!(broken(&Page { path: "Cargo.toml".to_owned(), text: String::new() }, "src/lib.rs").is_none());
}
