//! Owns the verb `demo`: starts the real router for it, in this process.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::serve::Router;
use super::{REFUSED, print};
use crate::control::ADMIN_TOKEN_FILE;
use crate::demo::{self, Changes, Places, Plan, Totals};
use crate::listen;
use crate::observe::{LogFormat, LogOptions, Metrics, log_subscriber};
use crate::settings::Settings;

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// The directory of flag files; where this and the next are missing, copies of the shipped ones in banyan-demo/ serve.
    #[arg(long, value_name = "DIR", default_value = "flags")]
    flags: PathBuf,
    /// The directory of route files.
    #[arg(long, value_name = "DIR", default_value = "routes")]
    routes: PathBuf,
    /// Where clients connect.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where health, readiness and metrics are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// A state directory that stays, so that commands find the demo as they find a router [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// End after so many seconds.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Print a line a second instead of a screen.
    #[arg(long)]
    plain: bool,
}

/// Runs the verb.
pub(super) fn run(args: &DemoArgs) -> ExitCode {
    match show(args) {
        Ok(Totals { requests, failed }) => {
            print(&format!("ended cleanly: {requests} requests, {failed} failed\n"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("banyan: {why}");
            ExitCode::from(REFUSED)
        }
    }
}

fn show(args: &DemoArgs) -> Result<Totals, String> {
    let places = demo::places(Path::new(""), &args.flags, &args.routes).map_err(|error| error.to_string())?;
    let changes = Changes::default();
    let metrics = Metrics::new();
    let options = LogOptions { format: LogFormat::Json, filter: "info".to_owned() };
    let (subscriber, guard) =
        log_subscriber(&options, Box::new(changes.clone()), Arc::clone(&metrics.log_lines_dropped))
            .map_err(|error| error.to_string())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;

    // One of its own: the demo must not take the sockets of a router that runs here.
    let temporary = std::env::temp_dir().join(format!("banyan-demo-{}", std::process::id()));
    let state = args.state.as_ref().unwrap_or(&temporary);
    if listen::is_served(state) {
        return Err(format!("a router runs with the state directory {}; name another with --state", state.display()));
    }
    let settings = settings(args, &places, state.clone());
    let shown = match Router::start(&settings, metrics) {
        Ok(router) => match run_router(router, args, state.clone(), changes, places) {
            // Whoever read the lines has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Totals::default()),
            ended => ended.map_err(|error| error.to_string()),
        },
        Err(error) => {
            // Its end waits until everything logged has been heard.
            drop(guard);
            Err(format!("{error}\n{}", changes.findings().join("\n")))
        }
    };
    if args.state.is_none() {
        // A leftover hurts nobody.
        let _ = std::fs::remove_dir_all(temporary);
    }
    shown
}

fn run_router(router: Router, args: &DemoArgs, state: PathBuf, changes: Changes, places: Places) -> io::Result<Totals> {
    let plan = Plan {
        router: router.sockets.client_addresses().first().copied().unwrap_or(args.listen),
        admin: router.sockets.admin.local_addr()?,
        token: state.join(ADMIN_TOKEN_FILE),
        state,
        store: Arc::clone(&router.store),
        lifecycle: router.lifecycle.clone(),
        changes,
        places,
        duration: args.seconds.map(Duration::from_secs),
        plain: args.plain,
    };
    let totals = demo::run(&plan);
    plan.lifecycle.advance(crate::lifecycle::Phase::Draining);
    router.wait();
    totals
}

fn settings(args: &DemoArgs, places: &Places, state: PathBuf) -> Settings {
    Settings {
        flags: places.flags.clone(),
        routes: places.routes.clone(),
        listen: vec![args.listen],
        admin: args.admin,
        state,
        workers: NonZeroUsize::MIN,
        access_log: None,
        // The clients of the demo read how they were decided.
        expose_decision: true,
        ..Settings::default()
    }
}
