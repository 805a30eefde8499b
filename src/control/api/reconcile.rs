//! Owns what the API does for somebody who reconciles two sides, some entities at a time. The comparing and sending is the mirror's.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::query::Query;
use super::{Api, Problem, body};
use crate::control::answer::{self, Answer};
use crate::mirror::{Compared, Listed, Mirror, ReconcileError, Sides};
use crate::snapshot::{Choice, CopyRules, Route, Snapshot};

/// Entities of one request, at most.
const ENTITIES_MAX: usize = 100;
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
}

impl Api {
    /// Compares entities on both sides and sends what differs.
    pub(super) async fn reconcile(self: &Arc<Self>, request: Request<Incoming>) -> Result<Answer, Problem> {
        let Wish { route, from, entities, dry_run } = read(request).await?;
        if entities.len() > ENTITIES_MAX {
            return Err(Problem::unfit(format!("at most {ENTITIES_MAX} entities in one request")));
        }
        let mirror = Arc::clone(self.mirror()?);
        self.operator.outwait_earlier().await;
        let Reconciled { sides, rules } = sides(&self.operator.in_force(), &route, &from)?;
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
        let api = Arc::clone(self);
        let done = self.writes.run(move || api.send_differing(&mirror, &sides, &rules, results, dry_run)).await;
        done.unwrap_or_else(|| Err(Problem::internal("what differs could not be sent".to_owned())))
    }

    /// Runs on a thread that may wait for the disk.
    fn send_differing(
        &self,
        mirror: &Mirror,
        sides: &Sides,
        rules: &CopyRules,
        results: Vec<(String, Compared)>,
        dry_run: bool,
    ) -> Result<Answer, Problem> {
        let mut shown = Vec::with_capacity(results.len());
        for (path, compared) in results {
            let differs = matches!(compared, Compared::Differs | Compared::Missing | Compared::Surplus);
            let sends = differs && !dry_run;
            if sends {
                mirror.send_state(sides, rules, &path).map_err(|error| refused(&error))?;
            }
            let mut result = serde_json::to_value(&compared).map_err(|error| Problem::internal(error.to_string()))?;
            result["path"] = path.into();
            result["sent"] = sends.into();
            shown.push(result);
        }
        let Sides { route, from, to } = sides;
        Ok(answer::json(&json!({"route": route, "from": from, "to": to, "dry_run": dry_run, "results": shown})))
    }

    /// Lists the entities that both sides have.
    pub(super) async fn list_entities(self: &Arc<Self>, request: Request<Incoming>) -> Result<Answer, Problem> {
        let ListWish { route, from, listing, id } = read(request).await?;
        let mirror = Arc::clone(self.mirror()?);
        self.operator.outwait_earlier().await;
        let Reconciled { sides, rules } = sides(&self.operator.in_force(), &route, &from)?;
        let mut paths = std::collections::BTreeSet::new();
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
    Ok(Reconciled { sides: Sides { route: route.into(), from: from.into(), to }, rules: Arc::clone(rules) })
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
