//! Owns writing an edited file back: whole, durable, with its mode and owner, and never over somebody else's edit.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::listing::Stamp;
use super::{ConfigFile, Diagnostic, Edited, Severity};

/// How long another edit of the same directory is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Keeps other `banyan` edits away from a directory until it is dropped; nothing is left behind in it.
#[derive(Debug)]
pub struct EditLock {
    _directory: File,
}

/// A file that is written beside the one that it will replace.
#[derive(Debug)]
pub struct Replacement {
    /// The path as it is shown.
    path: PathBuf,
    /// The same without symbolic links.
    real: PathBuf,
    temporary: PathBuf,
    before: String,
    after: String,
    stamp: Stamp,
}

type Refused = Box<Diagnostic>;

impl EditLock {
    /// Locks a directory; waits up to 10 s for another edit to end.
    ///
    /// # Errors
    /// When the directory cannot be opened or stays locked.
    pub fn take(dir: &Path) -> Result<Self, Refused> {
        let directory = File::open(dir).map_err(|error| failed("open", dir, &error))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Self { _directory: directory }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    let message = format!("another edit of `{}` does not end", dir.display());
                    return Err(refuse("locked", message, "look for another `banyan` that runs there, then try again"));
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", dir, &error)),
            }
        }
    }
}

impl Replacement {
    /// Writes the new text beside the file and makes it durable; the file itself is untouched.
    ///
    /// A file behind a symbolic link is replaced where it is, and the link stays.
    ///
    /// # Errors
    /// When the file is not the one that was edited any more, belongs to another program, or cannot be written with its
    /// mode and owner.
    pub fn write(edited: &Edited) -> Result<Self, Refused> {
        let path = edited.before.path.clone();
        refuse_managed(&path)?;
        let real = fs::canonicalize(&path).map_err(|_| changed(&path))?;
        let (stamp, about) =
            unchanged(&real, &edited.before).map_err(|_| changed(&path))?.ok_or_else(|| changed(&path))?;
        if about.nlink() > 1 {
            let message = format!("`{}` is one file under several names (hard links)", path.display());
            return Err(refuse("hard-link", message, "an edit would part them: edit it by hand, or copy it first"));
        }
        let name = real.file_name().unwrap_or_default().to_string_lossy();
        // Hidden, so that no reader of the directory takes it for a document.
        let temporary = real.with_file_name(format!(".{name}.banyan-{}", std::process::id()));
        let replacement =
            Self { path, real, temporary, before: edited.before.text.clone(), after: edited.after.text.clone(), stamp };
        replacement.fill(&about)?;
        Ok(replacement)
    }

