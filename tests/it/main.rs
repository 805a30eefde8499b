//! The integration tests: one binary, real sockets and files.
