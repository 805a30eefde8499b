//! The admin API over real sockets: who is let in, what is answered, and what is in force afterwards.

mod examples;
mod orders;
mod reads;
mod rules;
mod tokens;
mod verbs;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::override_commands::Plane;
use crate::support::{Message, PATIENCE, Wire};

/// The token that the router made at its start.
fn token(plane: &Plane) -> String {
    fs::read_to_string(plane.state().join("admin.token")).unwrap().trim().to_owned()
}

/// Sends a request head with further lines, each with its end, and a body.
fn send(plane: &Plane, line: &str, fields: &str, body: &str) -> Message {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\n{fields}{length}\r\n{body}");
    Wire::connect(plane.handle.address()).send(request).answer_to(line.split(' ').next().unwrap())
}

/// Asks with the router's own token.
fn get(plane: &Plane, path: &str) -> Message {
    send(plane, &format!("GET {path}"), &format!("authorization: Bearer {}\r\n", token(plane)), "")
}

/// Posts JSON with the router's own token and further lines.
fn post_with(plane: &Plane, path: &str, fields: &str, body: &str) -> Message {
    let fields = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n{fields}", token(plane));
    send(plane, &format!("POST {path}"), &fields, body)
}

fn post(plane: &Plane, path: &str, body: &str) -> Message {
    post_with(plane, path, "", body)
}

fn json(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap_or_else(|error| panic!("{error}: {}", message.text()))
}

fn assert_problem(message: &Message, status: u16, code: &str) {
    assert_eq!(message.status(), status, "{}", message.text());
    assert_eq!(message.field("content-type"), "application/problem+json");
    assert_eq!((&json(message)["code"], &json(message)["status"]), (&code.into(), &status.into()));
    assert!(!json(message)["detail"].as_str().unwrap().is_empty());
}

/// Sends a request over the unix socket and gives the whole answer as text.
fn over_socket(plane: &Plane, request: &str) -> String {
    let mut stream = UnixStream::connect(plane.state().join("admin.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
