//! Owns the test's end of `tests/tools/faulty_disk.c`: it builds it, says what is to fail, and makes the state directory what a
//! power loss leaves of it.

use std::collections::BTreeMap;
use std::fs;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The words of the control file, as in the C source.
const KINDS: u64 = 0;
const SYNC_SKIP: u64 = 1;
const SYNC_FAIL: u64 = 2;
const WRITE_SKIP: u64 = 3;
const WRITE_FAIL: u64 = 4;
const WRITE_ERRNO: u64 = 5;
const SHORT_EVERY: u64 = 6;
const SLOW_US: u64 = 7;
const LIES: u64 = 8;
const WORDS: u64 = 32;

/// Which files fail: bits of the word `KINDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// Segments, side files and directories, but not the tables.
    Journal = 1 | 2 | 4,
    Tables = 8,
    /// The keys and the number of the run, too.
    All = 31,
}

const PAGE_BYTES: usize = 4096;
/// What a disk writes whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;
/// Folders of the image.
const FOLDERS: [&str; 4] = ["pages", "dirty", "held", "names"];

/// What happens to operations on the journal's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// After `skip` syncs that work, so many fail with EIO.
    Sync { skip: u64, fail: u64 },
    /// After `skip` writes that work, so many fail with ENOSPC, each with a half of it written.
    Write { skip: u64, fail: u64 },
    /// Every so many writes take only a half of what they are given.
    Short { every: u64 },
    /// Each sync takes so many microseconds longer.
    Slow { us: u64 },
    /// Syncs say that they worked and do nothing.
    Lie,
}

/// What the shim has counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Syncs = 16,
    SyncsFailed = 18,
    WritesFailed = 19,
    WritesShort = 20,
    SyncsLied = 21,
}

/// What a power loss takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// All that was not synced.
    Everything,
    /// Any sectors of what was not synced, and in each directory all changes of names or none.
    Some,
}

/// A state directory that is watched, and what is known of it.
pub(crate) struct FaultyDisk {
    root: PathBuf,
    image: PathBuf,
    control: File,
}

/// The shim, built once by each process that runs tests.
static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/faulty_disk.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faulty_disk.so");
    let fresh = library.with_extension(format!("so.{}", std::process::id()));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o"]);
    let built = compiler.arg(&fresh).arg(source).arg("-ldl").arg("-lpthread").status();
    match built {
        Ok(status) => assert!(status.success(), "cc cannot build the faulty disk"),
        Err(error) => panic!("cc: {error}; `make tools` (or `apt-get install gcc`) installs it"),
    }
    fs::rename(&fresh, &library).unwrap();
    library
});

impl FaultyDisk {
    /// Watches `state` in a directory; nothing fails yet.
    pub(crate) fn below(directory: &Path) -> Self {
        let directory = directory.canonicalize().unwrap();
        let (root, image) = (directory.join("state"), directory.join("image"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&image).unwrap();
        let control = OpenOptions::new().read(true).write(true).create_new(true).open(image.join("control")).unwrap();
        control.set_len(WORDS * 8).unwrap();
        let disk = Self { root, image, control };
        disk.start_image();
        disk.heal();
        disk
    }

    /// The router, on this disk.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
        command.env("LD_PRELOAD", &*SHIM).env("FAULTY_DISK_ROOT", &self.root).env("FAULTY_DISK_IMAGE", &self.image);
        command
    }

    /// From now on this happens to the journal's files, whatever did before.
    pub(crate) fn fail(&self, fault: Fault) {
        self.fail_in(Files::Journal, fault);
    }

    /// The same in these files.
    pub(crate) fn fail_in(&self, files: Files, fault: Fault) {
        self.heal();
        self.set(KINDS, files as u64);
        match fault {
            Fault::Sync { skip, fail } => {
                self.set(SYNC_SKIP, skip);
                self.set(SYNC_FAIL, fail);
            }
            Fault::Write { skip, fail } => {
                self.set(WRITE_SKIP, skip);
                self.set(WRITE_ERRNO, rustix::io::Errno::NOSPC.raw_os_error().unsigned_abs().into());
                self.set(WRITE_FAIL, fail);
            }
            Fault::Short { every } => self.set(SHORT_EVERY, every),
            Fault::Slow { us } => self.set(SLOW_US, us),
            Fault::Lie => self.set(LIES, 1),
        }
    }

    /// From now on everything works.
    pub(crate) fn heal(&self) {
        for word in [SYNC_FAIL, SYNC_SKIP, WRITE_FAIL, WRITE_SKIP, SHORT_EVERY, SLOW_US, LIES] {
            self.set(word, 0);
        }
        self.set(KINDS, Files::Journal as u64);
    }

    /// How often something has happened to the journal's files since the beginning.
    pub(crate) fn count(&self, what: Count) -> u64 {
        let mut word = [0; 8];
        self.control.read_exact_at(&mut word, what as u64 * 8).unwrap();
        u64::from_ne_bytes(word)
    }

