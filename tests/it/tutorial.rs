//! The tutorial's own commands, run as they stand: after each stage both sides hold the same, and no write failed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The shell blocks of a page, one behind the other.
fn commands(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn every_stage_leaves_both_sides_equal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    // The page's ports may be taken on this machine.
    let ports = [("9001", free_port()), ("9002", free_port()), ("8080", free_port()), ("9901", free_port())];
    let moved = |text: String| ports.iter().fold(text, |text, (from, to)| text.replace(from, &to.to_string()));
    let copy = directory.path().join("banyan/docs/tutorial");
    for folder in ["", "flags", "routes"] {
        fs::create_dir_all(copy.join(folder)).unwrap();
        for entry in fs::read_dir(root.join("docs/tutorial").join(folder)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                let text = moved(fs::read_to_string(entry.path()).unwrap());
                fs::write(copy.join(folder).join(entry.file_name()), text).unwrap();
            }
        }
    }
    let page = moved(fs::read_to_string(root.join("docs/tutorial.md")).unwrap());
    // Ended whatever happens: a failed step must leave no process behind.
    let script = format!("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", commands(&page));
    let binaries = Path::new(env!("CARGO_BIN_EXE_banyan")).parent().unwrap();
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("PATH", format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap()))
        .env("BANYAN", directory.path().join("banyan"))
        .env("TMPDIR", directory.path())
        .env("BANYAN_LISTEN", format!("127.0.0.1:{}", ports[2].1))
        .env("BANYAN_ADMIN", format!("127.0.0.1:{}", ports[3].1))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    let equal = said.matches("equal: ").count();
    assert_eq!(equal, page.matches("python3 compare.py").count(), "{said}");
    assert!(said.contains(" writes done, 0 failed"), "{said}");
    assert!(said.starts_with("all free\n"), "{said}");
    assert!(said.contains("note[keyless-writes]") && said.contains("the flag `orders-migration` is killed"), "{said}");
}

/// A regression: with the demo running the page went on with the demo's router, and nothing said so.
#[test]
fn a_taken_port_is_told_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorial/ports.py");
    let output = Command::new("python3").arg(script).args([&port, &free_port().to_string()]).output().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complained.starts_with(&format!("taken: {port}; end what listens there")), "{complained}");
}
