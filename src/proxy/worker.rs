//! Owns a worker: its thread, its loop, its tick; and the start and end of all workers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use http::HeaderName;
use slab::Slab;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};

use super::accept;
use super::stream_state::{Activity, StreamState};
use super::view::View;
use crate::clock::{self, Wait, Watch};
use crate::head::Policy;
use crate::health::HealthRegistry;
use crate::lifecycle::{Lifecycle, Phase};
use crate::limits::{Limit, Limits};
use crate::listen::ClientListener;
use crate::mirror::{Answers, Mirror};
use crate::network::Network;
use crate::observe::{AccessLog, AccessWriter, Metrics, WorkerMetrics};
use crate::snapshot::{Reader, Store};
use crate::tls::server::ServerTls;

/// While draining, how long an idle connection may wait for a request that is already on its way.
pub(super) const DRAIN_IDLE_MS: u32 = 1_000;
/// Ticks between two sweeps of the pools: about a second.
const POOL_SWEEP_TICKS: u32 = 40;

/// How the data plane behaves; the same for all workers.
#[derive(Debug)]
pub struct Options {
    /// The limits.
    pub limits: Limits,
    /// What changes in forwarded heads.
    pub policy: Policy,
    /// Whether clients see `Banyan-Decision` on answers.
    pub expose_decision: bool,
    /// Networks whose connections begin with a PROXY protocol header.
    pub proxy_protocol_from: Box<[Network]>,
    /// TLS towards clients; needed where a listener speaks it.
    pub tls: Option<Arc<ServerTls>>,
    /// Whether clients may speak HTTP/2.
    pub http2: bool,
    /// Whether requests are counted and timed.
    pub metrics: bool,
    /// The access log, if there is one.
    pub access_log: Option<Arc<AccessLog>>,
    /// What keeps writes for their copies; without it none are copied.
    pub mirror: Option<Arc<Mirror>>,
    /// The request headers that a line of it shows.
    pub access_log_headers: Box<[HeaderName]>,
}

/// What all workers share.
pub(super) struct Shared {
    pub options: Options,
    pub store: Arc<Store>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<HealthRegistry>,
    /// Client connections now open.
    pub connections: AtomicU32,
    /// The same by address; locked when a connection opens or closes, never per request.
    pub addresses: Mutex<HashMap<IpAddr, u32>>,
}

/// One worker; everything in it stays on its thread.
pub(super) struct Worker {
    pub shared: Arc<Shared>,
    pub metrics: Arc<WorkerMetrics>,
    pub phase: Cell<Phase>,
    pub streams: RefCell<Slab<Arc<StreamState>>>,
    /// The deadlines of the HTTP/2 streams.
    pub watches: RefCell<Slab<Arc<Watch>>>,
    pub access: Option<RefCell<AccessWriter>>,
    /// Where the journal answers those who wait for it, where there is one.
    pub answers: Option<Answers>,
    /// Wakes whoever waits for the next tick.
    ticks: Arc<Notify>,
    reader: RefCell<Reader>,
    view: RefCell<Rc<View>>,
    /// What request ids begin with, and the number of the next.
    request_ids: (u64, Cell<u64>),
}

/// The running workers.
#[derive(Debug)]
pub struct Workers(Vec<JoinHandle<()>>);

