//! What the integration tests stand on: a raw wire client, a scripted origin and the real router as a process.

pub(crate) mod authority;
pub(crate) mod frames;
pub(crate) mod message;
pub(crate) mod origin;
pub(crate) mod router;
pub(crate) mod secure;
pub(crate) mod wire;

use std::time::Duration;

/// How long a test waits for what must happen; long enough for a loaded machine, and never the thing under test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) use frames::Frames;
pub(crate) use message::Message;
pub(crate) use origin::Origin;
pub(crate) use router::Router;
pub(crate) use wire::Wire;
