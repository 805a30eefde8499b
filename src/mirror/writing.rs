//! Owns an intent on its way to the disk, in the record alone or with a side file.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::journal::{Answer, AppendError};

/// An intent on its way to the disk.
#[derive(Debug)]
pub(super) enum Writing {
    Small(Answer),
    /// With a side file, in a task of its own, whether anybody waits or not.
    Large(JoinHandle<Result<(), AppendError>>),
}

impl Writing {
    /// Ready when it is there, as durable as was asked.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        match self {
            Self::Small(answer) => Pin::new(answer).poll(cx).map_ok(drop),
            Self::Large(task) => Pin::new(task).poll(cx).map(|done| done.unwrap_or(Err(AppendError::Closed))),
        }
    }
}