    fn set(&self, word: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), word * 8).unwrap();
    }

    /// Makes the state directory what a power loss leaves; the router must be dead.
    pub(crate) fn lose_power(&self, taken: Taken, chance: &mut fastrand::Rng) {
        let left = self.image.join("left");
        fs::create_dir(&left).unwrap();
        let loss = Loss { disk: self, taken };
        loss.leave_names(Path::new(""), &left, chance);
        fs::remove_dir_all(&self.root).unwrap();
        fs::rename(&left, &self.root).unwrap();
        self.start_image();
    }

    /// Whether a text stands in anything that has been synced.
    pub(crate) fn has_synced(&self, text: &str) -> bool {
        let mut files = fs::read_dir(self.image.join("pages")).unwrap().map(|entry| fs::read(entry.unwrap().path()));
        files.any(|file| String::from_utf8_lossy(&file.unwrap()).contains(text))
    }

    /// Compares what has been synced with what is there: paths of the files that differ.
    pub(crate) fn unsynced(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for (path, about) in tree(&self.root) {
            let is_file = about.is_file();
            let kept = fs::read(self.of_inode("pages", about.ino())).unwrap_or_default();
            if is_file && kept != fs::read(&path).unwrap() {
                found.push(path);
            }
        }
        found
    }

    /// Everything that is there now is on the disk.
    fn start_image(&self) {
        for folder in FOLDERS {
            let folder = self.image.join(folder);
            // The first time there is none.
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(folder).unwrap();
        }
        let mut lists = BTreeMap::from([(self.root.clone(), String::new())]);
        for (path, about) in tree(&self.root) {
            let kind = if about.is_dir() { 'd' } else { 'f' };
            let name = path.file_name().unwrap().to_str().unwrap();
            *lists.entry(path.parent().unwrap().to_owned()).or_default() += &format!("{kind} {} {name}\n", about.ino());
            if about.is_dir() {
                lists.entry(path).or_default();
            } else {
                fs::copy(&path, self.of_inode("pages", about.ino())).unwrap();
            }
        }
        for (path, list) in lists {
            fs::write(self.list_of(path.strip_prefix(&self.root).unwrap()), list).unwrap();
        }
    }

    fn of_inode(&self, folder: &str, inode: u64) -> PathBuf {
        self.image.join(folder).join(inode.to_string())
    }

    /// Where the names in a directory below the root stand.
    fn list_of(&self, path: &Path) -> PathBuf {
        let flat: String = path.iter().map(|part| format!("+{}", part.to_str().unwrap())).collect();
        self.image.join("names").join(if flat.is_empty() { "+".to_owned() } else { flat })
    }
}

/// A power loss.
struct Loss<'a> {
    disk: &'a FaultyDisk,
    taken: Taken,
}

impl Loss<'_> {
    /// Fills a directory with what is left of the one at `path` below the root.
    fn leave_names(&self, path: &Path, into: &Path, chance: &mut fastrand::Rng) {
        fs::set_permissions(into, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let live = fs::read_dir(self.disk.root.join(path));
        let names: Vec<(bool, u64, String)> = match live {
            Ok(live) if self.taken == Taken::Some && chance.bool() => live
                .map(Result::unwrap)
                .map(|entry| (entry.metadata().unwrap(), entry.file_name().into_string().unwrap()))
                .filter(|(about, _)| about.is_dir() || about.is_file())
                .map(|(about, name)| (about.is_dir(), about.ino(), name))
                .collect(),
            // A directory whose names were never synced is an empty one.
            _ => fs::read_to_string(self.disk.list_of(path)).unwrap_or_default().lines().map(named).collect(),
        };
        for (is_dir, inode, name) in names {
            let target = into.join(&name);
            if is_dir {
                fs::create_dir(&target).unwrap();
                self.leave_names(&path.join(&name), &target, chance);
            } else {
                self.leave_file(inode, &target, chance);
            }
        }
    }

    /// Makes a file of what was synced of it, and of what else got to the disk.
    fn leave_file(&self, inode: u64, target: &Path, chance: &mut fastrand::Rng) {
        let mut left = fs::read(self.disk.of_inode("pages", inode)).unwrap_or_default();
        let dirty = fs::read(self.disk.of_inode("dirty", inode)).unwrap_or_default();
        let share = [0, 50, 90, 100][chance.usize(0..4)];
        if self.taken == Taken::Some && share > 0 && dirty.contains(&1) {
            let live = fs::read(self.disk.of_inode("held", inode)).unwrap();
            for page in (0..dirty.len()).filter(|page| dirty[*page] == 1) {
                for at in (page * PAGE_BYTES..(page + 1) * PAGE_BYTES).step_by(SECTOR_BYTES) {
                    let end = live.len().min(at + SECTOR_BYTES);
                    if at < end && chance.u32(0..100) < share {
                        left.resize(left.len().max(end), 0);
                        left[at..end].copy_from_slice(&live[at..end]);
                    }
                }
            }
        }
        fs::write(target, left).unwrap();
        fs::set_permissions(target, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
}

/// A line of a list of names.
fn named(line: &str) -> (bool, u64, String) {
    let mut parts = line.splitn(3, ' ');
    let mut next = || parts.next().expect("three parts");
    (next() == "d", next().parse().expect("a number"), next().to_owned())
}

/// All files and directories below one.
fn tree(root: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, about) = (entry.path(), entry.metadata().unwrap());
            if about.is_dir() {
                folders.push(path.clone());
            }
            if about.is_dir() || about.is_file() {
                found.push((path, about));
            }
        }
    }
    found
}
