//! Owns a write from its head and body to its receipt: what it depends on, who gives it, and that it happens once.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, IF_MATCH};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::once::{Begun, Fingerprint, Key};
use super::query::Query;
use super::routes::Write;
use super::tokens::{Caller, sha256};
use super::wishes::Wish;
use super::{Api, Problem, body};
use crate::control::answer::{self, Answer};
use crate::control::look::{self, Seen};
use crate::control::{Durable, Order, Receipt, Refusal, Source, Uncopied};

/// Names the person behind a token.
const BANYAN_WHO: HeaderName = HeaderName::from_static("banyan-who");
/// The most bytes of that name.
const WHO_BYTES_MAX: usize = 128;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The most bytes of such a key.
const KEY_BYTES_MAX: usize = 255;
/// Says that an answer is that of an earlier request with the same key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An order that came, with what it depends on.
struct Sent {
    order: Order,
    expected: Option<u64>,
    dry_run: bool,
    once: Option<(Key, Fingerprint)>,
    /// The look at the files before it, with what came of it.
    look: Option<Option<Seen>>,
}

impl Api {
    /// Reads an order, carries it out, and says what has come of it.
    pub(super) async fn write(
        self: &Arc<Self>,
        write: Write,
        flag: Option<String>,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let (head, body) = request.into_parts();
        let dry_run = Query::read(head.uri.query(), &["dry_run"])?.switch("dry_run")?;
        let key = key(&head.headers)?;
        let who = who(&head.headers, caller)?;
        let body = body::read(&head.headers, body).await?;
        let Wish { command, why, lasts } = Wish::read(write, flag.unwrap_or_default(), &body)?;
        // After the body, so that one that cannot be is refused in every generation.
        let expected = expected(&head.headers)?;
        let once = key.filter(|_| !dry_run).map(|key| {
            let line = format!("{}\n{expected:?}\n{who}\n", head.uri.path());
            ((Arc::clone(&caller.name), key), sha256(&[line.as_bytes(), &body].concat()))
        });
        let order = Order { command, who, why, lasts, source: Source::Command };
        // Before it takes one of the seats, which kills need, too.
        let look = if write.uncovers_files() && !dry_run { Some(self.operator.look_before().await) } else { None };
        let (api, sent) = (Arc::clone(self), Sent { order, expected, dry_run, once, look });
        let done = self.writes.run(move || api.carry_out(&sent)).await;
        done.unwrap_or_else(|| Err(Problem::internal("the order could not be carried out".to_owned())))
    }

    /// Runs on a thread that may wait for the disk, to its end whoever is gone.
    fn carry_out(&self, sent: &Sent) -> Result<Answer, Problem> {
        if sent.dry_run {
            return self.rehearse(sent).map(|receipt| answer::json(&receipt));
        }
        let Some((key, fingerprint)) = &sent.once else {
            return self.execute(sent).map(|receipt| answer::json(&receipt));
        };
        match self.once.begin(key, *fingerprint, Instant::now()) {
            Begun::New => {}
            Begun::Done(body) => {
                return Ok(answer::with_header(answer::json_text(body), REPLAYED, HeaderValue::from_static("true")));
            }
            Begun::Running => {
                let detail = "the same order is being carried out; ask again in a moment";
                return Err(Problem::new(StatusCode::CONFLICT, "in-progress", detail));
            }
            Begun::Different => {
                let detail = "this Idempotency-Key came with another order; make a new one for each order";
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", detail));
            }
        }
        let receipt = self.execute(sent).map(|receipt| Bytes::from(receipt.to_string()));
        self.once.end(key, receipt.as_ref().ok().cloned());
        receipt.map(answer::json_text)
    }

