//! Owns asking the kernel about changes of files; the only place that knows `notify`.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::mailbox::Mailbox;

/// Watches the directories and the directories that hold them.
///
/// A watch follows the directory and not its name: when the directory is deleted and made again, moved, or mounted
/// over, the watch is set up anew. What the kernel does not tell (bind mounts, network file systems, files behind
/// links) the poll sees.
pub(super) struct Watcher {
    roots: Vec<PathBuf>,
    mailbox: Arc<Mailbox>,
    set: Option<WatchSet>,
    /// The last trouble, so that it is logged once.
    trouble: Option<String>,
}

/// One set of watches in the kernel, gone when dropped.
struct WatchSet {
    identities: Vec<Option<Identity>>,
    /// A root itself came, went or changed its name.
    outdated: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

/// Tells a directory from another one under the same name; file systems give inode numbers out again at once.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Watcher {
    /// Makes a watcher that watches nothing before [`Self::ensure`].
    pub(super) fn new<'p>(roots: impl IntoIterator<Item = &'p Path>, mailbox: Arc<Mailbox>) -> Self {
        let mut roots: Vec<PathBuf> =
            roots.into_iter().map(|root| std::path::absolute(root).unwrap_or_else(|_| root.to_owned())).collect();
        roots.dedup();
        Self { roots, mailbox, set: None, trouble: None }
    }

    /// Sets the watches up where there are none or they follow what is no longer there; call it before reading.
    pub(super) fn ensure(&mut self) {
        let identities: Vec<_> = self.roots.iter().map(|root| identity(root)).collect();
        let is_current =
            self.set.as_ref().is_some_and(|set| !set.outdated.load(Ordering::Acquire) && set.identities == identities);
        if is_current {
            return;
        }
        // The old set goes only when the new one stands, so that no change falls between them.
        match self.watch(identities) {
            Ok(set) => {
                self.set = Some(set);
                self.trouble = None;
            }
            Err(error) => {
                self.set = None;
                let trouble = error.to_string();
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(error = %trouble, "changes of files are seen by the poll only");
                    self.trouble = Some(trouble);
                }
            }
        }
    }

    fn watch(&self, identities: Vec<Option<Identity>>) -> notify::Result<WatchSet> {
        let outdated = Arc::new(AtomicBool::new(false));
        let (flag, mailbox, roots) = (Arc::clone(&outdated), Arc::clone(&self.mailbox), self.roots.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) => observe(&event, &roots, &flag, &mailbox),
            Err(_) => {
                // A directory could not be added, say: set up anew and look at everything.
                flag.store(true, Ordering::Release);
                mailbox.changed();
            }
        })?;
        let mut parents: Vec<&Path> = self.roots.iter().filter_map(|root| root.parent()).collect();
        parents.sort_unstable();
        parents.dedup();
        for parent in parents.into_iter().filter(|parent| !self.roots.iter().any(|root| root == parent)) {
            // A parent may be missing or unreadable; then the poll must do.
            let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
        }
        for (root, _) in self.roots.iter().zip(&identities).filter(|(_, identity)| identity.is_some()) {
            watcher.watch(root, RecursiveMode::Recursive)?;
        }
        Ok(WatchSet { identities, outdated, _watcher: watcher })
    }
}

/// Judges an event on `notify`'s thread.
fn observe(event: &Event, roots: &[PathBuf], outdated: &AtomicBool, mailbox: &Mailbox) {
    if !is_change(event.kind) {
        return;
    }
    let lost_track = event.need_rescan() || event.paths.is_empty();
    if lost_track || event.paths.iter().any(|path| roots.contains(path)) {
        outdated.store(true, Ordering::Release);
    }
    // The watch on a parent tells of neighbours, too.
    if lost_track || event.paths.iter().any(|path| roots.iter().any(|root| path.starts_with(root))) {
        mailbox.changed();
    }
}

/// Opening and reading are no changes; our own reading would never end otherwise.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn identity(root: &Path) -> Option<Identity> {
    let about = std::fs::metadata(root).ok().filter(std::fs::Metadata::is_dir)?;
    Some(Identity { device: about.dev(), inode: about.ino(), born: about.created().ok() })
}
