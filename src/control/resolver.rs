//! Owns turning names of endpoints into addresses, in the background and never on a worker (rule U11).

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::Notify;

use super::mailbox::{Mailbox, Resolved};
use super::publisher::permit;
use crate::observe::Metrics;
use crate::snapshot::{Authority, Snapshot, Store};

/// How long one look waits for the name servers, below the shortest interval's worth of patience of a person.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// Resolves names on the control plane's runtime.
#[derive(Debug, Clone)]
pub(super) struct Resolver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    metrics: Arc<Metrics>,
    /// Names that a thread is asking for; none is asked for twice at a time, however long that takes.
    asking: Mutex<HashSet<Authority>>,
    /// Names that failed at their last look, so that a change is logged and not each look.
    failing: Mutex<HashSet<Authority>>,
    look_again: Notify,
    has_looked: AtomicBool,
}

impl Resolver {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared {
            metrics,
            asking: Mutex::default(),
            failing: Mutex::default(),
            look_again: Notify::new(),
            has_looked: AtomicBool::new(false),
        }))
    }

    /// Resolves the names in force over and over, and hands over what they are.
    pub(super) async fn run(self, store: Arc<Store>, mailbox: Arc<Mailbox>, interval: Duration) {
        loop {
            let names = names(&store.snapshot());
            self.0.metrics.control.dns_names.set(i64::try_from(names.len()).unwrap_or(i64::MAX));
            lock(&self.0.failing).retain(|name| names.contains(name));
            if !names.is_empty() {
                mailbox.addresses(self.resolve(names, LOOK_PATIENCE).await);
            }
            self.0.has_looked.store(true, Ordering::Release);
            // Time-outs of either kind mean the same: look again.
            let _ = tokio::time::timeout(interval, self.0.look_again.notified()).await;
        }
    }

    /// Makes the next look be at once.
    pub(super) fn look_again(&self) {
        self.0.look_again.notify_one();
    }

    /// Whether each name has been looked for once.
    pub(super) fn has_looked(&self) -> bool {
        self.0.has_looked.load(Ordering::Acquire)
    }

    /// Resolves names from another thread and waits at most `patience`; what took longer is missing.
    pub(super) fn resolve_within(
        &self,
        runtime: &runtime::Handle,
        names: Vec<Authority>,
        patience: Duration,
    ) -> Resolved {
        if names.is_empty() {
            return Resolved::new();
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let resolver = self.clone();
        runtime.spawn(async move {
            // Nobody waits any more after the patience is over.
            let _ = sender.try_send(resolver.resolve(names, patience).await);
        });
        // The runtime keeps the time; the rest is for a runtime that is on its way out.
        receiver.recv_timeout(2 * patience).unwrap_or_default()
    }

    /// Asks for all names at the same time. It runs on the runtime's thread only, which so is the counters' one writer.
    async fn resolve(&self, names: impl IntoIterator<Item = Authority>, patience: Duration) -> Resolved {
        let asked: Vec<_> =
            names.into_iter().map(|name| (name.clone(), tokio::spawn(self.clone().ask(name)))).collect();
        let deadline = tokio::time::Instant::now() + patience;
        let mut resolved = HashMap::new();
        for (name, answer) in asked {
            let answer = tokio::time::timeout_at(deadline, answer).await;
            let found = answer
                .map_err(|_| "no answer in time".to_owned())
                .and_then(|joined| joined.unwrap_or_else(|error| Err(error.to_string())));
            if let Some(addresses) = self.note(&name, found) {
                resolved.insert(name, addresses);
            }
        }
        resolved
    }

    /// Asks for one name, unless that is under way.
    async fn ask(self, name: Authority) -> Result<Vec<SocketAddr>, String> {
        if !lock(&self.0.asking).insert(name.clone()) {
            return Err("the last question has no answer yet".to_owned());
        }
        let (host, port) = &name;
        let found = tokio::net::lookup_host((&**host, *port)).await.map(Iterator::collect::<Vec<_>>);
        lock(&self.0.asking).remove(&name);
        match found {
            Ok(addresses) if addresses.is_empty() => Err("no addresses".to_owned()),
            found => found.map_err(|error| error.to_string()),
        }
    }

    /// Counts and logs how a name fared; a failure leaves the last good addresses in force.
    fn note(&self, name: &Authority, found: Result<Vec<SocketAddr>, String>) -> Option<Vec<SocketAddr>> {
        let (host, port) = name;
        let mut failing = lock(&self.0.failing);
        match found {
            Ok(addresses) => {
                if failing.remove(name) {
                    tracing::info!(name = %host, port, "the name resolves again");
                }
                Some(addresses)
            }
            Err(error) => {
                self.0.metrics.control.dns_failures.increment();
                if failing.insert(name.clone()) {
                    tracing::warn!(name = %host, port, %error, "a name does not resolve; the last good addresses stay");
                }
                None
            }
        }
    }
}

/// Gives a snapshot that is not in force yet the addresses of its names, as far as they resolve within `patience`.
///
/// For the start of a process, before a worker accepts: without addresses the first requests would fail.
///
/// # Errors
/// When the system has no resources for asking.
pub fn resolve_names(
    snapshot: Snapshot,
    listeners: &[SocketAddr],
    metrics: &Arc<Metrics>,
    patience: Duration,
) -> io::Result<Snapshot> {
    let names = names(&snapshot);
    if names.is_empty() {
        return Ok(snapshot);
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let resolved = runtime.block_on(Resolver::new(Arc::clone(metrics)).resolve(names, patience));
    runtime.shutdown_background();
    let (permitted, refused) = permit(&snapshot, resolved, listeners);
    for ((host, port), address) in refused {
        tracing::warn!(name = %host, port, %address, "an address is not used: it is public, or this router's own");
    }
    Ok(snapshot.with_addresses(snapshot.generation, &permitted).unwrap_or(snapshot))
}

fn names(snapshot: &Snapshot) -> HashSet<Authority> {
    snapshot.named_endpoints().map(|(_, endpoint)| (endpoint.host.clone(), endpoint.port)).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
