//! Owns the JSON that OFREP answers with; it never evaluates.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::flag::{ErrorCode, Flag};
use crate::snapshot::{Ruling, Snapshot};

/// Our names in metadata; the prefix keeps them apart from those in flag files.
const GENERATION: &str = "banyan.generation";
const HASHING: &str = "banyan.hashing";
const OVERRIDE: &str = "banyan.override";

/// What came of one flag.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Evaluated<'s> {
    /// The flag gave a variant, or the code default.
    Success(Success<'s>),
    /// It gave an error.
    Failure(Failure<'s>),
}

/// What a flag gave. Without a value the caller uses its own default, as the router uses the route's fallback.
#[derive(Debug, Serialize)]
pub(super) struct Success<'s> {
    key: &'s str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'s Json>,
    metadata: Map<String, Json>,
}

/// Why there is no evaluation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure<'s> {
    /// The flag; `None` where all were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'s str>,
    /// OpenFeature's code.
    pub(super) error_code: &'static str,
    /// For people.
    pub(super) error_details: String,
}

impl<'s> Evaluated<'s> {
    /// Shapes what a flag gave.
    pub(super) fn new(flag: &'s Flag, ruling: Ruling) -> Self {
        let evaluation = ruling.evaluation;
        if let Some(code) = evaluation.error {
            return Self::Failure(Failure::of(&flag.key, code));
        }
        let variant = evaluation.variant.and_then(|variant| flag.variants.get(usize::from(variant.0)));
        // The protocol knows flat metadata only.
        let flat =
            flag.metadata.iter().filter(|(_, value)| value.is_string() || value.is_number() || value.is_boolean());
        let mut metadata: Map<String, Json> = flat.map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(kind) = ruling.overridden {
            metadata.insert(OVERRIDE.to_owned(), kind.as_str().into());
        }
        Self::Success(Success {
            key: &flag.key,
            reason: evaluation.reason.as_str(),
            variant: variant.map(|variant| &*variant.name),
            value: variant.map(|variant| &variant.value),
            metadata,
        })
    }

    /// Adds the set's metadata, which an answer about all flags has once.
    pub(super) fn with_set(mut self, snapshot: &Snapshot) -> Self {
        if let Self::Success(success) = &mut self {
            success.metadata.extend(set_metadata(snapshot));
        }
        self
    }

    /// The status of an answer about this flag alone.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Success(_) => StatusCode::OK,
            Self::Failure(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl<'s> Failure<'s> {
    fn of(key: &'s str, code: ErrorCode) -> Self {
        let what = match code {
            ErrorCode::ParseError => "has a rule that cannot be evaluated",
            _ => "has a rule that names no variant, or does more than one evaluation may",
        };
        Self { key: Some(key), error_code: code.as_str(), error_details: format!("the flag `{key}` {what}") }
    }
}

/// What an answer says of the set of flags.
pub(super) fn set_metadata(snapshot: &Snapshot) -> Map<String, Json> {
    let hashing = snapshot.rules.hashing.as_str();
    Map::from_iter([(GENERATION.to_owned(), snapshot.generation.into()), (HASHING.to_owned(), hashing.into())])
}
