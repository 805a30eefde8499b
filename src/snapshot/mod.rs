//! Owns the compiled, immutable configuration and its publication; it never reads a file.

mod addresses;
mod copies;
mod overrides;
mod serving;
mod store;

use std::collections::HashMap;
use std::sync::Arc;

pub use addresses::Authority;
pub use copies::{
    COPY_BODY_BYTES_MAX, CopyMode, CopyRules, Credentials, ENTITY_BYTES_MAX, EntityPart, EntityRule, IdCarrier,
    JournalOverflow, Naming, SideSwitch, TooLarge, UnknownOutcome,
};
pub use overrides::{Overrides, Ruling};
pub use store::{Reader, Store};

use crate::attribute::Attribute;
use crate::flag::{Flag, FlagId, Hashing};
use crate::network::Network;
use crate::route::RouteTable;
use crate::upstream::{Upstream, UpstreamId};

/// One generation of the whole configuration.
///
/// Parts are shared, so that a change of addresses alone makes a new snapshot without compiling again.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Counts publications from 1; unique in a process.
    pub generation: u64,
    /// What the files said.
    pub rules: Arc<Rules>,
    /// The upstreams with the addresses now known, by [`UpstreamId`].
    pub upstreams: Arc<[Arc<Upstream>]>,
    /// What operators have laid over the flags.
    pub overrides: Arc<Overrides>,
}

/// The part of a snapshot that follows from the files alone.
#[derive(Debug)]
pub struct Rules {
    /// The flags, by [`FlagId`].
    pub flags: Vec<Flag>,
    /// Flag keys to ids.
    pub flag_ids: HashMap<Box<str>, FlagId>,
    /// Which hash generation `fractional` uses.
    pub hashing: Hashing,
    /// The routes.
    pub routes: RouteTable<Route>,
    /// What each leg is called in metrics and logs, by [`LegId`].
    pub legs: Vec<LegLabels>,
    /// Where the targeting key comes from.
    pub identity: Identity,
    /// What `context:` maps.
    pub mapped: HashMap<Box<str>, Attribute>,
    /// Who may force a variant, and how.
    pub forcing: Option<Forcing>,
}

impl Rules {
    /// Whether a request may have the attribute that rules call by this name.
    pub fn may_ask(&self, name: &str) -> bool {
        match Attribute::from_rule(name) {
            Attribute::Mapped(mapped) => self.mapped.contains_key(&mapped),
            _ => true,
        }
    }
}

/// Where the targeting key comes from: the first source that answers.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The sources in order.
    pub sources: Vec<Attribute>,
    /// The cookie to issue when none answers. It is a source too, read at its place in the order.
    pub issue: Option<IssuedCookie>,
}

/// The longest targeting key in bytes; a longer value does not count as one.
///
/// Twice the longest identifiers in use (signed session cookies), so that a hostile request cannot buy much hashing.
pub const TARGETING_KEY_BYTES_MAX: usize = 512;

impl Identity {
    /// Asks the sources in order; gives the first answer with its source.
    pub fn find<T: AsRef<str>>(&self, read: impl Fn(&Attribute) -> Option<T>) -> Option<(T, &Attribute)> {
        self.sources.iter().find_map(|source| {
            let text = read(source)?;
            is_targeting_key(text.as_ref()).then_some((text, source))
        })
    }
}

/// Whether a text counts as a targeting key: empty and overlong ones do not.
pub const fn is_targeting_key(text: &str) -> bool {
    !text.is_empty() && text.len() <= TARGETING_KEY_BYTES_MAX
}

/// A cookie for visitors without a targeting key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCookie {
    /// Its name.
    pub name: Box<str>,
    /// Its `Max-Age` in seconds; default one year.
    pub max_age_s: u32,
}

/// Lets testers choose a variant by a header, from trusted networks only.
#[derive(Debug, Clone)]
pub struct Forcing {
    /// The request header, whose value is `FLAG=VARIANT`, several separated by commas.
    pub header: http::HeaderName,
    /// The networks.
    pub networks: Vec<Network>,
}

/// Indexes [`Rules::legs`]; dense, over all routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u32);

/// One way through a route: what a variant leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Its number.
    pub id: LegId,
    /// Who serves the request.
    pub upstream: UpstreamId,
    /// Who gets copies of writes.
    pub copy_to: Option<UpstreamId>,
}

/// What a leg is called in metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LegLabels {
    /// The route.
    pub route: Box<str>,
    /// The flag, if the route has one.
    pub flag: Option<Box<str>>,
    /// The variant, or `fallback`; `None` on a route without a flag.
    pub variant: Option<Box<str>>,
    /// The upstream.
    pub upstream: Box<str>,
}

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: Box<str>,
    /// How it chooses.
    pub choice: Choice,
    /// Whether WebSocket upgrades may pass.
    pub websocket: bool,
    /// The largest request body in bytes; `None` means no limit.
    pub body_bytes_max: Option<u64>,
    /// How writes are copied, where a leg copies any.
    pub copies: Option<Arc<CopyRules>>,
}

/// How a route chooses its leg.
#[derive(Debug)]
pub enum Choice {
    /// Always the same.
    Always(Leg),
    /// By a flag's variant.
    ByFlag {
        /// The flag.
        flag: FlagId,
        /// The legs, by [`crate::flag::VariantId`]; `None` where the route names no upstream for that variant
        /// (then the fallback serves, with reason `ERROR`).
        legs: Box<[Option<Leg>]>,
        /// What serves when the flag gives the code default or an error.
        fallback: Leg,
        /// Which requests the fallback serves while the chosen upstream is full.
        overflow: Overflow,
    },
}

/// Says which requests the fallback serves while the chosen upstream is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// None: they are answered with 503.
    #[default]
    Never,
    /// Reads: the authority over writes must not move with the load.
    Reads,
    /// All.
    All,
}
