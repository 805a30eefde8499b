//! Owns the way from `tls:` of an upstream to what its connections are encrypted with; the files are read here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Options;
use crate::config::{Diagnostic, Report, Text, TlsDoc, UpstreamDoc};
use crate::tls::client::{ClientPlan, ClientTls, ClientTlsError};
use crate::tls::{Alpn, FileError, FileFault, NamedFile};

/// Reads the files that `tls:` names.
pub(super) struct ClientFiles<'o> {
    /// The directory of the route files, and the one they were copied from.
    relocated: Option<(&'o Path, &'o Path)>,
    /// What was read, to see when it changes.
    pub(super) named: Vec<NamedFile>,
}

impl<'o> ClientFiles<'o> {
    /// Makes a reader for the route files of `directory`.
    pub(super) fn new(directory: &'o Path, options: &'o Options) -> Self {
        let relocated = options.copied_from.as_deref().map(|original| (directory, original));
        Self { relocated, named: Vec::new() }
    }

    /// Compiles the TLS of an upstream: `Some(None)` when it has none, `None` after a report.
    pub(super) fn compile(
        &mut self,
        doc: &UpstreamDoc,
        alpn: Alpn,
        report: &mut Report,
    ) -> Option<Option<Arc<ClientTls>>> {
        let https = |text: &Text| text.text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        match &doc.tls {
            Some(tls) => self.written(doc, tls, alpn, report).map(Some),
            None if doc.endpoints.iter().flatten().any(https) => {
                let plan = ClientPlan { alpn, ..ClientPlan::default() };
                ClientTls::load(plan).map(Some).map_err(|error| self.refuse(doc, None, &error, report)).ok()
            }
            None => Some(None),
        }
    }

    fn written(&mut self, doc: &UpstreamDoc, tls: &TlsDoc, alpn: Alpn, report: &mut Report) -> Option<Arc<ClientTls>> {
        let before = report.diagnostics.len();
        contradictions(tls, report);
        if report.diagnostics.len() > before {
            return None;
        }
        if let Some(place) = &tls.unverified {
            let message = format!("the certificate of upstream `{}` is not verified", doc.name.text);
            let help = "whoever is in between reads and changes everything; name its authority with `ca: FILE`";
            report.push(Diagnostic::warning("tls-insecure", place, message).help(help));
        }
        let pair = tls.certificate.as_ref().zip(tls.key.as_ref());
        let plan = ClientPlan {
            ca: tls.ca.as_ref().map(|ca| self.path(ca)),
            identity: pair.map(|(chain, key)| (self.path(chain), self.path(key))),
            server_name: tls.server_name.as_ref().map(|name| name.text.clone()),
            insecure: tls.unverified.is_some(),
            alpn,
        };
        self.named.extend(plan.files().map(NamedFile::note));
        let loaded = ClientTls::load(plan.clone());
        if loaded.is_err() {
            for error in parts(&plan).into_iter().filter_map(|part| ClientTls::load(part).err()) {
                self.refuse(doc, Some(tls), &error, report);
            }
        }
        loaded.ok()
    }

    /// A path as written is seen from the directory of its file.
    fn path(&self, written: &Text) -> PathBuf {
        let directory = written.place.file.path.parent().unwrap_or(Path::new(""));
        let original =
            self.relocated.and_then(|(copy, original)| Some(original.join(directory.strip_prefix(copy).ok()?)));
        original.as_deref().unwrap_or(directory).join(&*written.text)
    }

    /// Reports what is wrong where the file or the name is written.
    fn refuse(&self, doc: &UpstreamDoc, tls: Option<&TlsDoc>, error: &ClientTlsError, report: &mut Report) {
        let written = |path: &Path| {
            let texts = tls.map(|tls| [&tls.ca, &tls.certificate, &tls.key]);
            texts.into_iter().flatten().flatten().find(|text| self.path(text) == path)
        };
        let (place, help) = match error {
            ClientTlsError::File(FileError { path, fault }) => (written(path), help(fault)),
            ClientTlsError::ServerName(_) => {
                (tls.and_then(|tls| tls.server_name.as_ref()), "write a name, such as orders.internal")
            }
            ClientTlsError::NoSystemRoots => (None, "install the system's certificates, or name `tls: {ca: FILE}`"),
        };
        let place = place.map_or(&doc.name.place, |text| &text.place);
        report.push(Diagnostic::error("tls-file", place, error.to_string()).help(help));
    }
}

/// The plan in parts that fail by themselves, so that all mistakes are told at once.
fn parts(plan: &ClientPlan) -> [ClientPlan; 3] {
    let unverified = ClientPlan { insecure: true, ..ClientPlan::default() };
    [
        ClientPlan { identity: None, server_name: None, ..plan.clone() },
        ClientPlan { identity: plan.identity.clone(), ..unverified.clone() },
        ClientPlan { server_name: plan.server_name.clone(), ..unverified },
    ]
}

fn contradictions(tls: &TlsDoc, report: &mut Report) {
    let mut alone = |one: &Option<Text>, other: &Option<Text>, message: &str, help: &str| {
        if let (Some(text), None) = (one, other) {
            report.push(Diagnostic::error("tls-half-pair", &text.place, message).help(help));
        }
    };
    alone(&tls.certificate, &tls.key, "a certificate without its key", "name the key file: `key: FILE`");
    alone(
        &tls.key,
        &tls.certificate,
        "a key without its certificate",
        "name the certificate file: `certificate: FILE`",
    );
    if let (Some(ca), Some(place)) = (&tls.ca, &tls.unverified) {
        let found =
            Diagnostic::error("tls-contradiction", place, "nothing is verified, yet there is somebody to trust");
        report.push(found.also(&ca.place, "trusted here").help("remove `verify: false`"));
    }
}

fn help(fault: &FileFault) -> &'static str {
    match fault {
        FileFault::Unreadable(_) => {
            "a path is seen from the directory of this file; the router's user must be able to read it"
        }
        FileFault::Mismatch => "name the key that the certificate was made for",
        FileFault::NoCertificate => "name the file that has `-----BEGIN CERTIFICATE-----` in it",
        FileFault::NoKey => "name the file that has the private key in it",
        FileFault::Encrypted => {
            "`openssl pkey -in FILE -out PLAIN` writes the key without it; let only the router read it"
        }
        _ => "write the file whole, in PEM, then rename it into place",
    }
}