    fn fill(&self, about: &fs::Metadata) -> Result<(), Refused> {
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.temporary);
        let mut file = open.map_err(|error| self.unwritable(&error))?;
        let mine = file.metadata().map_err(|error| failed("write", &self.temporary, &error))?;
        if (mine.uid(), mine.gid()) != (about.uid(), about.gid())
            && fchown(&file, Some(about.uid()), Some(about.gid())).is_err()
        {
            let message =
                format!("`{}` belongs to user {} and group {}", self.path.display(), about.uid(), about.gid());
            return Err(refuse("owner", message, "run this as that user, so that the file stays theirs"));
        }
        let mode = fs::Permissions::from_mode(about.mode() & 0o7777);
        let written = file
            .write_all(self.after.as_bytes())
            .and_then(|()| file.set_permissions(mode))
            .and_then(|()| file.sync_all());
        written.map_err(|error| failed("write", &self.temporary, &error))
    }

    fn unwritable(&self, error: &io::Error) -> Refused {
        let dir = self.real.parent().unwrap_or(&self.real).display().to_string();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                let message = format!("cannot write in `{dir}`: {error}");
                let help =
                    "edit the files where they come from (the repository, the ConfigMap), or run this as their owner";
                refuse("read-only", message, help)
            }
            _ => failed("write", &self.temporary, error),
        }
    }

    /// Puts the new file in the place of the old one.
    ///
    /// Both change places in one step. What comes out must be the file that was edited; if it is another one, because
    /// somebody renamed theirs into place in this very moment, both change back.
    ///
    /// The inner result tells whether the change is durable; it is in force in any case.
    ///
    /// # Errors
    /// When the file is not the one that was edited any more; it stays as it is then.
    pub fn commit(self) -> Result<io::Result<()>, Refused> {
        if !self.is_unchanged(&self.real) || fs::canonicalize(&self.path).ok().as_ref() != Some(&self.real) {
            return Err(changed(&self.path));
        }
        self.exchange()
    }

    fn exchange(self) -> Result<io::Result<()>, Refused> {
        match renameat_with(CWD, &self.temporary, CWD, &self.real, RenameFlags::EXCHANGE) {
            Ok(()) if !self.is_unchanged(&self.temporary) => return Err(self.take_back()),
            Ok(()) => {}
            // Some network filesystems cannot exchange; what is left is the moment since the look above.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
                fs::rename(&self.temporary, &self.real).map_err(|error| failed("replace", &self.real, &error))?;
            }
            Err(rustix::io::Errno::NOENT) => return Err(changed(&self.path)),
            Err(error) => return Err(failed("replace", &self.real, &error.into())),
        }
        let dir = self.real.parent().unwrap_or(Path::new("."));
        Ok(File::open(dir).and_then(|dir| dir.sync_all()))
    }

    fn is_unchanged(&self, path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        file.metadata().is_ok_and(|about| Stamp::of(&about) == self.stamp) && has_text(file, &self.before)
    }

    /// Undoes an exchange that met somebody else's file; nothing of theirs is dropped, whatever they do meanwhile.
    fn take_back(mut self) -> Refused {
        let back = renameat_with(CWD, &self.temporary, CWD, &self.real, RenameFlags::EXCHANGE);
        let ours = File::open(&self.temporary).is_ok_and(|file| has_text(file, &self.after));
        if back.is_ok() && ours {
            return changed(&self.path);
        }
        // Not ours, so it is not removed at the end.
        let kept = std::mem::take(&mut self.temporary);
        let message = format!(
            "`{}` was written by others at the same moment, twice; one of theirs is in `{}`",
            self.path.display(),
            kept.display()
        );
        refuse("changed", message, "compare both files and keep what is right")
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After an exchange it is the old file; a leftover is hidden and hurts nobody.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Refuses files that another program writes anew at will: those behind a link into a hidden directory.
///
/// Kubernetes links a ConfigMap's files to `..data`, git-sync to a worktree of its own; an edit there would be lost.
fn refuse_managed(path: &Path) -> Result<(), Refused> {
    let links = path.ancestors().filter_map(|ancestor| Some((ancestor, fs::read_link(ancestor).ok()?)));
    for (link, target) in links {
        let hidden = target
            .components()
            .any(|part| matches!(part, Component::Normal(name) if name.as_encoded_bytes().starts_with(b".")));
        if hidden {
            let message =
                format!("`{}` is a link to `{}`, which another program keeps", link.display(), target.display());
            return Err(refuse("managed", message, "edit the ConfigMap or the repository that it comes from"));
        }
    }
    Ok(())
}

/// Opens the file that was edited; `None` when it is another one by now.
fn unchanged(real: &Path, before: &ConfigFile) -> io::Result<Option<(Stamp, fs::Metadata)>> {
    let file = File::open(real)?;
    let about = file.metadata()?;
    Ok(has_text(file, &before.text).then(|| (Stamp::of(&about), about)))
}

fn has_text(mut file: File, text: &str) -> bool {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    let read = io::Read::read_to_end(&mut io::Read::take(&mut file, text.len() as u64 + 1), &mut bytes);
    read.is_ok() && bytes == text.as_bytes()
}

fn changed(path: &Path) -> Refused {
    let message = format!("`{}` was changed by others since it was read; it stays as they left it", path.display());
    refuse("changed", message, "run the command again")
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Refused {
    refuse("unwritable", format!("cannot {what} `{}`: {error}", path.display()), "nothing was changed by this step")
}

fn refuse(code: &'static str, message: String, help: &str) -> Refused {
    Box::new(Diagnostic::new(Severity::Error, code, None, message).help(help))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::Replacement;
    use crate::config::{FileSet, FlagEditor, Report, parse};

    const BEFORE: &str = "flags: {a: {state: ENABLED}}\n";

    /// An edit that stands beside its file and may be exchanged with it any moment.
    fn written() -> (TempDir, PathBuf, Replacement) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.yaml");
        fs::write(&path, BEFORE).expect("a file");
        let set = FileSet::read_file(&path);
        let document = parse(&set.files[0], &mut Report::default()).expect("a document");
        let mut editor = FlagEditor::new(&document);
        editor.set_state("a", false).expect("a state");
        let edited = editor.finish().expect("an edit").expect("a change");
        let replacement = Replacement::write(&edited).expect("a file beside the other");
        (dir, path, replacement)
    }

    fn texts(dir: &Path) -> Vec<String> {
        let files = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
        files.map(|path| fs::read_to_string(path).expect("a file")).collect()
    }

    #[test]
    fn a_file_that_comes_in_the_last_moment_is_put_back() {
        // After the last look and before the exchange, which no test from outside can hit at will.
        for in_place in [false, true] {
            let (dir, path, replacement) = written();
            if in_place {
                fs::write(&path, "theirs").expect("written");
            } else {
                fs::write(dir.path().join("mine"), "theirs").expect("written");
                fs::rename(dir.path().join("mine"), &path).expect("renamed");
            }
            let refused = replacement.exchange().expect_err("it is not the file that was edited");
            assert_eq!((refused.code, texts(dir.path())), ("changed", vec!["theirs".to_owned()]));
        }
    }

    #[test]
    fn two_files_that_come_in_the_last_moment_are_both_kept() {
        let (dir, path, replacement) = written();
        // As if one came before the exchange and one after it.
        fs::write(&replacement.temporary, "first").expect("written");
        fs::write(&path, "second").expect("written");
        let refused = replacement.take_back();
        let mut texts = texts(dir.path());
        texts.sort();
        assert_eq!(texts, ["first", "second"]);
        assert!(refused.message.contains(".banyan-"), "{}", refused.message);
    }

    #[test]
    fn an_exchange_of_the_same_file_leaves_the_new_one_alone() {
        let (dir, _, replacement) = written();
        replacement.commit().expect("done").expect("durable");
        assert_eq!(texts(dir.path()), [BEFORE.replace("ENABLED", "DISABLED")]);
    }
}
