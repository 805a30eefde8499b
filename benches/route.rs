//! The cost of matching a route and of a whole decision, with 10, 1,000 and 100,000 routes.
//!
//! Prints nanoseconds a call and the ratio to the smallest table. `--test` runs everything once, as CI does.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use banyan::compile::{Options, compile};
use banyan::config::FileSet;
use banyan::decision::{Head, decide};
use banyan::route::{HostPattern, Matcher, PathTemplate, Request, RouteTable, ValuePattern};
use banyan::snapshot::Snapshot;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

const SIZES: [usize; 3] = [10, 1_000, 100_000];
/// Requests over which a measurement goes round, so that one hot cache line does not stand for a table.
const REQUESTS: usize = 1_000;

/// Routes in one file; 100,000 in one would pass the limit of a file's size.
const ROUTES_A_FILE: usize = 5_000;

/// What is measured: how often, and whether the figures mean anything.
struct Plan {
    rounds: usize,
    time: Duration,
}

struct Asked {
    host: String,
    path: String,
    headers: HeaderMap,
}

/// A way to tell routes apart, by the number of the route.
type Kind = (&'static str, fn(usize) -> (Matcher, Asked));

const KINDS: [Kind; 5] = [
    ("by a literal", |index| (path(&format!("/api/r{index}/{{*rest}}")), ask("h", &format!("/api/r{index}/17/items")))),
    ("below a parameter", |index| {
        (path(&format!("/t/{{tenant}}/r{index}/{{id}}")), ask("h", &format!("/t/acme/r{index}/17")))
    }),
    ("by host", |index| {
        let host = HostPattern::Exact(format!("h{index}.test").into());
        (Matcher { host, ..path("/{*rest}") }, ask(&format!("h{index}.test"), "/api/orders/17"))
    }),
    ("by a header's value", |index| {
        let value = format!("t{index}");
        let headers = vec![(HeaderName::from_static("x-tenant"), ValuePattern::Exact(value.as_str().into()))];
        let mut asked = ask("h", "/api/orders/17");
        asked.headers.insert("x-tenant", HeaderValue::from_str(&value).expect("letters and digits"));
        (Matcher { headers, ..path("/api/{*rest}") }, asked)
    }),
    ("no route, the last looked for", |index| {
        (path(&format!("/api/r{index}/x")), ask("h", &format!("/api/r{index}/y")))
    }),
];

fn path(template: &str) -> Matcher {
    let path = PathTemplate::parse(template).expect("a template of this bench");
    Matcher { host: HostPattern::Any, path, methods: vec![], headers: vec![], query: vec![] }
}

fn ask(host: &str, path: &str) -> Asked {
    Asked { host: host.to_owned(), path: path.to_owned(), headers: HeaderMap::new() }
}

impl Asked {
    fn request(&self) -> Request<'_> {
        Request { host: &self.host, path: &self.path, query: None, method: &Method::GET, headers: &self.headers }
    }
}

/// The least nanoseconds a call took over the rounds; `run` goes once over all requests.
fn measure(plan: &Plan, mut run: impl FnMut() -> usize) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..plan.rounds {
        let (started, mut calls) = (Instant::now(), 0);
        loop {
            calls += run();
            if started.elapsed() >= plan.time {
                break;
            }
        }
        least = least.min(started.elapsed().as_secs_f64() * 1e9 / calls as f64);
    }
    least
}

/// Spreads the requests over the whole table.
fn spread(size: usize) -> impl Iterator<Item = usize> {
    (0..REQUESTS.min(size)).map(move |index| index * size / REQUESTS.min(size))
}

fn matching(plan: &Plan) {
    println!("{:<32}{:>10}{:>12}{:>8}", "find, routes told apart", "routes", "ns", "ratio");
    for (name, make) in KINDS {
        let mut first = None;
        for size in SIZES {
            let routes = (0..size).map(|index| (make(index).0, index)).collect();
            let table = RouteTable::build(routes).expect("routes that differ");
            let asked: Vec<Asked> = spread(size).map(|index| make(index).1).collect();
            let took = measure(plan, || {
                for asked in &asked {
                    let _ = black_box(table.find(&asked.request()));
                }
                asked.len()
            });
            row(name, size, took, &mut first);
        }
    }
}

