//! OpenFeature's own clients ask components' questions: each gets what the router decided for the same request.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use open_feature::{EvaluationContext, OpenFeature};
use open_feature_ofrep::{OfrepOptions, OfrepProvider};
use serde_json::{Value, json};

use super::{Judge, node, python};
use crate::support::router::Setup;
use crate::support::{Origin, Router};

const FLAGS: &str = r#"
flags:
  split: {state: ENABLED, variants: {modern: new-search, legacy: old-search}, defaultVariant: legacy, targeting: {fractional: [[modern, 50], [legacy, 50]]}, metadata: {owner: ada}}
  tenants: {state: ENABLED, variants: {modern: modern, legacy: legacy}, defaultVariant: legacy, targeting: {if: [{in: [{var: tenant}, [acme, umbrella]]}, modern]}}
  headers: {state: ENABLED, variants: {modern: modern, legacy: legacy}, defaultVariant: null, targeting: {if: [{"==": [{var: header.x-tenant}, acme]}, modern]}}
  dark: {state: DISABLED, variants: {modern: modern, legacy: legacy}, defaultVariant: modern}
  broken: {state: ENABLED, variants: {modern: modern, legacy: legacy}, defaultVariant: modern, targeting: {cat: [un, {var: tenant}]}}
  truth: {state: ENABLED, variants: {"on": true, "off": false}, defaultVariant: "on"}
  count: {state: ENABLED, variants: {many: 1000}, defaultVariant: many}
  shape: {state: ENABLED, variants: {one: {a: [1, 2]}}, defaultVariant: one}
"#;

const ROUTED: [&str; 5] = ["split", "tenants", "headers", "dark", "broken"];

fn start() -> (Router, Origin) {
    let origin = Origin::ok();
    let head = format!(
        "identity: {{targeting_key: [\"header:x-user\"]}}\ncontext: {{tenant: \"header:x-tenant\"}}\nupstreams: {{one: {{endpoints: [\"http://{}\"]}}}}\nroutes:\n",
        origin.address
    );
    let route = |flag| {
        format!(
            "  - {{name: {flag}, match: {{path: /{flag}}}, flag: {flag}, variants: {{modern: one, legacy: one}}, fallback: one}}\n"
        )
    };
    let routes: String = ROUTED.into_iter().map(route).collect();
    (Setup::routes(head + &routes).flags(FLAGS).start(), origin)
}

/// A question with what the router decided: the variant and the reason.
struct Question {
    flag: &'static str,
    context: Value,
    variant: Option<String>,
    reason: String,
}

/// Sends requests of many users through the router, and gives what it told the upstream of each.
fn routed(router: &Router, origin: &Origin) -> Vec<Question> {
    let mut questions = Vec::new();
    for user in 0..40 {
        let tenant = ["acme", "umbrella", "other"][user % 3];
        for flag in ROUTED {
            let request =
                format!("GET /{flag} HTTP/1.1\r\nhost: a.example\r\nx-user: user-{user}\r\nx-tenant: {tenant}\r\n\r\n");
            assert_eq!(router.exchange(request).status(), 200);
            let context = json!({"targetingKey": format!("user-{user}"), "tenant": tenant, "header.x-tenant": tenant});
            questions.push(Question { flag, context, variant: None, reason: String::new() });
        }
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), questions.len());
    for (question, request) in questions.iter_mut().zip(requests) {
        let decision = request.field("banyan-decision");
        let member = |name: &str| {
            let (_, after) = decision.split_once(&format!("{name}=\""))?;
            after.split_once('"').map(|(value, _)| value.to_owned())
        };
        assert_eq!(member("flag").as_deref(), Some(question.flag), "{decision}");
        question.variant = member("variant");
        question.reason = member("reason").unwrap_or_default();
    }
    questions
}

/// The value that a client must come to: the variant's, or its own default.
fn value(question: &Question) -> &str {
    match (question.flag, question.variant.as_deref()) {
        (_, None) => "code-default",
        ("split", Some("modern")) => "new-search",
        ("split", Some(_)) => "old-search",
        (_, Some(variant)) => variant,
    }
}

