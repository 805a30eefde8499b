//! How findings are shown: to a person, to a program, to GitHub, and in the log.

use banyan::config::{ConfigFile, Diagnostic, Format, Place, Report};
use std::sync::Arc;

/// A place of the first occurrence of `needle` in a file.
fn place(path: &str, text: &str, needle: &str) -> Place {
    let start = text.find(needle).unwrap();
    Place { file: Arc::new(ConfigFile { path: path.into(), text: text.into() }), start, end: start + needle.len() }
}

fn sample() -> Report {
    let text = "upstreams:\n  monolith:\n    endpoint: [\"http://127.0.0.1:9001\"]\n\troutes: []\n";
    let mut report = Report::default();
    let second = place("routes/b.yaml", "upstreams: {monolith: {}}\n", "monolith");
    report.push(
        Diagnostic::error("duplicate-name", &second, "the upstream `monolith` is defined twice")
            .also(&place("routes/a.yaml", text, "monolith"), "first here")
            .help("rename or remove one of the two"),
    );
    report.push(
        Diagnostic::error("unknown-key", &place("routes/a.yaml", text, "endpoint"), "unknown key `endpoint`")
            .help("did you mean `endpoints`?"),
    );
    report.push(Diagnostic::warning("tab", &place("routes/a.yaml", text, "routes"), "a line with a tab"));
    report.push(Diagnostic::new(banyan::config::Severity::Note, "set", None, "about a directory, 100 %: a, b"));
    report.sort();
    report
}

fn text_of(report: &Report) -> String {
    report.render(Format::Text { colour: false })
}

#[test]
fn text() {
    super::snapshot!("report_text", text_of(&sample()));
}

#[test]
fn colours_only_when_asked() {
    assert!(!text_of(&sample()).contains('\x1b'));
    assert!(sample().render(Format::Text { colour: true }).contains("\x1b[1;31merror[unknown-key]\x1b[0m"));
}

#[test]
fn json() {
    super::snapshot!("report_json", sample().render(Format::Json));
}

#[test]
fn github() {
    super::snapshot!("report_github", sample().render(Format::Github));
}

#[test]
fn log_lines() {
    let lines: Vec<String> =
        sample().lines().map(|(severity, line)| format!("{}: {line}", severity.as_str())).collect();
    super::snapshot!("report_lines", lines.join("\n"));
}

#[test]
fn nothing_in_a_file_steers_the_terminal() {
    let text = "a: \x1b[2Jgone\u{202e}drawkcab\rback\n";
    let mut report = Report::default();
    let name = format!("unknown key `{}`", "\x1b]0;owned\x07");
    report.push(Diagnostic::error("unknown-key", &place("routes/\x1b[1m.yaml", text, "gone"), name).help("a\nb\x08"));
    for shown in [text_of(&report), report.lines().map(|(_, line)| line).collect()] {
        let harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(shown.chars().all(harmless), "{shown:?}");
    }
    assert!(text_of(&report).contains("a: \\u{1b}[2Jgone\\u{202e}drawkcab\\u{d}back"), "{}", text_of(&report));
}

#[test]
fn a_minified_file_is_cropped_around_the_place() {
    let text = format!("{{\"a\": \"{}\", \"wrong\": 1, \"b\": \"{}\"}}", "x".repeat(1_000_000), "y".repeat(1_000_000));
    let mut report = Report::default();
    report.push(Diagnostic::error("unknown-key", &place("flags/a.json", &text, "wrong"), "unknown key `wrong`"));
    let shown = text_of(&report);
    assert!(shown.lines().all(|line| line.chars().count() < 125), "{shown}");
    super::snapshot!("report_cropped", shown);
}

#[test]
fn places_at_the_end_of_a_file_and_in_an_empty_one_are_shown() {
    for (text, start, end) in [("", 0, 0), ("a: [", 4, 4), ("a: [\n", 5, 5), ("ä", 1, 2), ("a", 7, 3)] {
        let file = Arc::new(ConfigFile { path: "a.yaml".into(), text: text.into() });
        let mut report = Report::default();
        report.push(Diagnostic::error("syntax", &Place { file, start, end }, "here"));
        for format in [Format::Text { colour: true }, Format::Json, Format::Github] {
            assert!(report.render(format).contains("a.yaml"));
        }
    }
}

#[test]
fn a_hundred_thousand_findings_are_shown_in_linear_time() {
    let text = "key: value\n".repeat(100_000);
    let file = Arc::new(ConfigFile { path: "a.yaml".into(), text });
    let mut report = Report::default();
    for line in 0..100_000 {
        let place = Place { file: Arc::clone(&file), start: line * 11, end: line * 11 + 3 };
        report.push(Diagnostic::error("unknown-key", &place, "unknown key"));
    }
    let begun = std::time::Instant::now();
    assert!(text_of(&report).contains("a.yaml:100000:1\n"));
    // Reading the file again for each finding would take minutes.
    assert!(begun.elapsed().as_secs() < 20);
}
