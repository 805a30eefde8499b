//! Owns `/api/v1/events`: a word at each publication, override and verdict on files; it never says what has changed.

use http::StatusCode;
use serde_json::json;

use super::{Api, Problem};
use crate::control::answer::Answer;
use crate::control::streams::Gone;

impl Api {
    /// Opens a stream; the first event tells of what is in force.
    pub(super) fn events(&self) -> Result<Answer, Problem> {
        let mut status = self.status.clone();
        let stream = self.streams.open(|feed| async move {
            loop {
                let now = *status.borrow_and_update();
                let id = format!("{}-{}", now.generation, now.attempts);
                let last = now.last.map(|last| last.as_str());
                let data = json!({"generation": now.generation, "attempts": now.attempts, "last": last});
                feed.event(&id, "change", &data).await?;
                status.changed().await.map_err(|_| Gone)?;
            }
        });
        let detail = "there are as many streams of events as may be; poll /api/v1/status meanwhile";
        stream.ok_or_else(|| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", detail))
    }
}
