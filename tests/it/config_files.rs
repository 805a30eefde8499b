//! Reading a directory of documents: what counts, what is refused, what identifies it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use banyan::config::{FileSet, Format};
use tempfile::TempDir;

fn codes(set: &FileSet) -> Vec<&'static str> {
    set.report.diagnostics.iter().map(|found| found.code).collect()
}

fn names(set: &FileSet) -> Vec<String> {
    set.files.iter().map(|file| file.path.strip_prefix(&set.dir).unwrap().display().to_string()).collect()
}

fn write(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn reads_yaml_yml_and_json_below_the_directory_in_order() {
    let dir = TempDir::new().unwrap();
    for name in ["b.yaml", "a.yml", "team/c.json", "D.YAML", "notes.md", "e.yaml~", ".hidden.yaml", ".git/f.yaml"] {
        write(&dir, name, "flags: {}\n");
    }
    let set = FileSet::read(dir.path());
    assert_eq!(names(&set), ["D.YAML", "a.yml", "b.yaml", "team/c.json"]);
    assert!(set.report.diagnostics.is_empty());
}

#[test]
fn a_config_map_is_read_once_through_its_links() {
    let dir = TempDir::new().unwrap();
    write(&dir, "..2026_01_01/flags.yaml", "flags: {a: 1}\n");
    symlink("..2026_01_01", dir.path().join("..data")).unwrap();
    symlink("..data/flags.yaml", dir.path().join("flags.yaml")).unwrap();
    let before = FileSet::read(dir.path());
    assert_eq!(names(&before), ["flags.yaml"]);

    write(&dir, "..2026_01_02/flags.yaml", "flags: {a: 2}\n");
    symlink("..2026_01_02", dir.path().join("..next")).unwrap();
    fs::rename(dir.path().join("..next"), dir.path().join("..data")).unwrap();
    let after = FileSet::read(dir.path());
    assert_eq!(after.files[0].text, "flags: {a: 2}\n");
    assert_ne!(before.hash, after.hash);
}

#[test]
fn a_config_map_that_is_swapped_while_it_is_read_is_never_half_old_half_new() {
    const FILES: usize = 40;
    let dir = TempDir::new().unwrap();
    for version in ["..old", "..new"] {
        for number in 0..FILES {
            write(&dir, &format!("{version}/{number}.yaml"), format!("{version}\n"));
        }
    }
    for number in 0..FILES {
        symlink(format!("..data/{number}.yaml"), dir.path().join(format!("{number}.yaml"))).unwrap();
    }
    let swap = |version: &str| {
        symlink(version, dir.path().join("..next")).unwrap();
        fs::rename(dir.path().join("..next"), dir.path().join("..data")).unwrap();
    };
    swap("..old");
    // Each read is met by one swap, at another moment of it every time.
    let (started, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let sets: Vec<FileSet> = std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 1.. {
                while started.load(Ordering::Acquire) < round {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    std::hint::spin_loop();
                }
                let moment = Instant::now();
                while moment.elapsed() < Duration::from_micros(20) * (round as u32 % 50) {
                    std::hint::spin_loop();
                }
                swap(if round % 2 == 0 { "..old" } else { "..new" });
            }
        });
        let read = |_| {
            started.fetch_add(1, Ordering::Release);
            FileSet::read(dir.path())
        };
        let sets = (0..300).map(read).collect();
        stop.store(true, Ordering::Release);
        sets
    });
    let whole = sets.iter().filter(|set| !set.report.has_errors()).count();
    for set in &sets {
        assert!(set.report.has_errors() || set.files.len() == FILES);
        assert!(set.files.iter().all(|file| file.text == set.files[0].text), "half old, half new");
    }
    assert!(whole > 250, "only {whole} of 300 reads found a quiet moment");
    let quiet = FileSet::read(dir.path());
    assert!(!quiet.report.has_errors());
}

