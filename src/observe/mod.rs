//! Owns seeing: metrics, the access log, the set-up of `tracing`. A leaf: it knows faults and limits, never a
//! request.
//!
//! Whatever the workers call here neither locks nor allocates nor blocks, but for the calls that say so.

mod access;
mod cell;
mod control;
mod copies;
mod escape;
mod exposition;
mod health;
mod leg;
mod line;
mod logging;
mod metrics;
pub mod names;
mod reading;
mod series;
mod spool;
mod tls;
mod worker;

pub use access::{AccessLog, AccessRecord, AccessWriter, LogFormat};
pub use cell::{Counter, Gauge, Tally};
pub use control::{ControlMetrics, Reload, STALE_REASONS};
pub use copies::{CopiesFigures, CopiesSource, DestinationFigures, JournalFigures};
pub use health::{EndpointStatus, HealthSource, UpstreamStatus};
pub use leg::{LegKey, LegMetrics};
pub use line::{LoggedHeaders, timestamp};
pub use logging::{LogGuard, LogOptions, LoggingError, init as init_logging, subscriber as log_subscriber};
pub use metrics::Metrics;
pub use reading::{Counts, LegReading};
pub use tls::{CertificateMetrics, HandshakeMetrics};
pub use worker::{UpstreamMetrics, WorkerMetrics};
