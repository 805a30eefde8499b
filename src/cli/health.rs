//! Owns the verb `health`: asks the running router over its admin address; for images that hold no other program.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{REFUSED, print};

/// How much of an answer is read, in bytes: the admin plane's are far shorter.
const ANSWER_BYTES_MAX: u64 = 16 * 1_024;

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
    let answer = ask(reachable(args.admin), path, Duration::from_millis(args.timeout_ms));
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

/// A listener on every address is reached over the loopback.
fn reachable(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

/// The status and the body of one GET.
fn ask(admin: SocketAddr, path: &str, timeout: Duration) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&admin, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    read_answer(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is not the admin plane"))
}

fn read_answer(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        assert_eq!(read_answer("HTTP/1.1 200 OK\r\nA: b\r\n\r\nok\n"), Some((200, "ok\n".to_owned())));
        assert_eq!(read_answer("HTTP/1.1 503 No\r\n\r\n"), Some((503, String::new())));
        for wrong in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 2\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert_eq!(read_answer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_over_the_loopback() {
        for (admin, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            let parse = |text: &str| text.parse().expect("an address");
            assert_eq!(reachable(parse(admin)), parse(asked));
        }
    }
}
