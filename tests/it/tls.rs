//! TLS towards clients, and the PROXY protocol before it.

mod clients;
mod handshake;
mod judges;
mod named_files;
mod names;
mod proxied;
mod reload;
mod sockets;

use crate::support::authority::Authority;
use crate::support::router::Setup;
use crate::support::{Origin, Router};

/// A router in front of an origin that says `ok`, with a TLS listener and further settings.
fn router(origin: &Origin, settings: &[String]) -> Router {
    serving(Setup::upstream(origin.address, ""), settings)
}

/// The same with a set-up of one's own.
fn serving(setup: Setup, settings: &[String]) -> Router {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    // Files are looked at often, so that no test waits for them.
    setup.arguments(&["--listen-tls", "127.0.0.1:0", "--poll-ms", "20"]).arguments(&settings).start()
}

/// An authority, and a router with a certificate of it for `a.example`.
fn plain_set() -> (Authority, Origin, Router) {
    let (authority, origin) = (Authority::new("tests"), Origin::ok());
    let router = router(&origin, &authority.server(&["a.example"]));
    (authority, origin, router)
}
