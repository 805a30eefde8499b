//! Owns the PROXY protocol header at the beginning of a client connection: who must send one, and taking it off.

use std::io;
use std::net::IpAddr;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::network::Network;
use crate::proxy_protocol::{Announced, HEADER_BYTES_MAX, HeaderError, Parsed, parse};

/// Bytes looked at in one go; a header that is longer takes another look.
const LOOK_BYTES: usize = 256;

/// Says why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnnouncementError {
    #[error("{0}")]
    Header(#[from] HeaderError),
    #[error("the connection ended before its PROXY protocol header: {0}")]
    Ended(#[from] io::Error),
}

/// Whether connections from an address begin with a header.
pub(super) fn is_due(peer: IpAddr, networks: &[Network]) -> bool {
    networks.iter().any(|network| network.contains(peer))
}

/// Takes the header off; what follows it stays in the socket.
///
/// It looks before it reads, so that not a byte of TLS or HTTP is taken. It sets no deadline.
pub(super) async fn take(stream: &mut TcpStream) -> Result<Announced, AnnouncementError> {
    let mut header = Vec::with_capacity(LOOK_BYTES);
    loop {
        let mut seen = [0; LOOK_BYTES];
        let room = (HEADER_BYTES_MAX - header.len()).min(LOOK_BYTES);
        let count = stream.peek(&mut seen[..room]).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let before = header.len();
        header.extend_from_slice(&seen[..count]);
        let parsed = parse(&header)?;
        // All that was seen belongs to the header, or what is left of it does.
        let own = match parsed {
            Parsed::Partial => count,
            Parsed::Whole { bytes, .. } => bytes - before,
        };
        stream.read_exact(&mut seen[..own]).await?;
        if let Parsed::Whole { announced, .. } = parsed {
            return Ok(announced);
        }
    }
}