fn readings(plan: &Plan) {
    let (matcher, _) = KINDS[0].1(1);
    let table = RouteTable::build(vec![(matcher, 0), (path("/{*rest}"), 1)]).expect("routes that differ");
    println!("\n{:<42}{:>12}{:>8}", "find, one path", "ns", "ratio");
    let mut first = None;
    let longest = format!("/api/r1/{}", "%2561%2e;".repeat(8 * 1024 / 9));
    let paths = [
        ("/api/r1/17/items", "/api/r1/17/items"),
        ("/api/r1/caf%C3%A9/items", "/api/r1/caf%C3%A9/items"),
        ("/api/r1/17;v=1/it%20ems", "/api/r1/17;v=1/it%20ems"),
        ("/x/..%2f..;/%252e/\\api", "/x/..%2f..;/%252e/\\api"),
        ("8 KiB of %2561%2e;", &longest),
    ];
    for (name, path) in paths {
        let asked = ask("h", path);
        let took = measure(plan, || {
            for _ in 0..REQUESTS {
                let _ = black_box(table.find(&asked.request()));
            }
            REQUESTS
        });
        let base = *first.get_or_insert(took);
        println!("{name:<42}{took:>12.1}{:>8.2}", took / base);
    }
}

/// A set of routes, each split by a flag, as files say it.
fn snapshot(size: usize) -> Snapshot {
    let flags = "flags:\n  split:\n    state: ENABLED\n    variants: {legacy: legacy, modern: modern}\n    defaultVariant: legacy\n    targeting: {if: [{in: [{var: header.x-tenant}, [acme, umbrella]]}, modern, {fractional: [[modern, 10], [legacy, 90]]}]}\n";
    let upstreams = "identity: {targeting_key: [\"header:x-user-id\", \"cookie:session\"]}\nupstreams:\n  a: {endpoints: [\"http://127.0.0.1:9001\"]}\n  b: {endpoints: [\"http://127.0.0.1:9002\"]}\n";
    let route = |index: usize| {
        format!(
            "  - {{name: r{index}, match: {{path: \"/api/r{index}/{{*rest}}\"}}, flag: split, variants: {{legacy: a, modern: b}}, fallback: a}}\n"
        )
    };
    let mut files = vec![("upstreams.yaml".to_owned(), upstreams.to_owned())];
    for start in (0..size).step_by(ROUTES_A_FILE) {
        let routes: String = (start..size.min(start + ROUTES_A_FILE)).map(route).collect();
        files.push((format!("r{start}.yaml"), format!("routes:\n{routes}")));
    }
    let flags = FileSet::from_texts("flags", [("flags.yaml", flags)]);
    let routes = FileSet::from_texts("routes", files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let outcome = compile(&flags, &routes, &Options::default(), None);
    outcome.draft.expect("files without errors").into_snapshot(1)
}

fn deciding(plan: &Plan, sizes: &[usize]) {
    println!("\n{:<32}{:>10}{:>12}{:>8}", "decide, a rule and a split", "routes", "ns", "ratio");
    for (name, source) in [("key in a header", "x-user-id"), ("key in a cookie", "cookie")] {
        let mut first = None;
        for &size in sizes {
            let snapshot = snapshot(size);
            let asked: Vec<Asked> = spread(size)
                .map(|index| {
                    let mut asked = ask("shop.example", &format!("/api/r{index}/17/items"));
                    let text = if source == "cookie" { "theme=dark; session=" } else { "" };
                    let value = HeaderValue::from_str(&format!("{text}user-{index}")).expect("letters and digits");
                    for (name, value) in [("accept", "*/*"), ("user-agent", "bench"), ("accept-encoding", "gzip")] {
                        asked.headers.insert(name, HeaderValue::from_static(value));
                    }
                    asked.headers.insert(source, value);
                    asked
                })
                .collect();
            let took = measure(plan, || {
                for asked in &asked {
                    let _ = black_box(decide(&snapshot, &head(asked)));
                }
                asked.len()
            });
            row(name, size, took, &mut first);
        }
    }
}

fn head(asked: &Asked) -> Head<'_> {
    Head {
        method: &Method::GET,
        host: &asked.host,
        path: &asked.path,
        query: None,
        headers: &asked.headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secure: false,
        certificate: None,
        now_unix_s: 1_800_000_000,
        fresh_key: String::new,
    }
}

fn row(name: &str, size: usize, took: f64, first: &mut Option<f64>) {
    let base = *first.get_or_insert(took);
    println!("{name:<32}{size:>10}{took:>12.1}{:>8.2}", took / base);
}

fn main() {
    let once = std::env::args().any(|argument| argument == "--test");
    let plan = if once {
        Plan { rounds: 1, time: Duration::ZERO }
    } else {
        Plan { rounds: 7, time: Duration::from_millis(60) }
    };
    matching(&plan);
    readings(&plan);
    deciding(&plan, if once { &SIZES[..2] } else { &SIZES });
}
