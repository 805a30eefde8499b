//! `docs/runbook.md` as a new user follows it: every `sh` block, in its order, against the real demo.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::demo::{Demo, shipped_files};

/// How long what a command shall show may take; the page promises a second, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two runs of a command that does not yet show what it shall.
const AGAIN: Duration = Duration::from_millis(50);

/// A command, and what the page says that it shows.
#[derive(Debug, PartialEq)]
struct Step {
    line: usize,
    command: String,
    shows: Vec<String>,
}

/// The commands of the page's `sh` blocks.
fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut open): (Vec<Step>, bool) = (Vec::new(), false);
    for (number, line) in page.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            open = !open && info == "sh";
        } else if let Some(shows) = line.strip_prefix("# shows: ").filter(|_| open) {
            steps.last_mut().expect("a command before what it shows").shows.push(shows.to_owned());
        } else if open && !line.trim().is_empty() {
            let joins = |step: &&mut Step| step.command.ends_with('\\');
            match steps.last_mut().filter(joins) {
                Some(step) => write!(step.command, "\n{line}").unwrap(),
                None => steps.push(Step { line: number + 1, command: line.to_owned(), shows: Vec::new() }),
            }
        }
    }
    steps
}

/// A shell in the demo's folder that finds the program as an installed one.
struct Shell<'d> {
    folder: &'d Path,
    path: String,
    router: String,
    admin: String,
}

impl Shell<'_> {
    fn run(&self, command: &str) -> Output {
        let command = command.replace("127.0.0.1:8080", &self.router).replace("127.0.0.1:9901", &self.admin);
        let mut shell = Command::new("bash");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"BANYAN_")) {
            shell.env_remove(name);
        }
        shell.args(["-eu", "-o", "pipefail", "-c", &command]).current_dir(self.folder).env("PATH", &self.path);
        shell.output().expect("bash runs")
    }

    fn follow(&self, step: &Step) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.run(&step.command);
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let missing = step.shows.iter().find(|shows| !text.contains(*shows));
            if missing.is_none() && output.status.success() {
                return;
            }
            let place = format!("docs/runbook.md:{}: `{}`", step.line, step.command);
            // A command that shows nothing is done once.
            assert!(!step.shows.is_empty(), "{place} fails with {}:\n{text}", output.status);
            assert!(Instant::now() < deadline, "{place} does not show {missing:?} ({}):\n{text}", output.status);
            std::thread::sleep(AGAIN);
        }
    }
}

#[test]
fn a_new_user_can_follow_the_runbook_against_the_demo() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbook.md")).unwrap();
    let steps = steps(&page);
    assert!(steps.len() > 20 && steps.iter().filter(|step| !step.shows.is_empty()).count() > 8, "{steps:?}");
    let folder = tempfile::tempdir().unwrap();
    shipped_files(folder.path());
    let mut demo = Demo::start_with(folder.path(), &["--state", "state"]);
    let first = demo.until("its addresses", |line| line.starts_with("banyan demo: router http://"));
    let mut addresses =
        first.split("http://").skip(1).filter_map(|rest| rest.split([',', '\n']).next().map(str::to_owned));
    let (router, admin) = (addresses.next().unwrap(), addresses.next().unwrap());
    demo.until("traffic", |line| line.contains("| search: "));
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_banyan")).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let shell = Shell { folder: folder.path(), path, router, admin };
    steps.iter().for_each(|step| shell.follow(step));
    // Whoever has gone through all of it is back where it began.
    demo.until("the shares of the start", |line| line.contains("| search: ") && line.contains("0 failed"));
}

#[test]
fn steps_are_taken_from_blocks_of_the_shell() {
    let page = "```console\n$ a\n```\n```sh\nb \\\n  c\n# shows: x\n# shows: y\nd\n```\ne\n";
    let step = |line, command: &str, shows: &[&str]| Step {
        line,
        command: command.to_owned(),
        shows: shows.iter().map(|text| (*text).to_owned()).collect(),
    };
    assert_eq!(steps(page), [step(5, "b \\\n  c", &["x", "y"]), step(9, "d", &[])]);
}
