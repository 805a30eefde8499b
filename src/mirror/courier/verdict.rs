//! Owns what a destination's answer to a copy means. It is a table; who asks does what it says.

use http::Method;

use crate::fault::{Fault, Side};

/// What came of one attempt, without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// An answer with this status.
    Status(u16),
    /// None.
    Fault(Fault),
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The destination has it.
    Done,
    /// It may have it: its state decides.
    Compare,
    /// It lets nobody in: a person must see to it.
    Pause,
    /// It will never take it: a person must see to it.
    Park,
    /// It may take it later. `own` is a failure of the destination, whatever the copy.
    Again {
        /// Whether it would have failed with any other copy, too.
        own: bool,
    },
}

/// Judges an attempt to write.
pub(super) fn of_write(came: Came, method: &Method) -> Verdict {
    match came {
        Came::Status(404 | 410) if *method == Method::DELETE => Verdict::Done,
        Came::Status(409 | 412) => Verdict::Compare,
        came => of(came),
    }
}

/// Judges an attempt to read.
pub(super) fn of(came: Came) -> Verdict {
    match came {
        Came::Status(200..=399) => Verdict::Done,
        Came::Status(401 | 403) => Verdict::Pause,
        Came::Status(429 | 502..=504) => Verdict::Again { own: true },
        Came::Status(408 | 425 | 500..) => Verdict::Again { own: false },
        Came::Status(_) => Verdict::Park,
        Came::Fault(fault) => of_fault(fault),
    }
}

fn of_fault(fault: Fault) -> Verdict {
    match fault {
        Fault::ResponseTimeout
        | Fault::ConnectionTerminated
        | Fault::ResponseMalformed
        | Fault::ResponseIncomplete
        | Fault::ResponseStalled => Verdict::Again { own: false },
        fault if fault.side() == Side::Client => Verdict::Park,
        // It did not get as far as the destination, or a limit of ours is reached.
        _ => Verdict::Again { own: true },
    }
}

impl Came {
    /// How it is called: the status or the fault.
    pub(super) fn name(self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Fault(fault) => fault.as_str().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_class() {
        let post = |status| of_write(Came::Status(status), &Method::POST);
        for status in [200, 201, 204, 303, 304] {
            assert_eq!(post(status), Verdict::Done, "{status}");
        }
        for status in [400, 404, 405, 410, 413, 415, 422, 431, 451, 499] {
            assert_eq!(post(status), Verdict::Park, "{status}");
        }
        for status in [408, 425, 500, 501, 505, 507, 599] {
            assert_eq!(post(status), Verdict::Again { own: false }, "{status}");
        }
        for status in [429, 502, 503, 504] {
            assert_eq!(post(status), Verdict::Again { own: true }, "{status}");
        }
        assert_eq!([post(409), post(412)], [Verdict::Compare; 2]);
        assert_eq!([post(401), post(403)], [Verdict::Pause; 2]);
        assert_eq!(of_write(Came::Status(404), &Method::DELETE), Verdict::Done);
        assert_eq!(of_write(Came::Status(410), &Method::DELETE), Verdict::Done);
    }

    #[test]
    fn every_fault_has_its_class() {
        for fault in Fault::ALL {
            let verdict = of(Came::Fault(fault));
            assert_eq!(verdict == Verdict::Park, fault.side() == Side::Client, "{fault:?}");
        }
        assert_eq!(of(Came::Fault(Fault::ConnectRefused)), Verdict::Again { own: true });
        assert_eq!(of(Came::Fault(Fault::ResponseTimeout)), Verdict::Again { own: false });
    }
}
