//! Holds that what a reader copies works: every YAML block loads, every command and `make` target exists.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use banyan::config::{ConfigFile, Node, Report, parse};

use super::docs::{Block, Page, blocks, code_spans, help, pages, prose, verbs, verbs_in};
use super::source::{files, none, read, relative, report, root};

/// A route file for flag blocks that bring none.
const ANY_ROUTES: &str = "upstreams: {any: {endpoints: [\"http://127.0.0.1:9001\"]}}\n\
                          routes: [{name: any, match: {path: \"/{*rest}\"}, upstream: any}]\n";

/// A flag file for route blocks that need none.
const ANY_FLAGS: &str = "flags: {any: {state: ENABLED, variants: {\"on\": true, \"off\": false}, defaultVariant: \"off\", \
                         metadata: {owner: docs}}}\n";

/// What a YAML block is, by its first keys.
#[derive(Debug, PartialEq)]
enum Kind {
    Flags,
    Routes,
    /// Kubernetes, CI systems: it must parse, more cannot be said here.
    Other,
}

fn kind(node: &Node) -> Kind {
    let has = |names: &[&str]| names.iter().any(|name| node.key(name).is_some());
    if has(&["apiVersion"]) {
        Kind::Other
    } else if has(&["flags"]) {
        Kind::Flags
    } else if has(&["routes", "upstreams"]) {
        Kind::Routes
    } else {
        Kind::Other
    }
}

/// Parses each document of a text; the error names the first finding.
fn parsed(path: &str, text: &str) -> Result<Vec<Node>, String> {
    let documents = text.split("\n---\n").map(|text| {
        let mut report = Report::default();
        let node = parse(&Arc::new(ConfigFile { path: path.into(), text: text.to_owned() }), &mut report);
        match report.diagnostics.iter().find(|_| report.has_errors()) {
            Some(found) => Err(found.message.clone()),
            None => node.ok_or_else(|| "nothing inside".to_owned()),
        }
    });
    documents.collect()
}

/// Runs `banyan check` over one flag and one route file.
fn check(flags: &str, routes: &str) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [("flags", flags), ("routes", routes)] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
        fs::write(folder.path().join(name).join("example.yaml"), text).expect("a file");
    }
    check_in(folder.path())
}

fn check_in(folder: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_banyan");
    let arguments = ["check", "--flags", "flags", "--routes", "routes"];
    Command::new(program).args(arguments).current_dir(folder).output().expect("the program runs")
}

fn refusal(output: &Output) -> Option<String> {
    let text = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (!output.status.success()).then(text)
}

/// What is wrong with the YAML blocks of a page. A block marked `fragment` must parse; a route block is loaded
/// with the flag block before it.
fn wrong_blocks(page: &Page, loaded: &mut usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut flags = None;
    for Block { place, info, text } in blocks(page).into_iter().filter(|block| block.info.starts_with("yaml")) {
        *loaded += 1;
        let nodes = match parsed(&place, &text) {
            Ok(nodes) => nodes,
            Err(why) => {
                found.push(format!("{place}: {why}"));
                continue;
            }
        };
        let checked = match kind(&nodes[0]) {
            _ if info.contains("fragment") => None,
            Kind::Flags => {
                flags = Some(text.clone());
                refusal(&check(&text, ANY_ROUTES))
            }
            Kind::Routes => refusal(&check(flags.as_deref().unwrap_or(ANY_FLAGS), &text)),
            Kind::Other => None,
        };
        found.extend(checked.map(|why| format!("{place}: {why}")));
    }
    found
}

/// The command lines of a page: shell blocks and code spans, continued lines joined.
fn commands(page: &Page) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let shells = ["sh", "bash", "shell", "console"];
    for block in blocks(page).iter().filter(|block| shells.contains(&block.info.as_str())) {
        let joined = block.text.replace("\\\n", " ");
        let commands = joined.lines().flat_map(|line| line.split(" #").next().unwrap_or("").split(['|', ';']));
        let commands = commands
            .flat_map(|line| line.split("&&"))
            .flat_map(|line| line.split("$("))
            .map(|command| (block.place.clone(), command.to_owned()));
        found.extend(commands);
    }
    let prose = prose(&page.text);
    let spans = code_spans(&prose).into_iter().map(|(line, span)| (format!("{}:{line}", page.path), span.to_owned()));
    found.extend(spans);
    found
}

/// The arguments of `banyan …`, `path/to/banyan …` and `cargo run … -- …`.
fn arguments(command: &str) -> Option<Vec<&str>> {
    let is_prefix = |word: &&str| *word == "$" || *word == "sudo" || (word.contains('=') && !word.starts_with('-'));
    let mut words = command.split_whitespace().skip_while(is_prefix).peekable();
    let program = words.next()?;
    if program == "cargo" && words.next() == Some("run") {
        return Some(words.skip_while(|word| *word != "--").skip(1).collect());
    }
    (program == "banyan" || program.ends_with("/banyan")).then(|| words.collect())
}

