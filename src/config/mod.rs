//! Owns files and documents: reading, YAML, positions, diagnostics. Nothing else knows YAML.

mod diagnostic;
mod files;
mod node;
mod yaml;

pub use diagnostic::{Diagnostic, Report, Severity};
pub use files::ConfigFile;
pub use node::{Kind, Node, Place};
pub use yaml::parse;
