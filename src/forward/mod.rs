//! Owns the way from a decision to an upstream's response head: endpoints, pools, deadlines.
//!
//! Nothing that may have reached an upstream is sent twice.

mod body;
mod choice;
mod connection;
mod endpoint;
mod pool;

pub use body::{BodyProgress, RequestBody};
pub use connection::ResponseBody;
pub use endpoint::Lease;
pub use pool::{Exchanged, ForwardError, Pool};
