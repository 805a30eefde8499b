//! Owns what the API does for somebody who reconciles two sides, some entities at a time. The comparing and sending is the mirror's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::query::Query;
use super::tokens::Caller;
use super::{Api, Problem, body, writes};
use crate::control::answer::{self, Answer};
use crate::control::history::Action;
use crate::mirror::{Compared, Listed, Mirror, ReconcileError, Sides};
use crate::snapshot::{Choice, CopyRules, Route, Snapshot};

/// Entities of one request, at most.
const ENTITIES_MAX: usize = 100;
/// The longest name of a run in bytes.
const RUN_BYTES_MAX: usize = 64;
/// How long an entity is waited for; an upstream's own times are shorter.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a listing is waited for.
const LIST_TIMEOUT: Duration = Duration::from_secs(300);

/// The body of a request to compare, and to send what differs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    route: Box<str>,
    /// The upstream that is right.
    from: Box<str>,
    /// Paths of entities, or ids where the route's path has one parameter.
    entities: Vec<Box<str>>,
    /// Whether nothing is sent.
    #[serde(default)]
    dry_run: bool,
    /// Whether it is meant although `from` is not the only side that serves.
    #[serde(default)]
    confirm: bool,
    /// Names the run that the request belongs to.
    #[serde(default)]
    run: Option<Box<str>>,
    /// Whether it is the last one of its run.
    #[serde(default)]
    last: bool,
}

/// The body of a request to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListWish {
    route: Box<str>,
    from: Box<str>,
    /// Path and query of the listing.
    listing: Box<str>,
    /// A JSON pointer to the id of an item.
    #[serde(default = "id_pointer")]
    id: Box<str>,
}

fn id_pointer() -> Box<str> {
    "/id".into()
}

/// A route with the two sides that are compared.
struct Reconciled {
    sides: Sides,
    rules: Arc<CopyRules>,
    /// Who may serve its requests now.
    serving: Vec<Box<str>>,
}

/// What was found of some entities, and on whose word it is mended.
struct Judged {
    sides: Sides,
    rules: Arc<CopyRules>,
    results: Vec<(String, Compared)>,
    /// Writes that left gaps before this were over when it was compared.
    since_unix_ms: u64,
    who: String,
    run: Option<Box<str>>,
    is_last: bool,
    dry_run: bool,
}

impl Api {
    /// Compares entities on both sides and sends what differs.
    pub(super) async fn reconcile(
        self: &Arc<Self>,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let who = writes::who(request.headers(), caller)?;
        let Wish { route, from, entities, dry_run, confirm, run, last: is_last } = read(request).await?;
        if run.as_ref().is_some_and(|run| run.is_empty() || run.len() > RUN_BYTES_MAX) {
            return Err(Problem::unfit(format!("the name of a run has 1 to {RUN_BYTES_MAX} bytes")));
        }
        if entities.len() > ENTITIES_MAX {
            return Err(Problem::unfit(format!("at most {ENTITIES_MAX} entities in one request")));
        }
        let mirror = Arc::clone(self.mirror()?);
        self.operator.outwait_earlier().await;
        let reconciled = sides(&self.operator.in_force(), &route, &from)?;
        if !dry_run && !confirm {
            reconciled.check_serving()?;
        }
        let (Reconciled { sides, rules, .. }, since_unix_ms) = (reconciled, mirror.gaps_over_before());
        let mut asked = Vec::with_capacity(entities.len());
        for entity in &entities {
            // One wrong line of a million must not end the run, and a script must learn which.
            asked.push(match path(&rules, entity) {
                Ok(path) => {
                    let answer = mirror.compare(sides.clone(), &path).map_err(|error| refused(&error))?;
                    (path, Ok(answer))
                }
                Err(why) => (entity.to_string(), Err(why)),
            });
        }
        let mut results = Vec::with_capacity(asked.len());
        for (path, answer) in asked {
            let compared = match answer {
                Ok(answer) => tokio::time::timeout(COMPARE_TIMEOUT, answer).await.ok().and_then(Result::ok),
                Err(why) => Some(Compared::Failed(why)),
            };
            let compared = compared.unwrap_or_else(|| Compared::Failed("the courier gives no answer".to_owned()));
            results.push((path, compared));
        }
        let judged = Judged { sides, rules, results, since_unix_ms, who, run, is_last, dry_run };
        let api = Arc::clone(self);
        let done = self.writes.run(move || api.send_differing(&mirror, judged)).await;
        done.unwrap_or_else(|| Err(Problem::internal("what differs could not be sent".to_owned())))
    }

