//! Owns the rules against pages of other origins that reach the admin listener through somebody's browser (rule A2).

use http::header::{HOST, HeaderName, ORIGIN};
use http::uri::{Authority, Uri};
use http::{HeaderMap, Method, StatusCode};

use crate::control::answer::{self, Answer};

/// Says where a request comes from; browsers send it and pages cannot set it (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Refuses what a page of another origin has sent; programs that are no browser send none of these fields.
///
/// Following a link to the dashboard is no attack, so navigation is allowed where `is_page`.
pub(in crate::control) fn refuse(method: &Method, headers: &HeaderMap, is_page: bool) -> Option<Answer> {
    let follows_link =
        is_page && *method == Method::GET && headers.get(SEC_FETCH_MODE).is_some_and(|m| m == "navigate");
    let sites: Vec<_> = headers.get_all(SEC_FETCH_SITE).iter().collect();
    let own_site = sites.iter().all(|site| *site == "same-origin" || *site == "none");
    let origins: Vec<_> = headers.get_all(ORIGIN).iter().collect();
    let own_origin = match origins.as_slice() {
        [] => true,
        [origin] => origin.to_str().is_ok_and(|origin| is_own(origin, headers)),
        _ => false,
    };
    if own_origin && (own_site || follows_link) {
        return None;
    }
    let detail = "pages of other origins may not ask here";
    Some(answer::coded(StatusCode::FORBIDDEN, "cross-origin", detail))
}

/// Whether an origin is that of the host that was asked for; the scheme may differ behind a proxy that ends TLS.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let is_http = matches!(origin.scheme_str(), Some("http" | "https"));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    is_http && host.is_some_and(|host| origin.authority() == Some(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(fields: &[(&'static str, &'static str)], is_page: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "127.0.0.1:9901".parse().unwrap());
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        refuse(&Method::GET, &headers, is_page).is_some()
    }

    #[test]
    fn only_pages_of_our_own_may_ask() {
        for fields in [
            &[][..],
            &[("origin", "http://127.0.0.1:9901"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://127.0.0.1:9901")],
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
        ] {
            assert!(!refused(fields, false), "{fields:?}");
        }
        for fields in [
            &[("origin", "http://127.0.0.1:9902")][..],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:9901.evil.example")],
            &[("origin", "http://localhost:9901")],
            &[("origin", "file://127.0.0.1:9901")],
            &[("origin", "http://127.0.0.1:9901"), ("origin", "http://evil.example")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(refused(fields, false) && refused(fields, true), "{fields:?}");
        }
        let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert!(!refused(&link, true) && refused(&link, false));
    }
}