#[test]
fn a_missing_an_empty_and_a_wrong_directory_are_errors() {
    let dir = TempDir::new().unwrap();
    assert_eq!(codes(&FileSet::read(dir.path())), ["no-files"]);
    assert_eq!(codes(&FileSet::read(&dir.path().join("gone"))), ["no-directory"]);
    write(&dir, "file", "");
    assert_eq!(codes(&FileSet::read(&dir.path().join("file"))), ["not-a-directory"]);
}

#[test]
fn a_link_that_leads_back_ends() {
    let dir = TempDir::new().unwrap();
    write(&dir, "a.yaml", "flags: {}\n");
    symlink(".", dir.path().join("loop")).unwrap();
    assert!(codes(&FileSet::read(dir.path())).contains(&"too-deep"));
}

#[test]
fn half_written_files_are_refused_with_their_place() {
    let dir = TempDir::new().unwrap();
    write(&dir, "a.yaml", b"flags:\n  a: \0\0\0\0");
    write(&dir, "b.yaml", b"flags:\n  \xff\xfe: 1\n");
    let set = FileSet::read(dir.path());
    assert_eq!(codes(&set), ["nul-byte", "not-utf8"]);
    let text = set.report.render(Format::Text { colour: false });
    assert!(text.contains("a.yaml:2:6\n"), "{text}");
    assert!(text.contains("b.yaml:2:3\n"), "{text}");
}

#[test]
fn a_file_above_eight_mebibytes_is_refused_unread() {
    let dir = TempDir::new().unwrap();
    write(&dir, "a.yaml", vec![b'#'; 8 * 1024 * 1024]);
    assert_eq!(codes(&FileSet::read(dir.path())), [""; 0]);
    write(&dir, "a.yaml", vec![b'#'; 8 * 1024 * 1024 + 1]);
    assert_eq!(codes(&FileSet::read(dir.path())), ["too-large"]);
}

#[test]
fn a_set_above_its_limit_is_refused() {
    let dir = TempDir::new().unwrap();
    for number in 0..9 {
        write(&dir, &format!("{number}.yaml"), vec![b'#'; 8 * 1024 * 1024]);
    }
    assert_eq!(codes(&FileSet::read(dir.path())), ["too-large"]);
}

#[test]
fn a_dangling_link_and_a_pipe_are_refused() {
    let dir = TempDir::new().unwrap();
    symlink("nowhere", dir.path().join("a.yaml")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(dir.path().join("b.yaml")).status().unwrap();
    assert!(pipe.success());
    assert_eq!(codes(&FileSet::read(dir.path())), ["unreadable", "unreadable"]);
}

#[test]
fn the_hash_follows_names_and_bytes_of_readable_and_unreadable_files() {
    let hash = |texts: &[(&str, &str)]| FileSet::from_texts("flags", texts.iter().copied()).hash;
    let first = hash(&[("a.yaml", "x"), ("b.yaml", "y")]);
    assert_eq!(first, hash(&[("a.yaml", "x"), ("b.yaml", "y")]));
    assert_ne!(first, hash(&[("a.yaml", "xy"), ("b.yaml", "")]));
    assert_ne!(first, hash(&[("a.yaml", "y"), ("b.yaml", "x")]));
    assert_ne!(first, hash(&[("a.yaml", "x"), ("c.yaml", "y")]));

    let dir = TempDir::new().unwrap();
    write(&dir, "a.yaml", b"\xff");
    let broken = FileSet::read(dir.path()).hash;
    assert_eq!(broken, FileSet::read(dir.path()).hash);
    write(&dir, "a.yaml", b"\xfe");
    assert_ne!(broken, FileSet::read(dir.path()).hash);
}

#[test]
fn one_file_is_read_whatever_its_name() {
    let dir = TempDir::new().unwrap();
    write(&dir, "settings.conf", "workers: 1\n");
    assert_eq!(FileSet::read_file(&dir.path().join("settings.conf")).files.len(), 1);
    assert_eq!(codes(&FileSet::read_file(Path::new("nowhere.yaml"))), ["unreadable"]);
}
