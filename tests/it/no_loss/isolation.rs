//! Whatever the other side does, the primary's answers are the same bytes, none fails, and memory stays within a bound.

use std::net::{SocketAddr, TcpStream};

use super::client::exchange;
use super::world::{World, stage};
use crate::support::PATIENCE;
use crate::support::message::{Message, Reader};

/// Writes that each way of failing has to bear.
const WRITES: usize = 1_500;
/// Bytes of each body: all of them together are well above the bound on memory.
const BODY_BYTES: usize = 64 * 1024;
/// How much the process may grow by, in bytes.
const GROWTH_MAX: u64 = 64 * 1024 * 1024;

fn connect(address: SocketAddr) -> Reader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Reader::new(stream)
}

/// What must not differ: all but the time.
fn shown(answer: &Message) -> (String, Vec<(String, String)>, Vec<u8>) {
    let fields = answer.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date")).cloned().collect();
    (answer.line.clone(), fields, answer.body.clone())
}

/// Writes again and again, and compares each answer with what came without copies.
fn bear(world: &World, what: &str, expected: &Message, large: bool) {
    let mut wire = connect(world.router.listen);
    let body = if large { BODY_BYTES } else { 16 };
    for number in 0..WRITES {
        let text = format!("{{\"id\":{number},\"more\":\"{}\"}}", "x".repeat(body));
        let head = format!("PUT /items/e{} HTTP/1.1\r\nhost: a.example\r\nx-write: {number}\r\n", number % 50);
        let request = format!("{head}content-length: {}\r\n\r\n{text}", text.len());
        let answer =
            exchange(&mut wire, request.as_bytes()).unwrap_or_else(|error| panic!("{what}, write {number}: {error}"));
        assert_eq!(shown(&answer), shown(expected), "{what}, write {number}");
        if answer.field("connection") == "close" {
            wire = connect(world.router.listen);
        }
    }
}

#[test]
fn a_failing_other_side_changes_no_answer_and_takes_no_memory() {
    let mut world = World::start("off", "", &["--limit", "keep_alive_requests_max=0"]);
    let request = "PUT /items/first HTTP/1.1\r\nhost: a.example\r\nx-write: 0\r\ncontent-length: 2\r\n\r\n{}";
    let direct = exchange(&mut connect(world.legacy.address.parse().unwrap()), request.as_bytes()).unwrap();
    let expected = exchange(&mut connect(world.router.listen), request.as_bytes()).unwrap();
    assert_eq!((&direct.body, direct.status()), (&expected.body, expected.status()));
    world.router.edit_flags(&stage("dualwrite"));
    world.router.wait_for_metric("banyan_config_reloads_total", &[r#"result="published""#], 1.0);
    bear(&world, "well", &expected, true);
    let before = world.router.memory_bytes("VmHWM");
    for how in ["slow 1000", "garbage", "reset", "busy", "dead"] {
        if how == "dead" {
            world.modern.kill();
        } else {
            world.modern.behave(how);
        }
        bear(&world, how, &expected, true);
        let grown = world.router.memory_bytes("VmHWM").saturating_sub(before);
        println!("{how}: the process grew by {grown} bytes");
        assert!(grown < GROWTH_MAX, "{how}: it grew by {grown} bytes");
    }
    assert_eq!(world.router.metric("banyan_faults_total", &[]), 0.0, "no request of a client failed");
    assert_eq!(world.legacy.entries().len(), 2 + 6 * WRITES, "and each was sent once");
}
