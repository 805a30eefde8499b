//! Owns reading a directory of documents: which files count, how large they may be, what identifies their content.

use std::path::PathBuf;

/// A file as read.
#[derive(Debug)]
pub struct ConfigFile {
    /// The path as it is shown.
    pub path: PathBuf,
    /// The content.
    pub text: String,
}
