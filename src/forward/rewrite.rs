//! Owns what an upstream wants changed in the requests that it gets.

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;

use crate::fault::Fault;
use crate::head::Added;
use crate::upstream::Rewrite;

/// Changes what the upstream wants changed, but for the `Host`; without a rewrite the target stays as it is, byte for byte.
///
/// # Errors
/// When the path that comes of it is none.
pub fn rewrite(parts: &mut Parts, added: &mut Added, rewrite: &Rewrite) -> Result<(), Fault> {
    for name in &rewrite.remove_headers {
        parts.headers.remove(name);
        added.remove(name);
    }
    for (name, value) in &rewrite.set_headers {
        added.remove(name);
        parts.headers.insert(name, value.clone());
    }
    let prefix = rewrite.path_prefix.as_ref().and_then(|(from, to)| {
        let rest = parts.uri.path().strip_prefix(&**from)?;
        (rest.is_empty() || rest.starts_with('/') || from.ends_with('/')).then_some((rest, to))
    });
    if let Some((rest, to)) = prefix {
        let slash = if to.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        let query = parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let target = PathAndQuery::try_from(format!("{to}{slash}{rest}{query}"));
        parts.uri = Uri::from(target.map_err(|_| Fault::RequestMalformed)?);
    }
    Ok(())
}
