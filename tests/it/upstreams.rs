//! What upstreams speak: HTTP/2 in the clear and over TLS, HTTP/1.1 over TLS, and the PROXY header.

mod http2;
mod origin;
mod proxied;
mod tls;
