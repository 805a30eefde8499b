//! Owns the demo: two embedded upstreams, a gentle load from many users, and a live summary of who is served by what.
//!
//! The router it shows is the real one, started by the command line; nothing here routes or decides.

mod changes;
mod files;
mod load;
mod origin;
mod screen;
mod tally;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use changes::Changes;
pub use files::{Places, places};

use crate::lifecycle::{Lifecycle, Phase};
use crate::snapshot::Store;
use screen::Screen;
use tally::Tally;

/// How often the screen is drawn; an edit must be seen within a second.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// How often a line is printed where there is no screen.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// What the demo needs of the router that it shows.
#[derive(Debug)]
pub struct Plan {
    /// Where the router takes clients.
    pub router: SocketAddr,
    /// Where its admin plane listens.
    pub admin: SocketAddr,
    /// The router's state directory.
    pub state: PathBuf,
    /// The file with the token of its dashboard.
    pub token: PathBuf,
    /// What is in force.
    pub store: Arc<Store>,
    /// Tells when the demo is to end.
    pub lifecycle: Lifecycle,
    /// What the router logged about its files.
    pub changes: Changes,
    /// Where the files are.
    pub places: Places,
    /// How long to run; `None` for until somebody ends it.
    pub duration: Option<Duration>,
    /// Lines instead of a screen; also where stdout is no terminal.
    pub plain: bool,
}

/// What the load saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests sent.
    pub requests: u64,
    /// Requests without a whole answer of status 200.
    pub failed: u64,
}

/// Runs until the router is told to drain, or the duration is over; leaves the router draining.
///
/// # Errors
/// When an address of the embedded upstreams is taken, or stdout is gone.
pub fn run(plan: &Plan) -> io::Result<Totals> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for (system, address) in upstreams(&plan.store) {
            origin::start(system, address).await.map_err(|error| taken(address, &error))?;
        }
        let tally = Tally::new();
        load::start(plan.router, &tally, &plan.lifecycle);
        let shown = show(plan, &tally).await;
        plan.lifecycle.advance(Phase::Draining);
        shown.map(|()| tally.totals())
    })
}

/// The addresses to serve on, with the system that answers there: the first upstream's is legacy, others are modern.
fn upstreams(store: &Store) -> Vec<(&'static str, SocketAddr)> {
    let snapshot = store.snapshot();
    let mut found: Vec<(&'static str, SocketAddr)> = Vec::new();
    for address in snapshot.upstreams.iter().flat_map(|upstream| &upstream.endpoints).flat_map(|one| &one.addresses) {
        let is_new = found.iter().all(|(_, known)| known != address);
        if is_new && address.ip().is_loopback() {
            found.push((if found.is_empty() { "legacy" } else { "modern" }, *address));
        }
    }
    found
}

fn taken(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the demo's own upstream cannot listen on {address}: {error}"))
}

async fn show(plan: &Plan, tally: &Arc<Tally>) -> io::Result<()> {
    let is_plain = plan.plain || !io::stdout().is_terminal();
    let mut screen = Screen::new(plan, is_plain);
    write(&screen.begin())?;
    let drawn = draw(plan, tally, &mut screen, if is_plain { LINE_EVERY } else { DRAW_EVERY }).await;
    // The terminal gets its own screen back whatever happened.
    write(&screen.end()).and(drawn)
}

async fn draw(plan: &Plan, tally: &Tally, screen: &mut Screen<'_>, every: Duration) -> io::Result<()> {
    let (started, mut phases) = (Instant::now(), plan.lifecycle.subscribe());
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = ticks.tick() => write(&screen.draw(&tally.summary(), started.elapsed()))?,
            _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return Ok(()),
        }
        if plan.duration.is_some_and(|duration| started.elapsed() >= duration) {
            return Ok(());
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
