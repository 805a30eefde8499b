//! Owns looking after the certificates shown to clients: when to read them again, and who is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::observe::Metrics;
use crate::tls::FileError;
use crate::tls::server::ServerTls;

/// The certificates, as the reload thread sees them.
pub(super) struct Certificates {
    tls: Arc<ServerTls>,
    metrics: Arc<Metrics>,
    /// What was refused last time, so that it is logged once.
    refused: Vec<FileError>,
}

impl Certificates {
    pub(super) fn new(tls: Arc<ServerTls>, metrics: Arc<Metrics>) -> Self {
        let certificates = Self { tls, metrics, refused: Vec::new() };
        certificates.describe();
        certificates
    }

    /// Reads the files, and puts in force what is good and new.
    ///
    /// What is no good may be half written: it is told only if it is the same after another `quiet` time.
    pub(super) fn look(&mut self, quiet: Duration) {
        let mut look = self.tls.look();
        let mut changed = look.changed;
        if look.refused.iter().any(|error| !self.refused.contains(error)) {
            std::thread::sleep(quiet);
            look = self.tls.look();
            changed |= look.changed;
        }
        if changed {
            self.metrics.certificates.reloads.increment();
            let files: Vec<_> = self.tls.certificates().into_iter().map(|status| shown(status.path)).collect();
            tracing::info!(certificates = files.join(","), "certificates are in force for new connections");
        }
        let before = std::mem::replace(&mut self.refused, look.refused);
        self.describe();
        self.tell(&before);
    }

    /// Logs what is not as it was `before`.
    fn tell(&self, before: &[FileError]) {
        for error in self.refused.iter().filter(|error| !before.contains(error)) {
            tracing::error!(%error, "a certificate is not as it should be; the one in force stays");
        }
        if self.refused.is_empty() && !before.is_empty() {
            tracing::info!("all certificates are as they should be again");
        }
    }

    fn describe(&self) {
        let metrics = &self.metrics.certificates;
        let status = self.tls.certificates().into_iter();
        metrics.describe(status.map(|status| (shown(status.path), status.not_after_unix_s)).collect());
        metrics.refused.set(i64::try_from(self.refused.len()).unwrap_or(i64::MAX));
    }
}

fn shown(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}