/// A client that answers a line of JSON with a line of JSON.
struct Client {
    _judge: Judge,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Client {
    fn start(mut command: Command, router: &Router) -> Self {
        command.arg(format!("http://{}", router.admin)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut judge = Judge::start(command);
        let to = judge.0.stdin.take().expect("stdin is piped");
        let from = BufReader::new(judge.0.stdout.take().expect("stdout is piped"));
        Self { _judge: judge, to, from }
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.to, "{question}").expect("the client reads");
        read(&mut self.from)
    }
}

fn read(from: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    from.read_line(&mut line).expect("the client answers");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn judged_by(command: Command) {
    let (router, origin) = start();
    let mut client = Client::start(command, &router);
    for question in routed(&router, &origin) {
        let answer = client.ask(&json!({"flag": question.flag, "context": question.context}));
        assert_eq!(answer["value"], value(&question), "{} {}: {answer}", question.flag, question.context);
        if question.variant.is_some() {
            assert_eq!(answer["variant"].as_str(), question.variant.as_deref());
            assert_eq!(answer["reason"], question.reason);
            assert!(answer["error"].is_null(), "{answer}");
        }
        if question.flag == "split" {
            assert_eq!(
                (&answer["metadata"]["owner"], &answer["metadata"]["banyan.hashing"]),
                (&json!("ada"), &json!("v3"))
            );
        }
    }
    for (flag, kind, value) in [
        ("truth", "boolean", json!(true)),
        ("count", "integer", json!(1000)),
        ("shape", "object", json!({"a": [1, 2]})),
    ] {
        assert_eq!(client.ask(&json!({"flag": flag, "context": {}, "type": kind}))["value"], value, "{flag}");
    }
    let missing = client.ask(&json!({"flag": "missing", "context": {}}));
    assert_eq!((&missing["value"], &missing["error"]), (&json!("code-default"), &json!("FLAG_NOT_FOUND")));
    let mistyped = client.ask(&json!({"flag": "truth", "context": {}}));
    assert_eq!((&mistyped["value"], &mistyped["error"]), (&json!("code-default"), &json!("TYPE_MISMATCH")));
}

#[test]
fn the_python_client_gets_the_routers_answers() {
    judged_by(python("ofrep.py"));
}

#[test]
fn the_javascript_client_gets_the_routers_answers() {
    judged_by(node("ofrep.js"));
}

#[test]
fn the_rust_client_gets_the_routers_answers() {
    let (router, origin) = start();
    let questions = routed(&router, &origin);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = OfrepOptions { base_url: format!("http://{}", router.admin), ..OfrepOptions::default() };
        let provider = OfrepProvider::new(options).await.unwrap();
        OpenFeature::singleton_mut().await.set_named_provider("ofrep", provider).await;
        let client = OpenFeature::singleton().await.create_named_client("ofrep");
        for question in questions {
            let text = |name: &str| question.context[name].as_str().unwrap().to_owned();
            let context = EvaluationContext::default()
                .with_targeting_key(text("targetingKey"))
                .with_custom_field("tenant", text("tenant"))
                .with_custom_field("header.x-tenant", text("header.x-tenant"));
            let answer = client.get_string_details(question.flag, Some(&context), None).await;
            let given = answer.as_ref().ok().map_or("code-default", |details| &details.value);
            assert_eq!(given, value(&question), "{} {}: {answer:?}", question.flag, question.context);
            let variant = answer.ok().and_then(|details| details.variant);
            assert_eq!(variant, question.variant);
        }
        assert!(client.get_bool_value("truth", None, None).await.unwrap());
        assert_eq!(client.get_int_value("count", None, None).await.unwrap(), 1000);
    });
}

#[test]
fn the_javascript_client_for_browsers_follows_events_without_polling() {
    let (router, _origin) = start();
    let mut command = node("ofrep_web.js");
    command.arg(format!("http://{}", router.admin)).args(["tenants", "user-1"]).stdout(Stdio::piped());
    let mut judge = Judge::start(command);
    let mut from = BufReader::new(judge.0.stdout.take().expect("stdout is piped"));
    let mut follow = |value: &str, reason: &str| {
        let status = read(&mut from);
        assert_eq!(read(&mut from), json!({"value": value, "reason": reason}));
        status["status"].as_array().unwrap().clone()
    };
    assert_eq!(follow("legacy", "DEFAULT"), [200]);
    router.edit_flags(&FLAGS.replace("[acme, umbrella]]}, modern]", "[acme]]}, modern, modern]"));
    let status = follow("modern", "TARGETING_MATCH");
    assert_eq!(status.last(), Some(&json!(200)), "{status:?}");
    assert!(
        status[1..status.len() - 1].iter().all(|status| *status == 304),
        "the first event finds nothing new: {status:?}"
    );
    std::fs::write(router.directory().join("state/KILL"), "drill").unwrap();
    follow("code-default", "DISABLED");
}
