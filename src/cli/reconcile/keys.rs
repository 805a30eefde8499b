//! Owns gathering what is to be reconciled: from a listing, a file, or what the router knows to differ.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use super::ReconcileArgs;
use crate::cli::live::{Client, Failure};

/// The largest file of keys in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Ids or paths, each once, in an order that is the same in each run.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) list: Vec<String>,
    /// The file that they come from, and the line of each.
    lines: Option<(String, Vec<usize>)>,
}

impl Keys {
    pub(super) fn gather(args: &ReconcileArgs, client: &Client) -> Result<Self, Failure> {
        let found: BTreeSet<String> = match (&args.listing, &args.keys) {
            (Some(listing), _) => {
                let body = json!({"route": args.route, "from": args.from, "listing": listing, "id": args.id});
                texts(&client.post("/api/v1/reconcile/listing", &body)?.body["entities"])
            }
            (None, Some(file)) => return Ok(Self::of_file(file)?),
            (None, None) => known(args, client)?,
        };
        Ok(Self { list: found.into_iter().collect(), lines: None })
    }

    /// One a line; blank lines do not count.
    fn of_file(file: &Path) -> Result<Self, String> {
        let (mut bytes, is_stdin) = (Vec::new(), file == Path::new("-"));
        let name = if is_stdin { "stdin".to_owned() } else { file.display().to_string() };
        let read = if is_stdin {
            std::io::stdin().take(FILE_BYTES_MAX).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(file).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
        };
        read.map_err(|error| format!("{name}: {error}"))?;
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            let line = std::str::from_utf8(line).map_err(|_| format!("{name}:{number}: the line is not UTF-8"))?.trim();
            if !line.is_empty() {
                found.entry(line.to_owned()).or_insert(number);
            }
        }
        let (list, lines) = found.into_iter().unzip();
        Ok(Self { list, lines: Some((name, lines)) })
    }

    /// Where a key stands, as it is put before what is said of it.
    pub(super) fn place(&self, index: usize) -> String {
        let line = self.lines.as_ref().and_then(|(file, lines)| Some((file, lines.get(index)?)));
        line.map_or_else(String::new, |(file, line)| format!("{file}:{line}: "))
    }
}

fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The path of the entity that a gap or a parked copy is about; a create's own path names the collection.
fn entity_path(entry: &Value) -> Option<String> {
    let path = entry["target"].as_str()?.split('?').next()?;
    Some(match entry["created"].as_str() {
        Some(created) => format!("{}/{created}", path.trim_end_matches('/')),
        None => path.to_owned(),
    })
}

/// The paths of gaps and parked copies of the route.
fn known(args: &ReconcileArgs, client: &Client) -> Result<BTreeSet<String>, Failure> {
    let entries = [client.walk("gaps")?, client.walk("parked")?].concat();
    let of_route = entries.iter().filter(|entry| entry["route"] == args.route.as_str() && !entry["entity"].is_null());
    Ok(of_route.filter_map(entity_path).collect())
}
