//! Owns what is known about one upstream over all workers: its endpoints and its requests under way.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::endpoint::{EndpointHealth, Entrance};
use crate::upstream::Upstream;

/// What workers and checks know together about one upstream.
#[derive(Debug, Default)]
pub struct UpstreamHealth {
    /// Requests under way; counted only where there is a limit for them.
    requests: AtomicU32,
    /// Locked when a pool is made, a generation is published, metrics are rendered or an endpoint is ejected.
    members: Mutex<Members>,
}

/// The endpoints of the generation in force, and those that exchanges of earlier ones still use.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) list: Vec<Member>,
    /// As the generation in force has it, for showing shares.
    pub(super) slow_start_ms: u32,
    pub(super) is_limited: bool,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) health: Arc<EndpointHealth>,
    /// Whether the generation in force has it.
    pub(super) is_current: bool,
}

/// A request's place under the limit of its upstream; dropping it makes room for another.
#[derive(Debug)]
pub struct Slot(Arc<UpstreamHealth>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

impl UpstreamHealth {
    /// Takes a place for a request; `None` when `requests_max` are under way.
    ///
    /// Exact over any number of workers: never more get one, and nobody is refused while there is room.
    pub fn take_slot(self: &Arc<Self>, requests_max: u32) -> Option<Slot> {
        let taken =
            self.requests.fetch_update(Relaxed, Relaxed, |requests| (requests < requests_max).then_some(requests + 1));
        taken.is_ok().then(|| Slot(Arc::clone(self)))
    }

    /// Requests now under way, as far as they are counted.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// The health of an address, kept over generations.
    pub fn endpoint(&self, address: SocketAddr) -> Arc<EndpointHealth> {
        let mut members = self.members();
        // A worker that still is at an earlier generation may ask for what is gone already.
        Arc::clone(&members.find_or_add(address).health)
    }

    /// Counts a failure of an endpoint; when that ejects it, tells for how many milliseconds.
    ///
    /// The bounded share and the last endpoint in service hold over all workers.
    pub fn failed(&self, endpoint: &EndpointHealth, upstream: &Upstream) -> Option<u32> {
        let rules = &upstream.ejection;
        if !endpoint.count_failure(rules.after_failures) {
            return None;
        }
        let members = self.members();
        let current = || members.list.iter().filter(|member| member.is_current).map(|member| &*member.health);
        let ejected = current().filter(|member| member.is_ejected()).count();
        let mut others = current().filter(|member| !std::ptr::eq(*member, endpoint));
        let is_last = others.all(|member| member.share(0) == 0);
        (!is_last && ejected < rules.endpoints_max(current().count())).then(|| endpoint.eject(rules))
    }

    /// Whether no endpoint of the generation in force is in service.
    pub fn is_all_out(&self) -> bool {
        self.members().is_all_out()
    }

    /// Takes over what a generation says, before workers see it.
    ///
    /// Endpoints of an upstream that is new, or has moved as a whole, are in service at once: there is nobody else.
    /// Those that join others wait for their first passed check, if there are checks.
    pub(super) fn follow(&self, upstream: &Upstream) {
        let mut members = self.members();
        let addresses: Vec<SocketAddr> = upstream.addresses().collect();
        let stays = |member: &Member| addresses.contains(&member.health.address());
        let entrance = match (members.list.iter().any(|member| member.is_current && stays(member)), &upstream.health) {
            (false, _) => Entrance::AtOnce,
            (true, Some(_)) => Entrance::FirstPass,
            (true, None) => Entrance::SlowStart,
        };
        for &address in &addresses {
            members.find_or_add(address).join(entrance);
        }
        members.leave(stays);
        members.slow_start_ms = upstream.slow_start_ms;
        members.is_limited = upstream.requests_max != 0;
    }

    /// Notes that the generation in force has no such upstream.
    pub(super) fn retire(&self) {
        self.members().leave(|_| false);
    }

    pub(super) fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// Whether there are endpoints, and none of them is in service.
    pub(super) fn is_all_out(&self) -> bool {
        let mut current = self.list.iter().filter(|member| member.is_current).peekable();
        current.peek().is_some() && current.all(|member| member.health.share(0) == 0)
    }

    fn find_or_add(&mut self, address: SocketAddr) -> &mut Member {
        let known = self.list.iter().position(|member| member.health.address() == address);
        let at = known.unwrap_or(self.list.len());
        if known.is_none() {
            self.list.push(Member { health: Arc::new(EndpointHealth::new(address)), is_current: false });
        }
        &mut self.list[at]
    }

    /// Keeps those that stay, and those that an exchange still uses.
    fn leave(&mut self, stays: impl Fn(&Member) -> bool) {
        for member in &mut self.list {
            member.is_current = stays(member);
        }
        self.list.retain(|member| member.is_current || member.is_draining());
    }
}

impl Member {
    /// Becomes part of the generation in force, unless it is already.
    ///
    /// It keeps its health's `Arc`: a worker that skipped the generation without it still holds that.
    fn join(&mut self, entrance: Entrance) {
        if !self.is_current {
            self.is_current = true;
            self.health.join(entrance);
        }
    }

    /// Whether it is only there for what is still under way.
    pub(super) fn is_draining(&self) -> bool {
        !self.is_current && Arc::strong_count(&self.health) > 1
    }
}
