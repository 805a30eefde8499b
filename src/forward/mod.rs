//! Owns the way from a decision to an upstream's response head: endpoints, pools, deadlines.
//!
//! Nothing that may have reached an upstream is sent twice.

mod body;
mod connection;
mod endpoint;
mod health;
mod pool;

pub use body::{BodyProgress, ClientBody, RequestBody, StreamBody};
pub use connection::ResponseBody;
pub use endpoint::Lease;
pub use health::HealthRegistry;
pub use pool::{Exchanged, ForwardError, Pool};
