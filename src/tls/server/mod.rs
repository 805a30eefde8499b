//! Owns TLS towards clients: the certificates in force, the handshake, and what it says about the client.
//!
//! New connections use what is in force when they come; connections that are open go on as they began.

mod certificates;
mod resolver;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::certificate::PeerCertificate;
use super::files::{FileError, FileFault, Reading};
use super::handshake::{Alpn, HandshakeError, is_http2};
use certificates::{Certificates, Judged};
use resolver::Resolver;
pub use resolver::ServedNames;

/// Sessions of TLS 1.2 clients without tickets that can be resumed, over all workers.
const SESSIONS_MAX: usize = 4_096;

/// A client's connection over TLS.
pub type ServerStream<IO> = tokio_rustls::server::TlsStream<IO>;

/// Where certificates come from and what is asked of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerPlan {
    /// Certificates with their chains, and their keys; the first is shown to clients that name nobody.
    pub pairs: Vec<(PathBuf, PathBuf)>,
    /// A directory of more: `NAME.crt` with `NAME.key`, and directories with `tls.crt` and `tls.key`.
    pub directory: Option<PathBuf>,
    /// Who must sign the certificates of clients.
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for one.
    pub client_auth: ClientAuth,
    /// What a client gets that asks for a name without a certificate.
    pub unknown_names: UnknownNames,
    /// What is offered.
    pub alpn: Alpn,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// They are not.
    #[default]
    Off,
    /// They are, and may come without.
    Optional,
    /// They are, and must have one.
    Required,
}

/// What a client gets that asks for a name without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownNames {
    /// The first certificate.
    #[default]
    Default,
    /// An alert.
    Refuse,
}

/// TLS towards clients, for all workers.
pub struct ServerTls {
    plan: ServerPlan,
    provider: Arc<CryptoProvider>,
    in_force: RwLock<Arc<InForce>>,
}

/// What new connections use.
struct InForce {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
    certificates: Certificates,
    /// Identifies the authorities that clients are verified by.
    client_ca: Option<u64>,
}

/// What a look at the files came to.
#[derive(Debug)]
pub struct Look {
    /// Whether new connections use something new.
    pub changed: bool,
    /// What is wrong with files that were found; what was in force before stays in their place.
    pub refused: Vec<FileError>,
}

/// A certificate in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateStatus {
    /// Its file.
    pub path: PathBuf,
    /// When it ends, in seconds since the epoch.
    pub not_after_unix_s: u64,
}

