//! Owns the choice among routes with the same host and the same shape of path: by methods, headers and query.

use std::collections::{BTreeMap, HashMap, HashSet};

use http::{HeaderName, Method};

use super::conditions::{Conditions, Rank, first_header};
use super::index::{Index, hash, narrow};
use super::query::query_value;
use super::{Conflict, Request, ValuePattern};

/// The routes of one host and shape.
///
/// Routes that ask for the same names stand in one group and are found by a hash of the values, so ten thousand
/// routes that differ in one header's value cost one lookup. The cost is bounded by the different sets of names.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    /// The most specific first.
    groups: Box<[Group]>,
    /// The route without conditions.
    always: Option<u32>,
}

/// Routes that ask for the same names in the same way.
#[derive(Debug)]
struct Group {
    signature: Signature,
    /// By a hash of what a request has under the signature's names.
    index: Index,
    /// The most specific first.
    routes: Box<[u32]>,
}

/// What a group's conditions look at, sorted by name; `true` where the value counts too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Signature {
    methods: bool,
    headers: Box<[(HeaderName, bool)]>,
    query: Box<[(Box<str>, bool)]>,
}

/// What must be equal for two routes of one group to meet in a request.
type Key<'c> = (Option<&'c Method>, Vec<&'c str>);

impl Leaf {
    /// Sorts routes, given by their numbers in ascending order, into groups; `conflicts` takes what cannot be told
    /// apart.
    pub(super) fn build(routes: &[u32], all: &[Conditions], conflicts: &mut Vec<Conflict>) -> Self {
        let (conditional, always): (Vec<u32>, Vec<u32>) =
            routes.iter().partition(|route| !all[**route as usize].is_empty());
        if let Some((first, others)) = always.split_first() {
            conflicts.extend(others.iter().map(|second| conflict(*first, *second)));
        }
        let mut groups: HashMap<Signature, Vec<u32>> = HashMap::new();
        for route in conditional {
            groups.entry(Signature::of(&all[route as usize])).or_default().push(route);
        }
        let mut ranks: BTreeMap<Rank, Vec<Group>> = BTreeMap::new();
        for (signature, routes) in groups {
            let rank = all[routes[0] as usize].rank();
            ranks.entry(rank).or_default().push(Group::build(signature, routes, all, conflicts));
        }
        let mut sorted: Vec<Group> = Vec::new();
        for mut equal in ranks.into_values().rev() {
            // Which of them comes first decides nothing (they never both hold); conflicts and explanations want a fixed order.
            equal.sort_unstable_by_key(|group| group.routes.iter().min().copied());
            find_overlaps(&equal, &sorted, all, conflicts);
            sorted.extend(equal);
        }
        Self { groups: sorted.into(), always: always.first().copied() }
    }

    /// The most specific route whose conditions hold.
    pub(super) fn find(&self, request: &Request<'_>, all: &[Conditions]) -> Option<u32> {
        let holds = |route: u32| all[route as usize].missed(request).is_none();
        let found = self.groups.iter().find_map(|group| {
            let hash = group.signature.hash_request(request)?;
            group.index.find(hash, holds)
        });
        found.or(self.always)
    }

    /// All routes, the most specific first.
    pub(super) fn routes(&self) -> impl Iterator<Item = u32> {
        self.groups.iter().flat_map(|group| &group.routes).copied().chain(self.always)
    }
}

impl Group {
    fn build(signature: Signature, mut routes: Vec<u32>, all: &[Conditions], conflicts: &mut Vec<Conflict>) -> Self {
        let methods = |route: u32| all[route as usize].methods.len();
        // Of routes that differ in their methods only, the shorter list is the more specific.
        routes.sort_by_key(|route| (methods(*route), *route));
        let mut holders: HashMap<Key<'_>, u32> = HashMap::new();
        let mut hashes = Vec::with_capacity(routes.len());
        let mut told: HashSet<u32> = HashSet::new();
        for &route in &routes {
            for key in keys(&all[route as usize], |_| true, |_| true) {
                hashes.push((hash_key(&key), route));
                let holder = *holders.entry(key).or_insert(route);
                if holder != route && methods(holder) == methods(route) && told.insert(route) {
                    conflicts.push(conflict(holder, route));
                }
            }
        }
        Self { signature, index: Index::build(&hashes), routes: routes.into() }
    }
}

impl Signature {
    fn of(conditions: &Conditions) -> Self {
        let exact = |pattern: &ValuePattern| *pattern != ValuePattern::Present;
        Self {
            methods: !conditions.methods.is_empty(),
            headers: conditions.headers.iter().map(|(name, pattern)| (name.clone(), exact(pattern))).collect(),
            query: conditions.query.iter().map(|(name, pattern)| (name.clone(), exact(pattern))).collect(),
        }
    }

