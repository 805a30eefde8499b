//! Owns files and documents: reading, YAML, positions, diagnostics. Nothing else knows YAML.

mod diagnostic;
mod edit;
mod excerpt;
mod fields;
mod files;
mod listing;
mod node;
mod render;
mod replace;
mod route_file;
mod suggest;
mod yaml;

pub use diagnostic::{Diagnostic, Report, Severity};
pub use edit::{Edited, FlagEditor, Pin, SplitDoc, unknown_flag};
pub use excerpt::visible;
pub use fields::{Fields, Text};
pub use files::{ConfigFile, FileSet};
pub use node::{Kind, Node, Place};
pub use render::{Format, Position, Positions};
pub use replace::{EditLock, Replacement};
pub use route_file::{
    CopiesDoc, ForceDoc, HeaderDoc, HealthDoc, IdentityDoc, MatchDoc, RewriteDoc, RouteDoc, RouteFile, TargetDoc,
    TlsDoc, UpstreamDoc, VariantDoc,
};
pub use suggest::{closest, did_you_mean};
pub use yaml::parse;
