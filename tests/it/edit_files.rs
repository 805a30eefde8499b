//! How an edited file is written back: mode, owner, links, locks, and other writers at the same moment.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use notify::{EventKind, RecursiveMode, Watcher};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::edit_verbs::{banyan, out, read};
use crate::support::PATIENCE;

const ROUTES: &str = "upstreams: {one: {endpoints: [\"http://127.0.0.1:9001\"]}}\nroutes: [{name: all, match: {path: \"/{*rest}\"}, upstream: one}]\n";
const NOBODY: u32 = 65_534;

fn flag(name: &str) -> String {
    format!(
        "  {name}:\n    state: ENABLED\n    variants: {{x: x}}\n    defaultVariant: x\n    metadata: {{owner: me}}\n"
    )
}

/// A directory with one file of flags, which other users may read.
fn directory(flags: &[&str]) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for folder in ["flags", "routes"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("routes/all.yaml"), ROUTES).unwrap();
    fs::write(dir.path().join("flags/all.yaml"), text(flags)).unwrap();
    dir
}

fn text(flags: &[&str]) -> String {
    format!("flags:\n{}", flags.iter().map(|name| flag(name)).collect::<String>())
}

fn command(dir: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
    command.args(arguments).current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs as somebody who is not root, whoever runs the tests.
fn as_nobody(dir: &TempDir, arguments: &[&str]) -> Output {
    let mut command = command(dir, arguments);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().unwrap()
}

fn assert_refused(dir: &TempDir, output: &Output, code: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", out(output));
    assert!(out(output).contains(&format!("error[{code}]")), "{}", out(output));
    assert!(out(output).contains("nothing was written"), "{}", out(output));
    assert_eq!(read(dir, "flags/all.yaml"), text(&["a"]));
    assert_eq!(hidden(dir), [""; 0]);
}

/// What was left behind beside the files.
fn hidden(dir: &TempDir) -> Vec<String> {
    let names = fs::read_dir(dir.path().join("flags")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with('.')).collect()
}

#[test]
fn mode_and_owner_stay() {
    let dir = directory(&["a"]);
    let path = dir.path().join("flags/all.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    if geteuid().is_root() {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let before = fs::metadata(&path).unwrap();
    assert_eq!(banyan(dir.path(), &["kill", "a"]).status.code(), Some(0));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino(), "a new file, so no reader sees half of it");
    assert_eq!(hidden(&dir), [""; 0]);
}

#[test]
fn a_directory_that_cannot_be_written_is_said_with_the_way_out() {
    let dir = directory(&["a"]);
    let folder = dir.path().join("flags");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    let output = as_nobody(&dir, &["kill", "a"]);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert_refused(&dir, &output, "read-only");
    for way in ["the ConfigMap", "`touch state/KILL`"] {
        assert!(out(&output).contains(way), "{}", out(&output));
    }
}

#[test]
fn of_several_files_all_are_written_or_none() {
    let dir = directory(&["b"]);
    for (folder, name) in [("first", "a"), ("second", "c")] {
        fs::create_dir(dir.path().join("flags").join(folder)).unwrap();
        fs::write(dir.path().join("flags").join(folder).join("x.yaml"), text(&[name])).unwrap();
    }
    // Whoever runs this may write everywhere but in one of the directories.
    for folder in ["flags", "flags/first", "flags/second"] {
        let path = dir.path().join(folder);
        if geteuid().is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            for file in fs::read_dir(&path).unwrap() {
                chown(file.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
    }
    let closed = dir.path().join("flags/second");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let output = as_nobody(&dir, &["kill", "--all"]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(out(&output).contains("error[read-only]"), "{}", out(&output));
    for (file, name) in [("flags/all.yaml", "b"), ("flags/first/x.yaml", "a"), ("flags/second/x.yaml", "c")] {
        assert_eq!(read(&dir, file), text(&[name]));
    }
    assert_eq!(as_nobody(&dir, &["kill", "--all"]).status.code(), Some(0));
    assert_eq!(hidden(&dir), [""; 0]);
}

#[test]
fn a_file_of_another_user_does_not_change_hands() {
    // Only root can make a file that belongs to somebody else.
    if geteuid().is_root() {
        let dir = directory(&["a"]);
        fs::set_permissions(dir.path().join("flags"), fs::Permissions::from_mode(0o777)).unwrap();
        assert_refused(&dir, &as_nobody(&dir, &["kill", "a"]), "owner");
    }
}

#[test]
fn a_link_stays_and_its_target_is_edited() {
    let dir = directory(&["b"]);
    fs::create_dir(dir.path().join("shared")).unwrap();
    fs::write(dir.path().join("shared/a.yaml"), text(&["a"])).unwrap();
    symlink("../shared/a.yaml", dir.path().join("flags/a.yaml")).unwrap();
    let output = banyan(dir.path(), &["kill", "a"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(fs::symlink_metadata(dir.path().join("flags/a.yaml")).unwrap().is_symlink());
    assert!(read(&dir, "shared/a.yaml").contains("DISABLED"));
}

#[test]
fn a_config_map_is_not_edited() {
    let dir = directory(&["b"]);
    let folder = dir.path().join("flags");
    fs::remove_file(folder.join("all.yaml")).unwrap();
    fs::create_dir(folder.join("..2026_01_01")).unwrap();
    fs::write(folder.join("..2026_01_01/all.yaml"), text(&["a"])).unwrap();
    symlink("..2026_01_01", folder.join("..data")).unwrap();
    symlink("..data/all.yaml", folder.join("all.yaml")).unwrap();
    let output = banyan(dir.path(), &["kill", "a"]);
    assert!(out(&output).contains("error[managed]"), "{}", out(&output));
    assert_eq!((output.status.code(), read(&dir, "flags/all.yaml")), (Some(1), text(&["a"])));
}

#[test]
fn a_file_of_several_names_is_not_edited() {
    let dir = directory(&["a"]);
    fs::hard_link(dir.path().join("flags/all.yaml"), dir.path().join("copy")).unwrap();
    assert_refused(&dir, &banyan(dir.path(), &["kill", "a"]), "hard-link");
}

#[test]
fn edits_at_the_same_moment_follow_each_other() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let dir = directory(&names);
    let edits = names.map(|name| command(&dir, &["kill", name]).spawn().unwrap());
    for edit in edits {
        let output = edit.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    }
    assert_eq!(read(&dir, "flags/all.yaml"), text(&names).replace("ENABLED", "DISABLED"));
    assert_eq!(hidden(&dir), [""; 0]);
}

#[test]
fn an_edit_waits_for_the_lock_before_it_reads() {
    let dir = directory(&["a"]);
    let folder = dir.path().join("flags");
    let lock = File::open(&folder).unwrap();
    lock.lock().unwrap();
    let edit = command(&dir, &["kill", "a"]).spawn().unwrap();
    let descriptors = PathBuf::from(format!("/proc/{}/fd", edit.id()));
    let is_open = || {
        let open = fs::read_dir(&descriptors).unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        open.into_iter().any(|path| path == fs::canonicalize(&folder).unwrap())
    };
    let deadline = Instant::now() + PATIENCE;
    while !is_open() {
        assert!(Instant::now() < deadline, "the directory is never opened");
        std::thread::yield_now();
    }
    fs::write(folder.join("all.yaml"), text(&["b", "a"])).unwrap();
    lock.unlock().unwrap();
    let output = edit.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert_eq!(
        read(&dir, "flags/all.yaml"),
        format!("flags:\n{}{}", flag("b"), flag("a").replace("ENABLED", "DISABLED"))
    );
}

/// An edit that runs, and the moments at which it makes its file beside the other.
struct Race {
    dir: TempDir,
    edit: Child,
    made: Receiver<()>,
    _watcher: notify::RecommendedWatcher,
}

impl Race {
    fn start() -> Self {
        let dir = directory(&["a"]);
        let (sender, made) = channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let event = event.unwrap();
            let beside = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if matches!(event.kind, EventKind::Create(_)) && event.paths.iter().any(beside) {
                // The other end may be gone when the race is over.
                let _ = sender.send(());
            }
        })
        .unwrap();
        watcher.watch(&dir.path().join("flags"), RecursiveMode::NonRecursive).unwrap();
        let edit = command(&dir, &["kill", "a"]).spawn().unwrap();
        Self { dir, edit, made, _watcher: watcher }
    }

    /// Waits until the new text is being written; the old file is in place then, or was until just now.
    fn wait(&self) {
        self.made.recv_timeout(PATIENCE).unwrap();
    }

    fn signal(&self, signal: Signal) {
        // It may have ended already.
        let _ = kill_process(Pid::from_child(&self.edit), signal);
    }

    fn end(self) -> (TempDir, Output) {
        let output = self.edit.wait_with_output().unwrap();
        (self.dir, output)
    }
}

fn rename_into_place(dir: &Path, text: &str) {
    fs::write(dir.join("flags/.mine"), text).unwrap();
    fs::rename(dir.join("flags/.mine"), dir.join("flags/all.yaml")).unwrap();
}

/// Whatever the moment, the other writer's file is the one that stays: it was written later than the one that was read.
fn assert_theirs_stays(dir: &TempDir, output: &Output, theirs: &str) -> bool {
    assert_eq!(read(dir, "flags/all.yaml"), theirs, "{}", out(output));
    assert_eq!(hidden(dir), [""; 0], "{}", out(output));
    let detected = output.status.code() == Some(1);
    assert!(
        detected == out(output).contains("error[changed]") && (detected || output.status.success()),
        "{}",
        out(output)
    );
    detected
}

#[test]
fn a_rename_at_the_same_moment_is_never_overwritten() {
    let theirs = text(&["a", "theirs"]);
    let detected = (0..20).filter(|_| {
        let race = Race::start();
        race.wait();
        rename_into_place(race.dir.path(), &theirs);
        let (dir, output) = race.end();
        assert_theirs_stays(&dir, &output, &theirs)
    });
    let detected = detected.count();
    println!("{detected} of 20 were met before the exchange");
}

#[test]
fn writing_over_the_file_at_the_same_moment_is_never_overwritten() {
    let theirs = text(&["a", "theirs"]);
    let mut detected = 0;
    for round in 0..200 {
        let race = Race::start();
        race.wait();
        // Held wherever it is, so that the other writer is surely done before the exchange, or surely begins after it.
        race.signal(Signal::STOP);
        if round % 2 == 0 {
            fs::write(race.dir.path().join("flags/all.yaml"), &theirs).unwrap();
        } else {
            rename_into_place(race.dir.path(), &theirs);
        }
        race.signal(Signal::CONT);
        let (dir, output) = race.end();
        detected += u32::from(assert_theirs_stays(&dir, &output, &theirs));
        if detected == 4 {
            return;
        }
    }
    assert!(detected > 0, "the edit was always over before it could be held");
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_or_the_new_file() {
    for _ in 0..8 {
        let race = Race::start();
        race.wait();
        race.signal(Signal::KILL);
        let (dir, _) = race.end();
        let now = read(&dir, "flags/all.yaml");
        assert!([text(&["a"]), text(&["a"]).replace("ENABLED", "DISABLED")].contains(&now), "{now}");
        assert_eq!(banyan(dir.path(), &["check"]).status.code(), Some(0), "what is left beside it is no document");
        assert_eq!(banyan(dir.path(), &["kill", "a"]).status.code(), Some(0), "and no obstacle");
    }
}
