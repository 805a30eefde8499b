//! Owns the question what the router would do with a request, from its body to the answer. Nothing is sent or changed by it.

use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;

use super::query::Query;
use super::{Api, Problem, body};
use crate::control::Asking;
use crate::control::answer::{self, Answer};

impl Api {
    /// Explains a request by the snapshot in force.
    pub(super) async fn explain(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Problem> {
        let (head, body) = request.into_parts();
        Query::read(head.uri.query(), &[])?;
        let body = body::read(&head.headers, body).await?;
        let asking: Asking = serde_json::from_slice(&body)
            .map_err(|error| Problem::malformed(format!("the body is no question: {error}")))?;
        let api = Arc::clone(&self);
        // A path may fit thousands of routes, each of which is told of.
        let answered = self.reads.run(move || api.reporter.explain(&asking)).await;
        let answered = answered.unwrap_or_else(|| Err("the request could not be explained".to_owned()));
        answered.map(|answer| answer::json_text(answer.to_json())).map_err(Problem::unfit)
    }
}
