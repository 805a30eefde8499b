//! Owns the copy of a write while its answer is waited for: the answer goes on when the copy is as durable as the route asks.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::fault::Fault;
use crate::forward::{Exchanged, ForwardError};
use crate::mirror::{Copying, NotKept};

/// The copy of a write, while its answer is waited for.
pub(super) struct Copied {
    copying: Rc<Copying>,
    /// The answer has been noted.
    noted: bool,
    kept: Result<(), NotKept>,
}

impl Copied {
    pub(super) fn new(copying: Rc<Copying>) -> Self {
        Self { copying, noted: false, kept: Ok(()) }
    }

    /// Whether the client may have the answer.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_ok()
    }

    /// Notes what came of the write, and whether its answer may go to the client.
    pub(super) fn poll(
        &mut self,
        come: &Result<Exchanged, ForwardError>,
        fault: Option<Fault>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let head = match come {
            Ok(exchanged) => &exchanged.response,
            Err(error) => {
                self.copying.failed(fault.unwrap_or(error.fault));
                return Poll::Ready(());
            }
        };
        if !self.noted {
            self.kept = ready!(self.copying.poll_kept(cx));
            self.noted = true;
            self.copying.answered(head.status().as_u16(), head.headers());
        }
        self.copying.poll_ended(cx)
    }
}
