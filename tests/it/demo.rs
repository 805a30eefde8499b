//! `banyan demo`: the real program in a folder with copies of the shipped files, followed through two edits to its end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a share may take to show; the demo prints a line a second, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Demo {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Demo {
    fn start(folder: &Path) -> Demo {
        Self::start_with(folder, &[])
    }

    pub(crate) fn start_with(folder: &Path, options: &[&str]) -> Demo {
        let arguments = ["demo", "--plain", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--for", "300"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_banyan"))
            .args(arguments)
            .args(options)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Demo { child, lines }
    }

    /// Reads on until a line is as wanted.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let (started, mut seen) = (Instant::now(), String::new());
        while started.elapsed() < PATIENCE {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("lines of text");
            assert!(read > 0, "the demo ended before {what}:\n{seen}");
            if wanted(&line) {
                return line;
            }
            seen.push_str(&line);
        }
        panic!("no sign of {what}:\n{seen}");
    }

    /// Ends it as Ctrl-C does: nothing failed, and nothing is left behind.
    fn end(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("a signal");
        let last = self.until("the end", |line| line.starts_with("ended cleanly"));
        assert!(last.ends_with(" 0 failed\n"), "{last}");
        assert!(self.child.wait().expect("an end").success());
        let state = std::env::temp_dir().join(format!("banyan-demo-{}", self.child.id()));
        assert!(!state.exists(), "{} is left", state.display());
    }
}

/// The percentage before `label` on the search route of a line, 0 where it is not named.
fn share(line: &str, label: &str) -> Option<f64> {
    let search = line.split(" | ").find_map(|part| part.strip_prefix("search: "))?;
    let way = search.split(", ").find_map(|way| way.trim().strip_prefix(label)?.split(' ').next());
    Some(way.map_or(0.0, |number| number.parse().expect("a number")))
}

/// The shipped files on ports that nobody uses.
pub(crate) fn shipped_files(folder: &Path) {
    for name in ["flags", "routes"] {
        fs::create_dir(folder.join(name)).expect("a folder");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        for entry in fs::read_dir(from).expect("the shipped files") {
            let entry = entry.expect("an entry");
            let mut text = fs::read_to_string(entry.path()).expect("text");
            for address in ["127.0.0.1:9001", "127.0.0.1:9002"] {
                // Another loopback address than the router's, so that it cannot be given the port meanwhile.
                let free = TcpListener::bind("127.0.0.3:0").and_then(|socket| socket.local_addr()).expect("a port");
                text = text.replace(address, &free.to_string());
            }
            fs::write(folder.join(name).join(entry.file_name()), text).expect("a file");
        }
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(path, text.replace(from, to)).expect("a file");
}

#[test]
fn the_demo_follows_edits_and_ends_cleanly() {
    let folder = tempfile::tempdir().expect("a folder");
    shipped_files(folder.path());
    let flag = folder.path().join("flags/search.yaml");
    let mut demo = Demo::start(folder.path());
    let near = |line: &str, wanted: f64| share(line, "modern ").is_some_and(|share| (share - wanted).abs() < 6.0);

    demo.until("a tenth on modern", |line| near(line, 10.0));
    edit(&flag, "[modern, 10], [legacy, 90]", "[modern, 50], [legacy, 50]");
    demo.until("the edit published", |line| line.starts_with("generation 2: published"));
    demo.until("half on modern", |line| near(line, 50.0));
    edit(&flag, "state: ENABLED", "state: NO");
    demo.until("the mistake", |line| line.contains("rejected"));
    demo.until("where it is", |line| line.contains("search.yaml"));
    edit(&flag, "state: NO", "state: DISABLED");
    demo.until("everybody on legacy", |line| {
        line.contains("(DISABLED) 100.0 % legacy") && share(line, "modern ") == Some(0.0)
    });

    demo.end();
}

/// A regression: the demo's router has a state directory of its own, and nothing said how commands find it.
#[test]
fn what_the_demo_says_to_try_works_as_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    shipped_files(folder.path());
    let mut demo = Demo::start(folder.path());
    let (mut commands, mut line) = (Vec::new(), demo.until("what to try", |line| line == "What to try:\n"));
    while !line.contains("Ctrl-C") {
        line = demo.until("the next line", |_| true);
        let command = line.trim();
        if command.starts_with("curl ") || command.starts_with("banyan ") {
            commands.push(command.to_owned());
        }
    }
    assert!(line.starts_with("All commands that ask the router need this --state."), "{line}");
    demo.until("traffic", |line| line.contains("| search: "));
    let bin = Path::new(env!("CARGO_BIN_EXE_banyan")).parent().expect("its folder").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").expect("a path"));
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        let mut shell = Command::new("bash");
        let output = shell.args(["-c", &command]).current_dir(folder.path()).env("PATH", &path).output().expect("bash");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("served_by") || text.contains("generation"), "{command}: {text}");
    }
    demo.end();
}

#[test]
fn outside_a_clone_the_demo_brings_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let copies = folder.path().join("banyan-demo");
    // Copies that are there are not overwritten, so the ports can be chosen.
    fs::create_dir(&copies).expect("a folder");
    shipped_files(&copies);
    fs::remove_file(copies.join("flags/search.yaml")).expect("a file");
    let mut demo = Demo::start(folder.path());
    demo.until("where the files are", |line| line.contains("banyan-demo/flags") && line.contains("written just now"));
    demo.until("traffic", |line| line.contains("| search: "));
    assert!(copies.join("flags/search.yaml").is_file());
    demo.end();
}
