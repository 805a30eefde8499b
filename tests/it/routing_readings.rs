//! Rule H6: no spelling of a path reaches another route than the one that an upstream would read in it.

use banyan::route::{Ambiguous, HostPattern, Matcher, PathTemplate, RouteTable};
use proptest::prelude::*;

use crate::routing_models::{disagreement, find, table};

fn check(table: &RouteTable<usize>, path: &str) -> Result<(), TestCaseError> {
    match disagreement(table, path) {
        Some(disagreement) => Err(TestCaseError::fail(disagreement)),
        None => Ok(()),
    }
}

const PIECES: [&str; 32] = [
    "/", "/", "/", "a", "b", "x", "admin", "users", "..", ".", "%2F", "%2f", "%2e", "%2E%2e", "%252e", "%252F", "//",
    "\\", "%5c", "%255C", ";", ";v=1", "%3b", "%61", "%2561", "%25", "%3F", "%23", "%", "%zz", "~", "%7E",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_reader_takes_another_route(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..9)) {
        check(&table(), &format!("/{}", pieces.concat()))?;
    }

    /// Spells a protected path differently, byte by byte and segment by segment.
    #[test]
    fn a_spelling_of_a_protected_path_is_that_route_or_refused(
        spellings in prop::collection::vec(0..12_usize, 12),
        between in prop::collection::vec(prop::sample::select(vec!["/", "//", "/./", "/x/../", "/%2e/", "/;/", "/y/%2e%2e/", "\\", "%2F"]), 2),
    ) {
        let spell = |text: &str, offset: usize| -> String {
            text.char_indices().map(|(at, letter)| match spellings[(at + offset) % 12] {
                0 => format!("%{:02x}", letter as u32),
                1 => format!("%{:02X}", letter as u32),
                2 => format!("%25{:02x}", letter as u32),
                _ => letter.to_string(),
            }).collect()
        };
        let between: Vec<&str> = between.iter().map(|text| &**text).collect();
        let path = format!("/{}{}{}", spell("admin", 0), between[0], spell("users", 5));
        let found = find(&table(), &path);
        let plain = path == "/admin/users";
        prop_assert!(found == Err(Ambiguous) || (found == Ok(Some(0)) && plain), "{} gave {:?}", path, found);
        check(&table(), &path)?;
    }

    #[test]
    fn any_text_is_matched_without_a_panic(path in ".{0,40}", prefix in prop::sample::select(vec!["", "/", "/admin/"])) {
        let _ = find(&table(), &format!("{prefix}{path}"));
    }

    #[test]
    fn any_escapes_are_matched_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let path: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        let _ = find(&table(), &format!("/{path}"));
    }
}

/// Spellings from advisories and from the documentation of servers.
const BYPASSES: [&str; 27] = [
    "/%61dmin/users",
    "/ADMIN/../admin/users",
    "//admin/users",
    "/./admin/users",
    "/x/../admin/users",
    "/x/%2e%2e/admin/users",
    "/x/%2E%2e/admin/users",
    "/x/..%2fadmin/users",
    "/x%2f..%2fadmin%2fusers",
    "/x/..;/admin/users",
    "/;/admin/users",
    "/;a=b/admin/users",
    "/admin;v=1/users",
    "/x/..%3b/admin/users",
    "/x/%252e%252e/admin/users",
    "/%2561dmin/users",
    "/x/..%252fadmin/users",
    "/\\admin\\users",
    "/x\\..\\admin/users",
    "/x/..%5cadmin/users",
    "/x/..%255cadmin/users",
    "/x/%c0%ae%c0%ae/admin/users",
    "/x/..%c0%afadmin/users",
    "/x/%e0%80%ae%e0%80%ae/admin/users",
    "/%u0061dmin/users",
    "/admin%2fusers",
    // The raw form and the fully decoded one agree here; who splits before decoding does not.
    "/%61/q%2Fx/x",
];

#[test]
fn known_ways_around_a_route_are_refused() {
    let table = table();
    for path in BYPASSES {
        assert_eq!(find(&table, path), Err(Ambiguous), "{path}");
    }
    assert_eq!(find(&table, "/admin/users"), Ok(Some(0)));
}

#[test]
fn what_truncates_a_path_or_splits_a_head_is_refused_everywhere() {
    for path in ["/a/b%00", "/z%00.png", "/z%0d%0aX:1", "/z%0A", "/z%2500", "/z%250a", "/z%c0%80"] {
        assert_eq!(find(&table(), path), Err(Ambiguous), "{path}");
    }
}

#[test]
fn escapes_that_no_reader_disagrees_about_are_served() {
    let cases = [
        ("/b/%7Ejoe", 5),
        ("/b/a%20b", 5),
        ("/b/100%25", 5),
        ("/b/%E2%82%AC", 5),
        ("/b/caf%e9", 5),
        ("/b/x%2Fy", 5),
        ("/b/x;v=1", 5),
        ("/b/x//y", 5),
        ("/b/x/./y", 5),
        ("/a/%7Ejoe", 4),
        ("/z/50%", 6),
        ("/z/.well-known", 6),
        ("/z/...", 6),
        ("/z/..a", 6),
    ];
    for (path, route) in cases {
        assert_eq!(find(&table(), path), Ok(Some(route)), "{path}");
    }
}

#[test]
fn with_one_route_for_everything_every_spelling_passes() {
    let matcher = Matcher {
        host: HostPattern::Any,
        path: PathTemplate::parse("/{*rest}").unwrap(),
        methods: vec![],
        headers: vec![],
        query: vec![],
    };
    let table = RouteTable::build(vec![(matcher, 0)]).unwrap();
    for path in BYPASSES {
        assert_eq!(find(&table, path), Ok(Some(0)), "{path}");
    }
}

#[test]
fn a_path_with_too_many_readings_is_refused_at_a_bounded_cost() {
    let table = table();
    for piece in ["%2561", "%25252525", "..;\\%2f%2e./", "%c0%ae%2f;/\\//", "%", ";", "/./", "//"] {
        let path = format!("/b/{}", piece.repeat(8_000 / piece.len()));
        let started = std::time::Instant::now();
        let _ = find(&table, &path);
        // Far above what it takes (under a millisecond when optimised), far below what unbounded readings would.
        assert!(started.elapsed().as_millis() < 500, "{piece} took {:?}", started.elapsed());
    }
}
