//! A TLS client that reads answers as strictly as the plain one.

use std::io::{self, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

use super::PATIENCE;
use super::authority::{Authority, Issued};
use super::message::{Framing, Message, Reader};

/// A client, with the sessions that it can resume.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) config: ClientConfig,
}

/// One client connection over TLS.
pub(crate) struct SecureWire {
    reader: Reader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Client {
    pub(crate) fn new(authority: &Authority) -> Self {
        Self::with(authority, aws_lc_rs::default_provider(), rustls::ALL_VERSIONS, None)
    }

    /// Shows a certificate.
    pub(crate) fn showing(authority: &Authority, own: &Issued) -> Self {
        Self::with(authority, aws_lc_rs::default_provider(), rustls::ALL_VERSIONS, Some(own))
    }

    pub(crate) fn with(
        authority: &Authority,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(authority.roots());
        let mut config = match own {
            Some(own) => builder.with_client_auth_cert(vec![own.der()], own.key_der()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.enable_early_data = true;
        Self { config }
    }

    /// Takes any certificate, as a client that clicked the warning away.
    pub(crate) fn careless(mut self) -> Self {
        self.config.dangerous().set_certificate_verifier(Arc::new(Careless));
        self
    }

    pub(crate) fn alpn(mut self, names: &[&str]) -> Self {
        self.config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Sends no SNI.
    pub(crate) fn nameless(mut self) -> Self {
        self.config.enable_sni = false;
        self
    }

    /// Connects and shakes hands.
    pub(crate) fn try_connect(&self, address: SocketAddr, name: &str) -> io::Result<SecureWire> {
        self.try_over(TcpStream::connect_timeout(&address, PATIENCE).expect("the router accepts"), name)
    }

    /// Shakes hands over a connection.
    pub(crate) fn try_over(&self, mut stream: TcpStream, name: &str) -> io::Result<SecureWire> {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(self.config.clone()), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(SecureWire { reader: Reader::new(StreamOwned::new(connection, stream)) })
    }

    pub(crate) fn connect(&self, address: SocketAddr, name: &str) -> SecureWire {
        self.try_connect(address, name).expect("a handshake")
    }
}

impl SecureWire {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let stream = &mut self.reader.stream;
        if let Err(error) = stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()) {
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        }
        self
    }

    /// Reads the next answer that is not 1xx; an error when the connection ends without one.
    pub(crate) fn try_answer(&mut self) -> io::Result<Message> {
        let mut message = self.reader.head()?.ok_or(ErrorKind::UnexpectedEof)?;
        let framing = Framing::of_response(&message, "GET");
        self.reader.body(&mut message, framing)?;
        Ok(message)
    }

    pub(crate) fn answer(&mut self) -> Message {
        self.try_answer().expect("an answer")
    }

    /// Gets `/` from a host.
    pub(crate) fn get(&mut self, host: &str) -> Message {
        self.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).answer()
    }

    /// The router must end the session in order: close_notify, then the end of the stream.
    pub(crate) fn assert_closed_in_order(&mut self) {
        while self.reader.fill().expect("no cut without close_notify") {}
        assert!(self.reader.buffer.is_empty());
    }

    pub(crate) fn connection(&self) -> &ClientConnection {
        &self.reader.stream.conn
    }

    pub(crate) fn stream(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        &mut self.reader.stream
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.connection().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the router showed.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        self.connection().peer_certificates().expect("a certificate")[0].clone()
    }
}

#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
