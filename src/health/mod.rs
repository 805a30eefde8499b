//! Owns what is known about the health of endpoints, shared by the workers and the control plane.
//!
//! Workers report failures and successes of requests, the control plane reports checks; both read here who is in
//! service. It asks nobody and chooses nobody. A worker locks something only when it makes a pool and when an endpoint
//! is about to be ejected.

mod endpoint;
mod registry;
mod upstream;
mod verdict;

pub use endpoint::{EndpointHealth, FULL_SHARE};
pub use registry::HealthRegistry;
pub use upstream::{Slot, UpstreamHealth};
pub use verdict::Verdict;