/// Starts one worker for each hand of listeners; they serve until `lifecycle` says otherwise.
///
/// # Errors
/// When a thread or a runtime cannot be made.
pub fn start(
    hands: Vec<Vec<ClientListener>>,
    options: Options,
    store: &Arc<Store>,
    health: &Arc<HealthRegistry>,
    metrics: &Arc<Metrics>,
    lifecycle: &Lifecycle,
) -> io::Result<Workers> {
    let shared = Arc::new(Shared {
        options,
        store: Arc::clone(store),
        metrics: Arc::clone(metrics),
        health: Arc::clone(health),
        connections: AtomicU32::new(0),
        addresses: Mutex::default(),
    });
    let mut threads = Vec::with_capacity(hands.len());
    let mut ticks = Vec::with_capacity(hands.len());
    for (number, listeners) in hands.into_iter().enumerate() {
        let (shared, phases) = (Arc::clone(&shared), lifecycle.subscribe());
        let thread = std::thread::Builder::new().name(format!("worker-{number}"));
        let (ready, started) = std::sync::mpsc::channel();
        let tick = Arc::new(Notify::new());
        ticks.push(Arc::downgrade(&tick));
        threads.push(thread.spawn(move || run(shared, listeners, phases, tick, &ready))?);
        started.recv().map_err(io::Error::other)??;
    }
    // It ends by itself; nobody waits for it.
    std::thread::Builder::new().name("ticker".to_owned()).spawn(move || send_ticks(ticks))?;
    Ok(Workers(threads))
}

impl Workers {
    /// Waits until all workers have ended.
    pub fn join(self) {
        for thread in self.0 {
            // A worker's panic has been logged by the panic hook; the others still end in order.
            let _ = thread.join();
        }
    }
}

/// One worker's life.
fn run(
    shared: Arc<Shared>,
    listeners: Vec<ClientListener>,
    phases: watch::Receiver<Phase>,
    ticks: Arc<Notify>,
    ready: &std::sync::mpsc::Sender<io::Result<()>>,
) {
    // Without tokio's timers, which the loop would ask at every turn.
    let runtime =
        Builder::new_current_thread().enable_io().on_thread_unpark(clock::refresh).build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async move {
        clock::refresh();
        let worker = Worker::new(shared, ticks);
        let accepting = listeners.into_iter().try_for_each(|listener| accept::start(&worker, listener, phases.clone()));
        let _ = ready.send(accepting);
        tokio::task::spawn_local(tick(Rc::clone(&worker)));
        if let Some(answers) = worker.answers.clone() {
            tokio::task::spawn_local(answers.deliver());
        }
        worker.serve(phases).await;
    });
    // Dropping the runtime drops what the abort left over.
}

impl Worker {
    fn new(shared: Arc<Shared>, ticks: Arc<Notify>) -> Rc<Self> {
        let metrics = shared.metrics.worker();
        let mut reader = shared.store.reader();
        let view = View::new(reader.load(), None, &shared.health, &metrics);
        let answers = shared.options.mirror.as_ref().map(|mirror| mirror.journal().answers());
        let access = shared.options.access_log.as_ref().map(|log| RefCell::new(log.writer()));
        Rc::new(Self {
            shared,
            metrics,
            phase: Cell::new(Phase::Running),
            streams: RefCell::default(),
            watches: RefCell::default(),
            access,
            answers,
            ticks,
            reader: RefCell::new(reader),
            view: RefCell::new(Rc::new(view)),
            request_ids: (fastrand::u64(..), Cell::new(0)),
        })
    }

    /// The view of the generation in force: the one snapshot load of a request.
    pub(super) fn view(&self) -> Rc<View> {
        let mut reader = self.reader.borrow_mut();
        let snapshot = reader.load();
        if !Arc::ptr_eq(snapshot, &self.view.borrow().snapshot) {
            let next = View::new(snapshot, Some(&self.view.borrow()), &self.shared.health, &self.metrics);
            self.view.replace(Rc::new(next));
        }
        Rc::clone(&self.view.borrow())
    }

    /// A request id that no other request of this or another process has, with overwhelming probability.
    pub(super) fn request_id(&self) -> u128 {
        let (prefix, next) = &self.request_ids;
        next.set(next.get() + 1);
        u128::from(*prefix) << 64 | u128::from(next.get())
    }

    pub(super) fn logged_headers(&self) -> &[HeaderName] {
        &self.shared.options.access_log_headers
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.options.limits
    }

