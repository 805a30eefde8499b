//! Owns the promise that a caller holds until its record or side file is as durable as asked.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::error::AppendError;
use super::record::Lsn;

/// What the committer answers through.
pub(super) type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

/// Resolves when the record is as durable as asked, on any runtime; dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "without waiting nobody knows whether the record was written"]
pub struct Ticket<T = Lsn>(oneshot::Receiver<Result<T, AppendError>>);

impl<T> Ticket<T> {
    pub(super) fn new() -> (Reply<T>, Self) {
        let (reply, receiver) = oneshot::channel();
        (reply, Self(receiver))
    }

    /// What it came to; `None` as long as that is not known. Not to be asked again after an answer.
    pub fn answer(&mut self) -> Option<Result<T, AppendError>> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(AppendError::Closed)),
        }
    }

    /// Blocks the thread until it resolves; never on a thread that runs a runtime.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<T, AppendError> {
        self.0.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(AppendError::Closed)))
    }
}
