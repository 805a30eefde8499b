//! OFREP on the admin listener: what components are told equals what the router decides.

mod equality;
mod events;
mod protocol;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::override_commands::Plane;
use crate::support::{Message, Wire};

/// A control plane over files, without a data plane.
fn plane(flags: &str, routes: &str) -> Plane {
    let root = Arc::new(tempfile::tempdir().unwrap());
    for (folder, text) in [("flags", flags), ("routes", routes), ("state", "")] {
        std::fs::create_dir(root.path().join(folder)).unwrap();
        if !text.is_empty() {
            std::fs::write(root.path().join(folder).join("f.yaml"), text).unwrap();
        }
    }
    Plane::start_in(root)
}

/// A request with a JSON body.
fn post(path: &str, body: &str) -> String {
    post_with(path, "", body)
}

/// The same with further header lines, each with its end.
fn post_with(path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /ofrep/v1/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{fields}\r\n{body}"
    )
}

fn ask(address: SocketAddr, request: &str) -> Message {
    Wire::connect(address).send(request).answer()
}

fn json(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap_or_else(|error| panic!("{error}: {}", message.text()))
}

/// Asks one flag about a context.
fn evaluate(address: SocketAddr, key: &str, context: &Value) -> (u16, Value) {
    let body = serde_json::json!({"context": context}).to_string();
    let answer = ask(address, &post(&format!("evaluate/flags/{key}"), &body));
    (answer.status(), json(&answer))
}

/// Asks all flags about a context.
fn evaluate_all(address: SocketAddr, context: &Value) -> Value {
    let body = serde_json::json!({"context": context}).to_string();
    let answer = ask(address, &post("evaluate/flags", &body));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    json(&answer)
}
