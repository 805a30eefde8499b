//! Owns the choice of a certificate by the name that a client asks for, and what it may then ask for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::UnknownNames;
use super::certificates::{Certificates, Pair};

/// The certificates by name; several for one name differ in the kind of their keys.
#[derive(Debug)]
pub(super) struct Resolver {
    /// Exact names, and `*.` names as they are written.
    by_name: HashMap<Box<str>, Vec<Arc<Pair>>>,
    /// What clients get that name nobody.
    first: Vec<Arc<Pair>>,
    unknown: UnknownNames,
}

/// What a client may ask for on a connection: the name it gave, and all names of the certificates it may have seen.
#[derive(Debug, Clone)]
pub struct ServedNames {
    name: Box<str>,
    pairs: Vec<Arc<Pair>>,
}

impl ServedNames {
    /// Whether a host, without its port, is served on the connection (rule H10).
    pub fn cover(&self, host: &str) -> bool {
        self.name.eq_ignore_ascii_case(host) || self.pairs.iter().any(|pair| pair.facts.names.cover(host))
    }
}

impl Resolver {
    pub(super) fn new(certificates: &Certificates, unknown: UnknownNames) -> Self {
        let mut by_name: HashMap<Box<str>, Vec<Arc<Pair>>> = HashMap::new();
        for pair in certificates.pairs() {
            for name in &pair.facts.names.hosts {
                by_name.entry(name.clone()).or_default().push(Arc::clone(pair));
            }
        }
        // The first certificate's twins of another kind of key serve clients that cannot read it.
        let twins = certificates.pairs().chunk_by(|one, other| one.facts.names == other.facts.names).next();
        let first = twins.unwrap_or_default().to_vec();
        Self { by_name, first, unknown }
    }

    /// The certificates for a name: the exact ones, then those with `*.`, then the first.
    fn find(&self, name: &str) -> &[Arc<Pair>] {
        let name = name.to_ascii_lowercase();
        let wild = || name.split_once('.').and_then(|(_, parent)| self.by_name.get(&*format!("*.{parent}")));
        match self.by_name.get(&*name).or_else(wild) {
            Some(pairs) => pairs,
            None if self.unknown == UnknownNames::Refuse => &[],
            None => &self.first,
        }
    }

    /// What a client that asked for `name` may ask for.
    pub(super) fn served(&self, name: &str) -> ServedNames {
        ServedNames { name: name.into(), pairs: self.find(name).to_vec() }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pairs = hello.server_name().map_or(&*self.first, |name| self.find(name));
        let fits = |pair: &&Arc<Pair>| pair.key.key.choose_scheme(hello.signature_schemes()).is_some();
        // The client's capabilities fit none: the library's own alert says so better than we could.
        pairs.iter().find(fits).or(pairs.first()).map(|pair| Arc::clone(&pair.key))
    }
}
