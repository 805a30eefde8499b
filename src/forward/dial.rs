//! Owns opening a connection to an upstream: TCP, the PROXY header, TLS, and which HTTP it will speak.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::stream::Stream;
use crate::clock;
use crate::fault::Fault;
use crate::limits::descriptors;
use crate::proxy_protocol;
use crate::tls::client::{self, ClientTls};
use crate::tls::{HandshakeError, HandshakeFault};
use crate::upstream::{Protocol, Upstream};

/// How long a worker says nothing more of failed handshakes after it has told of one.
const QUIET_MS: u64 = 100;

/// What is dialled.
pub(super) struct Dial<'d> {
    pub(super) upstream: &'d Upstream,
    pub(super) address: SocketAddr,
    /// Whom the connection stands for, where the upstream is told.
    pub(super) client: SocketAddr,
}

/// A connection on which nothing has been asked yet.
pub(super) struct Dialled {
    pub(super) stream: Stream,
    pub(super) is_http2: bool,
}

impl Dial<'_> {
    /// Opens the connection; it sets no deadline.
    ///
    /// # Errors
    /// The fault that an exchange ends with for want of a connection.
    pub(super) async fn open(&self) -> Result<Dialled, Fault> {
        let tcp = self.connect().await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Fault::ConnectTimeout,
            _ if is_our_lack(&error) => Fault::LimitReached,
            _ => Fault::ConnectRefused,
        })?;
        let Some(tls) = &self.upstream.tls else {
            return Ok(Dialled { stream: Stream::Tcp(tcp), is_http2: self.upstream.protocol == Protocol::Http2 });
        };
        let stream = self.secure(tls, tcp).await.map_err(|error| match error.fault {
            HandshakeFault::Certificate | HandshakeFault::UnknownName => Fault::TlsCertificate,
            _ => Fault::TlsHandshake,
        })?;
        let is_http2 = client::speaks_http2(&stream);
        Ok(Dialled { stream: Stream::Layered(Box::new(stream)), is_http2 })
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await?;
        if !descriptors::suffice_for_upstream(&stream) {
            return Err(rustix::io::Errno::MFILE.into());
        }
        stream.set_nodelay(true)?;
        if let Some(version) = self.upstream.proxy_protocol {
            // Before all else, TLS included.
            stream.write_all(&proxy_protocol::write(version, self.client, self.address)).await?;
        }
        Ok(stream)
    }

    async fn secure(&self, tls: &ClientTls, tcp: TcpStream) -> Result<client::ClientStream, HandshakeError> {
        let endpoint = self.upstream.endpoints.iter().find(|endpoint| endpoint.addresses.contains(&self.address));
        let connected = tls.connect(endpoint.map_or("", |endpoint| &endpoint.host), tcp).await;
        if let Err(error) = &connected {
            self.tell(error);
        }
        connected
    }

    /// The log line of a failed handshake, which alone knows the reason; a flood of them is thinned.
    fn tell(&self, error: &HandshakeError) {
        thread_local!(static QUIET_UNTIL_MS: Cell<u64> = const { Cell::new(0) });
        let now = clock::now_ms();
        if now < QUIET_UNTIL_MS.get() {
            return;
        }
        QUIET_UNTIL_MS.set(now + QUIET_MS);
        tracing::warn!(upstream = &*self.upstream.name, endpoint = %self.address, %error, "TLS with an upstream failed");
    }
}

/// Whether a connection was not opened because of ourselves, which says nothing about the endpoint.
fn is_our_lack(error: &io::Error) -> bool {
    let lacking = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(rustix::io::Errno::raw_os_error);
    error.raw_os_error().is_some_and(|errno| lacking.contains(&errno))
}
