//! Owns the set of certificates: which files make it, and what stays when one of them is no good.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;

use super::super::certificate::Facts;
use super::super::files::{FileError, FileFault, Reading};
use super::{CertificateStatus, ServerPlan};

/// The most certificates in a directory; a directory of something else must not exhaust the memory.
const CERTIFICATES_MAX: usize = 10_000;
/// What certificate and key are called in a directory of their own: as Kubernetes and cert-manager write them, and as
/// certbot does.
const OWN_DIRECTORY: [(&str, &str); 2] = [("tls.crt", "tls.key"), ("fullchain.pem", "privkey.pem")];

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Pair {
    path: PathBuf,
    /// Identifies the bytes of both files.
    content: u64,
    /// Whether the last look missed its files.
    missed: AtomicBool,
    pub(super) facts: Facts,
    pub(super) key: Arc<CertifiedKey>,
}

/// The certificates of a router; the first is shown to clients that name nobody.
#[derive(Debug, Clone, Default)]
pub(super) struct Certificates {
    pairs: Vec<Arc<Pair>>,
}

/// What reading came to.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Whether anything is other than before.
    pub(super) changed: bool,
    /// The files that are not used, or are used though they are gone or their time is not now.
    pub(super) refused: Vec<FileError>,
}

impl Certificates {
    /// Reads the files of a plan; for one that is no good, what was there `before` stays.
    ///
    /// Pairs that left the directory leave with the second look, when all that are left could be read: a file that is
    /// being replaced or renamed must not take its name out of service.
    pub(super) fn read(
        plan: &ServerPlan,
        provider: &CryptoProvider,
        before: Option<&Self>,
        now: SystemTime,
    ) -> (Self, Judged) {
        let mut judged = Judged::default();
        let mut wanted = plan.pairs.clone();
        let mut whole = true;
        match plan.directory.as_deref().map(list).transpose() {
            Ok(listed) => wanted.extend(listed.into_iter().flatten()),
            Err(error) => {
                judged.refused.push(error);
                whole = false;
            }
        }
        let mut all = Self { pairs: Vec::with_capacity(wanted.len()) };
        for (certificate, key) in &wanted {
            let old = before.and_then(|before| before.pairs.iter().find(|pair| pair.path == *certificate));
            match read(certificate, key, provider, old, before.is_none(), now) {
                Ok((pair, untimely)) => {
                    judged.changed |= old.is_none_or(|old| !Arc::ptr_eq(old, &pair));
                    judged.refused.extend(untimely.map(|fault| fault.at(certificate)));
                    all.pairs.push(pair);
                }
                Err(error) => {
                    judged.refused.push(error);
                    all.pairs.extend(old.cloned());
                    whole = false;
                }
            }
        }
        whole &= !all.is_empty();
        for pair in before.into_iter().flat_map(|before| &before.pairs) {
            let gone = !wanted.iter().any(|(path, _)| *path == pair.path);
            let missed = pair.missed.swap(gone, Ordering::Relaxed);
            if gone && whole && missed {
                judged.changed = true;
            } else if gone {
                judged.refused.push(FileFault::Unreadable("it is gone".to_owned()).at(&pair.path));
                all.pairs.push(Arc::clone(pair));
            }
        }
        all.sort(unix_s(now));
        (all, judged)
    }

    /// Moves the first one's twins, with the same names, to the front; there and behind, those out of their time stand
    /// last, and before them RSA.
    fn sort(&mut self, now_unix_s: u64) {
        let Some(first) = self.pairs.first().map(|first| first.facts.names.clone()) else { return };
        let is_rsa = |pair: &Pair| pair.key.key.algorithm() == SignatureAlgorithm::RSA;
        let is_untimely = |pair: &Pair| untimely(&pair.facts, now_unix_s).is_some();
        self.pairs.sort_by_key(|pair| (pair.facts.names != first, is_untimely(pair), is_rsa(pair)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All of them; where several have the names of the first, or of one another, small and fast keys stand before RSA.
    pub(super) fn pairs(&self) -> &[Arc<Pair>] {
        &self.pairs
    }

    pub(super) fn status(&self) -> Vec<CertificateStatus> {
        let status = |pair: &Arc<Pair>| CertificateStatus {
            path: pair.path.clone(),
            not_after_unix_s: pair.facts.not_after_unix_s,
        };
        self.pairs.iter().map(status).collect()
    }
}

/// Reads a pair; gives the old one back when nothing changed, and what is wrong with its time.
///
/// Only the `first` set takes a pair out of its time: later something better is in force.
fn read(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
    old: Option<&Arc<Pair>>,
    first: bool,
    now: SystemTime,
) -> Result<(Arc<Pair>, Option<FileFault>), FileError> {
    let mut reading = Reading::default();
    let pair = reading.pair(certificate, key, provider)?;
    let content = reading.content();
    let now_unix_s = unix_s(now);
    if let Some(old) = old.filter(|old| old.content == content) {
        return Ok((Arc::clone(old), untimely(&old.facts, now_unix_s)));
    }
    let der = pair.end_entity_cert().map_err(|error| FileFault::BadCertificate(error.to_string()).at(certificate))?;
    let facts = Facts::read(der).map_err(|error| FileFault::BadCertificate(error).at(certificate))?;
    let untimely = untimely(&facts, now_unix_s);
    if let Some(fault) = untimely.as_ref().filter(|_| !first) {
        return Err(fault.clone().at(certificate));
    }
    let (path, key) = (certificate.to_owned(), Arc::new(pair));
    Ok((Arc::new(Pair { path, content, missed: AtomicBool::new(false), facts, key }), untimely))
}

fn unix_s(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn untimely(facts: &Facts, now_unix_s: u64) -> Option<FileFault> {
    if now_unix_s > facts.not_after_unix_s {
        return Some(FileFault::Expired);
    }
    (now_unix_s < facts.not_before_unix_s).then_some(FileFault::NotYetValid)
}

/// The pairs of a directory, in the order of their names.
fn list(directory: &Path) -> Result<Vec<(PathBuf, PathBuf)>, FileError> {
    let unreadable = |error: std::io::Error| FileFault::Unreadable(error.to_string()).at(directory);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        names.insert(entry.map_err(unreadable)?.path());
        if names.len() > CERTIFICATES_MAX {
            return Err(FileFault::TooMany.at(directory));
        }
    }
    Ok(names.iter().filter_map(|path| pair_at(path)).collect())
}

/// The pair that an entry of a directory stands for; `..data` and its like belong to Kubernetes.
fn pair_at(path: &Path) -> Option<(PathBuf, PathBuf)> {
    if path.file_name()?.as_encoded_bytes().starts_with(b".") {
        return None;
    }
    if path.is_dir() {
        let pairs = OWN_DIRECTORY.map(|(certificate, key)| (path.join(certificate), path.join(key)));
        return pairs.into_iter().find(|(certificate, _)| certificate.exists());
    }
    (path.extension()? == "crt").then(|| (path.to_owned(), path.with_extension("key")))
}
