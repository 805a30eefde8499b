//! Decides whether a history keeps the promises; it knows writes and logs, and nothing of how the router works.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::history::{Entry, History, Seen, Write};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// A client saw success, and the write is neither on the other side nor set aside nor reported missing.
    Lost(u64),
    /// A client saw success for what no side did.
    MadeUp(u64),
    /// A side was asked for the same write twice, other than by a copy.
    CalledTwice(u64),
    /// A write that its side refused is on the other side.
    DeliveredRejected(u64),
    /// A copy of what nobody wrote.
    FromNowhere(String),
    /// A copy, or its original, with another key than the write has.
    OtherKey(u64),
    /// A copy that arrived after that of a later write about the same: `(late, early)`.
    Reordered(u64, u64),
    /// An entity that differs at the end, and no record says why.
    Diverged(String),
    /// A gap where the route does not shed, and no client was told that something went wrong.
    Shed(String),
}

/// What was found, broken promises and figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: BTreeSet<Violation>,
    pub(crate) acknowledged: usize,
    pub(crate) rejected: usize,
    pub(crate) unknown: usize,
    /// Copies that a side was asked for, repetitions included.
    pub(crate) attempts: usize,
    /// Copies that were done more than once.
    pub(crate) repeated: usize,
    /// Copies that carried the value of a later write: an unknown outcome, resolved by reading.
    pub(crate) resolved: usize,
    /// Acknowledged writes that wait for a person.
    pub(crate) parked: usize,
    /// Acknowledged writes that are reported as not copied.
    pub(crate) gaps: usize,
    /// Entities that differ because a write whose client saw no answer was done by one side before it was durable.
    pub(crate) unfinished: usize,
    /// What is known of each entity of which something was lost, came too late, or differs.
    pub(crate) story: Vec<String>,
}

impl Verdict {
    /// Panics with everything that is known unless all promises were kept.
    pub(crate) fn assert_kept(&self, what: &str) {
        assert!(self.violations.is_empty(), "{what}: {self:#?}");
    }
}

/// Where a write was served, and as which entry.
#[derive(Clone, Copy)]
struct Served<'a> {
    side: usize,
    position: usize,
    entry: &'a Entry,
}

