//! Owns gathering what is to be reconciled: from a listing, a file, or what the router knows to differ.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{ReconcileArgs, ask};
use crate::cli::live::{Client, escaped};

/// The largest file of keys in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Gaps and parked copies that are asked for at once.
const PAGE: u32 = 1_000;

/// Ids or paths, each once, in an order that is the same in each run.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) list: Vec<String>,
}

impl Keys {
    pub(super) fn gather(args: &ReconcileArgs, client: &Client) -> Result<Self, String> {
        let found: BTreeSet<String> = match (&args.listing, &args.keys) {
            (Some(listing), _) => {
                let body = json!({"route": args.route, "from": args.from, "listing": listing, "id": args.id});
                texts(&ask(client, "/api/v1/reconcile/listing", &body)?["entities"])
            }
            (None, Some(file)) => lines(file)?,
            (None, None) => known(args, client)?,
        };
        Ok(Self { list: found.into_iter().collect() })
    }
}

fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn lines(file: &Path) -> Result<BTreeSet<String>, String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
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
fn known(args: &ReconcileArgs, client: &Client) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    for list in ["gaps", "parked"] {
        let mut after = Some("start".to_owned());
        while let Some(place) = after {
            let path = format!("/api/v1/journal/{list}?limit={PAGE}&after={}", escaped(&place));
            let reply = client.get(&path).map_err(|error| error.to_string())?;
            if !reply.is_done() {
                return Err(reply.why());
            }
            let entries = reply.body[list].as_array().into_iter().flatten();
            let of_route = entries.filter(|entry| entry["route"] == args.route.as_str() && !entry["entity"].is_null());
            found.extend(of_route.filter_map(entity_path));
            // An older router answers as if it had not been asked for pages, or not at all.
            after = reply.body["next"].as_str().map(str::to_owned);
        }
    }
    Ok(found)
}
