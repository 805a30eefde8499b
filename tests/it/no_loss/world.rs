//! The router between two services, with clients that write through it; everything can be killed and comes back.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::checker::{Verdict, check};
use super::client::Clients;
use super::faulty_disk::FaultyDisk;
use super::history::{Gap, History, Parked, Seen, Write};
use super::service::{Service, Side};
use crate::support::message::Message;
use crate::support::router::Router;

/// How long nothing may arrive once all are well: the longest back-off and some.
const DRAIN: Duration = Duration::from_secs(60);

/// What is written to see that all that was written before it is known.
pub(crate) const MARK: &str = "mark";
const MARKS: u64 = 1_000_000_000;

const ADDRESSES: [&str; 6] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2"];

/// What a route says about copies, besides what every test needs.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) legacy: Service,
    pub(crate) modern: Service,
    /// What its state is on, where that fails when told to.
    disk: Option<FaultyDisk>,
    /// Whether the route sheds, and whether it is strict; the checker has to know.
    is_strict: bool,
    may_shed: bool,
    arguments: Vec<String>,
    marks: Vec<Write>,
    _logs: tempfile::TempDir,
}

/// A flag file with this stage for everybody.
pub(crate) fn stage(stage: &str) -> String {
    format!(
        "flags:\n  items-migration:\n    state: ENABLED\n    variants: {{\"off\": \"off\", dualwrite: dualwrite, shadow: shadow, live: live, rampdown: rampdown, complete: complete}}\n    defaultVariant: \"{stage}\"\n    metadata: {{owner: tests}}\n"
    )
}

/// A migration route between the two addresses; `copies` are further members of `copies:`.
pub(crate) fn routes(legacy: &str, modern: &str, copies: &str) -> String {
    format!(
        "upstreams:\n  legacy: {{endpoints: [\"http://{legacy}\"]}}\n  modern: {{endpoints: [\"http://{modern}\"]}}\nroutes:\n  - name: items\n    match: {{path: \"/items/{{*id}}\"}}\n    flag: items-migration\n    migration: {{legacy: legacy, modern: modern}}\n    copies: {{entity: \"items:{{id}}\", created: location, carry_id: path, lookup: \"/items?key={{key}}\", {copies}}}\n"
    )
}

impl World {
    pub(crate) fn start(first: &str, copies: &str, arguments: &[&str]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_banyan")), first, copies, arguments)
    }

    /// Starts it with its state on a disk that fails, lies and loses its power when told to.
    pub(crate) fn start_faulty(first: &str, copies: &str, arguments: &[&str]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let disk = FaultyDisk::below(directory.path());
        let world = Self::start_in(directory, disk.command(), first, copies, arguments);
        Self { disk: Some(disk), ..world }
    }