    fn execute(&self, sent: &Sent) -> Result<Value, Problem> {
        let receipt = self.operator.execute_at(&sent.order, sent.expected).map_err(refused)?;
        let Receipt { generation, changed, before, after, remark, uncopied, durable, entry } = receipt;
        let seen = sent.look.as_ref().map(Option::as_ref);
        let texts = uncopied.iter().map(Uncopied::text);
        let remarks: Vec<_> = seen.and_then(look::remark).into_iter().chain(remark).chain(texts).collect();
        let not_durable_because = match &durable {
            Durable::Yes => None,
            Durable::No(why) => Some(why),
        };
        Ok(json!({
            "generation": generation,
            "changed": changed,
            "before": before,
            "after": after,
            "files": seen.map(|seen| seen.map_or("unknown", |seen| seen.result.as_str())),
            "remark": (!remarks.is_empty()).then(|| remarks.join("; ")),
            "uncopied": uncopied,
            "durable": not_durable_because.is_none(),
            "not_durable_because": not_durable_because,
            "entry": entry,
            "moved": null,
            "dry_run": false,
        }))
    }

    fn rehearse(&self, sent: &Sent) -> Result<Value, Problem> {
        let rehearsal = self.operator.rehearse(&sent.order, sent.expected).map_err(refused)?;
        let moved = rehearsal.moved(&sent.order.command, now_unix_s());
        let share = f64::from(moved.moved) / f64::from(moved.sampled.max(1));
        Ok(json!({
            "generation": rehearsal.generation,
            "changed": rehearsal.changed,
            "before": rehearsal.before,
            "after": rehearsal.after,
            "files": null,
            "remark": remark(&rehearsal.uncopied),
            "uncopied": rehearsal.uncopied,
            "durable": false,
            "not_durable_because": "a dry run changes nothing",
            "entry": null,
            "moved": {"sampled": moved.sampled, "moved": moved.moved, "share": share},
            "dry_run": true,
        }))
    }
}

/// What is to be known of writes that come back uncopied.
fn remark(uncopied: &[Uncopied]) -> Option<String> {
    let texts: Vec<_> = uncopied.iter().map(Uncopied::text).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// The generation of `If-Match: "12"`; `*` and nothing at all fit any.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(IF_MATCH).filter(|value| *value != "*") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    let number =
        number.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
    // What is no generation matches none (RFC 9110 section 13.1.1).
    number.map(Some).ok_or_else(|| {
        let detail = "If-Match holds the generation in quotes, such as \"12\"; no other one can match";
        Problem::new(StatusCode::PRECONDITION_FAILED, "generation-moved", detail)
    })
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let wrong = || Problem::malformed(format!("Idempotency-Key is 1 to {KEY_BYTES_MAX} visible ASCII characters"));
    let text = value.to_str().map_err(|_| wrong())?;
    // Blanks within would make it a list to some readers and one key to others.
    let fits = (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Some(text.to_owned())) } else { Err(wrong()) }
}

/// The token's name, with the person's before it where that is given.
pub(super) fn who(headers: &HeaderMap, caller: &Caller) -> Result<String, Problem> {
    let Some(value) = headers.get(BANYAN_WHO) else { return Ok(caller.name.to_string()) };
    let wrong = || Problem::malformed(format!("Banyan-Who is a name of at most {WHO_BYTES_MAX} bytes in UTF-8"));
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| wrong())?.trim();
    if text.is_empty() || text.len() > WHO_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(wrong());
    }
    Ok(format!("{text} via {}", caller.name))
}

/// What a refusal is over HTTP.
fn refused(refusal: Refusal) -> Problem {
    let (status, code) = match &refusal {
        Refusal::UnknownFlag { .. } => (StatusCode::NOT_FOUND, "unknown-flag"),
        Refusal::UnknownVariant { .. } => (StatusCode::CONFLICT, "unknown-variant"),
        Refusal::UnknownAttribute { .. } => (StatusCode::CONFLICT, "unknown-attribute"),
        Refusal::Shares { .. } => (StatusCode::CONFLICT, "bad-shares"),
        Refusal::TooMany(_) => (StatusCode::CONFLICT, "too-many"),
        Refusal::BreakGlass => (StatusCode::CONFLICT, "break-glass"),
        Refusal::NotKept { .. } => (StatusCode::CONFLICT, "not-kept"),
        Refusal::Moved { .. } => (StatusCode::PRECONDITION_FAILED, "generation-moved"),
        Refusal::Reason(_) => (StatusCode::UNPROCESSABLE_ENTITY, "no-reason"),
        Refusal::Lasting(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad-time"),
    };
    Problem::new(status, code, refusal.to_string())
}

fn now_unix_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
