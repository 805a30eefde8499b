//! Owns where the demo's files are: the directories asked for, or copies of the shipped ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the copies go, outside a clone.
const COPIES: &str = "banyan-demo";

/// The files as they are shipped.
///
/// Not those at the root: whoever follows the README edits these, and must not build the edits in. A test holds them equal.
const SHIPPED: [(&str, &str); 3] = [
    ("flags/orders.yaml", include_str!("shipped/flags/orders.yaml")),
    ("flags/search.yaml", include_str!("shipped/flags/search.yaml")),
    ("routes/shop.yaml", include_str!("shipped/routes/shop.yaml")),
];

/// The directories of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The flag files.
    pub flags: PathBuf,
    /// The route files.
    pub routes: PathBuf,
    /// Whether they are copies that were written just now.
    pub written: bool,
}

/// Finds the directories in `folder`; where both are missing, the shipped files are written to `banyan-demo/`.
///
/// Copies that are there already stay as they are: somebody may have edited them.
///
/// # Errors
/// When the copies cannot be written.
pub fn places(folder: &Path, flags: &Path, routes: &Path) -> io::Result<Places> {
    let (flags, routes) = (folder.join(flags), folder.join(routes));
    if flags.is_dir() || routes.is_dir() {
        return Ok(Places { flags, routes, written: false });
    }
    let copies = folder.join(COPIES);
    let mut written = false;
    for (name, text) in SHIPPED {
        let path = copies.join(name);
        if !path.exists() {
            fs::create_dir_all(path.parent().unwrap_or(&copies))?;
            fs::write(&path, text)?;
            written = true;
        }
    }
    Ok(Places { flags: copies.join("flags"), routes: copies.join("routes"), written })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_written_once_and_edits_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let find = || places(folder.path(), Path::new("flags"), Path::new("routes")).expect("it writes");
        let first = find();
        assert!(first.written && first.routes.join("shop.yaml").is_file());
        fs::write(first.flags.join("search.yaml"), "edited").expect("a file");
        assert_eq!(find(), Places { written: false, ..first.clone() });
        assert_eq!(fs::read_to_string(first.flags.join("search.yaml")).expect("a file"), "edited");
        fs::create_dir(folder.path().join("flags")).expect("a folder");
        assert_eq!(find().flags, folder.path().join("flags"));
    }
}
