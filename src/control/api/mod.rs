//! Owns `/api/v1` of the admin listener: who may ask for what, and the way from a request to its answer.
//!
//! What is in force is the operator's; nothing is decided here. The paths are in `routes.rs`.

mod asking;
mod body;
mod browser;
mod events;
mod gate;
mod journal;
mod once;
mod query;
mod reads;
mod reconcile;
mod reload;
mod routes;
mod runs;
mod tokens;
mod wishes;
mod work;
mod writes;

use std::path::PathBuf;
use std::sync::Arc;

use http::header::{ALLOW, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Request, StatusCode};
use hyper::body::{Body as _, Incoming};
use serde_json::Value;
use tokio::sync::watch;

use self::once::Once;
use self::routes::{Endpoint, Found, Read};
use self::runs::Runs;
use self::work::Bench;
use super::answer::{self, Answer};
use super::ofrep::{entity_tag, matches};
use super::streams::Streams;
use super::{Operator, Reporter, Status};
use crate::mirror::Mirror;

pub(super) use browser::refuse as refuse_foreign_page;
pub(super) use gate::Gate;
pub(super) use routes::PREFIX;
pub use tokens::OWN_FILE;

pub(super) use tokens::{Caller, Role, Tokens};

/// The description of all this in OpenAPI 3.1, as it is served.
pub(super) const DOCUMENT: &str = include_str!("../../../schemas/openapi.json");

/// Reads at the same time; each takes a thread, and memory for a piece of the history.
const READS_MAX: usize = 8;
/// Orders at the same time; one that the disk holds up takes 5 s.
const WRITES_MAX: usize = 16;

/// Answers the API.
#[derive(Debug)]
pub(super) struct Api {
    operator: Operator,
    reporter: Reporter,
    status: watch::Receiver<Status>,
    state_dir: Option<PathBuf>,
    mirror: Option<Arc<Mirror>>,
    streams: Streams,
    once: Once,
    runs: Runs,
    reads: Bench,
    writes: Bench,
}

/// Why a request is not answered as it would like.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    /// What scripts may rely on.
    code: &'static str,
    detail: String,
    /// The connection cannot go on: a body was not read to its end.
    is_fatal: bool,
}

impl Api {
    pub(super) fn new(
        operator: Operator,
        reporter: Reporter,
        status: watch::Receiver<Status>,
        state_dir: Option<PathBuf>,
        mirror: Option<Arc<Mirror>>,
        streams: Streams,
    ) -> Arc<Self> {
        let (reads, writes) = (Bench::new(READS_MAX), Bench::new(WRITES_MAX));
        let (once, runs) = (Once::default(), Runs::default());
        Arc::new(Self { operator, reporter, status, state_dir, mirror, streams, once, runs, reads, writes })
    }

    /// Answers a request whose path begins with [`PREFIX`]; the gate has let the caller in as a reader.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>, gate: &Gate, caller: &Caller) -> Answer {
        let path = request.uri().path();
        let (endpoint, parameter) = match routes::find(request.method(), path) {
            Found::Endpoint(endpoint, parameter) => (endpoint, parameter),
            Found::OtherMethods(allowed) => {
                let answer =
                    answer::coded(StatusCode::METHOD_NOT_ALLOWED, "other-methods", "this path has other methods");
                return answer::with_header(answer, ALLOW, HeaderValue::from_static(allowed));
            }
            Found::Nothing => {
                return answer::coded(
                    StatusCode::NOT_FOUND,
                    "no-such-path",
                    "there is nothing here; /openapi.json lists what is",
                );
            }
        };
        if let Err(refusal) = gate.admit(request.headers(), Some(caller), endpoint.role()) {
            return *refusal;
        }
        let answered = match endpoint {
            Endpoint::Write(write) => self.write(write, parameter, caller, request).await,
            Endpoint::Reconcile => self.reconcile(caller, request).await,
            Endpoint::ReconcileListing => self.list_entities(request).await,
            Endpoint::CopyOrder(order) => {
                self.order_copies(order, parameter.unwrap_or_default(), caller, request).await
            }
            Endpoint::Reload => self.reload(caller, request).await,
            Endpoint::Explain => self.explain(request).await,
            _ if !request.body().is_end_stream() => Err(Problem::body_refused()),
            Endpoint::Events => self.events(),
            Endpoint::Read(read) => self.read_on_bench(read, parameter, request).await,
        };
        answered.unwrap_or_else(Problem::into_answer)
    }

    async fn read_on_bench(
        self: Arc<Self>,
        read: Read,
        parameter: Option<String>,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let (head, _) = request.into_parts();
        let api = Arc::clone(&self);
        let query = head.uri.query().map(str::to_owned);
        let value = self.reads.run(move || api.read(read, parameter.as_deref(), query.as_deref())).await;
        let value = value.unwrap_or_else(|| Err(Problem::internal("the answer could not be made".to_owned())))?;
        Ok(tagged(&value, &head.headers))
    }
}

/// An answer with its entity tag, or the word that the caller has it already.
fn tagged(value: &Value, headers: &http::HeaderMap) -> Answer {
    let body = value.to_string();
    // The time alone is no news.
    let tag = match value.get("now_unix_ms") {
        None => entity_tag(body.as_bytes()),
        Some(_) => {
            let mut timeless = value.clone();
            timeless["now_unix_ms"] = Value::Null;
            entity_tag(timeless.to_string().as_bytes())
        }
    };
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|values| values.to_str().ok());
    let answer = if known.into_iter().any(|values| matches(&tag, values)) {
        answer::not_modified()
    } else {
        answer::json_text(body)
    };
    match HeaderValue::try_from(tag) {
        Ok(tag) => answer::with_header(answer, ETAG, tag),
        Err(_) => answer,
    }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), is_fatal: false }
    }

    /// What was sent cannot be read.
    fn malformed(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// What was sent can be read and cannot be.
    fn unfit(detail: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unfit", detail)
    }

    fn no_reason() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no-reason", "say why; the history keeps it")
    }

    /// Something speaks against it, and nobody has said that it is meant all the same.
    fn unconfirmed(what: &str) -> Self {
        let detail = format!("{what}; if it is meant all the same, say so: `\"confirm\": true`, or --yes");
        Self::new(StatusCode::CONFLICT, "unconfirmed", detail)
    }

    fn absent(detail: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "absent", detail)
    }

    fn internal(detail: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    fn body_refused() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "no-body", "no read has a body").fatal()
    }

    fn fatal(self) -> Self {
        Self { is_fatal: true, ..self }
    }

    fn into_answer(self) -> Answer {
        let answer = answer::coded(self.status, self.code, &self.detail);
        if self.is_fatal { answer::closing(answer) } else { answer }
    }
}
