//! A certificate authority that issues what a test needs, and keeps its files in a directory of its own.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// An authority with its directory.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a certificate is to be.
pub(crate) struct Order<'a> {
    pub(crate) names: &'a [&'a str],
    pub(crate) subject: &'a str,
    pub(crate) uri: Option<&'a str>,
    pub(crate) rsa: bool,
    /// The first and the last year.
    pub(crate) years: (i32, i32),
}

impl Default for Order<'_> {
    fn default() -> Self {
        Self { names: &[], subject: "someone", uri: None, rsa: false, years: (2020, 2100) }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, directory: tempfile::tempdir().unwrap() };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    /// The file of its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file as careful programs do: a whole new one, renamed into place.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, fresh) = (self.path(name), self.path(&format!("{name}.new")));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, &path).unwrap();
        path
    }

    pub(crate) fn issue(&self, order: &Order<'_>) -> Issued {
        let mut params = CertificateParams::new(order.names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let params = params.as_mut().unwrap();
        params.distinguished_name = common_name(order.subject);
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.subject_alt_names.extend(order.uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
        params.not_before = date_time_ymd(order.years.0, 1, 1);
        params.not_after = date_time_ymd(order.years.1, 12, 31);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = match order.rsa {
            true => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
            false => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
        };
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Issues a certificate for names.
    pub(crate) fn issue_for(&self, names: &[&str]) -> Issued {
        self.issue(&Order { names, ..Order::default() })
    }

    /// Writes a certificate and its key as `NAME.crt` and `NAME.key`; gives the settings that name them.
    pub(crate) fn install(&self, name: &str, issued: &Issued) -> [String; 2] {
        // The key first: a reader in between sees a pair that does not match, never a wrong one.
        let key = self.write(&format!("{name}.key"), &issued.key);
        let certificate = self.write(&format!("{name}.crt"), &issued.certificate);
        [format!("--tls-certificate={}", certificate.display()), format!("--tls-key={}", key.display())]
    }

    /// Issues and installs a certificate for names.
    pub(crate) fn server(&self, names: &[&str]) -> [String; 2] {
        self.install("server", &self.issue_for(names))
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

impl Issued {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }

    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