    pub(super) fn is_draining(&self) -> bool {
        self.phase.get() != Phase::Running
    }

    /// Whether what is left is dropped.
    pub(super) fn is_aborting(&self) -> bool {
        self.phase.get() == Phase::Aborting
    }

    /// Waits through the phases; returns when nothing is left to do.
    async fn serve(&self, mut phases: watch::Receiver<Phase>) {
        // The sender lives as long as the process; its loss is an order to stop at once.
        let drained = phases.wait_for(|phase| *phase >= Phase::Draining).await.map(|phase| *phase);
        self.phase.set(drained.unwrap_or(Phase::Aborting));
        for (_, state) in &*self.streams.borrow() {
            match state.activity() {
                Activity::Idle => state.watch.start(Wait::KeepAlive, DRAIN_IDLE_MS),
                // It says GOAWAY.
                Activity::Streams => state.watch.wake(),
                Activity::Head | Activity::Exchange | Activity::Tunnel => {}
            }
        }
        let mut aborted = std::pin::pin!(phases.wait_for(|phase| *phase >= Phase::Aborting));
        while !self.streams.borrow().is_empty() {
            tokio::select! {
                _ = &mut aborted => {
                    self.phase.set(Phase::Aborting);
                    let left = self.streams.borrow().len();
                    tracing::warn!(connections = left, "drain deadline: dropping what is left");
                    for _ in 0..left {
                        self.metrics.limit(Limit::Drain);
                    }
                    break;
                }
                () = self.ticks.notified() => {}
            }
        }
        if let Some(access) = &self.access {
            access.borrow_mut().flush();
        }
    }

    /// Waits for `ms` milliseconds, late by at most a tick.
    pub(super) async fn pause(&self, ms: u32) {
        let end_ms = clock::now_ms() + u64::from(ms);
        while clock::now_ms() < end_ms {
            self.ticks.notified().await;
        }
    }

    /// Sweeps what time has run out for.
    fn sweep(&self, round: u32) {
        let now = clock::now_ms();
        for (_, state) in &*self.streams.borrow() {
            state.watch.sweep(now);
        }
        for (_, watch) in &*self.watches.borrow() {
            watch.sweep(now);
        }
        // Loading the view here lets a worker without requests let go of an old generation too.
        let view = self.view();
        if round.is_multiple_of(POOL_SWEEP_TICKS) {
            for pool in view.pools() {
                pool.sweep();
            }
        }
        if let Some(access) = &self.access {
            access.borrow_mut().flush();
        }
    }

    /// Counts a connection for another address than before, unless that one has too many.
    pub(super) fn recount(&self, before: IpAddr, now: IpAddr) -> Result<(), Limit> {
        accept::count_address(self, now)?;
        self.forget_address(before);
        Ok(())
    }

    /// Forgets a connection.
    pub(super) fn forget(&self, key: usize, peer: IpAddr) {
        self.streams.borrow_mut().remove(key);
        self.metrics.connections_open.add(-1);
        self.shared.connections.fetch_sub(1, Relaxed);
        self.forget_address(peer);
    }

    fn forget_address(&self, peer: IpAddr) {
        let mut addresses = self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&peer);
            }
        }
    }
}

/// The worker's one timer; a tick that comes while the worker is busy is skipped.
async fn tick(worker: Rc<Worker>) {
    let mut round: u32 = 0;
    loop {
        worker.ticks.notified().await;
        clock::refresh();
        clock::refresh_wall();
        round = round.wrapping_add(1);
        worker.sweep(round);
    }
}

/// Ticks for all workers until the last has ended; a thread that sleeps, because a timer in a loop costs every turn of it.
fn send_ticks(mut workers: Vec<Weak<Notify>>) {
    while !workers.is_empty() {
        std::thread::sleep(clock::TICK);
        workers.retain(|worker| worker.upgrade().inspect(|ticks| ticks.notify_waiters()).is_some());
    }
}
