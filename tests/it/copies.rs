//! The copies of writes: what is kept, what is delivered, what a client never notices.

mod capture;
mod reconcile;

use std::net::SocketAddr;
use std::path::Path;

use banyan::journal::{Journal, Kind, Options};
use banyan::mirror::{Gap, Intent, Outcome};

use crate::support::router::Setup;

/// A flag that is on one stage.
pub(crate) fn flag(stage: &str) -> String {
    format!(
        "flags:\n  move:\n    state: ENABLED\n    variants: {{\"off\": \"off\", dualwrite: dualwrite, shadow: shadow, live: live, rampdown: rampdown, complete: complete}}\n    defaultVariant: \"{stage}\"\n    metadata: {{owner: tests}}\n"
    )
}

/// The route file of a migration of `/orders`, with further members of `copies:`.
pub(crate) fn routes(legacy: SocketAddr, modern: SocketAddr, copies: &str) -> String {
    format!(
        "upstreams:\n  legacy: {{endpoints: [\"http://{legacy}\"]}}\n  modern: {{endpoints: [\"http://{modern}\"]}}\nroutes:\n  - name: orders\n    match: {{path: \"/orders/{{*id}}\"}}\n    flag: move\n    migration: {{legacy: legacy, modern: modern}}\n    copies: {{{copies}}}\n"
    )
}

/// A router on one stage of that migration.
pub(crate) fn migration(stage: &str, legacy: SocketAddr, modern: SocketAddr, copies: &str) -> Setup {
    Setup::routes(routes(legacy, modern, copies)).flags(flag(stage))
}

/// What a journal holds.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) intents: Vec<Intent>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) gaps: Vec<Gap>,
}

/// Reads the journal of a router that has ended.
pub(crate) fn read_journal(directory: &Path) -> Held {
    let journal = Journal::open(Options::new(directory.join("state/journal/000001"))).unwrap();
    let mut held = Held::default();
    let mut cursor = journal.cursor(journal.low_water());
    while let Some(record) = cursor.next().unwrap() {
        match record.kind {
            Kind::Intent => held.intents.push(Intent::decode(&record.payload).unwrap()),
            Kind::Outcome => held.outcomes.push(Outcome::decode(&record.payload).unwrap()),
            Kind::Gap => held.gaps.push(Gap::decode(&record.payload).unwrap()),
            _ => {}
        }
    }
    held
}
