//! The integration tests: one binary, real sockets and files.

mod flagd_support;
mod flagd_testbed;
