//! Owns the written form of a route file (design 3.2): its keys, types and ranges, and no meaning across keys.

mod copies;
mod route;
mod upstream;

pub use copies::CopiesDoc;
pub use route::{HeaderDoc, MatchDoc, RouteDoc, TargetDoc, VariantDoc};
pub use upstream::{HealthDoc, RewriteDoc, TlsDoc, UpstreamDoc};

use super::fields::{entries, text};
use super::{Fields, Node, Place, Report, Text};

/// What one route file says; everything in it is optional, since a set may be spread over files.
#[derive(Debug, Default)]
pub struct RouteFile {
    /// `identity:`, with the place of the key.
    pub identity: Option<(Place, IdentityDoc)>,
    /// `context:`, names and sources.
    pub context: Vec<(Text, Text)>,
    /// `force:`, with the place of the key.
    pub force: Option<(Place, ForceDoc)>,
    /// `upstreams:`.
    pub upstreams: Vec<UpstreamDoc>,
    /// `routes:`.
    pub routes: Vec<RouteDoc>,
}

/// `identity:` as written.
#[derive(Debug, Default)]
pub struct IdentityDoc {
    /// `targeting_key`: sources in order.
    pub sources: Vec<Text>,
    /// `cookie: {max_age_s}`, with its place: the age of an issued cookie.
    pub cookie_max_age_s: Option<(Place, u32)>,
}

/// `force:` as written.
#[derive(Debug)]
pub struct ForceDoc {
    /// `header`.
    pub header: Text,
    /// `networks`.
    pub networks: Vec<Text>,
}

/// The longest age browsers honour: 400 days (RFC 6265bis section 5.5).
const COOKIE_AGE_MAX_S: u32 = 34_560_000;

impl RouteFile {
    /// Reads a route file; findings go to `report`, and what cannot be read is left out.
    pub fn read(root: &Node, report: &mut Report) -> Self {
        let mut file = Self::default();
        let Some(mut fields) = Fields::open(root, "a route file", report) else {
            return file;
        };
        // Editors read it; it says nothing to us.
        let _schema = fields.text("$schema", report);
        if let Some(node) = fields.node("identity") {
            file.identity = identity(node, report).map(|doc| (node.place.clone(), doc));
        }
        if let Some(node) = fields.node("context") {
            file.context = pairs(node, "context", report);
        }
        if let Some(node) = fields.node("force") {
            file.force = force(node, report).map(|doc| (node.place.clone(), doc));
        }
        if let Some(node) = fields.node("upstreams") {
            let entries = entries(node, "upstreams", report).unwrap_or_default();
            file.upstreams = entries.iter().filter_map(|(name, node)| upstream::read(name, node, report)).collect();
        }
        if let Some(node) = fields.node("routes") {
            match node.as_list() {
                Some(items) => file.routes = items.iter().filter_map(|item| route::read(item, report)).collect(),
                None => {
                    super::fields::wrong::<()>(node, "routes", "a list", report);
                }
            }
        }
        fields.close(report);
        file
    }
}

fn identity(node: &Node, report: &mut Report) -> Option<IdentityDoc> {
    let mut fields = Fields::open(node, "identity", report)?;
    let help = "list sources, such as [header:x-user-id, cookie:session, issue:banyan_id]";
    fields.required("targeting_key", help, report);
    let sources = fields.texts("targeting_key", report).unwrap_or_default();
    let cookie_max_age_s = fields.node("cookie").and_then(|node| {
        let mut cookie = Fields::open(node, "cookie", report)?;
        let age = cookie.number32("max_age_s", 60..=COOKIE_AGE_MAX_S, report);
        cookie.close(report);
        Some((node.place.clone(), age?))
    });
    fields.close(report);
    Some(IdentityDoc { sources, cookie_max_age_s })
}

fn force(node: &Node, report: &mut Report) -> Option<ForceDoc> {
    let mut fields = Fields::open(node, "force", report)?;
    fields.required("header", "name the header that testers send, such as x-banyan-force", report);
    let header = fields.text("header", report);
    fields.required("networks", "list the networks that testers come from, such as [10.0.0.0/8]", report);
    let networks = fields.texts("networks", report);
    fields.close(report);
    Some(ForceDoc { header: header?, networks: networks? })
}

/// The entries of a map of strings.
fn pairs(node: &Node, what: &'static str, report: &mut Report) -> Vec<(Text, Text)> {
    let entries = entries(node, what, report).unwrap_or_default();
    entries
        .iter()
        .filter_map(|(key, value)| Some((text(key, what, report)?, text(value, key.as_str()?, report)?)))
        .collect()
}
