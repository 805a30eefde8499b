//! Owns the copies of writes: captured by the workers, kept by the journal, delivered by the courier. It never changes an answer's
//! bytes, and nothing of it is on the way of a request that is not copied.

mod board;
mod capture;
pub mod courier;
mod destination;
mod draft;
mod fields;
mod gaps;
mod kept;
mod marker;
mod naming;
mod open;
mod outside;
mod reconcile;
mod record;
mod shared;
mod shed;
mod tables;
mod writing;

/// Where a worker hears how durable its writes are.
pub use crate::journal::Answers;
pub use board::{Board, Ended, Standing};
pub use capture::{Copying, INLINE_BYTES_MAX, NotKept, Subject};
pub use destination::Destination;
pub use draft::{Draft, HeaderFields, Heading};
pub use fields::Unreadable;
pub use gaps::{GAPS_WAITING_BYTES_MAX, GAPS_WAITING_MAX, Gaps};
pub use kept::{Vault, keep, reveal, show};
pub use marker::{HOPS_MAX, KEY_BYTES, Marked, Marker};
pub use open::{MirrorError, OpenPlan, Opened, open, open_elder};
pub use outside::{
    CopiesStatus, DestinationStatus, Edit, GapEntry, JournalStatus, ORDER_COPIES_MAX, OrderError, ParkedCopy,
    ParkedEntry, ParkedGroup, Which, id_of, name_of,
};
pub use reconcile::{Compared, Listed, ReconcileError, Sides};
pub use record::{
    Body, Class, CopyId, Fence, Gap, Intent, Outcome, Settled, Settlement, destination as destination_of, lane,
};
pub use shared::{Counts, Mirror, MirrorPlan};
pub use tables::{
    Arrival, GAPS_MAX, Later, PARKED_BYTES_MAX, PARKED_MAX, Page, Parked, Position, Story, TableError, Tables,
};