/// Says what a command names that the program does not have.
fn unknown(command: &str) -> Option<String> {
    let arguments = arguments(command)?;
    let verb = *arguments.first().filter(|verb| !verb.starts_with('-'))?;
    if verb.chars().any(|c| c.is_uppercase()) || verb == "…" {
        // A placeholder, such as VERB.
        return None;
    }
    if !verbs().contains(verb) {
        return Some(format!("there is no `banyan {verb}`"));
    }
    let mut words = vec![verb];
    let mut known = help(&words);
    // A verb of a verb has options of its own.
    words.extend(arguments.get(1).filter(|word| verbs_in(&known).contains(**word)));
    if words.len() > 1 {
        known = help(&words);
    }
    let options = arguments.iter().filter(|argument| argument.starts_with("--") && argument.len() > 2);
    let name = |argument: &&&str| argument.split('=').next().unwrap_or_default().to_owned();
    let missing = options.map(|argument| name(&argument)).find(|option| !lists(&known, option))?;
    Some(format!("`banyan {}` has no {missing}", words.join(" ")))
}

fn lists(help: &str, option: &str) -> bool {
    option == "--help" || help.split(|c: char| c.is_whitespace() || ",[]=<>`.".contains(c)).any(|word| word == option)
}

fn make_targets() -> Vec<String> {
    let makefile = read("Makefile");
    let targets = makefile.lines().filter_map(|line| line.split_once(':').map(|(target, _)| target));
    targets.filter(|target| !target.is_empty() && !target.contains([' ', '\t', '.', '$'])).map(String::from).collect()
}

#[test]
fn every_yaml_block_of_the_docs_loads() {
    let mut loaded = 0;
    let found: Vec<_> = pages().iter().flat_map(|page| wrong_blocks(page, &mut loaded)).collect();
    report(&format!("{loaded} YAML blocks in the docs"));
    none("YAML blocks that do not load (mark what is not a whole file `yaml fragment`)", &found);
}

#[test]
fn the_shipped_files_load() {
    let yaml: Vec<_> = ["yaml", "yml"].iter().flat_map(|kind| files(&["flags", "routes", "docs"], kind)).collect();
    assert!(!yaml.is_empty(), "flags/ and routes/ are shipped");
    let broken = |path: &std::path::PathBuf| {
        let name = relative(path);
        parsed(&name, &read(&name)).err().map(|why| format!("{name}: {why}"))
    };
    none("files that do not parse", &yaml.iter().filter_map(broken).collect::<Vec<_>>());
    let refused = refusal(&check_in(root()));
    assert!(refused.is_none(), "banyan check refuses the shipped files:\n{}", refused.unwrap_or_default());
}

#[test]
fn check_refuses_what_is_broken() {
    assert!(refusal(&check(ANY_FLAGS, ANY_ROUTES)).is_none(), "{:?}", refusal(&check(ANY_FLAGS, ANY_ROUTES)));
    let broken = ANY_ROUTES.replace("upstream: any", "upstream: nobody");
    assert!(refusal(&check(ANY_FLAGS, &broken)).is_some(), "check takes an upstream that does not exist");
}

#[test]
fn every_command_in_the_docs_exists() {
    let (mut found, mut count) = (Vec::new(), 0);
    for page in pages() {
        for (place, command) in commands(&page) {
            count += usize::from(arguments(&command).is_some());
            found.extend(unknown(&command).map(|why| format!("{place}: {why}")));
        }
    }
    report(&format!("{count} commands in the docs"));
    none("commands in the docs", &found);
}

#[test]
fn every_make_target_in_the_docs_exists() {
    let targets = make_targets();
    assert!(targets.iter().any(|target| target == "test"), "the Makefile was not read: {targets:?}");
    let mut found = Vec::new();
    for page in pages() {
        for (place, command) in commands(&page) {
            let mut words = command.split_whitespace().skip_while(|word| *word == "$");
            let target = words.next().filter(|word| *word == "make").and_then(|_| words.next());
            let missing = target.filter(|target| !targets.iter().any(|known| known == target));
            found.extend(missing.map(|target| format!("{place}: there is no `make {target}`")));
        }
    }
    none("make targets in the docs", &found);
}

#[test]
fn commands_are_found_in_the_text() {
    assert_eq!(arguments("$ RUST_LOG=info ./target/release/banyan serve --x"), Some(vec!["serve", "--x"]));
    assert_eq!(arguments("cargo run --release -- demo"), Some(vec!["demo"]));
    assert_eq!(arguments("cat banyan"), None);
    assert!(lists("      --flags <DIR>  x", "--flags") && !lists("--flags-max", "--flags"));
    let kind_of = |text: &str| kind(&parsed("t", text).expect("it parses")[0]);
    assert_eq!(kind_of("flags: {}"), Kind::Flags);
    assert_eq!(kind_of("upstreams: {}\nroutes: []"), Kind::Routes);
    assert_eq!(kind_of("apiVersion: v1\nroutes: []"), Kind::Other);
    assert!(parsed("t", "a: [").is_err());
}
