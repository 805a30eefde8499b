//! Owns what a certificate says: whom it is for, from when until when, who a client is; it never judges trust.

use std::net::IpAddr;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What a certificate of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whom it is for.
    pub(super) names: Names,
    /// When it begins, in seconds since the epoch.
    pub(super) not_before_unix_s: u64,
    /// When it ends, in seconds since the epoch.
    pub(super) not_after_unix_s: u64,
}

/// Whom a certificate is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Lower case; `*.` at the beginning stands for one label.
    pub(super) hosts: Vec<Box<str>>,
    pub(super) addresses: Vec<IpAddr>,
}

/// Who a client is, by the certificate that it showed and that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject in the form of RFC 4514, such as `CN=alice,O=Example`.
    pub subject: Box<str>,
    /// The issuer in the same form.
    pub issuer: Box<str>,
    /// The first alternative name that is a host name or a URI (SPIFFE ids are URIs).
    pub san: Option<Box<str>>,
    /// The SHA-256 of the certificate, in lower-case hexadecimal.
    pub fingerprint: Box<str>,
}

impl Facts {
    /// Reads a certificate; the error says what is wrong with it.
    pub(super) fn read(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
        let validity = certificate.tbs_certificate().validity();
        Ok(Self {
            names: Names::of(&certificate),
            not_before_unix_s: validity.not_before.to_unix_duration().as_secs(),
            not_after_unix_s: validity.not_after.to_unix_duration().as_secs(),
        })
    }
}

impl Names {
    fn of(certificate: &Certificate) -> Self {
        let mut names = Self::default();
        match alternative_names(certificate) {
            Some(SubjectAltName(all)) => {
                for name in &all {
                    match name {
                        GeneralName::DnsName(host) => names.hosts.push(host.as_str().to_ascii_lowercase().into()),
                        GeneralName::IpAddress(bytes) => names.addresses.extend(address(bytes.as_bytes())),
                        _ => {}
                    }
                }
            }
            // Certificates made by hand often have nothing else.
            None => names.hosts.extend(common_name(certificate).map(|name| name.to_ascii_lowercase().into())),
        }
        names
    }

    /// Whether the certificate is for a host, which may be an address; letters of either case are the same.
    pub(super) fn cover(&self, host: &str) -> bool {
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return self.addresses.contains(&address.to_canonical());
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.hosts.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => parent.is_some_and(|parent| parent.eq_ignore_ascii_case(suffix)),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

impl PeerCertificate {
    /// Reads a client's certificate; `None` when it is odder than the verifier minds.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let names = alternative_names(&certificate).map_or_else(Vec::new, |SubjectAltName(names)| names);
        let san = names.iter().find_map(|name| match name {
            GeneralName::DnsName(text) | GeneralName::UniformResourceIdentifier(text) => Some(text.as_str().into()),
            _ => None,
        });
        let body = certificate.tbs_certificate();
        Some(Self {
            subject: body.subject().to_string().into(),
            issuer: body.issuer().to_string().into(),
            san,
            fingerprint: sha256(der).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        })
    }
}

fn alternative_names(certificate: &Certificate) -> Option<SubjectAltName> {
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()?;
    found.map(|(_critical, names)| names)
}

fn common_name(certificate: &Certificate) -> Option<String> {
    let parts = certificate.tbs_certificate().subject().iter_rdn().flat_map(|part| part.iter());
    let value = &parts.filter(|attribute| attribute.oid == COMMON_NAME).last()?.value;
    let utf8 = Utf8StringRef::try_from(value).ok().map(|text| text.as_str().to_owned());
    utf8.or_else(|| PrintableStringRef::try_from(value).ok().map(|text| text.as_str().to_owned()))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// The provider's SHA-256: it is the hash of this cipher suite.
fn sha256(bytes: &[u8]) -> Vec<u8> {
    match TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider.hash(bytes).as_ref().to_vec(),
        SupportedCipherSuite::Tls12(_) => unreachable!("the suite is one of TLS 1.3"),
    }
}