/// A client connection whose handshake is done.
pub struct Session<IO> {
    /// The connection.
    pub stream: ServerStream<IO>,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// What the client may ask for here; `None` when it named nobody.
    pub served: Option<ServedNames>,
    /// Who the client is.
    pub certificate: Option<PeerCertificate>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files of a plan for the first time; it blocks on the disk.
    ///
    /// A certificate out of its time is taken, for there is none to stay in its place: `refused` of the first
    /// [`Self::look`] has it.
    ///
    /// # Errors
    /// Every file that cannot be used, or the directory when there is no certificate at all.
    pub fn load(plan: ServerPlan) -> Result<Arc<Self>, Vec<FileError>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (certificates, judged) = Certificates::read(&plan, &provider, None, SystemTime::now());
        let fatal = |error: &FileError| !matches!(error.fault, FileFault::Expired | FileFault::NotYetValid);
        let faults: Vec<_> = judged.refused.into_iter().filter(fatal).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        if certificates.is_empty() {
            let place = plan.directory.as_deref().unwrap_or(Path::new("tls-certificate"));
            return Err(vec![FileFault::NoCertificate.at(place)]);
        }
        let in_force = build(&plan, &provider, certificates, None).map_err(|error| vec![error])?;
        Ok(Arc::new(Self { plan, provider, in_force: RwLock::new(Arc::new(in_force)) }))
    }

    /// Looks at the files again; it blocks on the disk, and only one thread may do it.
    pub fn look(&self) -> Look {
        let before = self.in_force();
        let (certificates, judged) =
            Certificates::read(&self.plan, &self.provider, Some(&before.certificates), SystemTime::now());
        let Judged { mut changed, mut refused } = judged;
        let kept = certificates.clone();
        match build(&self.plan, &self.provider, certificates, Some(&before)) {
            Ok(next) => {
                changed |= next.client_ca != before.client_ca;
                if changed {
                    *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
                }
            }
            Err(error) => {
                // The authorities cannot be read: the earlier ones stay, with the certificates that are new.
                refused.push(error);
                if changed {
                    let next = InForce::new(&before.config, kept, before.client_ca, self.plan.unknown_names);
                    *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
                }
            }
        }
        Look { changed, refused }
    }

    /// The certificates in force.
    pub fn certificates(&self) -> Vec<CertificateStatus> {
        self.in_force().certificates.status()
    }

    /// Shakes hands with a client.
    ///
    /// It sets no deadline. Dropping the future closes the connection.
    ///
    /// # Errors
    /// When the client goes away, breaks the protocol, or is not who it must be; an alert has told it.
    pub async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(&self, io: IO) -> Result<Session<IO>, HandshakeError> {
        let in_force = self.in_force();
        let stream = TlsAcceptor::from(Arc::clone(&in_force.config)).accept(io).await?;
        let (_, connection) = stream.get_ref();
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let (http2, resumed) = (is_http2(connection), connection.handshake_kind() == Some(HandshakeKind::Resumed));
        let served = connection.server_name().map(|name| in_force.resolver.served(name));
        let certificate = certificate.and_then(|der| PeerCertificate::read(der));
        Ok(Session { stream, http2, resumed, served, certificate })
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl InForce {
    /// The same configuration with other certificates.
    fn new(config: &ServerConfig, certificates: Certificates, client_ca: Option<u64>, unknown: UnknownNames) -> Self {
        let resolver = Arc::new(Resolver::new(&certificates, unknown));
        let mut config = config.clone();
        config.cert_resolver = Arc::<Resolver>::clone(&resolver);
        Self { config: Arc::new(config), resolver, certificates, client_ca }
    }
}

/// Makes the configuration; sessions can be resumed across it as long as the same clients are trusted.
fn build(
    plan: &ServerPlan,
    provider: &Arc<CryptoProvider>,
    certificates: Certificates,
    before: Option<&InForce>,
) -> Result<InForce, FileError> {
    let mut reading = Reading::default();
    let authorities = match (plan.client_auth, &plan.client_ca) {
        (ClientAuth::Off, _) | (_, None) => None,
        (_, Some(path)) => Some((reading.roots(path)?, path)),
    };
    let client_ca = authorities.is_some().then(|| reading.content());
    if let Some(before) = before.filter(|before| before.client_ca == client_ca) {
        return Ok(InForce::new(&before.config, certificates, client_ca, plan.unknown_names));
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let Ok(builder) = builder.with_safe_default_protocol_versions() else {
        unreachable!("the provider has cipher suites for TLS 1.2 and 1.3")
    };
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some((roots, path)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let optional = plan.client_auth == ClientAuth::Optional;
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| FileFault::BadCertificate(error.to_string()).at(path))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let resolver = Arc::new(Resolver::new(&certificates, plan.unknown_names));
    let mut config = builder.with_cert_resolver(Arc::<Resolver>::clone(&resolver));
    config.alpn_protocols = plan.alpn.names();
    config.session_storage = session_storage();
    if let Some(ticketer) = ticketer() {
        config.ticketer = ticketer;
    }
    // No early data: it can be replayed (rule 2.6). It is the library's default, too, and must stay so.
    config.max_early_data_size = 0;
    Ok(InForce { config: Arc::new(config), resolver, certificates, client_ca })
}

fn session_storage() -> Arc<dyn StoresServerSessions> {
    ServerSessionMemoryCache::new(SESSIONS_MAX)
}

/// Keys for tickets, which the library changes every six hours and forgets after twelve.
///
/// Without randomness for them sessions are resumed from memory alone.
fn ticketer() -> Option<Arc<dyn ProducesTickets>> {
    aws_lc_rs::Ticketer::new().ok()
}
