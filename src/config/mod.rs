//! Owns files and documents: reading, YAML, positions, diagnostics. Nothing else knows YAML.

mod diagnostic;
mod excerpt;
mod fields;
mod files;
mod listing;
mod node;
mod render;
mod route_file;
mod suggest;
mod yaml;

pub use diagnostic::{Diagnostic, Report, Severity};
pub use fields::{Fields, Text};
pub use files::{ConfigFile, FileSet};
pub use node::{Kind, Node, Place};
pub use render::{Format, Position, Positions};
pub use route_file::{
    ForceDoc, HeaderDoc, HealthDoc, IdentityDoc, MatchDoc, RewriteDoc, RouteDoc, RouteFile, TargetDoc, TlsDoc,
    UpstreamDoc, VariantDoc,
};
pub use suggest::{closest, did_you_mean};
pub use yaml::parse;