    /// Hashes what a request has under these names; `None` when it lacks one.
    fn hash_request(&self, request: &Request<'_>) -> Option<u64> {
        let mut state = if self.methods { hash(0, request.method.as_str().as_bytes()) } else { 0 };
        for (name, exact) in &self.headers {
            let value = first_header(request.headers, name)?;
            state = if *exact { hash(state, value) } else { state };
        }
        for (name, exact) in &self.query {
            let value = query_value(request.query?, name)?;
            state = if *exact { hash(state, value.as_bytes()) } else { state };
        }
        Some(state)
    }
}

fn hash_key((method, values): &Key<'_>) -> u64 {
    let state = method.map_or(0, |method| hash(0, method.as_str().as_bytes()));
    values.iter().fold(state, |state, value| hash(state, value.as_bytes()))
}

/// A key for each method of a route, with the values of the headers and query parameters that are asked about.
fn keys<'c>(
    conditions: &'c Conditions,
    header: impl Fn(&HeaderName) -> bool,
    query: impl Fn(&str) -> bool,
) -> Vec<Key<'c>> {
    let headers = conditions.headers.iter().filter(|(name, _)| header(name)).map(|(_, pattern)| pattern);
    let query = conditions.query.iter().filter(|(name, _)| query(name)).map(|(_, pattern)| pattern);
    let values: Vec<&str> = headers
        .chain(query)
        .filter_map(|pattern| match pattern {
            ValuePattern::Exact(value) => Some(&**value),
            ValuePattern::Present => None,
        })
        .collect();
    if conditions.methods.is_empty() {
        return vec![(None, values)];
    }
    conditions.methods.iter().map(|method| (Some(method), values.clone())).collect()
}

/// Finds routes of equal rank that ask for different names and yet may both hold.
///
/// That is no conflict where a route of a higher rank takes every such request.
fn find_overlaps(equal: &[Group], higher: &[Group], all: &[Conditions], conflicts: &mut Vec<Conflict>) {
    let mut told: HashSet<u32> = HashSet::new();
    for (index, left) in equal.iter().enumerate() {
        for right in &equal[index + 1..] {
            let by_key = meeting_points(left, right, all);
            for &second in &right.routes {
                for key in shared_keys(&all[second as usize], &left.signature, &right.signature) {
                    let firsts = by_key.get(&key).map_or(&[][..], Vec::as_slice);
                    let open = firsts.iter().find(|first| !is_covered(**first, second, key.0, higher, all));
                    if let Some(first) = open
                        && told.insert(second)
                    {
                        conflicts.push(conflict(*first, second));
                    }
                }
            }
        }
    }
}

/// The routes of `left` by what they must share with a route of `right` to meet it.
fn meeting_points<'c>(left: &Group, right: &Group, all: &'c [Conditions]) -> HashMap<Key<'c>, Vec<u32>> {
    let mut by_key: HashMap<Key<'c>, Vec<u32>> = HashMap::new();
    for &route in &left.routes {
        for key in shared_keys(&all[route as usize], &left.signature, &right.signature) {
            by_key.entry(key).or_default().push(route);
        }
    }
    by_key
}

/// The keys of a route over the names whose values both signatures ask for.
fn shared_keys<'c>(conditions: &'c Conditions, left: &Signature, right: &Signature) -> Vec<Key<'c>> {
    keys(
        conditions,
        |name| [left, right].iter().all(|side| side.headers.iter().any(|(own, exact)| own == name && *exact)),
        |name| [left, right].iter().all(|side| side.query.iter().any(|(own, exact)| **own == *name && *exact)),
    )
}

fn is_covered(first: u32, second: u32, method: Option<&Method>, higher: &[Group], all: &[Conditions]) -> bool {
    let (left, right) = (&all[first as usize], &all[second as usize]);
    let mut routes = higher.iter().flat_map(|group| &group.routes);
    routes.any(|route| all[*route as usize].follow_from(left, right, method))
}

fn conflict(left: u32, right: u32) -> Conflict {
    let (first, second) = (left.min(right) as usize, left.max(right) as usize);
    Conflict { first, second }
}

/// The number of a leaf, for the routes that reach it.
pub(super) fn group_by_leaf(leaves: &[u32]) -> Vec<Vec<u32>> {
    let count = leaves.iter().max().map_or(0, |last| *last as usize + 1);
    let mut routes = vec![Vec::new(); count];
    for (route, leaf) in leaves.iter().enumerate() {
        routes[*leaf as usize].push(narrow(route));
    }
    routes
}
