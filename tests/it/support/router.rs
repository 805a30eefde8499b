//! The real `banyan serve`, as a process of its own in a directory of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::message::Message;
use super::wire::Wire;

/// Between two looks at what has no event to wait for.
const POLL: Duration = Duration::from_millis(5);

const FLAGS: &str = "\
flags:
  side:
    state: ENABLED
    variants: {left: left, right: right}
    defaultVariant: left
    metadata: {owner: tests}
";

/// A router that is about to start.
pub(crate) struct Setup {
    flags: String,
    routes: String,
    arguments: Vec<String>,
    workers: u32,
    descriptors_max: Option<u32>,
}

impl Setup {
    /// Serves the given route file.
    pub(crate) fn routes(routes: impl Into<String>) -> Self {
        Self {
            flags: FLAGS.to_owned(),
            routes: routes.into(),
            arguments: Vec::new(),
            workers: 2,
            descriptors_max: None,
        }
    }

    /// Sends everything to one upstream, whose further settings are given as YAML members (`a: 1, b: 2`).
    pub(crate) fn upstream(address: SocketAddr, settings: &str) -> Self {
        Self::route(address, settings, "")
    }

    /// The same with further settings of the route.
    pub(crate) fn route(address: SocketAddr, upstream: &str, route: &str) -> Self {
        let routes = format!(
            "upstreams:\n  one: {{endpoints: [\"http://{address}\"], {upstream}}}\nroutes:\n  - {{name: all, match: {{path: \"/{{*rest}}\"}}, upstream: one, {route}}}\n"
        );
        Self::routes(routes)
    }

    pub(crate) fn flags(mut self, flags: impl Into<String>) -> Self {
        self.flags = flags.into();
        self
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Serves with so many workers instead of two.
    pub(crate) fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Starts it with so many descriptors at most.
    pub(crate) fn descriptors_max(mut self, descriptors: u32) -> Self {
        self.descriptors_max = Some(descriptors);
        self
    }

    /// Sets a limit of the data plane.
    pub(crate) fn limit(self, name: &str, value: u64) -> Self {
        self.arguments(&["--limit", &format!("{name}={value}")])
    }

    /// Starts the router and waits until it accepts.
    pub(crate) fn start(self) -> Router {
        Router::start(self)
    }
}

/// A running router; it is killed when dropped.
pub(crate) struct Router {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    tls: Option<SocketAddr>,
    child: Child,
    directory: Arc<TempDir>,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Router {
    /// Sends everything to one upstream, with the defaults.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Setup::upstream(address, "").start()
    }

