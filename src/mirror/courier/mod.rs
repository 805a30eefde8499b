//! Owns the delivery of copies: one thread that reads the journal and brings every copy to its end.
//!
//! It shares no pool and no verdict about endpoints with the workers: what copies meet must not reach clients.

mod ask;
mod attempt;
mod deliver;
mod dispatch;
mod letter;
mod look;
mod patience;
mod scan;
mod schedule;
mod source;
mod told;
mod verdict;
mod view;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::ask::Asker;
use self::dispatch::Dispatch;
use self::look::Looks;
use self::source::{Elder, Elders, Source};
use self::view::View;
use super::destination::Destination;
use super::record::{self, Intent, Settlement};
use super::shared::Mirror;
use crate::clock;
use crate::health::HealthRegistry;
use crate::journal::{Journal, Kind, Lsn, ReadError};
use crate::lifecycle::Phase;
use crate::observe::{Metrics, WorkerMetrics};
use crate::snapshot::{Reader, Store};

/// Ticks between two looks at the pools and at what the journal may forget: about a second.
const SWEEP_TICKS: u32 = 40;
/// How long attempts under way may go on at the end, in milliseconds; what they come to is found out after a restart.
const END_MS_MAX: u64 = 2_000;
/// Threads that wait for the tables' disk.
const TABLE_THREADS_MAX: usize = 4;

/// What the courier works with.
#[derive(Debug)]
pub struct Plan {
    /// The journal, the tables and the destinations.
    pub mirror: Arc<Mirror>,
    /// The directories of journals of earlier processes, the oldest first.
    pub elders: Vec<PathBuf>,
    /// Bytes that each of them may take.
    pub bytes_max: u64,
    /// Where the snapshot in force is.
    pub store: Arc<Store>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// When it ends.
    pub phases: watch::Receiver<Phase>,
}

/// The running courier.
#[derive(Debug)]
pub struct Handle(JoinHandle<()>);

impl Handle {
    /// Waits until it has ended.
    pub fn join(self) {
        // A panic has been logged by the panic hook.
        let _ = self.0.join();
    }
}

/// What all deliveries share; everything in it stays on the courier's thread.
pub(super) struct Courier {
    mirror: Arc<Mirror>,
    asker: Asker,
    ticks: Notify,
    ends: Cell<bool>,
    health: HealthRegistry,
    metrics: Arc<WorkerMetrics>,
    reader: RefCell<Reader>,
    view: RefCell<Rc<View>>,
    looks: RefCell<Looks>,
}

