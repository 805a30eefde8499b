//! The integration tests: one binary, real sockets and files.

mod access_log;
mod exposition;
mod metrics;
mod metrics_admin;
mod reload;
mod support;
