//! gRPC: grpcio on both ends plays the same scenes with and without the router between.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use super::{Judge, python};
use crate::support::router::Setup;

/// Starts the gRPC server, and says where it is.
fn server() -> (Judge, SocketAddr) {
    let mut command = python("grpcs.py");
    command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Judge::start(command);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("stdout is piped")).read_line(&mut line).expect("a port");
    let address = format!("127.0.0.1:{}", line.trim()).parse().expect("a port");
    (server, address)
}

/// Plays all scenes at both addresses, which must not differ.
fn compare(direct: SocketAddr, proxied: SocketAddr) {
    let mut compare = python("grpcs.py");
    let compared = compare.args(["compare", &direct.to_string(), &proxied.to_string()]).output();
    let compared = compared.expect("the comparison ran");
    let said = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success(), "{said}\n{}", String::from_utf8_lossy(&compared.stderr));
    assert!(said.contains("12 scenes, 0 differing"), "{said}");
}

#[test]
fn grpc_through_the_router_equals_direct_grpc() {
    let (_server, direct) = server();
    let router = Setup::upstream(direct, "protocol: h2c").arguments(&["--access-log", "off"]).start();
    compare(direct, router.listen);
    for side in ["router", "upstream"] {
        assert_eq!(router.metric("banyan_faults_total", &[&format!("side=\"{side}\"")]), 0.0, "{}", router.metrics());
    }
}
