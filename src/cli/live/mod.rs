//! Owns asking the running router: over its unix socket, or over its admin address with a token. It knows no verb.

mod failure;
pub(super) mod http;
mod laying;
mod order;
mod walk;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{SettingOptions, settle};
use crate::config::Format;
use crate::control::{ADMIN_SOCKET_FILE, ADMIN_TOKEN_FILE};

pub(super) use failure::{Failure, Unreachable};
pub(super) use laying::LiveArgs;
pub(super) use order::{Order, escaped};
pub(super) use walk::PAGE;

/// Where a router listens that was told nothing else.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9901);
/// How long a connection may take: what does not answer in this time, within one network, is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long each part of the exchange may take; an order may wait 5 s for the disk.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The options that say which router is asked, and as whom.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct RouterArgs {
    /// Where the router's admin plane listens [default: its unix socket in --state, else 127.0.0.1:9901].
    #[arg(long, env = "BANYAN_ADMIN", value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// The file with the token for that address [default: admin.token in --state].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The router's state directory [default: state].
    #[arg(long, env = "BANYAN_STATE", value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// Who asks, for the history; the router knows only whose token it is.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
}

/// Asks a router that runs.
#[derive(Debug)]
pub(super) struct Client {
    ways: Vec<Way>,
    /// Why there is no way at all.
    nowhere: Option<String>,
    who: Option<String>,
}

/// A way to a router.
#[derive(Debug)]
enum Way {
    Socket(PathBuf),
    Network(SocketAddr, String),
    /// What was tried to find a token.
    NoToken(SocketAddr, String),
}

/// What a router answered.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    /// The body: JSON, as long as it is a router.
    pub(super) body: Value,
    /// Over which way it came, for people.
    pub(super) way: String,
}

impl Client {
    /// Makes a client by the options alone; what is wrong with the settings is told, and gives the exit code.
    pub(super) fn of(args: &RouterArgs) -> Result<Self, ExitCode> {
        let options = SettingOptions { state: args.state.clone(), ..SettingOptions::default() };
        match settle(&options, std::iter::empty()) {
            Ok(settings) => Ok(Self::new(args, &settings.state)),
            Err(report) => {
                eprint!("{}", report.render(Format::Text { colour: false }));
                Err(ExitCode::from(2))
            }
        }
    }

    /// Makes a client; `state` is the router's state directory.
    pub(super) fn new(args: &RouterArgs, state: &Path) -> Self {
        let token_file = args.token_file.clone().unwrap_or_else(|| state.join(ADMIN_TOKEN_FILE));
        let network = |admin| match std::fs::read_to_string(&token_file) {
            Ok(text) => Way::Network(admin, text.trim().to_owned()),
            Err(error) => Way::NoToken(admin, format!("{}: {error}", token_file.display())),
        };
        let ways = match args.admin {
            // Who names an address means that router and no other.
            Some(admin) => vec![network(admin)],
            None => vec![Way::Socket(state.join(ADMIN_SOCKET_FILE)), network(ADMIN)],
        };
        let is_there = |name: &str| state.join(name).symlink_metadata().is_ok();
        let known = args.admin.is_some() || args.token_file.is_some();
        let nowhere = (!known && !is_there(ADMIN_SOCKET_FILE) && !is_there(ADMIN_TOKEN_FILE))
            .then(|| format!("neither {ADMIN_SOCKET_FILE} nor {ADMIN_TOKEN_FILE} is in {}", state.display()));
        Self { ways, nowhere, who: args.who.clone() }
    }

    /// Gets a path.
    pub(super) fn get(&self, path: &str) -> Result<Reply, Failure> {
        self.ask(&format!("GET {path}"), "")?.done()
    }

    /// Posts JSON to a path.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.send(path, body)?.done()
    }

    /// Posts JSON to a path; what the router refuses is an answer, too.
    pub(super) fn send(&self, path: &str, body: &Value) -> Result<Reply, Unreachable> {
        self.ask(&format!("POST {path}"), &body.to_string())
    }

    /// Tries the ways one after the other, until one leads to a router.
    fn ask(&self, line: &str, body: &str) -> Result<Reply, Unreachable> {
        let mut found = Unreachable::default();
        if let Some(why) = &self.nowhere {
            return Err(Unreachable { tried: vec![why.clone()], may_be_elsewhere: true, ..found });
        }
        let who = self
            .who
            .as_ref()
            .map_or_else(String::new, |who| format!("Banyan-Who: {}\r\n", who.replace(['\r', '\n'], " ")));
        let json = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let fields = format!("{who}{json}");
        for way in &self.ways {
            let answered = match way {
                Way::Socket(path) => match connect_socket(path) {
                    Ok(stream) => http::exchange(stream, line, "localhost", &fields, body),
                    Err(error) => {
                        found.may_be_elsewhere |= error.kind() == io::ErrorKind::NotFound;
                        found.tried.push(format!("{way}: {error}"));
                        continue;
                    }
                },
                Way::Network(admin, token) => match http::connect(*admin, CONNECT_TIMEOUT, TIMEOUT) {
                    Ok(stream) => {
                        let fields = format!("{fields}Authorization: Bearer {token}\r\n");
                        http::exchange(stream, line, &admin.to_string(), &fields, body)
                    }
                    Err(error) => {
                        found.tried.push(format!("{way}: {error}"));
                        continue;
                    }
                },
                Way::NoToken(_, why) => {
                    found.may_be_elsewhere = true;
                    found.tried.push(format!("{way}: there is no token: {why}"));
                    continue;
                }
            };
            return match answered {
                Ok((status, text)) => {
                    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
                    Ok(Reply { status, body, way: way.to_string() })
                }
                Err(error) => {
                    found.tried.push(format!("{way}: {error}"));
                    Err(Unreachable { may_be_done: line.starts_with("POST"), may_be_elsewhere: false, ..found })
                }
            };
        }
        Err(found)
    }
}

fn connect_socket(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(out, "{}", path.display()),
            Self::Network(admin, _) | Self::NoToken(admin, _) => write!(out, "{admin}"),
        }
    }
}
