//! The targets of this folder, for libFuzzer.

#[allow(dead_code, reason = "the integration tests use the rest")]
#[path = "../it/routing_models.rs"]
mod routing_models;

#[allow(dead_code, reason = "the integration tests use the rest")]
#[path = "../it/routing_oracle.rs"]
mod routing_oracle;

mod targets;

/// Runs one target.
///
/// # Panics
/// When something does not hold of the bytes.
pub fn run(name: &str, data: &[u8]) {
    targets::run(name, data);
}