    fn start(setup: Setup) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        for (folder, text) in [("flags", &setup.flags), ("routes", &setup.routes)] {
            fs::create_dir(directory.path().join(folder)).unwrap();
            fs::write(directory.path().join(folder).join("test.yaml"), text).unwrap();
        }
        let mut command = match setup.descriptors_max {
            None => Command::new(env!("CARGO_BIN_EXE_banyan")),
            Some(descriptors) => {
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--nofile={descriptors}")).arg(env!("CARGO_BIN_EXE_banyan"));
                limited
            }
        };
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]);
        command.args(["--workers", &setup.workers.to_string()]).args(&setup.arguments);
        Self::run(command, directory)
    }

    /// Starts a later process in the same directory, which takes the sockets over.
    pub(crate) fn successor(&self, workers: u32) -> Self {
        self.again(&["--workers", &workers.to_string()])
    }

    /// Starts a later process in the same directory.
    pub(crate) fn again(&self, arguments: &[&str]) -> Self {
        self.again_by(Command::new(env!("CARGO_BIN_EXE_banyan")), arguments)
    }

    /// The same by a command that ends with the router's path.
    pub(crate) fn again_by(&self, mut command: Command, arguments: &[&str]) -> Self {
        command.args(["serve", "--log-format", "json"]).args(arguments);
        Self::run(command, Arc::clone(&self.directory))
    }

    /// Runs a command that ends up as a router in this directory, and waits until it accepts.
    pub(crate) fn run(command: Command, directory: Arc<TempDir>) -> Self {
        Self::try_run(command, directory).unwrap_or_else(|(status, log)| panic!("it ends, {status}:\n{log}"))
    }

    /// The same; gives what it said where it ended instead.
    pub(crate) fn try_run(mut command: Command, directory: Arc<TempDir>) -> Result<Self, (ExitStatus, String)> {
        // What steers the crash test is no setting of the router.
        command.env_remove("BANYAN_CRASH_ROUNDS").env_remove("BANYAN_CRASH_SEED");
        command.current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                shared.lines.lock().unwrap().push(line);
                shared.changed.notify_all();
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut router = Self { listen: nowhere, admin: nowhere, tls: None, child, directory, log };
        let listens = |line: &str| member(line, "message").is_some_and(|text| text == "listening");
        let deadline = Instant::now() + PATIENCE;
        let line = loop {
            let found = router.logs().into_iter().find(|line| listens(line));
            if let Some(line) = found {
                break line;
            }
            if let Some(status) = router.child.try_wait().unwrap() {
                return Err((status, router.logs().join("\n")));
            }
            assert!(Instant::now() < deadline, "the log never says that it listens:\n{}", router.logs().join("\n"));
            std::thread::park_timeout(POLL);
        };
        let address = |name| {
            let text = member(&line, name).unwrap_or_else(|| panic!("no {name} in {line}"));
            text.split(',')
                .next()
                .and_then(|first| first.trim().parse().ok())
                .unwrap_or_else(|| panic!("no address in {line}"))
        };
        router.listen = address("listen");
        router.admin = address("admin");
        router.tls = member(&line, "listen_tls").filter(|text| !text.is_empty()).map(|_| address("listen_tls"));
        Ok(router)
    }

    /// Where its files are.
    pub(crate) fn shared_directory(&self) -> Arc<TempDir> {
        Arc::clone(&self.directory)
    }

    /// Where clients speak TLS.
    pub(crate) fn listen_tls(&self) -> SocketAddr {
        self.tls.expect("a listener for TLS")
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.listen)
    }

    /// Gets a path on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Message {
        let mut wire = self.connect();
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n"));
        wire.answer()
    }

    /// Sends raw bytes on a connection of its own and reads one answer.
    pub(crate) fn exchange(&self, bytes: impl AsRef<[u8]>) -> Message {
        self.connect().send(bytes).answer()
    }

    pub(crate) fn metrics(&self) -> String {
        let mut wire = Wire::connect(self.admin);
        wire.send("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        let answer = wire.answer();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.text()
    }

    /// Adds up the samples of a metric whose labels contain all of `labels`, such as `limit="head"`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics();
        let samples = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let series_name = series.split('{').next()?;
            let fits = series_name == name && labels.iter().all(|label| series.contains(label));
            fits.then(|| value.parse::<f64>().ok()).flatten()
        });
        samples.sum()
    }

    /// Waits until a metric has reached a value; counters may be written after the answer.
    pub(crate) fn wait_for_metric(&self, name: &str, labels: &[&str], at_least: f64) {
        let deadline = Instant::now() + PATIENCE;
        while self.metric(name, labels) < at_least {
            assert!(Instant::now() < deadline, "{name} {labels:?} stays below {at_least}:\n{}", self.metrics());
            std::thread::park_timeout(POLL);
        }
    }

    /// Waits until at most so many client connections are open.
    pub(crate) fn wait_for_connections(&self, at_most: u32) {
        let deadline = Instant::now() + PATIENCE;
        while self.metric("banyan_downstream_connections", &[]) > f64::from(at_most) {
            assert!(Instant::now() < deadline, "connections stay open:\n{}", self.metrics());
            std::thread::park_timeout(POLL);
        }
    }

    /// Replaces the flag file as an editor does: a whole new file, renamed into place.
    pub(crate) fn edit_flags(&self, text: &str) {
        let folder = self.directory.path().join("flags");
        fs::write(folder.join(".test.yaml.new"), text).unwrap();
        fs::rename(folder.join(".test.yaml.new"), folder.join("test.yaml")).unwrap();
    }

    /// Replaces the route file in the same way.
    pub(crate) fn edit_routes(&self, text: &str) {
        let folder = self.directory.path().join("routes");
        fs::write(folder.join(".test.yaml.new"), text).unwrap();
        fs::rename(folder.join(".test.yaml.new"), folder.join("test.yaml")).unwrap();
    }

    /// The router's directory, which holds `flags`, `routes` and `state`.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory of the process in bytes: `VmRSS` for now, `VmHWM` for the most it ever was.
    pub(crate) fn memory_bytes(&self, which: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Descriptors that the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the router does not end:\n{}", self.logs().join("\n"));
            std::thread::park_timeout(POLL);
        }
    }

    /// The lines on stderr so far.
    pub(crate) fn logs(&self) -> Vec<String> {
        self.log.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line on stderr.
    pub(crate) fn wait_for_log(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| is_it(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the log never says that {what}:\n{}", lines.join("\n"));
            lines = self.log.changed.wait_timeout(lines, left).unwrap().0;
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the router's log:\n{}", self.logs().join("\n"));
        }
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A member of a JSON log line, wherever the formatter puts fields.
pub(crate) fn member(line: &str, name: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let found = line.get(name).or_else(|| line.get("fields")?.get(name))?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}
