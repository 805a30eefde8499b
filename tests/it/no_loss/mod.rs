//! Proof that no acknowledged write is lost: real processes that are killed, and a checker that shares nothing with the router.

mod checker;
mod client;
mod crash;
mod disk_faults;
mod faulty_disk;
mod full_disk;
mod history;
mod isolation;
mod planted;
mod power;
mod service;
mod table_faults;
mod tail;
mod world;

pub(crate) use history::Entry;
pub(crate) use service::{Service, Side};
pub(crate) use world::{MARK, World, routes, stage};
