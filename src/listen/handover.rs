//! Owns the hand-over of listening sockets between two processes of one user, over a unix socket in the state directory.
//!
//! The new process connects and receives the sockets; it serves on them and says so; only then does the old one drain.
//! A new process that dies before that changes nothing.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::{ClientListener, Sockets, Transport};

/// The socket's name in the state directory.
const NAME: &str = "handover.sock";
/// The first byte of an offer: refuses strangers and other versions. Then come the number of descriptors as one byte, and
/// a byte for each of them but the last, which is admin's: what clients speak there.
const VERSION: u8 = 2;
/// Says that clients speak HTTP in the clear on a socket.
const PLAIN: u8 = b'P';
/// Says that clients speak TLS on a socket.
const TLS: u8 = b'T';
/// Descriptors in one message, at most (the kernel's own limit is 253).
const DESCRIPTORS_MAX: usize = 250;
/// How long either side waits for the other before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the new process says once it serves.
const SERVING: u8 = b'S';

/// An offer of this process's sockets to the process that comes after it.
#[derive(Debug)]
pub struct Offer {
    listener: UnixListener,
}

/// The new process's end of a hand-over: the old process waits for a word.
#[derive(Debug)]
pub struct Successor(UnixStream);

impl Successor {
    /// Tells the old process that this one serves, so that it drains.
    ///
    /// # Errors
    /// When the old process is gone.
    pub fn tell_serving(mut self) -> io::Result<()> {
        self.0.write_all(&[SERVING])
    }
}

/// Whether a process serves from a state directory; it takes no harm from the question.
pub fn is_served(state_dir: &Path) -> bool {
    UnixStream::connect(state_dir.join(NAME)).is_ok()
}

/// Asks a running process for its sockets; `None` when there is none to ask.
///
/// A process that drains already has only the admin socket left to give.
///
/// # Errors
/// When one answers but does not hand over.
pub fn take_over(state_dir: &Path) -> io::Result<Option<(Sockets, Successor)>> {
    let stream = match UnixStream::connect(state_dir.join(NAME)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut descriptors, transports) = receive(&stream)?;
    let Some(admin) = descriptors.pop() else { return Err(io::Error::other("the running process offered no sockets")) };
    let clients = descriptors.into_iter().map(TcpListener::from).zip(transports);
    let clients = clients.map(|(socket, transport)| ClientListener { socket, transport }).collect();
    Ok(Some((Sockets::new(clients, TcpListener::from(admin)), Successor(stream))))
}

fn receive(stream: &UnixStream) -> io::Result<(Vec<OwnedFd>, Vec<Transport>)> {
    let mut head = [0; 2 + DESCRIPTORS_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut head)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let other = || io::Error::other("the running process speaks another hand-over version");
    let complete = got.bytes >= 2 && head[0] == VERSION && !got.flags.contains(ReturnFlags::CTRUNC);
    let clients = descriptors.len().saturating_sub(1);
    if !complete || usize::from(head[1]) != descriptors.len() || got.bytes != 2 + clients {
        return Err(other());
    }
    let transports: Option<Vec<_>> = head[2..got.bytes].iter().map(|byte| transport(*byte)).collect();
    Ok((descriptors, transports.ok_or_else(other)?))
}

fn transport(byte: u8) -> Option<Transport> {
    match byte {
        PLAIN => Some(Transport::Plain),
        TLS => Some(Transport::Tls),
        _ => None,
    }
}

impl Offer {
    /// Opens the offer's socket, mode 0600, in place of an earlier process's.
    ///
    /// # Errors
    /// When the state directory cannot be written to.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;

        let path = state_dir.join(NAME);
        let fresh = state_dir.join(format!("{NAME}.{}", std::process::id()));
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, &path)?;
        Ok(Self { listener })
    }

    /// Waits until a new process has taken the sockets and serves; blocks its thread.
    ///
    /// # Errors
    /// When the offer's socket breaks.
    pub fn wait_until_taken(&self, sockets: &Sockets) -> io::Result<()> {
        loop {
            let (stream, _) = self.listener.accept()?;
            match offer_to(stream, sockets) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "a hand-over did not complete; serving on"),
            }
        }
    }
}

fn offer_to(mut stream: UnixStream, sockets: &Sockets) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if peer.uid != rustix::process::geteuid() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user asked for the sockets"));
    }
    // A process that drains has closed its client listeners: it passes admin's alone.
    let clients = sockets.clients();
    let descriptors: Vec<BorrowedFd<'_>> =
        clients.iter().map(|client| &client.socket).chain([&sockets.admin]).map(AsFd::as_fd).collect();
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::other("too many sockets for one hand-over"));
    }
    let count = u8::try_from(descriptors.len()).map_err(io::Error::other)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let transports = clients.iter().map(|client| match client.transport {
        Transport::Plain => PLAIN,
        Transport::Tls => TLS,
    });
    let head: Vec<u8> = [VERSION, count].into_iter().chain(transports).collect();
    sendmsg(&stream, &[IoSlice::new(&head)], &mut control, SendFlags::empty())?;
    drop(clients);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut word = [0];
    stream.read_exact(&mut word).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::other("the new process ended before it served; its own log says why")
        }
        io::ErrorKind::WouldBlock => io::Error::other("the new process does not serve in time"),
        _ => error,
    })?;
    if word == [SERVING] { Ok(()) } else { Err(io::Error::other("the new process said something else")) }
}
