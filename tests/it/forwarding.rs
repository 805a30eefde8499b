//! Forwarding through the real router: streams, connections, failures and limits.

mod connections;
mod failures;
mod limits;
mod rewrites;
mod streams;

/// A whole GET for `/`.
const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";
/// An answer with the text `ok`.
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// The head of a chunked POST.
const CHUNKED_POST: &str = "POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n";