    /// Runs on a thread that may wait for the disk.
    fn send_differing(&self, mirror: &Mirror, judged: Judged) -> Result<Answer, Problem> {
        if !judged.dry_run {
            self.note_run(&judged);
            judged.mend_equal(mirror);
        }
        let Judged { sides, rules, results, dry_run, .. } = judged;
        let mut shown = Vec::with_capacity(results.len());
        for (path, compared) in results {
            let sends = compared.differs() && !dry_run;
            if sends {
                mirror.send_state(&sides, &rules, &path).map_err(|error| refused(&error))?;
            }
            let mut result = serde_json::to_value(&compared).map_err(|error| Problem::internal(error.to_string()))?;
            result["path"] = path.into();
            result["sent"] = sends.into();
            shown.push(result);
        }
        let Sides { route, from, to } = sides;
        Ok(answer::json(&json!({"route": route, "from": from, "to": to, "dry_run": dry_run, "results": shown})))
    }

    /// Notes what is about to be sent, before it is.
    fn note_run(&self, judged: &Judged) {
        let Judged { sides: Sides { route, from, to }, results, who, run, is_last, .. } = judged;
        let sends = results.iter().filter(|(_, compared)| compared.differs()).count() as u64;
        if sends > 0 {
            tracing::warn!(who, route = &**route, from = &**from, to = &**to, sends, "reconcile sends states");
        }
        if let Some(sent) = self.runs.note(run.as_deref(), sends, *is_last) {
            let after = json!({"route": route, "from": from, "to": to, "sent": sent, "over": is_last, "run": run});
            let why = "both sides are made equal";
            self.operator.note_copies(Action::Reconcile, who, why, after);
        }
    }

    /// Lists the entities that both sides have.
    pub(super) async fn list_entities(self: &Arc<Self>, request: Request<Incoming>) -> Result<Answer, Problem> {
        let ListWish { route, from, listing, id } = read(request).await?;
        let mirror = Arc::clone(self.mirror()?);
        self.operator.outwait_earlier().await;
        let Reconciled { sides, rules, .. } = sides(&self.operator.in_force(), &route, &from)?;
        let mut paths = BTreeSet::new();
        for upstream in [&sides.from, &sides.to] {
            let answer = mirror.list(upstream, &listing, &id).map_err(|error| refused(&error))?;
            match tokio::time::timeout(LIST_TIMEOUT, answer).await {
                Ok(Ok(Listed::Ids(ids))) => {
                    for id in ids {
                        paths.insert(path(&rules, &id).map_err(|why| Problem::unfit(format!("`{id}` {why}")))?);
                    }
                }
                Ok(Ok(Listed::Failed(why))) => return Err(Problem::unfit(why)),
                Ok(Err(_)) | Err(_) => return Err(Problem::internal("the courier gives no answer".to_owned())),
            }
        }
        Ok(answer::json(&json!({"route": route, "from": sides.from, "to": sides.to, "entities": paths})))
    }
}

impl Reconciled {
    /// Refuses to overwrite what a side has that may be serving.
    fn check_serving(&self) -> Result<(), Problem> {
        let Sides { route, from, to } = &self.sides;
        if *self.serving == [from.clone()] {
            return Ok(());
        }
        let what = if self.serving.contains(from) {
            format!("`{route}` is served by `{from}` or `{to}` now, by whoever asks")
        } else {
            format!("`{route}` is served by `{}` now, not by `{from}`", self.serving.join("`, `"))
        };
        Err(Problem::unconfirmed(&format!("{what}: what `{from}` has would overwrite what `{to}` serves")))
    }
}

