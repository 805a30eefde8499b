//! Owns the verb `explain`: what the files would do with one request, and why.

mod live;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Uri};

use super::live::RouterArgs;
use super::options::{HASHINGS, one_of};
use super::{REFUSED, SettingOptions, now_unix_s, print, settle};
use crate::compile::{self, Options};
use crate::config::{FileSet, Format, Report};
use crate::decision;
use crate::explain::{self, Question};
use crate::flag::Hashing;
use crate::snapshot::Snapshot;

pub(super) const LONG: &str = "\
Show what the flag and route files do with one request: which route takes it and which others were passed over, what each \
rule of the flag says, the slot of the targeting key, the variant, the upstream, and why. Nothing is sent to anybody. With --live \
the running router is asked, which also knows overrides, instead of the files.

Exit code 0: there is a decision. 1: the files have errors, or the router would refuse the request. 2: wrong usage. 3: with --live, \
no router answers, or it does not let you in.";

/// The generation that files have which no router has published.
const FROM_FILES: u64 = 1;

/// The arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The method.
    #[arg(long, short = 'X', default_value = "GET", value_name = "METHOD", value_parser = explain::method)]
    method: Method,
    /// The URL, such as `http://shop.example/api/orders/17?x=1`; without a host, `-H 'Host: …'` or localhost counts.
    #[arg(long, value_name = "URL", value_parser = explain::url)]
    url: Uri,
    /// A request header; may repeat.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = explain::header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The client's address, for `client.ip` and for the networks that may force a variant.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDR")]
    client_ip: IpAddr,
    #[command(flatten)]
    certificate: CertificateArgs,
    /// The directory of flag files [default: flags].
    #[arg(long, env = "BANYAN_FLAGS", value_name = "DIR")]
    flags: Option<PathBuf>,
    /// The directory of route files [default: routes].
    #[arg(long, env = "BANYAN_ROUTES", value_name = "DIR")]
    routes: Option<PathBuf>,
    /// How `fractional` hashes; as the router that is asked about [default: v3].
    #[arg(long, env = "BANYAN_HASHING", value_name = "GENERATION", value_parser = one_of(HASHINGS))]
    hashing: Option<Hashing>,
    /// A settings file, for the hash generation.
    #[arg(long, env = "BANYAN_SETTINGS", value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Ask the running router, by what is in force there.
    #[arg(long, conflicts_with_all = ["flags", "routes", "hashing", "settings"])]
    live: bool,
    #[command(flatten)]
    router: RouterArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a client certificate says, for `client.certificate.…`; one of them given is a certificate.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct CertificateArgs {
    /// The subject of the client's certificate, such as `CN=alice,O=Example`.
    #[arg(long, value_name = "NAME")]
    client_certificate_subject: Option<String>,
    /// Its issuer.
    #[arg(long, value_name = "NAME")]
    client_certificate_issuer: Option<String>,
    /// Its first alternative name that is a host name or a URI.
    #[arg(long, value_name = "NAME")]
    client_certificate_san: Option<String>,
    /// Its SHA-256 in lower-case hexadecimal.
    #[arg(long, value_name = "HEX")]
    client_certificate_fingerprint: Option<String>,
}

impl CertificateArgs {
    /// The certificate; what was not given is empty.
    fn certificate(&self) -> Option<decision::Certificate<'_>> {
        let subject = self.client_certificate_subject.as_deref();
        let issuer = self.client_certificate_issuer.as_deref();
        let san = self.client_certificate_san.as_deref();
        let fingerprint = self.client_certificate_fingerprint.as_deref();
        subject.or(issuer).or(san).or(fingerprint)?;
        Some(decision::Certificate {
            subject: subject.unwrap_or_default(),
            issuer: issuer.unwrap_or_default(),
            san,
            fingerprint: fingerprint.unwrap_or_default(),
        })
    }
}

/// Explains, and says by the exit code whether there is a decision.
pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    if args.live {
        return live::run(args);
    }
    let snapshot = match load(args) {
        Ok(snapshot) => snapshot,
        Err(report) => {
            let format = if args.json { Format::Json } else { Format::Text { colour: false } };
            let shown = report.render(format);
            // A script reads stdout; a person finds the reason on either.
            print(&if args.json { shown } else { format!("{shown}nothing to explain: {}\n", report.summary()) });
            return ExitCode::from(REFUSED);
        }
    };
    let question = Question::new(&args.method, &args.url, &args.headers, args.client_ip);
    let answer = question.ask(&snapshot, args.certificate.certificate(), now_unix_s());
    print(&if args.json {
        answer.to_json()
    } else {
        answer.to_text("of these files; a running router counts its own, and --live asks it")
    });
    if answer.is_decided() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
}

fn load(args: &ExplainArgs) -> Result<Snapshot, Report> {
    let options = SettingOptions {
        flags: args.flags.clone(),
        routes: args.routes.clone(),
        settings: args.settings.clone(),
        hashing: args.hashing,
        ..SettingOptions::default()
    };
    let settings = settle(&options, std::iter::empty())?;
    let (flags, routes) = (FileSet::read(&settings.flags), FileSet::read(&settings.routes));
    let options =
        Options { hashing: settings.hashing, listeners: Vec::new(), now_unix_s: now_unix_s(), ..Options::default() };
    let outcome = compile::compile(&flags, &routes, &options, None);
    outcome.draft.map(|draft| draft.into_snapshot(FROM_FILES)).ok_or(outcome.report)
}