/// Starts the courier.
///
/// # Errors
/// When its thread or runtime cannot be made.
pub fn start(plan: Plan) -> io::Result<Handle> {
    let (ready, started) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("courier".to_owned());
    let thread = thread.spawn(move || {
        let mut runtime = Builder::new_current_thread();
        runtime.enable_all().max_blocking_threads(TABLE_THREADS_MAX).on_thread_unpark(clock::refresh);
        match runtime.build_local(LocalOptions::default()) {
            Ok(runtime) => {
                let _ = ready.send(Ok(()));
                runtime.block_on(run(plan));
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    })?;
    started.recv().map_err(io::Error::other)??;
    Ok(Handle(thread))
}

/// The courier's life.
async fn run(plan: Plan) {
    clock::refresh();
    let Plan { mirror, elders, bytes_max, store, metrics, phases } = plan;
    let (metrics, health, mut reader) = (metrics.courier(), HealthRegistry::default(), store.reader());
    let view = View::new(reader.load(), None, &health, &metrics);
    let courier = Rc::new(Courier {
        mirror,
        asker: Asker::default(),
        ticks: Notify::new(),
        ends: Cell::new(false),
        health,
        metrics,
        reader: RefCell::new(reader),
        view: RefCell::new(Rc::new(view)),
        looks: RefCell::default(),
    });
    let mut deliveries = Deliveries::new(&courier, Elders::new(elders, bytes_max));
    let mut ticks = tokio::time::interval(clock::TICK);
    let mut end_ms = u64::MAX;
    for round in 0_u32.. {
        ticks.tick().await;
        courier.tick(round);
        // While the workers drain it goes on: nobody else can read this journal yet.
        if end_ms == u64::MAX && *phases.borrow() >= Phase::Aborting {
            courier.ends.set(true);
            end_ms = clock::now_ms() + END_MS_MAX;
        }
        deliveries.follow(round);
        if courier.ends.get() && (deliveries.are_over() || clock::now_ms() >= end_ms) {
            break;
        }
    }
    deliveries.trim();
    courier.mirror.end_gaps();
}

impl Courier {
    /// The view of the generation in force.
    fn view(&self) -> Rc<View> {
        let mut reader = self.reader.borrow_mut();
        let snapshot = reader.load();
        if !Arc::ptr_eq(snapshot, &self.view.borrow().snapshot) {
            let next = View::new(snapshot, Some(&self.view.borrow()), &self.health, &self.metrics);
            self.view.replace(Rc::new(next));
        }
        Rc::clone(&self.view.borrow())
    }

    fn tick(self: &Rc<Self>, round: u32) {
        clock::refresh();
        clock::refresh_wall();
        self.asker.sweep(clock::now_ms());
        if round.is_multiple_of(SWEEP_TICKS) {
            // Loading the view here lets go of an old generation, too.
            self.view().pools().for_each(|pool| pool.sweep());
        }
        self.mirror.bring_gaps(clock::now_ms());
        self.look();
        self.ticks.notify_waiters();
    }
}

/// The deliveries to all destinations.
struct Deliveries {
    courier: Rc<Courier>,
    running: JoinSet<()>,
    /// Below which number each needs nothing any more.
    lows: HashMap<Box<str>, Rc<Cell<Lsn>>>,
    elders: Elders,
    /// Whether all journals of earlier processes are open, so that none is passed over.
    is_ready: bool,
}

impl Deliveries {
    fn new(courier: &Rc<Courier>, elders: Elders) -> Self {
        let (running, lows) = (JoinSet::new(), HashMap::new());
        Self { courier: Rc::clone(courier), running, lows, elders, is_ready: false }
    }

    /// Starts deliveries to destinations that are new, and lets the journal forget what nobody needs.
    fn follow(&mut self, round: u32) {
        while let Some(ended) = self.running.try_join_next() {
            if let Err(error) = ended {
                // Its low mark stays where it is: nothing of it is forgotten, and a restart takes it up.
                tracing::error!(%error, "a delivery broke off; restart the router to go on with it");
            }
        }
        self.is_ready = self.is_ready || self.elders.open_all(&self.courier.mirror);
        self.start_new();
        if round.is_multiple_of(SWEEP_TICKS) {
            self.trim();
        }
    }

    fn start_new(&mut self) {
        if self.courier.ends.get() || !self.is_ready {
            return;
        }
        for destination in self.courier.mirror.destinations() {
            if self.lows.contains_key(&destination.name) {
                continue;
            }
            let low = Rc::new(Cell::new(self.courier.mirror.journal().low_water()));
            self.lows.insert(destination.name.clone(), Rc::clone(&low));
            self.running.spawn_local(deliver_all(Rc::clone(&self.courier), self.elders.opened(), destination, low));
        }
    }

    fn trim(&mut self) {
        let mirror = Arc::clone(&self.courier.mirror);
        let journal = mirror.journal();
        // Who appends has made its destination before: all that is written now has its delivery in the list.
        let written = *journal.written().borrow();
        self.start_new();
        if self.is_ready {
            self.elders.remove_finished();
        }
        if !self.lows.is_empty() {
            let low = self.lows.values().map(|low| low.get()).min().unwrap_or(written);
            journal.trim(low.min(written));
        }
    }

    fn are_over(&self) -> bool {
        self.running.is_empty()
    }
}

/// Delivers to one destination: first what earlier processes have left, in their order, then what this one writes.
async fn deliver_all(courier: Rc<Courier>, elders: Vec<Rc<Elder>>, destination: Arc<Destination>, low: Rc<Cell<Lsn>>) {
    for elder in elders {
        // Its own low mark: nothing of it is trimmed, it goes as a whole.
        let source = Source::Elder(Arc::clone(&elder.journal));
        Dispatch::new(&courier, source, Arc::clone(&destination), Rc::default()).run().await;
    }
    let source = Source::Own(Arc::clone(&courier.mirror));
    Dispatch::new(&courier, source, destination, low).run().await;
}

/// Counts the copies that earlier runs have left, lane by lane, so that the first request already knows what is on its way.
///
/// Blocks while it reads the journal; called once, before anything is admitted.
///
/// # Errors
/// When the journal cannot be read.
pub fn count(mirror: &Mirror) -> io::Result<()> {
    count_in(mirror.journal(), mirror)
}

fn count_in(journal: &Journal, mirror: &Mirror) -> io::Result<()> {
    let low = journal.low_water();
    let mut cursor = journal.cursor(low);
    loop {
        let record = match cursor.next() {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(ReadError::Io(error)) => return Err(error),
            Err(error) => {
                tracing::error!(%error, "copies are lost with them");
                continue;
            }
        };
        let Ok(name) = record::destination(&record.payload) else { continue };
        match record.kind {
            Kind::Intent => {
                if let Ok(intent) = Intent::decode(&record.payload) {
                    mirror.destination(name).expect(record::lane(intent.lane_key()));
                }
            }
            Kind::Delivered => {
                // What it ends may have been trimmed, and was not counted then.
                if let Ok(end) = Settlement::decode(&record.payload)
                    && Lsn(end.intent) >= low
                {
                    mirror.destination(name).settle(end.lane);
                }
            }
            Kind::Gap => drop(mirror.destination(name)),
            _ => {}
        }
    }
}
