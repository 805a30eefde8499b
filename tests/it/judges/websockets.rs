//! WebSockets through the router equal WebSockets without it: one library on both ends, the same scenes twice.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::{Judge, python};
use crate::support::router::Setup;

#[test]
fn websockets_through_the_router_equal_direct_ones() {
    let mut command = python("websocket.py");
    command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Judge::start(command);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("stdout is piped")).read_line(&mut line).expect("a port");
    let direct = format!("127.0.0.1:{}", line.trim()).parse().expect("a port");

    let router = Setup::route(direct, "", "websocket: true").start();
    let mut compare = python("websocket.py");
    compare.args(["compare", &format!("ws://{direct}/"), &format!("ws://{}/", router.listen)]);
    let compared = compare.output().expect("the comparison ran");
    let said = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success(), "{said}\n{}", String::from_utf8_lossy(&compared.stderr));
    assert!(said.contains("13 scenes, 0 differing"), "{said}");
    router.wait_for_connections(0);
    assert_eq!(router.metric("banyan_faults_total", &["side=\"router\""]), 0.0);
}
