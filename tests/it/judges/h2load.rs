//! h2load and curl: every HTTP/2 answer is right while flags change under load, in the clear and over TLS.

use std::process::{Command, Output, Stdio};

use super::Judge;
use crate::support::authority::Authority;
use crate::support::router::{Router, Setup};
use crate::support::{Origin, PATIENCE};

const REQUESTS: u32 = 20_000;
/// Changes of the flag file while the load lasts, at least.
const EDITS_MIN: usize = 10;

fn flags(variant: &str) -> String {
    format!(
        "flags:\n  side:\n    state: ENABLED\n    variants: {{left: left, right: right}}\n    defaultVariant: {variant}\n    metadata: {{owner: tests}}\n"
    )
}

fn setup(left: &Origin, right: &Origin) -> Setup {
    let routes = format!(
        "upstreams:\n  left: {{endpoints: [\"http://{}\"]}}\n  right: {{endpoints: [\"http://{}\"]}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, flag: side, variants: {{left: left, right: right}}, fallback: left}}\n",
        left.address, right.address
    );
    Setup::routes(routes).flags(flags("left")).arguments(&["--expose-decision", "--access-log", "off"])
}

fn origins() -> [Origin; 2] {
    [
        Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nleft"),
        Origin::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright"),
    ]
}

/// Asks once with curl over HTTP/2, on a connection of its own; the answer must be the one that its decision says.
fn ask(url: &str, how: &str) {
    let seconds = PATIENCE.as_secs().to_string();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--include", "--max-time", &seconds, how, "--insecure", url]);
    let Output { status, stdout, stderr } = curl.stdin(Stdio::null()).output().expect("curl; run `make tools`");
    let said = String::from_utf8_lossy(&stdout);
    assert!(status.success(), "{said}\n{}", String::from_utf8_lossy(&stderr));
    let (head, body) = said.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/2 200"), "{said}");
    assert!(head.contains(&format!("variant=\"{body}\"")), "{said}");
}

/// Loads the router while its flags change; nothing may fail.
fn load(router: &Router, url: &str, how: &str) {
    let mut h2load = Command::new("h2load");
    // Not more at once than wait in the queue of an origin's listener.
    h2load.args(["-n", &REQUESTS.to_string(), "-c", "8", "-m", "8", url]);
    h2load.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut judge = Judge::start(h2load);
    let mut stdout = judge.0.stdout.take().expect("stdout is piped");
    let said = std::thread::spawn(move || std::io::read_to_string(&mut stdout));
    let mut edits = 0;
    while judge.0.try_wait().unwrap().is_none() || edits < EDITS_MIN {
        edits += 1;
        router.edit_flags(&flags(["left", "right"][edits % 2]));
        ask(url, how);
    }
    let said = said.join().unwrap().expect("text");
    let all =
        format!("{REQUESTS} total, {REQUESTS} started, {REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored");
    assert!(said.contains(&all), "{said}");
    assert!(said.contains(&format!("status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx")), "{said}");
    for side in ["client", "router", "upstream"] {
        assert_eq!(router.metric("banyan_faults_total", &[&format!("side=\"{side}\"")]), 0.0, "{side}");
    }
}

#[test]
fn answers_are_right_while_flags_change_in_the_clear() {
    let [left, right] = origins();
    let router = setup(&left, &right).start();
    load(&router, &format!("http://{}/", router.listen), "--http2-prior-knowledge");
}

#[test]
fn answers_are_right_while_flags_change_over_tls() {
    let [left, right] = origins();
    let authority = Authority::new("tests");
    let certificate = authority.server(&["localhost"]);
    let certificate: Vec<&str> = certificate.iter().map(String::as_str).collect();
    let setup = setup(&left, &right).arguments(&["--listen-tls", "127.0.0.1:0"]).arguments(&certificate);
    let router = setup.start();
    load(&router, &format!("https://localhost:{}/", router.listen_tls().port()), "--http2");
}
