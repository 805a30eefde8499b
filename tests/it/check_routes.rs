//! What is said about flag and route files: all of it at once, with places and help; and what they compile to.

use std::net::SocketAddr;
use std::sync::Arc;

use banyan::attribute::Attribute;
use banyan::compile::{self, Options, Outcome};
use banyan::config::{FileSet, Format, Severity};
use banyan::route::Request;
use banyan::snapshot::{Choice, Route, Snapshot};
use http::{HeaderMap, Method};

/// A flag whose variants are the stages, and one whose variants are `legacy` and `modern`.
const FLAGS: &str = "\
flags:
  orders:
    state: ENABLED
    variants: {\"off\": \"off\", dualwrite: dualwrite, live: live, complete: complete}
    defaultVariant: live
    metadata: {owner: team}
  search:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: legacy
    metadata: {owner: team}
";

/// Routes that use both, in one line each for the tests to build on.
const UPSTREAMS: &str = "\
upstreams:
  monolith: {endpoints: [\"http://127.0.0.1:9001\"]}
  modern: {endpoints: [\"http://127.0.0.1:9002\"]}
";

const ROUTES: &str = "\
routes:
  - {name: orders, match: {path: /orders}, flag: orders, migration: {legacy: monolith, modern: modern}}
  - {name: search, match: {path: /search}, flag: search, variants: {legacy: monolith, modern: modern}, fallback: monolith}
  - {name: rest, match: {path: \"/{*rest}\"}, upstream: monolith}
";

fn options() -> Options {
    Options { listeners: vec!["0.0.0.0:8080".parse().unwrap()], now_unix_s: 1_790_000_000, ..Options::default() }
}

fn compile_files(flags: &[(&str, &str)], routes: &[(&str, &str)], previous: Option<&Snapshot>) -> Outcome {
    let flags = FileSet::from_texts("flags", flags.iter().copied());
    let routes = FileSet::from_texts("routes", routes.iter().copied());
    compile::compile(&flags, &routes, &options(), previous)
}

fn compiled(flags: &str, routes: &str) -> Outcome {
    compile_files(&[("a.yaml", flags)], &[("a.yaml", routes)], None)
}

fn shown(outcome: &Outcome) -> String {
    outcome.report.render(Format::Text { colour: false })
}

fn codes(outcome: &Outcome) -> Vec<&'static str> {
    let loud = outcome.report.diagnostics.iter().filter(|found| found.severity > Severity::Note);
    loud.map(|found| found.code).collect()
}

fn snapshot_of(outcome: Outcome, generation: u64) -> Snapshot {
    let shown = shown(&outcome);
    outcome.draft.unwrap_or_else(|| panic!("{shown}")).into_snapshot(generation)
}

fn good() -> Snapshot {
    snapshot_of(compiled(FLAGS, &format!("{UPSTREAMS}{ROUTES}")), 1)
}

/// What is said about routes that stand on good flags and upstreams.
fn about_routes(routes: &str) -> String {
    shown(&compiled(FLAGS, &format!("{UPSTREAMS}{routes}")))
}

fn find<'s>(snapshot: &'s Snapshot, path: &str) -> &'s Route {
    let headers = HeaderMap::new();
    let request = Request { host: "a", path, query: None, method: &Method::GET, headers: &headers };
    snapshot.rules.routes.find(&request).unwrap().unwrap().payload
}

/// Each leg's variant and upstream, then the fallback's.
fn legs(snapshot: &Snapshot, path: &str) -> Vec<(String, String)> {
    let name = |leg: &banyan::snapshot::Leg| {
        let labels = &snapshot.rules.legs[leg.id.0 as usize];
        assert_eq!(labels.upstream, snapshot.upstreams[leg.upstream.0 as usize].name);
        (labels.variant.as_deref().unwrap_or("-").to_owned(), labels.upstream.to_string())
    };
    match &find(snapshot, path).choice {
        Choice::Always(leg) => vec![name(leg)],
        Choice::ByFlag { legs, fallback, .. } => legs.iter().flatten().chain([fallback]).map(name).collect(),
    }
}

#[test]
fn a_good_set_compiles_to_legs_that_follow_the_stages() {
    let snapshot = good();
    let pairs = |text: &[(&str, &str)]| -> Vec<(String, String)> {
        text.iter().map(|(variant, upstream)| ((*variant).to_owned(), (*upstream).to_owned())).collect()
    };
    let orders = [
        ("off", "monolith"),
        ("dualwrite", "monolith"),
        ("live", "modern"),
        ("complete", "modern"),
        ("fallback", "monolith"),
    ];
    assert_eq!(legs(&snapshot, "/orders"), pairs(&orders));
    let search = [("legacy", "monolith"), ("modern", "modern"), ("fallback", "monolith")];
    assert_eq!(legs(&snapshot, "/search"), pairs(&search));
    assert_eq!(legs(&snapshot, "/else"), pairs(&[("-", "monolith")]));
    assert_eq!(snapshot.rules.legs.len(), 9);
}

#[test]
fn what_is_not_in_force_is_said_once_a_route() {
    let routes = format!(
        "{}  - name: spelt-out
    match: {{path: /spelt-out}}
    flag: search
    variants: {{legacy: monolith, modern: {{serve: modern, copy_writes: monolith, compare_reads: monolith}}}}
    fallback: monolith
",
        ROUTES
    );
    let outcome = compiled(FLAGS, &format!("{UPSTREAMS}{routes}"));
    assert!(outcome.draft.is_some());
    super::snapshot!("routes_not_in_force", shown(&outcome));
}

#[test]
fn upstreams() {
    let said = shown(&compiled(
        FLAGS,
        "\
upstreams:
  mixed: {endpoints: [\"https://10.0.0.1:443\", \"http://10.0.0.1:80\"]}
  protocol: {endpoints: [\"http://10.0.0.1:80\"], protocol: h3}
  h2c: {endpoints: [\"https://10.0.0.1\"], protocol: h2c}
  https: {endpoints: [\"http://10.0.0.1:80\"], protocol: https}
  proxy: {endpoints: [\"http://10.0.0.1:80\"], proxy_protocol: v3}
  shared: {endpoints: [\"http://10.0.0.1:80\"], protocol: h2c, proxy_protocol: v1}
  nothing: {endpoints: []}
  without: {protocol: http1}
  scheme: {endpoints: [\"ftp://10.0.0.1:21\"]}
  path: {endpoints: [\"http://10.0.0.1:80/shop\"]}
  port: {endpoints: [10.0.0.1, \"10.0.0.1:0\", \"10.0.0.1:x\", \"10.0.0.1:65536\"]}
  host: {endpoints: [\"http://a b:80\", \"http://user@10.0.0.1:80\", \"::1:80\", \"[::1:80\", \"127.1:80\", \"0x7f000001:80\"]}
  public: {endpoints: [\"http://93.184.216.34:80\"]}
  itself: {endpoints: [\"http://127.0.0.1:8080\", \"localhost:8080\"]}
  twice: {endpoints: [\"http://10.0.0.1:80\", \"10.0.0.1:80\"]}
  wrong: {endpoints: \"http://10.0.0.1:80\", conect_timeout_ms: 5, response_timeout_ms: 1.5, slo_p99_ms: 0, allow_public: \"yes\"}
  rewrite: {endpoints: [\"10.0.0.1:80\"], rewrite: {host: \"a b\", path_prefix: {from: shop, to: \"/a?b\"}, set_headers: {host: x, \"a b\": y, x-a: \"\\n\"}, remove_headers: [Transfer-Encoding]}}
routes:
  - {name: rest, match: {path: /}, upstream: path}
",
    ));
    super::snapshot!("routes_upstreams", said);
}

#[test]
fn routes_that_lead_nowhere() {
    super::snapshot!(
        "routes_targets",
        about_routes(
            "\
routes:
  - {match: {path: /no-name}, upstream: monolith}
  - {name: \"Bestellungen für alle\", match: {path: /name}, upstream: monolith}
  - {name: no-match, upstream: monolith}
  - {name: nothing, match: {path: /1}}
  - {name: both, match: {path: /2}, upstream: monolith, variants: {legacy: monolith}}
  - {name: plain-flag, match: {path: /3}, flag: search, upstream: monolith}
  - {name: no-flag, match: {path: /4}, variants: {legacy: monolith, modern: modern}, fallback: monolith}
  - {name: no-fallback, match: {path: /5}, flag: search, variants: {legacy: monolith, modern: modern}}
  - {name: variant-fallback, match: {path: /6}, flag: search, variants: {legacy: monolith, modern: modern}, fallback: modern}
  - {name: legacy-fallback, match: {path: /6a}, flag: search, variants: {legacy: monolith, modern: modern}, fallback: legacy}
  - {name: unknown-upstream, match: {path: /7}, upstream: monolit}
  - {name: unknown-flag, match: {path: /8}, flag: serach, variants: {legacy: monolith, modern: modern}, fallback: monolith}
  - {name: unknown-variant, match: {path: /9}, flag: search, variants: {legacy: monolith, modren: modern}, fallback: monolith}
  - {name: not-stages, match: {path: /10}, flag: search, migration: {legacy: monolith, modern: modern}}
  - {name: same-sides, match: {path: /11}, flag: orders, migration: {legacy: monolith, modern: monolith}}
  - {name: live-fallback, match: {path: /12}, flag: orders, migration: {legacy: monolith, modern: modern}, fallback: live}
  - {name: one-side, match: {path: /13}, flag: orders, migration: {legacy: monolith}}
  - {name: typo, match: {path: /14}, upstraem: monolith}
"
        )
    );
}

#[test]
fn matchers() {
    super::snapshot!(
        "routes_matchers",
        about_routes(
            "\
routes:
  - {name: empty, match: {}, upstream: monolith}
  - {name: no-slash, match: {path: orders}, upstream: monolith}
  - {name: open-brace, match: {path: \"/orders/{id\"}, upstream: monolith}
  - {name: host-port, match: {host: \"shop.example:8080\"}, upstream: monolith}
  - {name: host-star, match: {host: \"shop.*.example\"}, upstream: monolith}
  - {name: host-bad, match: {host: \"shop example\"}, upstream: monolith}
  - {name: method, match: {path: /a, methods: [get, \"PO ST\", CONNECT, PSOT]}, upstream: monolith}
  - {name: header, match: {path: /b, headers: {\"a b\": x, x-a: 1, x-b: {present: false}, x-c: [1]}}, upstream: monolith}
  - {name: typo, match: {pth: /c}, upstream: monolith}
  - {name: one, match: {path: /same, methods: [GET, POST]}, upstream: monolith}
  - {name: two, match: {path: /same, methods: [POST, PUT]}, upstream: monolith}
"
        )
    );
}

#[test]
fn routes_that_cannot_be_told_apart_name_both() {
    super::snapshot!(
        "routes_conflict",
        shown(&compile_files(
            &[("a.yaml", FLAGS)],
            &[
                ("a.yaml", &format!("{UPSTREAMS}{ROUTES}")),
                ("b.yaml", "routes:\n  - {name: again, match: {path: \"/{*everything}\"}, upstream: monolith}\n"),
            ],
            None,
        ))
    );
}

#[test]
fn identity_context_and_force() {
    super::snapshot!(
        "routes_identity",
        about_routes(&format!(
            "{ROUTES}\
identity: {{targeting_key: [headr:x-user-id, \"header:a b\", \"issue:a b\", issue:one, issue:two, cookie], cookie: {{max_age_s: 1}}}}
context: {{method: header:x-method, tenant: x-tenant, $flagd.now: header:x-now}}
force: {{header: \"a b\", networks: [10.0.0.0/33, testers]}}
"
        ))
    );
    let outcome = compiled(
        FLAGS,
        &format!(
            "{UPSTREAMS}{ROUTES}\
identity: {{targeting_key: [header:x-user-id, issue:banyan_id], cookie: {{max_age_s: 3600}}}}
context: {{tenant: header:x-tenant}}
force: {{header: x-force, networks: [10.0.0.0/8]}}
"
        ),
    );
    let rules = snapshot_of(outcome, 1).rules;
    assert_eq!(rules.identity.sources.last(), Some(&Attribute::Cookie("banyan_id".into())));
    assert_eq!(rules.identity.issue.as_ref().unwrap().max_age_s, 3600);
    assert_eq!(rules.mapped["tenant"], Attribute::from_source("header:x-tenant").unwrap());
    assert!(rules.forcing.as_ref().unwrap().networks[0].contains("10.1.2.3".parse().unwrap()));
}

#[test]
fn what_stands_twice_over_files_names_both_places() {
    let second = "identity: {targeting_key: [cookie:a]}\ncontext: {a: cookie:a}\n\
                  upstreams: {monolith: {endpoints: [\"10.0.0.1:1\"]}}\n\
                  routes: [{name: rest, match: {path: /x}, upstream: monolith}]\n";
    let first = format!("{UPSTREAMS}{ROUTES}identity: {{targeting_key: [cookie:b]}}\ncontext: {{a: cookie:b}}\n");
    let outcome = compile_files(&[("a.yaml", FLAGS)], &[("a.yaml", &first), ("b.yaml", second)], None);
    super::snapshot!("routes_twice", shown(&outcome));
}

#[test]
fn files_that_say_nothing_are_refused() {
    for text in ["", "# only a comment\n", "---\n", "null\n", "\u{feff}"] {
        let routes = format!("{UPSTREAMS}{ROUTES}");
        let outcome = compile_files(&[("a.yaml", FLAGS)], &[("a.yaml", &routes), ("b.yaml", text)], None);
        assert_eq!(codes(&outcome), ["empty-file"], "{text:?}: {}", shown(&outcome));
    }
    assert!(codes(&compiled(FLAGS, UPSTREAMS)).contains(&"no-routes"));
    assert!(codes(&compiled(FLAGS, "routes: [{name: a\n")).contains(&"syntax"));
    assert!(codes(&compiled(FLAGS, "- a\n")).contains(&"wrong-type"));
}

#[test]
fn a_file_with_a_byte_order_mark_is_read() {
    assert_eq!(codes(&compiled(FLAGS, &format!("\u{feff}{UPSTREAMS}{ROUTES}"))), [""; 0]);
}

#[test]
fn a_flag_that_no_route_uses_is_a_warning() {
    let outcome =
        compiled(FLAGS, &format!("{UPSTREAMS}routes: [{{name: a, match: {{path: /}}, upstream: monolith}}]\n"));
    assert_eq!(codes(&outcome), ["unused-flag", "unused-flag"]);
    assert!(outcome.draft.is_some());
}

#[test]
fn a_name_that_no_request_has_is_a_warning() {
    let rule =
        "targeting: {if: [{in: [{var: tenent}, [{var: plan}, {var: header.x-a}, {var: tenant}]]}, modern, null]}";
    let flags = FLAGS.replace("variants: {legacy", &format!("{rule}\n    variants: {{legacy"));
    let outcome = compiled(&flags, &format!("{UPSTREAMS}{ROUTES}context: {{tenant: header:x-tenant}}\n"));
    assert!(outcome.draft.is_some());
    super::snapshot!("routes_unmapped", shown(&outcome));
}

#[test]
fn a_websocket_route_to_an_upstream_with_http2_is_a_warning() {
    let with = |protocol: &str| {
        let upstream = format!("upstreams: {{a: {{endpoints: [\"https://127.0.0.1:9001\"], protocol: {protocol}}}}}\n");
        let route = "routes: [{name: chat, match: {path: /chat}, upstream: a, websocket: true}]\n";
        codes(&compiled("flags: {}\n", &(upstream + route)))
    };
    assert!(with("auto").contains(&"websocket-http2"));
    assert!(!with("http1").contains(&"websocket-http2"));
}

#[test]
fn tls_for_endpoints_without_it_is_a_warning() {
    let with = |scheme: &str| {
        let upstream =
            format!("upstreams: {{a: {{endpoints: [\"{scheme}://127.0.0.1:9001\"], tls: {{verify: false}}}}}}\n");
        codes(&compiled("flags: {}\n", &(upstream + "routes: [{name: all, match: {path: /a}, upstream: a}]\n")))
    };
    assert!(with("http").contains(&"tls-over-http"));
    assert!(!with("https").contains(&"tls-over-http"));
}

#[test]
fn a_split_without_an_identity_is_a_warning() {
    let split = |rule: &str| {
        let flags = FLAGS.replace("variants: {legacy", &format!("targeting: {rule}\n    variants: {{legacy"));
        compiled(&flags, &format!("{UPSTREAMS}{ROUTES}"))
    };
    let by_key = split("{fractional: [[modern, 10], [legacy, 90]]}");
    assert_eq!(codes(&by_key), ["no-identity"], "{}", shown(&by_key));
    assert_eq!(codes(&split("{if: [{in: [{var: targetingKey}, [a, b]]}, modern, null]}")), ["no-identity"]);
    assert_eq!(codes(&split("{fractional: [{var: header.x-user}, [modern, 10], [legacy, 90]]}")), [""; 0]);
}

#[test]
fn a_broken_flag_is_not_said_to_be_unknown_too() {
    let broken = FLAGS.replace("    variants: {legacy: legacy, modern: modern}\n", "");
    let outcome = compiled(&broken, &format!("{UPSTREAMS}{ROUTES}"));
    assert!(outcome.draft.is_none());
    assert!(!codes(&outcome).contains(&"unknown-flag"), "{}", shown(&outcome));
}

/// `count` flags and as many routes that use them.
fn many(count: usize) -> (String, String) {
    let mut flags = String::from("flags:\n");
    let mut routes = format!("identity: {{targeting_key: [cookie:id]}}\n{UPSTREAMS}routes:\n");
    for number in 0..count {
        flags += &format!(
            "  f{number}: {{state: ENABLED, variants: {{a: a, b: b}}, defaultVariant: a, metadata: {{owner: t}}, "
        );
        flags += "targeting: {fractional: [[a, 10], [b, 90]]}}\n";
        routes += &format!("  - {{name: r{number}, match: {{path: /r{number}}}, flag: f{number}, ");
        routes += "variants: {a: monolith, b: modern}, fallback: monolith}\n";
    }
    (flags, routes)
}

#[test]
fn a_set_that_is_suddenly_much_smaller_is_refused_unless_that_is_meant() {
    let (flags, routes) = many(8);
    let before = snapshot_of(compiled(&flags, &routes), 1);
    let against = |count: usize, accept_shrink: bool| {
        let (flags, routes) = many(count);
        let flags = FileSet::from_texts("flags", [("a.yaml", &*flags)]);
        let routes = FileSet::from_texts("routes", [("a.yaml", &*routes)]);
        compile::compile(&flags, &routes, &Options { accept_shrink, ..options() }, Some(&before))
    };
    assert_eq!(codes(&against(4, false)), [""; 0]);
    assert_eq!(codes(&against(3, false)), ["shrunk", "shrunk"]);
    assert_eq!(codes(&against(3, true)), [""; 0]);
    assert!(against(3, true).draft.is_some());
    super::snapshot!("routes_shrunk", shown(&against(3, false)));

    let three = snapshot_of(against(3, true), 2);
    let (flags, routes) = many(1);
    assert_eq!(codes(&compile_files(&[("a.yaml", &flags)], &[("a.yaml", &routes)], Some(&three))), [""; 0]);
    let plain = format!("{UPSTREAMS}routes: [{{name: a, match: {{path: /}}, upstream: monolith}}]\n");
    let outcome = compile_files(&[("a.yaml", "flags: {}\n")], &[("a.yaml", &plain)], Some(&three));
    assert_eq!(codes(&outcome), ["shrunk"], "flags vanished: {}", shown(&outcome));
}

#[test]
fn unchanged_upstreams_keep_their_identity() {
    let first = good();
    let text = format!("{UPSTREAMS}{ROUTES}");
    let again = compile_files(&[("a.yaml", FLAGS)], &[("a.yaml", &text)], Some(&first));
    let again = snapshot_of(again, 2);
    assert!(first.upstreams.iter().zip(&*again.upstreams).all(|(one, two)| Arc::ptr_eq(one, two)));

    let slower = text.replace("9002\"]", "9002\"], connect_timeout_ms: 7");
    let third = snapshot_of(compile_files(&[("a.yaml", FLAGS)], &[("a.yaml", &slower)], Some(&again)), 3);
    assert!(Arc::ptr_eq(&first.upstreams[0], &third.upstreams[0]));
    assert!(!Arc::ptr_eq(&first.upstreams[1], &third.upstreams[1]));
    assert!(Arc::ptr_eq(&first.upstreams[1].endpoints[0], &third.upstreams[1].endpoints[0]));
}

#[test]
fn names_keep_their_addresses_until_they_resolve_anew() {
    let named = |more: &str| {
        let text =
            format!("{UPSTREAMS}{ROUTES}").replace("http://127.0.0.1:9002\"]", &format!("orders.internal:80\"]{more}"));
        text.replace("modern: {endpoints: [\"http://", "modern: {endpoints: [\"")
    };
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let first = snapshot_of(compiled(FLAGS, &named("")), 1);
    let (upstream, endpoint) = first.named_endpoints().next().unwrap();
    assert_eq!((&*upstream.name, &*endpoint.host, endpoint.port), ("modern", "orders.internal", 80));
    assert!(endpoint.addresses.is_empty());

    let resolved = |addresses: &[&str]| {
        let found = addresses.iter().map(|text| address(text)).collect();
        [(("orders.internal".into(), 80), found)].into_iter().collect()
    };
    let second = first.with_addresses(2, &resolved(&["10.0.0.2:80", "10.0.0.1:80", "10.0.0.1:80"])).unwrap();
    assert_eq!(*second.upstreams[1].endpoints[0].addresses, [address("10.0.0.1:80"), address("10.0.0.2:80")]);
    assert!(Arc::ptr_eq(&first.upstreams[0], &second.upstreams[0]));
    assert!(Arc::ptr_eq(&first.rules, &second.rules));
    assert!(second.with_addresses(3, &resolved(&["10.0.0.1:80", "10.0.0.2:80"])).is_none(), "rotated only");
    assert!(second.with_addresses(3, &resolved(&[])).is_none(), "a name that is gone keeps its addresses");

    let reloaded = compile_files(&[("a.yaml", FLAGS)], &[("a.yaml", &named(", slo_p99_ms: 9"))], Some(&second));
    let reloaded = snapshot_of(reloaded, 3);
    assert!(Arc::ptr_eq(&second.upstreams[1].endpoints[0], &reloaded.upstreams[1].endpoints[0]));
    assert_eq!(reloaded.upstreams[1].slo_p99_ms, 9);
}

#[test]
fn public_addresses_of_names_go_when_they_are_no_longer_allowed() {
    let named = |more: &str| {
        format!(
            "upstreams:\n  a: {{endpoints: [\"a.example:80\"]{more}}}\nroutes: [{{name: a, match: {{path: /}}, upstream: a}}]\n"
        )
    };
    let flags = [("a.yaml", "flags: {}\n")];
    let first = snapshot_of(compile_files(&flags, &[("a.yaml", &named(", allow_public: true"))], None), 1);
    let addresses: Vec<SocketAddr> = vec!["93.184.216.34:80".parse().unwrap(), "10.0.0.1:80".parse().unwrap()];
    let found = [(("a.example".into(), 80), addresses)].into_iter().collect();
    let second = first.with_addresses(2, &found).unwrap();
    let third = snapshot_of(compile_files(&flags, &[("a.yaml", &named(""))], Some(&second)), 3);
    assert_eq!(*third.upstreams[0].endpoints[0].addresses, ["10.0.0.1:80".parse().unwrap()]);
}

#[test]
fn own_listeners_are_found_in_all_their_spellings() {
    let own = |address: &str, listener: &str| {
        compile::is_own_listener(address.parse().unwrap(), &[listener.parse().unwrap()])
    };
    for (address, listener) in [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("127.0.0.1:80", "0.0.0.0:80"),
        ("127.0.0.2:80", "0.0.0.0:80"),
        ("[::1]:80", "[::]:80"),
        ("127.0.0.1:80", "[::]:80"),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("10.0.0.5:80", "10.0.0.5:80"),
    ] {
        assert!(own(address, listener), "{address} {listener}");
    }
    for (address, listener) in
        [("127.0.0.1:81", "127.0.0.1:80"), ("10.0.0.5:80", "127.0.0.1:80"), ("10.0.0.5:80", "0.0.0.0:80")]
    {
        assert!(!own(address, listener), "{address} {listener}");
    }
}

#[test]
fn endpoints_are_read_in_all_their_spellings() {
    let text = "upstreams:\n  a: {endpoints: [\"HTTP://Orders.Internal\", \"http://10.0.0.1:81/\", \"[fd00::1]:82\", \"a_b-c.d.:83\"]}\n\
                routes: [{name: a, match: {path: /}, upstream: a}]\n";
    let snapshot = snapshot_of(compiled("flags: {}\n", text), 1);
    let endpoints: Vec<_> = snapshot.upstreams[0]
        .endpoints
        .iter()
        .map(|endpoint| (&*endpoint.authority, &*endpoint.host, endpoint.port, endpoint.addresses.len()))
        .collect();
    assert_eq!(
        endpoints,
        [
            ("orders.internal:80", "orders.internal", 80, 0),
            ("10.0.0.1:81", "10.0.0.1", 81, 1),
            ("[fd00::1]:82", "fd00::1", 82, 1),
            ("a_b-c.d.:83", "a_b-c.d.", 83, 0),
        ]
    );
}

#[test]
fn the_shipped_routes_take_what_their_comments_say() {
    let flags =
        [("a.yaml", include_str!("../../flags/orders.yaml")), ("b.yaml", include_str!("../../flags/search.yaml"))];
    let snapshot = snapshot_of(compile_files(&flags, &[("a.yaml", include_str!("../../routes/shop.yaml"))], None), 1);
    let name = |path| &*find(&snapshot, path).name;
    assert_eq!(
        ["/", "/a/b", "/api/orders/7", "/api/orders/7/lines", "/api/orders", "/search", "/search/x"].map(name),
        ["rest", "rest", "orders", "orders", "orders", "search", "rest"]
    );
}

#[test]
fn half_written_files_are_no_crash_and_pass_only_between_complete_entries() {
    let (flags, routes) = (include_str!("../../flags/orders.yaml"), include_str!("../../routes/shop.yaml"));
    let search = include_str!("../../flags/search.yaml");
    let whole = compile_files(&[("a.yaml", flags), ("b.yaml", search)], &[("a.yaml", routes)], None);
    let before = snapshot_of(whole, 1);
    for end in (0..flags.len()).filter(|end| flags.is_char_boundary(*end)) {
        let cut = compile_files(&[("a.yaml", &flags[..end]), ("b.yaml", search)], &[("a.yaml", routes)], Some(&before));
        // A flag is one once its variants are whole; whatever follows is optional.
        assert!(cut.draft.is_none() || flags[..end].contains("complete: complete}"), "{}", &flags[..end]);
        assert!(shown(&cut).len() < 100_000);
    }
    for end in (0..routes.len()).filter(|end| routes.is_char_boundary(*end)) {
        let cut = compile_files(&[("a.yaml", flags), ("b.yaml", search)], &[("a.yaml", &routes[..end])], Some(&before));
        let inside = routes[..end].matches(['{', '[']).count() != routes[..end].matches(['}', ']']).count();
        assert!(cut.draft.is_none() || !inside, "{}", &routes[..end]);
        assert!(cut.draft.is_none() || routes[..end].contains("name: orders"), "{}", &routes[..end]);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, ..Default::default() })]

    /// Whatever becomes of a file, there is a report or a snapshot, never both or neither, and it can be shown.
    #[test]
    fn damaged_files_are_refused_or_compiled_and_never_a_crash(
        edits in proptest::collection::vec((0..2_000_usize, 0..30_usize, "[\\PC\n\t{}\\[\\]:,\"#&*-]{0,8}"), 1..4),
        in_routes: bool,
    ) {
        let (flags, routes) = (include_str!("../../flags/orders.yaml"), include_str!("../../routes/shop.yaml"));
        let mut text: Vec<char> = (if in_routes { routes } else { flags }).chars().collect();
        for (at, length, more) in edits {
            let start = at.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, more.chars());
        }
        let text: String = text.into_iter().collect();
        let (flags, routes) = if in_routes { (flags, &*text) } else { (&*text, routes) };
        let outcome = compiled(flags, routes);
        proptest::prop_assert_eq!(outcome.draft.is_none(), outcome.report.has_errors());
        for format in [Format::Text { colour: false }, Format::Json, Format::Github] {
            outcome.report.render(format);
        }
    }
}

#[test]
fn twenty_thousand_routes_and_flags_compile_in_linear_time() {
    let (flags, routes) = many(20_000);
    let split = |text: &str, head: &str| -> Vec<String> {
        // A file holds at most 8 MiB, so large sets are spread over files anyway.
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("  f") || line.starts_with("  -")).collect();
        lines.chunks(5_000).map(|part| format!("{head}{}\n", part.join("\n"))).collect()
    };
    let (flag_files, mut route_files) = (split(&flags, "flags:\n"), split(&routes, "routes:\n"));
    route_files.push(format!("{UPSTREAMS}identity: {{targeting_key: [cookie:id]}}\n"));
    let named = |texts: Vec<String>| -> Vec<(String, String)> {
        texts.into_iter().enumerate().map(|(number, text)| (format!("{number}.yaml"), text)).collect()
    };
    let (flag_files, route_files) = (named(flag_files), named(route_files));
    let set = |dir: &str, files: &[(String, String)]| {
        FileSet::from_texts(dir, files.iter().map(|(name, text)| (&**name, &**text)))
    };
    let begun = std::time::Instant::now();
    let outcome = compile::compile(&set("flags", &flag_files), &set("routes", &route_files), &options(), None);
    assert_eq!(codes(&outcome), [""; 0]);
    assert_eq!(outcome.draft.unwrap().rules.routes.payloads().count(), 20_000);
    // A quadratic step over 20,000 of each would take minutes in a debug build.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    println!("20,000 flags and routes: {:?}", begun.elapsed());

    // All names wrong: as many findings, still linear.
    let wrong: Vec<_> =
        route_files.iter().map(|(name, text)| (name.clone(), text.replace("flag: f", "flag: g"))).collect();
    let begun = std::time::Instant::now();
    let outcome = compile::compile(&set("flags", &flag_files), &set("routes", &wrong), &options(), None);
    assert_eq!(outcome.report.count(Severity::Error), 20_000);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

/// A regression: whoever had no targeting key wrote to one side alone, unseen, while everybody else was copied.
#[test]
fn writes_without_a_targeting_key_that_go_elsewhere_are_noted() {
    let noted = |pairs: &str, default: &str, identity: &str| {
        let flags =
            FLAGS.replace("defaultVariant: live", &format!("defaultVariant: {default}\n    targeting: {pairs}"));
        let routes = format!("identity: {{targeting_key: [{identity}]}}\n{UPSTREAMS}{ROUTES}");
        let outcome = compiled(&flags, &routes);
        assert!(outcome.draft.is_some(), "{}", shown(&outcome));
        outcome.report.diagnostics.iter().any(|found| found.code == "keyless-writes")
    };
    let (off, header) = ("\"off\"", "header:x-user-id");
    assert!(noted("{fractional: [[live, 100], [dualwrite, 0]]}", off, header));
    assert!(noted("{fractional: [[dualwrite, 100], [\"off\", 0]]}", off, header));
    assert!(noted("{fractional: [[complete, 10], [live, 90]]}", off, header));
    assert!(noted("{if: [{\"==\": [{var: path}, /x]}, live, {fractional: [[live, 100]]}]}", off, header));
    // Somebody is to have what the default variant does.
    assert!(!noted("{fractional: [[dualwrite, 10], [\"off\", 90]]}", off, header));
    // The default variant reaches what the others reach.
    assert!(!noted("{fractional: [[live, 100]]}", "dualwrite", header));
    // Everybody has a key.
    assert!(!noted("{fractional: [[live, 100]]}", off, "header:x-user-id, issue:banyan_id"));
    assert!(!noted("{fractional: [[live, 100]]}", off, "header:x-user-id, client.ip"));
    // No split, or one by something else.
    assert!(!noted("{if: [{\"==\": [{var: path}, /x]}, live, dualwrite]}", off, header));
    assert!(!noted("{fractional: [{var: path}, [live, 100]]}", off, header));

    let flags =
        FLAGS.replace("defaultVariant: live", "defaultVariant: \"off\"\n    targeting: {fractional: [[live, 100]]}");
    let routes = format!("identity: {{targeting_key: [header:x-user-id]}}\n{UPSTREAMS}{ROUTES}");
    super::snapshot!("check_keyless_writes", shown(&compiled(&flags, &routes)));
}
