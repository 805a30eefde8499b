//! The integration tests: one binary, real sockets and files.

mod flagd_differential;
mod flagd_properties;
mod flagd_support;
mod flagd_testbed;
mod flagd_vectors;
