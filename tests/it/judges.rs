//! Outside judges: programs and parsers that others wrote say whether Banyan is right (docs/security.md, Judges).
//!
//! `make tools` installs all of them; a test whose judge is missing fails and says so.

pub(crate) mod desync;
pub(crate) mod panel;

mod admin_api;
mod grpc;
pub(crate) mod h2load;
mod mutations;
mod openfeature;
mod slowhttptest;
mod websockets;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A judge's process, which ends with the value.
pub(crate) struct Judge(pub(crate) Child);

impl Judge {
    /// Starts a program; its standard streams are as `command` says.
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}; run `make tools` to install it")))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The directory of the tools that Debian does not have.
fn venv() -> PathBuf {
    let named = std::env::var_os("TEST_VENV");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(named.unwrap_or_else(|| OsString::from(".venv")))
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/judges").join(name)
}

/// A script of this folder in the Python that has the judges' packages.
pub(crate) fn python(name: &str) -> Command {
    let python = venv().join("bin/python");
    assert!(python.exists(), "no {}: run `make tools` to install it", python.display());
    let mut command = Command::new(python);
    command.arg(script(name)).stdin(Stdio::null());
    command
}

/// A program that came with the judges' packages.
pub(crate) fn program(name: &str) -> Command {
    let program = venv().join("bin").join(name);
    assert!(program.exists(), "no {}: run `make tools` to install it", program.display());
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// A module of a judge's own in the Python that has it.
pub(crate) fn python_module(name: &str) -> Command {
    let python = venv().join("bin/python");
    assert!(python.exists(), "no {}: run `make tools` to install it", python.display());
    let mut command = Command::new(python);
    command.args(["-m", name]).stdin(Stdio::null());
    command
}

/// A script of this folder in Node, with the judges' packages.
pub(crate) fn node(name: &str) -> Command {
    let modules = venv().join("node_modules");
    assert!(modules.exists(), "no {}: run `make tools` to install it", modules.display());
    let mut command = Command::new("node");
    command.arg(script(name)).env("NODE_PATH", modules).stdin(Stdio::null());
    command
}
