//! Owns the order to look at the files now, from its body to what came of it. The reload thread looks.

use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::query::Query;
use super::tokens::Caller;
use super::{Api, Problem, body, writes};
use crate::control::answer::{self, Answer};
use crate::control::look::Seen;

/// The body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Whether files that say much less than what is in force are meant.
    #[serde(default)]
    accept_shrink: bool,
}

impl Api {
    /// Answers when the files, as they are after the question, are judged and what is good is in force.
    pub(super) async fn reload(
        self: &Arc<Self>,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let (head, body) = request.into_parts();
        Query::read(head.uri.query(), &[])?;
        let who = writes::who(&head.headers, caller)?;
        let body = body::read(&head.headers, body).await?;
        let Wish { accept_shrink } = body::parse(&body)?;
        let seen = self.operator.reload(who, accept_shrink).await.ok_or_else(|| {
            let detail = "the files are not judged yet; /api/v1/status tells what comes of them";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-judged", detail)
        })?;
        let Seen { result, generation, findings, rendered } = seen;
        Ok(answer::json(&json!({
            "generation": generation,
            "result": result.as_str(),
            "findings": findings,
            "rendered": rendered,
        })))
    }
}
