//! Owns the set-up of `tracing`: format, filter, and a sink that no thread ever waits for.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::access::LogFormat;
use super::spool::Spool;
use super::{Tally, escape};

/// What may wait for the sink, in bytes: thousands of lines.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// How long the end of the process waits for the last lines.
const FINISH_PATIENCE: Duration = Duration::from_secs(1);

/// Says how to log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// JSON or text.
    pub format: LogFormat,
    /// Which events, in the syntax of `EnvFilter`, such as `info` or `banyan=debug,hyper=warn`.
    pub filter: String,
}

/// Says why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error("the log filter cannot be read: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There is no thread for the sink.
    #[error("no thread for the log: {0}")]
    Thread(#[from] io::Error),
    /// A subscriber is set already.
    #[error("logging is set up already")]
    Twice,
}

/// Writes out the last lines when dropped.
#[derive(Debug)]
pub struct LogGuard(Spool);

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.finish(FINISH_PATIENCE);
    }
}

/// Sets up logging for the process, on stderr, and the report of panics.
///
/// Keep the guard until the process ends. Lines that stderr is too slow for are counted in `dropped`.
///
/// # Errors
/// When the filter is wrong, there is no thread, or logging is set up already.
pub fn init(options: &LogOptions, dropped: Arc<Tally>) -> Result<LogGuard, LoggingError> {
    let (subscriber, guard) = subscriber(options, Box::new(io::stderr()), dropped)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)?;
    std::panic::set_hook(Box::new(|panic| {
        // std's own hook would write to stderr and so block a worker on a slow one.
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        match panic.location() {
            Some(at) => tracing::error!(file = at.file(), line = at.line(), "panic: {message}"),
            None => tracing::error!("panic: {message}"),
        }
    }));
    Ok(guard)
}

/// Makes a subscriber that logs to `sink`, each event on one line.
///
/// # Errors
/// When the filter is wrong or there is no thread.
pub fn subscriber(
    options: &LogOptions,
    sink: Box<dyn Write + Send>,
    dropped: Arc<Tally>,
) -> Result<(Box<dyn Subscriber + Send + Sync>, LogGuard), LoggingError> {
    let filter = EnvFilter::try_new(&options.filter)?;
    let spool = Spool::start("log", sink, QUEUED_BYTES_MAX, dropped)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Lines(spool.clone()));
    let subscriber: Box<dyn Subscriber + Send + Sync> = match options.format {
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
        LogFormat::Text => Box::new(builder.finish()),
    };
    Ok((subscriber, LogGuard(spool)))
}

/// Takes one event a write.
struct Lines(Spool);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = EventWriter<'a>;

    fn make_writer(&'a self) -> EventWriter<'a> {
        EventWriter { spool: &self.0, line: Vec::new() }
    }
}

/// Collects an event and hands it over, as one line, when it is complete.
struct EventWriter<'a> {
    spool: &'a Spool,
    line: Vec<u8>,
}

impl Write for EventWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for EventWriter<'_> {
    fn drop(&mut self) {
        let event = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let mut line = Vec::with_capacity(event.len() + 1);
        escape::push_line(&mut line, event);
        line.push(b'\n');
        self.spool.push(line, 1);
    }
}
