//! Owns listening sockets: opening them, inheriting them, handing them over; it never accepts.
//!
//! Closing a reuse-port listener drops what sits in its accept queue, so a new process takes the very sockets of the
//! old one, from systemd or from the running process.

mod handover;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::{Domain, Protocol, Socket, Type};

pub use handover::{Offer, Successor, is_served, take_over};

/// Connections that wait in a socket's accept queue, at most (the kernel may allow fewer).
const BACKLOG: i32 = 4_096;

/// What clients speak first on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP in the clear.
    Plain,
    /// TLS.
    Tls,
}

/// A listener for clients.
#[derive(Debug)]
pub struct ClientListener {
    /// The socket.
    pub socket: TcpListener,
    /// What clients speak there first.
    pub transport: Transport,
}

/// An address to listen on for clients.
pub type ClientAddress = (SocketAddr, Transport);

impl ClientListener {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, transport: self.transport })
    }
}

/// What systemd's `FileDescriptorName=` says of a socket for TLS.
const TLS_SOCKET_NAME: &str = "tls";

/// The open sockets of a process.
///
/// Workers and the control plane accept on duplicates; these stay open for a later process until the drain.
#[derive(Debug)]
pub struct Sockets {
    /// The client listeners; empty once closed.
    clients: Mutex<Vec<ClientListener>>,
    /// The admin listener.
    pub admin: TcpListener,
}

/// Says which address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; choose another address with --listen or --admin, or use the state directory of \
     the router that runs there, to take it over"
)]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

impl Sockets {
    fn new(clients: Vec<ClientListener>, admin: TcpListener) -> Self {
        Self { clients: Mutex::new(clients), admin }
    }

    /// Opens `workers` reuse-port listeners on every client address, and the admin listener.
    ///
    /// # Errors
    /// When an address is in use, not ours, or needs rights that the process lacks.
    pub fn open(clients: &[ClientAddress], admin: SocketAddr, workers: usize) -> Result<Self, ListenError> {
        for &(address, _) in clients {
            // Reuse-port would silently share the port with another router of the same user: its clients would be split.
            drop(bind(address, false).map_err(|source| ListenError { address, source })?);
        }
        Ok(Self::new(reuse_port_listeners(clients, workers)?, listener(admin, false)?))
    }

    /// Whether there are client listeners.
    pub fn has_clients(&self) -> bool {
        !self.clients().is_empty()
    }

    /// Opens client listeners beside an admin socket that is there already.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_clients(&self, clients: &[ClientAddress], workers: usize) -> Result<(), ListenError> {
        self.clients().extend(reuse_port_listeners(clients, workers)?);
        Ok(())
    }

    /// Takes the sockets that systemd passed (`LISTEN_FDS`): the last one is admin's, the others are clients'; those
    /// that are named `tls` (`LISTEN_FDNAMES`) speak TLS, and none of them is admin's.
    ///
    /// Without an admin socket among them (only one passed), admin is opened on `admin`.
    ///
    /// # Errors
    /// When a passed descriptor is not a TCP listener, or admin cannot be opened.
    pub fn from_activation(admin: SocketAddr) -> io::Result<Option<Self>> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut passed = listenfd::ListenFd::from_env();
        let mut clients = Vec::with_capacity(passed.len());
        for index in 0..passed.len() {
            if let Some(socket) = passed.take_tcp_listener(index)? {
                socket.set_nonblocking(true)?;
                let is_tls = names.get(index).is_some_and(|name| name == &TLS_SOCKET_NAME);
                let transport = if is_tls { Transport::Tls } else { Transport::Plain };
                clients.push(ClientListener { socket, transport });
            }
        }
        if clients.is_empty() {
            return Ok(None);
        }
        // The order of several socket units is not ours to choose: one for TLS may come last.
        let last = clients.iter().rposition(|client| client.transport == Transport::Plain);
        let admin = match last.filter(|_| clients.len() > 1) {
            Some(last) => clients.remove(last).socket,
            None => listener(admin, false).map_err(io::Error::other)?,
        };
        Ok(Some(Self::new(clients, admin)))
    }

    /// Closes this process's own hold on the client listeners: with the workers' duplicates gone, nobody listens.
    ///
    /// A process that has taken the sockets over goes on listening.
    pub fn close_clients(&self) {
        self.clients().clear();
    }

    fn clients(&self) -> MutexGuard<'_, Vec<ClientListener>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses that clients may use, each once.
    pub fn client_addresses(&self) -> Vec<SocketAddr> {
        self.addresses(|_| true)
    }

    /// The addresses where clients speak `transport` first, each once.
    pub fn addresses_of(&self, transport: Transport) -> Vec<SocketAddr> {
        self.addresses(|found| found == transport)
    }

    fn addresses(&self, wanted: impl Fn(Transport) -> bool) -> Vec<SocketAddr> {
        let clients = self.clients();
        let wanted = clients.iter().filter(|client| wanted(client.transport));
        let mut addresses: Vec<_> = wanted.filter_map(|client| client.socket.local_addr().ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Deals the client sockets out to workers: every socket has a worker, and every worker a socket.
    ///
    /// # Errors
    /// When a socket cannot be duplicated (out of descriptors).
    pub fn deal(&self, workers: usize) -> io::Result<Vec<Vec<ClientListener>>> {
        let mut hands: Vec<Vec<ClientListener>> = (0..workers).map(|_| Vec::new()).collect();
        let clients = self.clients();
        for turn in 0..clients.len().max(workers) {
            hands[turn % workers].push(clients[turn % clients.len()].try_clone()?);
        }
        Ok(hands)
    }
}

fn reuse_port_listeners(addresses: &[ClientAddress], workers: usize) -> Result<Vec<ClientListener>, ListenError> {
    let mut sockets = Vec::with_capacity(addresses.len() * workers);
    for &(address, transport) in addresses {
        // Port 0 is chosen once; the further workers' sockets share it.
        let first = listener(address, true)?;
        let bound = first.local_addr().map_err(|source| ListenError { address, source })?;
        sockets.push(ClientListener { socket: first, transport });
        for _ in 1..workers {
            sockets.push(ClientListener { socket: listener(bound, true)?, transport });
        }
    }
    Ok(sockets)
}

fn listener(address: SocketAddr, reuse_port: bool) -> Result<TcpListener, ListenError> {
    let open = || -> io::Result<TcpListener> {
        let socket = bind(address, reuse_port)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| ListenError { address, source })
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
