//! Owns accepting client connections: the limits on their number, and what happens when descriptors run out.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::arrival;
use super::worker::Worker;
use crate::clock;
use crate::lifecycle::Phase;
use crate::limits::{Limit, descriptors};
use crate::listen::{ClientListener, Transport};
use crate::network::Network;

/// Failures to accept are logged once a second at most: a thousand lines do not say more.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Accepts on a listener until the worker drains.
///
/// # Errors
/// When the loop cannot watch the socket.
pub(super) fn start(worker: &Rc<Worker>, listener: ClientListener, phases: watch::Receiver<Phase>) -> io::Result<()> {
    let ClientListener { socket, transport } = listener;
    let socket = TcpListener::from_std(socket)?;
    tokio::task::spawn_local(accept(Rc::clone(worker), socket, transport, phases));
    Ok(())
}

async fn accept(worker: Rc<Worker>, listener: TcpListener, transport: Transport, mut phases: watch::Receiver<Phase>) {
    let mut draining = std::pin::pin!(phases.wait_for(|phase| *phase >= Phase::Draining));
    let mut logged = None;
    loop {
        tokio::select! {
            biased;
            _ = &mut draining => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if !descriptors::suffice_for_client(&stream) => {
                    worker.metrics.limit(Limit::Descriptors);
                    log_lack(&rustix::io::Errno::MFILE.into(), &mut logged);
                }
                Ok((stream, peer)) => admit(&worker, stream, peer, transport),
                Err(error) => pause(&worker, &error, &mut logged).await,
            },
        }
    }
    // What waits in the queue would be reset when the socket closes: it is served, unless another process has the
    // socket too and takes it.
    while let Some(Ok((stream, peer))) = now_or_never(listener.accept()) {
        admit(&worker, stream, peer, transport);
    }
}

/// Polls a future once.
fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// Waits a little when the process is out of descriptors: a loop that spins or ends is the classic fault (rule L13).
async fn pause(worker: &Worker, error: &io::Error, logged: &mut Option<Instant>) {
    let lacking =
        [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::NOBUFS, rustix::io::Errno::NOMEM];
    if !lacking.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        // The client went away while it waited; the next one may be fine.
        return;
    }
    worker.metrics.limit(Limit::Descriptors);
    log_lack(error, logged);
    worker.pause(worker.limits().accept_pause_ms).await;
}

fn log_lack(error: &io::Error, logged: &mut Option<Instant>) {
    let now = clock::now();
    if logged.is_none_or(|at| now - at >= LOG_EVERY) {
        *logged = Some(now);
        tracing::error!(%error, "cannot accept: raise the limit of open files (LimitNOFILE, ulimit -n)");
    }
}

/// Takes a connection in, or closes it at once when a limit is reached.
fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, transport: Transport) {
    worker.metrics.connections_accepted.increment();
    if let Err(limit) = count_in(worker, peer.ip()) {
        worker.metrics.limit(limit);
        return;
    }
    if stream.set_nodelay(true).is_err() {
        // The client has gone already; serving finds that out.
    }
    arrival::start(worker, stream, peer, transport);
}

fn count_in(worker: &Worker, peer: IpAddr) -> Result<(), Limit> {
    let (shared, limits) = (&worker.shared, worker.limits());
    if limits.connections_max != 0 && shared.connections.load(Relaxed) >= limits.connections_max {
        return Err(Limit::Connections);
    }
    count_address(worker, peer)?;
    shared.connections.fetch_add(1, Relaxed);
    worker.metrics.connections_open.add(1);
    Ok(())
}

/// Counts a connection for its address, unless that has too many; proxies stand for many clients.
pub(super) fn count_address(worker: &Worker, peer: IpAddr) -> Result<(), Limit> {
    let (shared, limits) = (&worker.shared, worker.limits());
    let is_proxy = |networks: &[Network]| networks.iter().any(|network| network.contains(peer));
    let exempt = is_proxy(&shared.options.policy.trusted) || is_proxy(&shared.options.proxy_protocol_from);
    let mut addresses = shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
    let count = addresses.entry(peer).or_default();
    if limits.connections_per_address_max != 0 && *count >= limits.connections_per_address_max && !exempt {
        return Err(Limit::ConnectionsPerAddress);
    }
    *count += 1;
    Ok(())
}
