//! Flag and route files: whatever they say, they compile to a set that decides, or to diagnostics that point into them.

use banyan::compile::{self, Options, Outcome};
use banyan::config::{FileSet, Format, Severity};
use banyan::decision::{Head, decide};
use banyan::flag::{Context, Hashing, Value, Var};
use http::{HeaderMap, Method};

const FLAGS: &str = "\
flags:
  side:
    state: ENABLED
    variants: {left: left, right: right}
    defaultVariant: left
    metadata: {owner: tests}
";

const ROUTES: &str = "\
upstreams:
  left: {endpoints: [\"http://127.0.0.1:9001\"]}
  right: {endpoints: [\"http://127.0.0.1:9002\"]}
routes:
  - {name: all, match: {path: \"/{*rest}\"}, flag: side, variants: {left: left, right: right}, fallback: left}
";

/// A moment for `$flagd.timestamp` and `expires`: 2023-11-14.
const NOW_UNIX_S: i64 = 1_700_000_000;

/// A request's attributes, all of the same value.
struct Everything<'v>(&'v str);

impl Context for Everything<'_> {
    fn lookup<'a>(&'a self, _: &Var) -> Value<'a> {
        Value::Str(self.0.into())
    }

    fn targeting_key(&self) -> Option<&str> {
        Some(self.0)
    }

    fn now_unix_s(&self) -> i64 {
        NOW_UNIX_S
    }
}

/// The bytes are a flag file beside a route file that uses one flag.
pub(super) fn flags(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let outcome = compile(text, ROUTES);
    assert_outcome(&outcome, text);
    let Some(draft) = outcome.draft else { return };
    for flag in &draft.rules.flags {
        for key in ["", "user-1", "\u{10ffff}", text] {
            let context = Everything(key);
            for hashing in [Hashing::V2, Hashing::V3] {
                let evaluation = flag.evaluate(&context, hashing);
                let again = flag.evaluate(&context, hashing);
                assert_eq!(format!("{evaluation:?}"), format!("{again:?}"), "the same key gets the same variant");
                if let Some(variant) = evaluation.variant {
                    assert!(usize::from(variant.0) < flag.variants.len(), "{evaluation:?}");
                }
            }
        }
    }
}

/// The bytes are a route file beside a flag file with one flag.
pub(super) fn routes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let outcome = compile(FLAGS, text);
    assert_outcome(&outcome, text);
    let Some(draft) = outcome.draft else { return };
    let snapshot = draft.into_snapshot(1);
    let headers = HeaderMap::new();
    for path in ["/", "/a/b", "/orders/1"] {
        let head = Head {
            method: &Method::GET,
            host: "a.example",
            path,
            query: None,
            headers: &headers,
            client: [127, 0, 0, 1].into(),
            secure: false,
            certificate: None,
            now_unix_s: NOW_UNIX_S,
            fresh_key: String::new,
        };
        // Total: a decision never fails but for a path that has no route.
        let _ = decide(&snapshot, &head);
    }
}

fn compile(flags: &str, routes: &str) -> Outcome {
    let flags = FileSet::from_texts("flags", [("test.yaml", flags)]);
    let routes = FileSet::from_texts("routes", [("test.yaml", routes)]);
    compile::compile(&flags, &routes, &Options { now_unix_s: NOW_UNIX_S, ..Options::default() }, None)
}

/// All or nothing, and each finding points into its file and can be shown.
fn assert_outcome(outcome: &Outcome, text: &str) {
    assert_eq!(outcome.draft.is_none(), outcome.report.has_errors(), "{:?}", outcome.report);
    for found in &outcome.report.diagnostics {
        assert!(!found.message.is_empty(), "{found:?}");
        if let Some(place) = &found.place {
            let length = place.file.text.len();
            assert!(place.start <= place.end && place.end <= length, "{found:?} in {text:?}");
            assert!(place.file.text.get(place.start..place.end).is_some(), "{found:?} splits a character of {text:?}");
        }
    }
    for format in [Format::Text { colour: true }, Format::Json, Format::Github] {
        assert!(outcome.report.diagnostics.is_empty() || !outcome.report.render(format).is_empty());
    }
    let errors = outcome.report.count(Severity::Error);
    assert_eq!(errors > 0, outcome.report.has_errors());
}