struct Checker<'a> {
    history: &'a History,
    writes: HashMap<u64, &'a Write>,
    served: HashMap<u64, Served<'a>>,
    /// Copies by side and owner, in their order.
    copies: [Vec<(u64, &'a Entry)>; 2],
    parked: HashSet<&'a str>,
    verdict: Verdict,
}

/// Checks a history.
pub(crate) fn check(history: &History) -> Verdict {
    let mut checker = Checker {
        history,
        writes: history.writes.iter().map(|write| (write.id, write)).collect(),
        served: HashMap::new(),
        copies: [Vec::new(), Vec::new()],
        parked: history.parked.iter().map(|parked| &*parked.key).collect(),
        verdict: Verdict::default(),
    };
    checker.sort_entries();
    checker.check_acknowledged();
    checker.check_copies();
    checker.check_keys();
    checker.check_order();
    checker.check_state();
    checker.tell();
    checker.verdict
}

impl<'a> Checker<'a> {
    fn broken(&mut self, violation: Violation) {
        self.verdict.violations.insert(violation);
    }

    /// Notes, for whoever has to find the fault, what is known of what was lost, came too late, or differs.
    fn tell(&mut self) {
        for violation in self.verdict.violations.clone() {
            let (entity, about) = match &violation {
                Violation::Lost(id) | Violation::Reordered(id, _) => {
                    (self.served.get(id).map_or("", |served| &*served.entry.entity), Some(*id))
                }
                Violation::Diverged(entity) => (&**entity, None),
                _ => continue,
            };
            let is_near = |id: u64| about.is_none_or(|about| about.abs_diff(id) < 200);
            self.verdict.story.push(format!("{violation:?}:"));
            let writes = self.history.writes.iter().filter(|write| write.entity == entity && is_near(write.id));
            self.verdict.story.extend(writes.map(|write| format!("{write:?}")));
            for (side, log) in self.history.sides.iter().enumerate() {
                let of_it = log.iter().filter(|entry| entry.entity == entity && entry.owner.is_none_or(is_near));
                self.verdict.story.extend(of_it.map(|entry| format!("side {side}: {}", entry.to_line().trim_end())));
            }
        }
    }

    /// Tells the writes that a side served from the copies it got.
    fn sort_entries(&mut self) {
        let by_key: HashMap<&str, u64> = self.keys();
        for (side, log) in self.history.sides.iter().enumerate() {
            for (position, entry) in log.iter().enumerate() {
                let named = entry.key.as_deref().and_then(|key| by_key.get(key)).copied();
                let Some(owner) = entry.owner.or(named) else {
                    self.broken(Violation::FromNowhere(format!("{entry:?}")));
                    continue;
                };
                if entry.is_copy {
                    self.copies[side].push((owner, entry));
                } else if self.served.insert(owner, Served { side, position, entry }).is_some() {
                    self.broken(Violation::CalledTwice(owner));
                }
            }
        }
        self.verdict.attempts = self.copies.iter().map(Vec::len).sum();
    }

    /// Whose key it is, by the clients and by the sides that served.
    fn keys(&self) -> HashMap<&'a str, u64> {
        let given = self.history.writes.iter().filter_map(|write| Some((write.key.as_deref()?, write.id)));
        let served = self.history.sides.iter().flatten().filter(|entry| !entry.is_copy);
        served.filter_map(|entry| Some((entry.key.as_deref()?, entry.owner?))).chain(given).collect()
    }

    /// The key of a write, as far as anybody but a copy knows it.
    fn key(&self, id: u64) -> Option<&'a str> {
        let given = self.writes.get(&id).and_then(|write| write.key.as_deref());
        given.or_else(|| self.served.get(&id).and_then(|served| served.entry.key.as_deref()))
    }

    fn check_acknowledged(&mut self) {
        let arrived: [HashSet<u64>; 2] = [0, 1]
            .map(|side| self.copies[side].iter().filter(|(_, copy)| is_done(copy)).map(|(owner, _)| *owner).collect());
        let mut gaps: HashMap<&str, usize> = HashMap::new();
        for gap in &self.history.gaps {
            *gaps.entry(&gap.entity).or_default() += 1;
        }
        if !self.history.may_shed {
            // A write that was refused because it could not be kept may have been done all the same.
            let refused = |entity: &str| {
                let about = self.history.writes.iter().filter(|write| write.entity == entity);
                about.filter(|write| write.seen == Seen::Unknown).count()
            };
            let shed = gaps.iter().filter(|(entity, gaps)| **gaps > refused(entity));
            self.verdict.violations.extend(shed.map(|(entity, _)| Violation::Shed((*entity).to_owned())));
            gaps.clear();
        }
        for write in &self.history.writes {
            match write.seen {
                Seen::Acknowledged => self.verdict.acknowledged += 1,
                Seen::Rejected => self.verdict.rejected += 1,
                Seen::Unknown => self.verdict.unknown += 1,
            }
            if write.seen != Seen::Acknowledged {
                continue;
            }
            let Some(served) = self.served.get(&write.id).filter(|served| served.entry.applied) else {
                self.broken(Violation::MadeUp(write.id));
                continue;
            };
            if arrived[1 - served.side].contains(&write.id) {
                continue;
            }
            if self.key(write.id).is_some_and(|key| self.parked.contains(key)) {
                self.verdict.parked += 1;
            } else if let Some(left) = gaps.get_mut(&*served.entry.entity).filter(|left| **left > 0) {
                *left -= 1;
                self.verdict.gaps += 1;
            } else {
                self.broken(Violation::Lost(write.id));
            }
        }
    }

    /// Every copy carries what the other side did.
    fn check_copies(&mut self) {
        for side in [0, 1] {
            let mut done = HashSet::new();
            for (owner, copy) in self.copies[side].clone() {
                if copy.value.is_some_and(|value| value != owner) {
                    self.verdict.resolved += usize::from(copy.applied);
                }
                if copy.applied && !done.insert(owner) {
                    self.verdict.repeated += 1;
                }
                // A delete carries no value: that its side had nothing to delete makes both sides equal, and is no loss.
                let Some(value) = copy.value else { continue };
                match self.served.get(&value) {
                    // What was read to resolve an outcome may have come from this side before the roles changed.
                    Some(served) if served.entry.applied && (served.side != side || value != owner) => {}
                    Some(served) if !served.entry.applied => self.broken(Violation::DeliveredRejected(value)),
                    _ => self.broken(Violation::FromNowhere(format!("{copy:?}"))),
                }
            }
        }
    }

    /// All copies of a write carry its one key.
    fn check_keys(&mut self) {
        let mut keys: HashMap<u64, &str> = HashMap::new();
        for (owner, copy) in self.copies.concat() {
            let known = self.key(owner).or_else(|| keys.get(&owner).copied());
            let own = copy.key.as_deref().unwrap_or_default();
            if own.is_empty() || known.is_some_and(|known| known != own) {
                self.broken(Violation::OtherKey(owner));
            }
            keys.insert(owner, own);
        }
        let served: Vec<_> = self.served.iter().map(|(id, served)| (*id, served.entry)).collect();
        for (id, entry) in served {
            let given = self.writes.get(&id).and_then(|write| write.key.as_deref());
            if given.is_some_and(|given| entry.key.as_deref() != Some(given)) {
                self.broken(Violation::OtherKey(id));
            }
        }
    }

    /// Copies about one entity arrive, for the first time, in the order in which the writes were done.
    fn check_order(&mut self) {
        for side in [0, 1] {
            let mut latest: HashMap<&str, (usize, u64)> = HashMap::new();
            let mut seen = HashSet::new();
            for (owner, copy) in self.copies[side].clone() {
                let Some(served) = self.served.get(&owner).copied().filter(|served| served.entry.applied) else {
                    continue;
                };
                // What was resolved by reading carries a later state, and is no place in the order.
                let is_own = copy.value == served.entry.value;
                if !is_done(copy) || !is_own || !seen.insert(owner) {
                    continue;
                }
                match latest.get(&*copy.entity) {
                    // Read when a later one had deleted it: that looks like its own.
                    Some((position, _))
                        if *position > served.position
                            && copy.value.is_none()
                            && self.is_deleted_behind(side, copy, *position) => {}
                    Some((position, early)) if *position > served.position => {
                        self.broken(Violation::Reordered(owner, *early));
                    }
                    _ => {
                        latest.insert(&copy.entity, (served.position, owner));
                    }
                }
            }
        }
    }

    /// Whether the side that serves has deleted what a copy is about after so many of its entries.
    fn is_deleted_behind(&self, side: usize, copy: &Entry, position: usize) -> bool {
        let later = self.history.sides[1 - side].iter().skip(position + 1);
        later
            .filter(|entry| entry.applied && entry.value.is_none() && !entry.is_copy)
            .any(|entry| entry.entity == copy.entity)
    }

    /// Both sides hold the same in the end, except where a record says that they do not.
    fn check_state(&mut self) {
        let [one, other] = self.history.sides.each_ref().map(|log| state(log));
        let gaps = self.history.gaps.iter().filter(|_| self.history.may_shed).map(|gap| &*gap.entity);
        let known_missing: HashSet<&str> = gaps.chain(self.parked_entities()).collect();
        let entities: BTreeSet<&str> = one.keys().chain(other.keys()).copied().collect();
        for entity in entities {
            if one.get(entity) == other.get(entity) || known_missing.contains(entity) {
                continue;
            }
            if !self.history.is_strict && self.ended_unseen(entity) {
                self.verdict.unfinished += 1;
            } else {
                self.broken(Violation::Diverged(entity.to_owned()));
            }
        }
    }

    fn parked_entities(&self) -> Vec<&'a str> {
        let served = self
            .served
            .values()
            .filter(|served| served.entry.key.as_deref().is_some_and(|key| self.parked.contains(key)));
        served.map(|served| &*served.entry.entity).collect()
    }

    /// Whether the last thing that was done to an entity was a write whose client saw no answer, and of which there is no copy.
    fn ended_unseen(&self, entity: &str) -> bool {
        let of_entity = self.served.iter().filter(|(_, served)| served.entry.entity == entity && served.entry.applied);
        let last = of_entity.max_by_key(|(_, served)| served.position);
        last.is_some_and(|(id, served)| {
            let copied = self.copies[1 - served.side].iter().any(|(owner, _)| owner == id);
            self.writes.get(id).is_none_or(|write| write.seen == Seen::Unknown) && !copied
        })
    }
}

/// Whether a copy has arrived: a delete that found nothing has nothing more to do, as what was there went by an earlier one, or by a
/// resolution.
fn is_done(copy: &Entry) -> bool {
    copy.applied || (copy.value.is_none() && matches!(copy.status, 404 | 410))
}

/// What a log leaves: the value of each entity that is there.
fn state(log: &[Entry]) -> BTreeMap<&str, u64> {
    let mut state = BTreeMap::new();
    for entry in log.iter().filter(|entry| entry.applied) {
        match entry.value {
            Some(value) => state.insert(&*entry.entity, value),
            None => state.remove(&*entry.entity),
        };
    }
    state
}
