//! Owns the verb `health`: asks the running router over its admin address; for images that hold no other program.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::live::http;
use super::{REFUSED, print};

/// The arguments of `health`.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Where the router's admin plane listens.
    #[arg(long, env = "BANYAN_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Ask whether it takes traffic (`/readyz`), not only whether it lives (`/healthz`).
    #[arg(long)]
    ready: bool,
    /// How long to wait for the connection and for each part of the answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout_ms: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Exits 0 if the router answers 200, 1 if it does not.
pub(super) fn run(args: &HealthArgs) -> ExitCode {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let timeout = Duration::from_millis(args.timeout_ms);
    let stream = http::connect(args.admin, timeout, timeout);
    let line = format!("GET {path}");
    let answer = stream.and_then(|stream| http::exchange(stream, &line, &args.admin.to_string(), "", ""));
    let well = matches!(answer, Ok((200, _)));
    let (status, text) = match answer {
        Ok((status, body)) => (Some(status), body),
        Err(error) => (None, format!("no answer from {}: {error}", args.admin)),
    };
    if args.json {
        print(&format!("{}\n", serde_json::json!({ "ok": well, "status": status, "answer": text.trim_end() })));
    } else {
        print(&format!("{}\n", text.trim_end()));
    }
    if well { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
}
