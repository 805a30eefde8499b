//! Owns `explain --live`: the question to the running router, and its answer. What it means is the router's.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Deserialize as _;

use super::{CertificateArgs, ExplainArgs};
use crate::cli::live::{Client, Failure};
use crate::cli::{REFUSED, print};
use crate::config::visible;
use crate::control::{AskedCertificate, Asking, Values};
use crate::explain::Answer;

/// Asks, and says by the exit code whether there is a decision.
pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    let client = match Client::of(&args.router) {
        Ok(client) => client,
        Err(code) => return code,
    };
    match ask(args, &client) {
        Ok((answer, way)) => {
            let origin = format!("in force in the router at {}", visible(&way));
            print(&if args.json { answer.to_json() } else { answer.to_text(&origin) });
            if answer.is_decided() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
        }
        Err(failure) => failure.tell("explain", args.json),
    }
}

/// What the router says, and by which way.
fn ask(args: &ExplainArgs, client: &Client) -> Result<(Answer, String), Failure> {
    let body = serde_json::to_value(asking(args)).map_err(|error| error.to_string())?;
    let reply = client.post("/api/v1/explain", &body)?;
    let answer = Answer::deserialize(&reply.body).map_err(|error| Failure::of_another_version(&reply, &error))?;
    Ok((answer, reply.way))
}

fn asking(args: &ExplainArgs) -> Asking {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &args.headers {
        let line = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.to_string()).or_default().push(line);
    }
    Asking {
        method: Some(args.method.to_string()),
        url: args.url.to_string(),
        headers: headers.into_iter().map(|(name, lines)| (name, Values::Several(lines))).collect(),
        client: Some(args.client_ip),
        certificate: args.certificate.asked(),
    }
}

impl CertificateArgs {
    /// The same for the router.
    fn asked(&self) -> Option<AskedCertificate> {
        let certificate = self.certificate()?;
        Some(AskedCertificate {
            subject: certificate.subject.to_owned(),
            issuer: certificate.issuer.to_owned(),
            san: certificate.san.map(str::to_owned),
            fingerprint: certificate.fingerprint.to_owned(),
        })
    }
}
