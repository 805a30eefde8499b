//! The same context gives the same answer as routing, whatever it is and whatever lies over the flags.

use std::net::{IpAddr, SocketAddr};

use banyan::control::Command;
use banyan::decision::{Head, decide};
use banyan::snapshot::Snapshot;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use super::{evaluate, evaluate_all, plane};
use crate::override_commands::Plane;

/// Flags that ask for each kind of attribute; `USER` and its like stand for what the contexts below have.
const RULES: &[(&str, &str)] = &[
    ("fixed", ""),
    ("split", "{fractional: [[modern, 50], [legacy, 30], [third, 20]]}"),
    ("split-by", "{fractional: [{var: tenant}, [modern, 50], [legacy, 50]]}"),
    (
        "split-header",
        "{fractional: [{cat: [{var: $flagd.flagKey}, {var: header.x-user}]}, [modern, 50], [legacy, 50]]}",
    ),
    ("key", "{if: [{in: [a, {var: targetingKey}]}, modern, third]}"),
    ("mapped", "{if: [{\"==\": [{var: tenant}, acme]}, modern, {var: tenant}, third]}"),
    ("unmapped", "{if: [{\"!\": [{var: customer.plan}]}, modern, third]}"),
    ("header", "{if: [{starts_with: [{var: header.X-Tenant}, a]}, modern]}"),
    ("version", "{if: [{sem_ver: [{var: header.x-version}, \">=\", 1.10.0]}, modern, legacy]}"),
    ("cookie", "{if: [{\"==\": [{var: cookie.session}, {var: query.q}]}, modern, {var: cookie.session}, third]}"),
    ("query", "{if: [{\"<\": [{var: query.q}, 5]}, modern, legacy]}"),
    ("param", "{if: [{in: [{var: param.id}, [a, acme, \"a b\"]]}, modern]}"),
    ("method", "{if: [{\"==\": [{var: method}, POST]}, modern]}"),
    ("path", "{if: [{ends_with: [{var: path}, a]}, modern]}"),
    ("host", "{if: [{\"==\": [{var: host}, a.example]}, modern]}"),
    ("route", "{if: [{\"==\": [{var: route}, route]}, modern]}"),
    ("address", "{if: [{in: [{var: client.ip}, [10.1.2.3, \"2001:db8::1\"]]}, modern]}"),
    ("computed", "{if: [{var: [{cat: [header, ., x-tenant]}]}, modern]}"),
    ("missing", "{if: [{missing: [header.x-tenant, query.q]}, modern, legacy]}"),
    ("named", "{var: tenant}"),
    ("broken", "{cat: [{var: query.q}, {var: header.x-user}]}"),
];

/// Flags besides [`RULES`], which have a rule each.
const OTHERS: &str = "  dark: {state: DISABLED, variants: {modern: modern, legacy: legacy}, defaultVariant: modern}
  open: {state: ENABLED, variants: {modern: modern, legacy: legacy}, defaultVariant: null, targeting: {if: [{var: query.q}, modern]}}
";

fn files() -> (String, String) {
    let mut flags = "flags:\n".to_owned();
    let mut routes = "identity: {targeting_key: [\"header:x-user\", \"cookie:session\", \"issue:kept\"]}\ncontext: {tenant: \"header:x-tenant\"}\nupstreams: {one: {endpoints: [\"http://127.0.0.1:9\"]}}\nroutes:\n".to_owned();
    for (name, rule) in RULES {
        let targeting = if rule.is_empty() { String::new() } else { format!(", targeting: {rule}") };
        flags += &format!(
            "  {name}: {{state: ENABLED, variants: {{modern: modern, legacy: legacy, third: third}}, defaultVariant: legacy{targeting}}}\n"
        );
    }
    for name in names() {
        let third = if RULES.iter().any(|(rule, _)| *rule == name) { ", third: one" } else { "" };
        routes += &format!(
            "  - {{name: {name}, match: {{path: \"/{name}/{{id}}\"}}, flag: {name}, variants: {{modern: one, legacy: one{third}}}, fallback: one}}\n"
        );
    }
    (flags + OTHERS, routes)
}

