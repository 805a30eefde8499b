//! Owns how a verb ends that no router carried out: what is told, as text or JSON, and the exit code.

use std::fmt;
use std::process::ExitCode;

use serde_json::json;

use super::Reply;
use crate::cli::{REFUSED, UNREACHABLE, print};
use crate::config::visible;

/// What to do where the state directory may be another one than the router's.
const WHERE: &str = "say where the router is: --state DIR, its state directory, or --admin ADDR with --token-file FILE";

/// Says which ways were tried, and why none led to a router.
#[derive(Debug, Default)]
pub(in crate::cli) struct Unreachable {
    pub(super) tried: Vec<String>,
    /// A request was sent and no answer came: the order may be in force.
    pub(super) may_be_done: bool,
    /// The options may name another place than the router's.
    pub(super) may_be_elsewhere: bool,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no router answers ({})", self.tried.join("; "))?;
        if self.may_be_done {
            write!(out, "; the order was sent and may be in force")?;
        }
        if self.may_be_elsewhere {
            write!(out, "; {WHERE}")?;
        }
        Ok(())
    }
}

/// Why what was wished for was not done.
#[derive(Debug)]
pub(in crate::cli) struct Failure {
    why: String,
    /// The router that said so, if one did.
    way: Option<String>,
    /// For scripts, as the router gives it.
    code: Option<String>,
    exit: u8,
}

impl Failure {
    /// The answer has not the form that a router of this version gives it.
    pub(in crate::cli) fn of_another_version(reply: &Reply, error: &serde_json::Error) -> Self {
        let why = format!("this is not the answer of a router of this version: {error}");
        Self { why, way: Some(reply.way.clone()), code: None, exit: UNREACHABLE }
    }

    /// Tells it, on stderr or as the one JSON object; gives the exit code.
    pub(in crate::cli) fn tell(&self, verb: &str, json: bool) -> ExitCode {
        if json {
            let told = json!({"verb": verb, "done": false, "way": self.way, "refused": self.why, "code": self.code});
            print(&format!("{told:#}\n"));
        } else {
            eprintln!("banyan: {}", visible(&self.to_string()));
        }
        ExitCode::from(self.exit)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Some(way) if self.exit == UNREACHABLE => write!(out, "the router at {way} answers: {}", self.why),
            Some(way) => write!(out, "refused by the router at {way}: {}", self.why),
            None => out.write_str(&self.why),
        }
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Self {
        Self { why: error.to_string(), way: None, code: Some("unreachable".to_owned()), exit: UNREACHABLE }
    }
}

/// What went wrong here, before or after a router was asked.
impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { why, way: None, code: None, exit: REFUSED }
    }
}

impl Reply {
    /// Whether the router did what it was asked.
    pub(in crate::cli) fn is_done(&self) -> bool {
        self.status == 200
    }

    /// Whether it is no answer to what was asked: another token is wanted, the router cannot, or it knows no such thing.
    pub(in crate::cli) fn is_unusable(&self) -> bool {
        let is_foreign = || matches!(self.body["code"].as_str(), None | Some("no-such-path"));
        matches!(self.status, 401 | 403 | 421 | 429 | 500..) || (!self.is_done() && is_foreign())
    }

    /// The answer, or why it is none.
    pub(in crate::cli) fn done(self) -> Result<Self, Failure> {
        if self.is_done() { Ok(self) } else { Err(self.failure()) }
    }

    /// Why it did not do it.
    pub(in crate::cli) fn failure(&self) -> Failure {
        let exit = if self.is_unusable() { UNREACHABLE } else { REFUSED };
        Failure {
            why: self.why(),
            way: Some(self.way.clone()),
            code: self.body["code"].as_str().map(str::to_owned),
            exit,
        }
    }

    fn why(&self) -> String {
        let detail = self.body["detail"].as_str();
        let why = detail.map_or_else(|| format!("it answered {} without a reason", self.status), str::to_owned);
        if self.status == 401 { format!("{why}; --token-file FILE names another token") } else { why }
    }
}
