//! Owns the table of the API's paths: what is there, who may ask for it, and finding it. It answers nothing.
//!
//! A read is added by a line here, an arm in `reads.rs` and an entry in `schemas/openapi.json`; a test compares the two.

use http::Method;

use super::tokens::Role;
use crate::control::ofrep::decode;

/// Where all paths begin.
pub(in crate::control) const PREFIX: &str = "/api/";

/// What answers at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Read(Read),
    Explain,
    Events,
    Write(Write),
    CopyOrder(CopyOrder),
    Reconcile,
    ReconcileListing,
    Reload,
}

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Status,
    Overrides,
    History,
    HistoryEntry,
    Generations,
    Copies(CopyRead),
}

/// What can be read of copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyRead {
    Status,
    Parked,
    ParkedCopy,
    Gaps,
}

/// What can be done about copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyOrder {
    Replay,
    Drop,
    DropPending,
    Resume,
}

/// What can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Kill,
    Revive,
    Set,
    Unset,
    Pin,
    Unpin,
    KillAll,
    ReviveAll,
    Restore,
    Release,
}

impl Write {
    /// Whether it takes something away that lies over the files, so that they come into force.
    pub(super) fn uncovers_files(self) -> bool {
        match self {
            Self::Revive | Self::ReviveAll | Self::Unset | Self::Unpin | Self::Release => true,
            // A kill waits for nothing (rule A5), nor does what else is laid over the files.
            Self::Kill | Self::KillAll | Self::Set | Self::Pin | Self::Restore => false,
        }
    }
}

/// A method and a path; a segment in braces stands for any one segment.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) template: &'static str,
    pub(super) endpoint: Endpoint,
}

const fn get(template: &'static str, endpoint: Endpoint) -> Route {
    Route { method: Method::GET, template, endpoint }
}

const fn post(template: &'static str, write: Write) -> Route {
    Route { method: Method::POST, template, endpoint: Endpoint::Write(write) }
}

const fn order(template: &'static str, order: CopyOrder) -> Route {
    Route { method: Method::POST, template, endpoint: Endpoint::CopyOrder(order) }
}

pub(super) const ROUTES: &[Route] = &[
    get("/api/v1/status", Endpoint::Read(Read::Status)),
    Route { method: Method::POST, template: "/api/v1/explain", endpoint: Endpoint::Explain },
    get("/api/v1/overrides", Endpoint::Read(Read::Overrides)),
    get("/api/v1/history", Endpoint::Read(Read::History)),
    get("/api/v1/history/{number}", Endpoint::Read(Read::HistoryEntry)),
    get("/api/v1/generations", Endpoint::Read(Read::Generations)),
    get("/api/v1/events", Endpoint::Events),
    post("/api/v1/flags/{key}/kill", Write::Kill),
    post("/api/v1/flags/{key}/revive", Write::Revive),
    post("/api/v1/flags/{key}/set", Write::Set),
    post("/api/v1/flags/{key}/unset", Write::Unset),
    post("/api/v1/flags/{key}/pin", Write::Pin),
    post("/api/v1/flags/{key}/unpin", Write::Unpin),
    post("/api/v1/kill-all", Write::KillAll),
    post("/api/v1/revive-all", Write::ReviveAll),
    post("/api/v1/restore", Write::Restore),
    post("/api/v1/release", Write::Release),
    Route { method: Method::POST, template: "/api/v1/reload", endpoint: Endpoint::Reload },
    get("/api/v1/journal", Endpoint::Read(Read::Copies(CopyRead::Status))),
    get("/api/v1/journal/parked", Endpoint::Read(Read::Copies(CopyRead::Parked))),
    get("/api/v1/journal/parked/{copy}", Endpoint::Read(Read::Copies(CopyRead::ParkedCopy))),
    get("/api/v1/journal/gaps", Endpoint::Read(Read::Copies(CopyRead::Gaps))),
    order("/api/v1/journal/parked/{name}/replay", CopyOrder::Replay),
    order("/api/v1/journal/parked/{name}/drop", CopyOrder::Drop),
    order("/api/v1/journal/destinations/{name}/resume", CopyOrder::Resume),
    order("/api/v1/journal/destinations/{name}/drop", CopyOrder::DropPending),
    Route { method: Method::POST, template: "/api/v1/reconcile", endpoint: Endpoint::Reconcile },
    Route { method: Method::POST, template: "/api/v1/reconcile/listing", endpoint: Endpoint::ReconcileListing },
];

/// What a request leads to.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// The endpoint, and what stands for the segment in braces.
    Endpoint(Endpoint, Option<String>),
    /// The path has other methods.
    OtherMethods(&'static str),
    Nothing,
}

/// Finds what answers; HEAD counts as GET.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut found = Found::Nothing;
    for route in ROUTES {
        let Some(parameter) = fits(route.template, path) else { continue };
        if route.method == *method {
            return Found::Endpoint(route.endpoint, parameter);
        }
        found = Found::OtherMethods(if route.method == Method::GET { "GET, HEAD" } else { "POST" });
    }
    found
}

impl Endpoint {
    /// Who may ask.
    pub(super) fn role(self) -> Role {
        match self {
            Self::Read(_) | Self::Explain | Self::Events => Role::Read,
            Self::Write(_) | Self::CopyOrder(_) | Self::Reconcile | Self::ReconcileListing | Self::Reload => {
                Role::Operate
            }
        }
    }
}

/// Compares segment by segment; `Some(None)` is a fit without a parameter.
fn fits(template: &str, path: &str) -> Option<Option<String>> {
    let (mut wanted, mut given, mut parameter) = (template.split('/'), path.split('/'), None);
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parameter),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                parameter = Some(decode(given));
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn paths_lead_to_endpoints_and_keys_are_decoded() {
        let kill = |key: &str| Found::Endpoint(Endpoint::Write(Write::Kill), Some(key.to_owned()));
        assert_eq!(find(&Method::POST, "/api/v1/flags/orders/kill"), kill("orders"));
        assert_eq!(find(&Method::POST, "/api/v1/flags/a%2Fb/kill"), kill("a/b"));
        let overrides = Found::Endpoint(Endpoint::Read(Read::Overrides), None);
        assert_eq!(find(&Method::HEAD, "/api/v1/overrides"), overrides);
        assert_eq!(find(&Method::DELETE, "/api/v1/overrides"), Found::OtherMethods("GET, HEAD"));
        assert_eq!(find(&Method::GET, "/api/v1/kill-all"), Found::OtherMethods("POST"));
        for path in ["/api/v1/", "/api/v1/overrides/", "/api/v1/flags//kill", "/api/v1/flags/a/b/kill", "/api/"] {
            assert_eq!(find(&Method::POST, path), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(super::super::DOCUMENT).unwrap();
        let mut described = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            described.extend(methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
        }
        described.retain(|route| route.contains(" /api/"));
        let mut served: Vec<_> =
            ROUTES.iter().map(|route| format!("{} {}", route.method.as_str().to_lowercase(), route.template)).collect();
        described.sort();
        served.sort();
        assert_eq!(described, served);
    }
}
