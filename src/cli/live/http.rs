//! Owns one HTTP/1.1 exchange over a stream that blocks: enough for the admin listener, and no more.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The largest answer in bytes: thousands of flags with their state come to some megabytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1_024 * 1_024;

/// Connects to the admin address within a time; each further wait has its own.
pub(crate) fn connect(admin: SocketAddr, within: Duration, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&reachable(admin), within)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// Sends a request head with further fields and a body, and reads the status and the body of the answer.
pub(crate) fn exchange(
    mut stream: impl Read + Write,
    line: &str,
    host: &str,
    fields: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}{length}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())?;
    stream.flush()?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    read_answer(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is not the admin plane"))
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

fn read_answer(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    // A body that broke off must not be taken for a whole one.
    let is_whole = length.next().is_none_or(|(_, bytes)| bytes.trim().parse() == Ok(body.len()));
    is_whole.then(|| (status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        assert_eq!(read_answer("HTTP/1.1 200 OK\r\nA: b\r\n\r\nok\n"), Some((200, "ok\n".to_owned())));
        assert_eq!(read_answer("HTTP/1.1 503 No\r\n\r\n"), Some((503, String::new())));
        assert_eq!(read_answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Some((200, "ok".to_owned())));
        for wrong in [
            "",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        ] {
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