    /// Starts it with its state on a file system of so many bytes, which is gone with the process.
    pub(crate) fn start_on_disk(first: &str, copies: &str, arguments: &[&str], bytes: u64) -> Self {
        let mut command = Command::new("unshare");
        // Whoever is not root mounts in a namespace of users, too.
        if !rustix::process::getuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let script = "mount -t tmpfs -o size=\"$1\" tmpfs state && shift && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh", &bytes.to_string(), env!("CARGO_BIN_EXE_banyan")]);
        Self::start_by(command, first, copies, arguments)
    }

    /// Starts two services, and the router between them by a command that ends with its path.
    fn start_by(command: Command, first: &str, copies: &str, arguments: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), command, first, copies, arguments)
    }

    fn start_in(
        directory: Arc<tempfile::TempDir>,
        mut command: Command,
        first: &str,
        copies: &str,
        arguments: &[&str],
    ) -> Self {
        let logs = tempfile::tempdir().unwrap();
        let [legacy, modern] = [Side::Legacy, Side::Modern].map(|side| Service::start(logs.path(), side));
        let routes = routes(&legacy.address, &modern.address, copies);
        for (folder, text) in [("flags", stage(first)), ("routes", routes)] {
            fs::create_dir(directory.path().join(folder)).unwrap();
            fs::write(directory.path().join(folder).join("test.yaml"), text).unwrap();
        }
        // A disk that is watched has it already.
        fs::create_dir_all(directory.path().join("state")).unwrap();
        command.args(["serve", "--log-format", "json"]).args(ADDRESSES).args(arguments);
        Self {
            router: Router::run(command, directory),
            legacy,
            modern,
            disk: None,
            is_strict: copies.contains("strict"),
            may_shed: !copies.contains("fail_closed"),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            marks: Vec::new(),
            _logs: logs,
        }
    }

    /// Writes a value, which is the number of the write.
    pub(crate) fn put(&self, entity: &str, id: u64) -> Message {
        self.put_large(entity, id, 0)
    }

    /// The same with so many bytes more.
    pub(crate) fn put_large(&self, entity: &str, id: u64, bytes: usize) -> Message {
        let more = if bytes == 0 { String::new() } else { format!(",\"more\":\"{}\"", "x".repeat(bytes)) };
        let body = format!("{{\"id\":{id}{more}}}");
        let head = format!("PUT /items/{entity} HTTP/1.1\r\nhost: a.example\r\nx-write: {id}\r\n");
        self.router.exchange(format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
    }

    /// Kills the router.
    pub(crate) fn kill(&mut self) {
        self.router.signal(Signal::KILL);
        self.router.wait_for_exit();
    }

    /// Kills it where its state would be gone with it: what is there at this moment is kept.
    pub(crate) fn kill_keeping_state(&mut self) {
        self.router.signal(Signal::STOP);
        let kept = self.router.directory().join("state");
        let copied = Command::new("cp").arg("-a").arg(self.state().join(".")).arg(kept).status().unwrap();
        assert!(copied.success());
        self.kill();
    }

    /// What its state is on.
    pub(crate) fn disk(&self) -> &FaultyDisk {
        self.disk.as_ref().expect("a world that was started on a faulty disk")
    }

    /// Starts it again on what it left, at other addresses.
    pub(crate) fn resume(&mut self) {
        let mut arguments = ADDRESSES.to_vec();
        arguments.extend(self.arguments.iter().map(|argument| &**argument));
        let plain = || Command::new(env!("CARGO_BIN_EXE_banyan"));
        self.router = self.router.again_by(self.disk.as_ref().map_or_else(plain, FaultyDisk::command), &arguments);
    }

    /// The same on a disk that may not let it start; gives what it said then. It must be dead.
    pub(crate) fn try_resume(&mut self) -> Result<(), (ExitStatus, String)> {
        let mut command = self.disk().command();
        command.args(["serve", "--log-format", "json"]).args(ADDRESSES).args(&self.arguments);
        self.router = Router::try_run(command, self.router.shared_directory())?;
        Ok(())
    }

    /// Waits until nothing is on its way any more.
    pub(crate) fn drain(&mut self) {
        for service in [&mut self.legacy, &mut self.modern] {
            if !service.is_running() {
                service.resume();
            }
            service.behave("well");
        }
        self.wait_for_none_pending();
        let deadline = Instant::now() + DRAIN;
        // A router that has just started knows of its backlog only when it has read the journal to where this write is.
        while !self.mark() {
            assert!(Instant::now() < deadline, "no copy arrives:\n{}", self.router.logs().join("\n"));
        }
        self.wait_for_none_pending();
    }

    /// Waits as long as there is progress.
    fn wait_for_none_pending(&self) {
        let (mut deadline, mut least) = (Instant::now() + DRAIN, f64::INFINITY);
        loop {
            let pending = self.router.metric("banyan_copies_pending", &[]);
            if pending == 0.0 {
                return;
            }
            if pending < least {
                (deadline, least) = (Instant::now() + DRAIN, pending);
            }
            assert!(Instant::now() < deadline, "{pending} copies do not arrive:\n{}", self.router.logs().join("\n"));
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Writes something of its own and waits for its copy; false when it was refused or does not arrive.
    fn mark(&mut self) -> bool {
        let id = MARKS + self.marks.len() as u64;
        let seen = Seen::of(self.put(MARK, id).status());
        self.marks.push(Write { id, entity: MARK.to_owned(), key: None, seen });
        let deadline = Instant::now() + Duration::from_secs(5);
        while seen == Seen::Acknowledged && Instant::now() < deadline {
            let mut entries = self.legacy.entries().into_iter().chain(self.modern.entries());
            if entries.any(|entry| entry.is_copy && entry.applied && entry.owner == Some(id)) {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        false
    }

    /// The keys of the copies that wait for a person.
    pub(crate) fn parked(&self) -> Vec<String> {
        texts(&self.journal(&["list"])["parked"], "key")
    }

    /// What the router says that it did not copy, by entity.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let targets = texts(&self.journal(&["gaps"])["gaps"], "target");
        // What a create is about has no name, as with the clients.
        targets.into_iter().map(|target| target.replacen("/items", "", 1).trim_start_matches('/').to_owned()).collect()
    }

    /// Whether the tables can be read.
    pub(crate) fn has_tables(&self) -> bool {
        self.journal(&["gaps"])["gaps"].is_array()
    }

    /// The state directory as the process sees it.
    pub(crate) fn state(&self) -> PathBuf {
        format!("/proc/{}/cwd/state", self.router.pid()).into()
    }

    /// Waits until every gap that was left is in the tables.
    pub(crate) fn wait_for_gaps(&self) {
        let deadline = Instant::now() + DRAIN;
        let figure = |name: &str, labels: &[&str]| self.router.metric(name, labels);
        while figure("banyan_copies_gaps_total", &[]) < figure("banyan_copies_writes_total", &[r#"what="gap""#]) {
            assert!(Instant::now() < deadline, "gaps are not kept:\n{}", self.router.logs().join("\n"));
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Asks the running router by its own command; its state is looked for where the process sees it.
    fn journal(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banyan"));
        command.arg("journal").args(arguments).args(["--json", "--limit", "1000"]).arg("--state").arg(self.state());
        let output = command.current_dir(self.router.directory()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("journal {arguments:?}: {error}: {said}{failed}"))
    }

    /// Everything that is known now.
    pub(crate) fn look(&self, writes: Vec<Write>) -> History {
        History {
            writes: writes.into_iter().chain(self.marks.clone()).collect(),
            sides: [self.legacy.entries(), self.modern.entries()],
            parked: self.parked().into_iter().map(|key| Parked { key }).collect(),
            gaps: self.gaps().into_iter().map(|entity| Gap { entity }).collect(),
            may_shed: self.may_shed,
            is_strict: self.is_strict,
        }
    }

    /// Drains and checks.
    pub(crate) fn verdict(&mut self, clients: &Clients) -> Verdict {
        self.drain();
        check(&self.look(clients.writes()))
    }
}

/// A member of every object of a list.
fn texts(list: &Value, name: &str) -> Vec<String> {
    list.as_array().expect("a list").iter().filter_map(|one| one[name].as_str().map(str::to_owned)).collect()
}
