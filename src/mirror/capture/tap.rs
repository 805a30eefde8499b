//! Owns the body of a write on its way up, as far as its copy is concerned: it is kept while it streams, within limits.

use bytes::Bytes;

use super::{Copying, State};
use crate::fault::Fault;
use crate::forward::Tap;
use crate::snapshot::{CopyMode, JournalOverflow, TooLarge};

impl Tap for Copying {
    fn data(&self, data: &Bytes) -> Result<(), Fault> {
        let over = {
            let State::Capturing { parts, bytes, room, .. } = &mut *self.state.borrow_mut() else { return Ok(()) };
            *bytes += data.len() as u64;
            if *bytes > self.rules.body_bytes_max {
                Some("too_large")
            } else if !room.take(data.len()) {
                Some("budget")
            } else {
                parts.push(data.clone());
                None
            }
        };
        match over {
            // Nothing of it may be held back from the primary: what is not kept is not copied.
            Some("too_large") if self.rules.too_large == TooLarge::Refuse || self.rules.mode == CopyMode::Strict => {
                Err(Fault::BodyTooLarge)
            }
            Some(_) if self.rules.overflow == JournalOverflow::FailClosed && over == Some("budget") => {
                Err(Fault::NotKept)
            }
            Some(reason) => {
                self.give_up(reason);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn end(&self) {
        let state = self.state.replace(State::Without(Ok(())));
        let next = match state {
            State::Capturing { draft, parts, bytes, room: _ } => self.write(draft, parts, bytes),
            other => other,
        };
        self.state.replace(next);
    }
}
