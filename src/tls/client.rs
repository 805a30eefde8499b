//! Owns TLS towards upstreams: whom to trust, what to show, which name to expect.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::files::{FileError, Reading};
use super::handshake::{Alpn, HandshakeError, HandshakeFault, is_http2};

/// Sessions that can be resumed, an upstream.
const SESSIONS_MAX: usize = 256;

/// A connection to an upstream over TLS.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// What an upstream's `tls:` says, with complete paths; the default trusts the system's roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientPlan {
    /// The certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The client certificate, with its chain, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the upstream's certificate must have, and that SNI sends, instead of the endpoint's host.
    pub server_name: Option<Box<str>>,
    /// Takes any certificate; whoever is in between reads and changes everything.
    pub insecure: bool,
    /// What to offer.
    pub alpn: Alpn,
}

impl ClientPlan {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let (certificate, key) = self.identity.as_ref().map(|(certificate, key)| (certificate, key)).unzip();
        [self.ca.as_ref(), certificate, key].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// TLS towards one upstream; two are equal when plan and files are.
///
/// All workers share one, and with it the sessions that can be resumed.
#[derive(Debug)]
pub struct ClientTls {
    plan: ClientPlan,
    /// Identifies what the files held.
    content: u64,
    server_name: Option<ServerName<'static>>,
    connector: Config,
}

/// The library's configuration, without its keys in debug output.
struct Config(Arc<ClientConfig>);

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Config")
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.plan == other.plan && self.content == other.content
    }
}

impl Eq for ClientTls {}

/// Says why TLS towards an upstream cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientTlsError {
    /// A file cannot be used.
    #[error("{0}")]
    File(#[from] FileError),
    /// The name can stand in no certificate.
    #[error("`{0}` is neither a host name nor an address")]
    ServerName(Box<str>),
    /// The system trusts nobody.
    #[error("the system has no root certificates; name a file of your own")]
    NoSystemRoots,
}

impl ClientTls {
    /// Reads the files of a plan; it blocks on the disk.
    ///
    /// # Errors
    /// When a file cannot be used, or there is nobody to trust.
    pub fn load(plan: ClientPlan) -> Result<Arc<Self>, ClientTlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut reading = Reading::default();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        // Both versions are compiled in and the provider has suites for each: this cannot fail.
        let Ok(builder) = builder.with_safe_default_protocol_versions() else {
            unreachable!("the provider has cipher suites for TLS 1.2 and 1.3")
        };
        let builder = match (plan.insecure, &plan.ca) {
            (true, _) => {
                let algorithms = provider.signature_verification_algorithms;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(TakesAnyCertificate { algorithms }))
            }
            (false, Some(ca)) => builder.with_root_certificates(reading.roots(ca)?),
            (false, None) => builder.with_root_certificates(system_roots()?),
        };
        let mut config = match &plan.identity {
            Some((certificate, key)) => {
                let pair = identity(&mut reading, certificate, key, &provider)?;
                builder.with_client_cert_resolver(pair)
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = plan.alpn.names();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        let server_name = plan.server_name.as_deref().map(name).transpose()?;
        let content = reading.content();
        Ok(Arc::new(Self { plan, content, server_name, connector: Config(Arc::new(config)) }))
    }

    /// Shakes hands over a connection to `host`, a name or an address.
    ///
    /// It sets no deadline. Dropping the future closes the connection.
    ///
    /// # Errors
    /// When the upstream goes away, cannot show who it is, or does not speak the same TLS.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> Result<ClientStream, HandshakeError> {
        let server_name = match &self.server_name {
            Some(name) => name.clone(),
            None => name(host).map_err(|error| HandshakeError::own(HandshakeFault::UnknownName, error))?,
        };
        Ok(TlsConnector::from(Arc::clone(&self.connector.0)).connect(server_name, stream).await?)
    }

    /// The plan it was made from.
    pub fn plan(&self) -> &ClientPlan {
        &self.plan
    }
}

/// Whether the upstream chose HTTP/2.
pub fn speaks_http2(stream: &ClientStream) -> bool {
    is_http2(stream.get_ref().1)
}

fn name(host: &str) -> Result<ServerName<'static>, ClientTlsError> {
    // A certificate has no final dot.
    let bare = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| ClientTlsError::ServerName(host.into()))
}

fn identity(
    reading: &mut Reading,
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<SingleCertAndKey>, FileError> {
    Ok(Arc::new(SingleCertAndKey::from(reading.pair(certificate, key, provider)?)))
}

/// The system's roots, read once: whoever changes them restarts what trusts them.
fn system_roots() -> Result<Arc<RootCertStore>, ClientTlsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // Of hundreds of roots one may be odd; the others serve.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() { Err(ClientTlsError::NoSystemRoots) } else { Ok(Arc::clone(roots)) }
}

/// Takes any certificate, but still only from whoever has its key.
#[derive(Debug)]
struct TakesAnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for TakesAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
