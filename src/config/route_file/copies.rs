//! Owns the written form of `copies:`: how the writes of a route are copied to the other side.

use crate::config::{Fields, Node, Place, Report, Text};

/// `copies:` as written.
#[derive(Debug)]
pub struct CopiesDoc {
    /// Where it stands.
    pub place: Place,
    /// `mode`.
    pub mode: Option<Text>,
    /// `overflow`.
    pub overflow: Option<Text>,
    /// `too_large`.
    pub too_large: Option<Text>,
    /// `body_bytes_max`, in bytes.
    pub body_bytes_max: Option<u64>,
    /// `entity`: a text with parameters of the path.
    pub entity: Option<Text>,
    /// `created`: where an answer names what was created.
    pub created: Option<Text>,
    /// `carry_id`: how a copied create carries the id.
    pub carry_id: Option<Text>,
    /// `unknown`: what becomes of a write whose outcome nobody knows.
    pub unknown: Option<Text>,
    /// `lookup`: path and query that find what a create made.
    pub lookup: Option<Text>,
    /// `idempotency_header`.
    pub idempotency_header: Option<Text>,
    /// `switch`.
    pub switch: Option<Text>,
    /// `attempts_max`.
    pub attempts_max: Option<u32>,
    /// `reads`: methods that are no writes here.
    pub reads: Vec<Text>,
    /// `drop_headers`.
    pub drop_headers: Vec<Text>,
    /// `credentials`.
    pub credentials: Option<Text>,
}

pub(super) fn read(node: &Node, report: &mut Report) -> Option<CopiesDoc> {
    let mut fields = Fields::open(node, "copies", report)?;
    let doc = CopiesDoc {
        place: node.place.clone(),
        mode: fields.text("mode", report),
        overflow: fields.text("overflow", report),
        too_large: fields.text("too_large", report),
        body_bytes_max: fields.number("body_bytes_max", 1..=16 * 1024 * 1024, report),
        entity: fields.text("entity", report),
        created: fields.text("created", report),
        carry_id: fields.text("carry_id", report),
        unknown: fields.text("unknown", report),
        lookup: fields.text("lookup", report),
        idempotency_header: fields.text("idempotency_header", report),
        switch: fields.text("switch", report),
        attempts_max: fields.number32("attempts_max", 1..=1_000, report),
        reads: fields.texts("reads", report).unwrap_or_default(),
        drop_headers: fields.texts("drop_headers", report).unwrap_or_default(),
        credentials: fields.text("credentials", report),
    };
    fields.close(report);
    Some(doc)
}