fn names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name).chain(["dark", "open"])
}

/// What a request has, apart from the route that it takes.
#[derive(Debug, Clone)]
struct Asked {
    user: Option<&'static str>,
    tenant: Option<&'static str>,
    version: Option<&'static str>,
    session: Option<&'static str>,
    kept: Option<String>,
    query: Option<&'static str>,
    id: &'static str,
    post: bool,
    host: &'static str,
    client: IpAddr,
    shape: Shape,
}

/// How a caller writes the names down.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Flat,
    Nested,
    /// With the targeting key and what `context:` maps under their own names, and nothing of where they came from.
    Resolved,
}

const TEXTS: [&str; 9] = ["", "a", "acme", "modern", "1.9.0", "1.10.1", "4", "a b", "é"];

fn asked() -> impl Strategy<Value = Asked> {
    let text = || proptest::option::of(proptest::sample::select(&TEXTS[..]));
    let clients = ["10.1.2.3", "192.0.2.1", "::ffff:10.1.2.3", "2001:db8:0::1"].map(|client| client.parse().unwrap());
    let other = (
        proptest::sample::select(&TEXTS[1..]),
        any::<bool>(),
        proptest::sample::select(&["a.example", "b.example"][..]),
        proptest::sample::select(clients.to_vec()),
        proptest::sample::select(vec![Shape::Flat, Shape::Nested, Shape::Resolved]),
    );
    (text(), text(), text(), text(), proptest::option::of("[a-z0-9]{1,12}"), text(), other).prop_map(
        |(user, tenant, version, session, kept, query, (id, post, host, client, shape))| Asked {
            user,
            tenant,
            version,
            session,
            kept,
            query,
            id,
            post,
            host,
            client,
            shape,
        },
    )
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What an evaluation comes to: the variant, the reason, the error's code, and the override that decided.
type Outcome = (Option<String>, String, Option<String>, Option<String>);

impl Asked {
    fn path(&self, route: &str) -> String {
        format!("/{route}/{}", escaped(self.id))
    }

    fn cookies(&self) -> Vec<(&'static str, &str)> {
        let kept = self.kept.as_deref().map(|kept| ("kept", kept));
        self.session.map(|session| ("session", session)).into_iter().chain(kept).collect()
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-user", self.user), ("x-tenant", self.tenant), ("x-version", self.version)] {
            if let Some(value) = value {
                headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        for (name, value) in self.cookies() {
            headers.append("cookie", HeaderValue::from_bytes(format!("{name}={value}").as_bytes()).unwrap());
        }
        headers
    }

    /// What the router decides, and the key that it made for a visitor without one.
    fn decide(&self, snapshot: &Snapshot, route: &str) -> (Outcome, Option<String>) {
        let query = self.query.map(|value| format!("q={}", escaped(value)));
        let head = Head {
            method: if self.post { &Method::POST } else { &Method::GET },
            host: self.host,
            path: &self.path(route),
            query: query.as_deref(),
            headers: &self.headers(),
            client: self.client,
            secure: false,
            certificate: None,
            now_unix_s: 0,
            fresh_key: || "fresh".to_owned(),
        };
        let decision = decide(snapshot, &head).unwrap();
        let issued = decision.set_cookie.is_some().then(|| "fresh".to_owned());
        let flag = decision.flag.unwrap();
        let outcome = (
            flag.variant.map(str::to_owned),
            flag.reason.as_str().to_owned(),
            flag.error.map(|code| code.as_str().to_owned()),
            flag.overridden.map(|kind| kind.as_str().to_owned()),
        );
        (outcome, issued)
    }

    /// What a component behind this route sends.
    fn context(&self, route: &str, issued: Option<String>) -> Value {
        let kept = issued.or_else(|| self.kept.clone());
        let mut names: Vec<(&str, Option<String>)> = vec![
            ("method", Some(if self.post { "POST" } else { "GET" }.to_owned())),
            ("path", Some(self.path(route))),
            ("host", Some(self.host.to_owned())),
            ("route", Some(route.to_owned())),
            ("client.ip", Some(self.client.to_canonical().to_string())),
            ("header.X-Version", self.version.map(str::to_owned)),
            ("query.q", self.query.map(str::to_owned)),
            ("param.id", Some(self.id.to_owned())),
            ("header.X-User", self.user.map(str::to_owned)),
            ("header.x-tenant", self.tenant.map(str::to_owned)),
            ("cookie.session", self.session.map(str::to_owned)),
            ("cookie.kept", kept.clone()),
        ];
        if matches!(self.shape, Shape::Resolved) {
            let key = [self.user, self.session, kept.as_deref()].into_iter().flatten().find(|key| !key.is_empty());
            names.truncate(names.len() - 1);
            names.push(("targetingKey", key.map(str::to_owned)));
            names.push(("tenant", self.tenant.map(str::to_owned)));
        }
        let present = names.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Value::Object(present.fold(Map::new(), |mut context, (name, value)| {
            match (self.shape, name.split_once('.')) {
                (Shape::Nested, Some((kind, rest))) => {
                    context.entry(kind).or_insert_with(|| json!({}))[rest] = value.into();
                }
                _ => drop(context.insert(name.to_owned(), value.into())),
            }
            context
        }))
    }
}

fn outcome(answer: &Value) -> Outcome {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let reason = text(&answer["reason"]).unwrap_or_else(|| "ERROR".to_owned());
    let variant = text(&answer["variant"]);
    assert_eq!(answer.get("value").and_then(Value::as_str), variant.as_deref(), "values are named as variants here");
    (variant, reason, text(&answer["errorCode"]), text(&answer["metadata"]["banyan.override"]))
}

fn compare(address: SocketAddr, snapshot: &Snapshot, asked: &Asked) {
    for route in names() {
        let (decided, issued) = asked.decide(snapshot, route);
        let context = asked.context(route, issued);
        let (_, answer) = evaluate(address, route, &context);
        assert_eq!(outcome(&answer), decided, "{route}: {context}");
    }
    let (decided, issued) = asked.decide(snapshot, "split");
    let all = evaluate_all(address, &asked.context("split", issued));
    let flags = all["flags"].as_array().unwrap();
    let split = flags.iter().find(|flag| flag["key"] == "split").unwrap();
    assert_eq!(outcome(split), decided, "among all flags");
}

fn compare_many(plane: &Plane) {
    let (address, snapshot) = (plane.handle.address(), plane.store.snapshot());
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let compared = TestRunner::new(config).run(&asked(), |asked| {
        compare(address, &snapshot, &asked);
        Ok(())
    });
    compared.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_component_gets_the_routers_answer_for_any_context() {
    let (flags, routes) = files();
    compare_many(&plane(&flags, &routes));
}

#[test]
fn and_the_same_under_overrides() {
    let (flags, routes) = files();
    let plane = plane(&flags, &routes);
    let set = |flag: &str, share: &str| Command::Set {
        flag: flag.to_owned(),
        shares: vec![("modern".to_owned(), share.parse().unwrap())],
    };
    let pin = |flag: &str, attribute: &str| Command::Pin {
        flag: flag.to_owned(),
        attribute: attribute.to_owned(),
        value: "acme".to_owned(),
        variant: "third".to_owned(),
    };
    for command in [
        Command::Kill { flag: "mapped".to_owned() },
        Command::Kill { flag: "dark".to_owned() },
        set("split", "90%"),
        set("fixed", "40%"),
        set("host", "0.5%"),
        pin("split", "header.x-tenant"),
        pin("cookie", "tenant"),
        pin("header", "targetingKey"),
        pin("query", "query.q"),
    ] {
        plane.give(command);
    }
    compare_many(&plane);
    plane.give(Command::KillAll);
    compare_many(&plane);
}