impl Judged {
    /// Gaps about what is equal are mended.
    fn mend_equal(&self, mirror: &Mirror) {
        let equal = self.results.iter().filter(|(_, compared)| *compared == Compared::Equal);
        let entities: Vec<_> = equal.filter_map(|(path, _)| self.rules.entity(path)).collect();
        let entities: Vec<&str> = entities.iter().map(|entity| &**entity).collect();
        if let Err(error) = mirror.tables().mend_gaps(&self.sides.to, &entities, self.since_unix_ms) {
            // They stay in the list; the next run finds them.
            tracing::warn!(%error, "gaps that are mended could not be noted");
        }
    }
}

impl Compared {
    fn differs(&self) -> bool {
        matches!(self, Self::Differs | Self::Missing | Self::Surplus)
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Problem> {
    let (head, body) = request.into_parts();
    Query::read(head.uri.query(), &[])?;
    body::parse(&body::read(&head.headers, body).await?)
}

/// The other side of a route, and its rules.
fn sides(snapshot: &Snapshot, route: &str, from: &str) -> Result<Reconciled, Problem> {
    let found = snapshot.rules.routes.payloads().find(|known| *known.name == *route);
    let found = found.ok_or_else(|| Problem::absent(format!("there is no route `{route}`")))?;
    let Some(rules) = &found.copies else {
        return Err(Problem::unfit(format!("the route `{route}` copies no writes")));
    };
    let pairs = pairs(snapshot, found);
    let to = pairs.iter().find(|(serves, _)| **serves == *from).map(|(_, to)| to.clone());
    let to = to.ok_or_else(|| {
        let known: Vec<_> = pairs.iter().map(|(serves, _)| &**serves).collect();
        Problem::unfit(format!("no stage of `{route}` copies from `{from}`; from is one of: {}", known.join(", ")))
    })?;
    let legs = snapshot.legs_in_force(found).into_iter();
    let serving: BTreeSet<_> = legs.map(|leg| snapshot.upstreams[leg.upstream.0 as usize].name.clone()).collect();
    let sides = Sides { route: route.into(), from: from.into(), to };
    Ok(Reconciled { sides, rules: Arc::clone(rules), serving: serving.into_iter().collect() })
}

/// Who serves and who gets the copies, for each direction in which the route copies.
fn pairs(snapshot: &Snapshot, route: &Route) -> Vec<(Box<str>, Box<str>)> {
    let Choice::ByFlag { legs, fallback, .. } = &route.choice else { return Vec::new() };
    let name = |id: crate::upstream::UpstreamId| snapshot.upstreams[id.0 as usize].name.clone();
    let mut pairs: Vec<_> = legs
        .iter()
        .flatten()
        .chain([fallback])
        .filter_map(|leg| Some((name(leg.upstream), name(leg.copy_to?))))
        .collect();
    pairs.sort();
    pairs.dedup();
    pairs
}

/// The path of an entity that is given by it, or by its id; else why it is none.
fn path(rules: &CopyRules, entity: &str) -> Result<String, String> {
    let path = if entity.starts_with('/') { Some(entity.to_owned()) } else { rules.path_with_id("/", entity) };
    let fits = |path: &String| rules.path.fits(path) && rules.entity(path).is_some();
    path.filter(fits).ok_or_else(|| format!("names no entity of the route; give its path, such as `{}`", rules.path))
}

fn refused(error: &ReconcileError) -> Problem {
    match error {
        ReconcileError::Path(_) => Problem::unfit(error.to_string()),
        ReconcileError::Busy | ReconcileError::Journal(_) => Problem::internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::PathTemplate;

    #[test]
    fn an_entity_is_given_by_its_path_or_its_id() {
        let rules = CopyRules::new(PathTemplate::parse("/api/orders/{*id}").unwrap());
        assert_eq!(path(&rules, "17").ok().as_deref(), Some("/api/orders/17"));
        assert_eq!(path(&rules, "/api/orders/17").ok().as_deref(), Some("/api/orders/17"));
        assert!(path(&rules, "/elsewhere/17").is_err());
        let two = CopyRules::new(PathTemplate::parse("/shops/{shop}/orders/{id}").unwrap());
        assert!(path(&two, "17").is_err());
    }
}
