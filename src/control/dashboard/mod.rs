//! Owns the dashboard's files and how a browser gets them; what they show they ask of the admin API themselves.
//!
//! There is no build step: what stands in this folder is what a browser runs. Nothing here knows a flag or a token.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;

use super::answer::Answer;

/// Nothing from outside, nothing inline, no frame around it; the last directive has browsers refuse text as markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'",
);
/// The files change with the binary alone; browsers ask each time and are mostly told that nothing changed.
const FRESHNESS: HeaderValue = HeaderValue::from_static("no-cache");

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file as a browser gets it.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

macro_rules! assets {
    ($($path:literal $file:literal $content_type:ident;)+) => {
        [$(Asset { path: $path, content_type: $content_type, body: include_str!($file) },)+]
    };
}

/// Every file of the page.
static ASSETS: [Asset; 16] = assets! {
    "/" "index.html" HTML;
    "/assets/banyan.svg" "banyan.svg" SVG;
    "/assets/base.css" "base.css" CSS;
    "/assets/parts.css" "parts.css" CSS;
    "/assets/api.js" "api.js" JAVASCRIPT;
    "/assets/app.js" "app.js" JAVASCRIPT;
    "/assets/dialogs.js" "dialogs.js" JAVASCRIPT;
    "/assets/dom.js" "dom.js" JAVASCRIPT;
    "/assets/flags.js" "flags.js" JAVASCRIPT;
    "/assets/format.js" "format.js" JAVASCRIPT;
    "/assets/history.js" "history.js" JAVASCRIPT;
    "/assets/panels.js" "panels.js" JAVASCRIPT;
    "/assets/parts.js" "parts.js" JAVASCRIPT;
    "/assets/rates.js" "rates.js" JAVASCRIPT;
    "/assets/share.js" "share.js" JAVASCRIPT;
    "/assets/track.js" "track.js" JAVASCRIPT;
};

/// The files' entity tags, in their order.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| ASSETS.iter().map(|asset| tag(asset.body)).collect());

/// Answers a read of the page or one of its files; `None` when the path is no such file.
pub(super) fn answer(path: &str, headers: &HeaderMap) -> Option<Answer> {
    let at = ASSETS.iter().position(|asset| asset.path == path)?;
    let (asset, tag) = (&ASSETS[at], &TAGS[at]);
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|known| names(known, tag));
    let (status, body) = if is_known { (StatusCode::NOT_MODIFIED, "") } else { (StatusCode::OK, asset.body) };
    let mut answer = Response::new(UnsyncBoxBody::new(Full::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(ETAG, tag.clone());
    headers.insert(CACHE_CONTROL, FRESHNESS);
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("same-origin"));
    }
    Some(answer)
}

/// Makes a strong entity tag, which changes with the content alone.
fn tag(body: &str) -> HeaderValue {
    let digest = digest(&SHA256, body.as_bytes());
    let hex = digest.as_ref()[..16].iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    HeaderValue::try_from(format!("\"{hex}\"")).expect("hexadecimal digits in quotes are a header value")
}

/// Whether a value of `If-None-Match` names a tag, compared weakly (RFC 9110 section 13.1.2).
fn names(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(known), Ok(tag)) = (known.to_str(), tag.to_str()) else { return false };
    known.split(',').any(|one| matches!(one.trim(), one if one == "*" || one.trim_start_matches("W/") == tag))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn get(path: &str, known: Option<&HeaderValue>) -> Option<Answer> {
        answer(path, &known.map(|tag| (IF_NONE_MATCH, tag.clone())).into_iter().collect())
    }

    #[test]
    fn each_file_of_the_folder_is_served_and_what_a_file_names_is_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/dashboard");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = if name == "index.html" { "/".to_owned() } else { format!("/assets/{name}") };
            assert!(name == "mod.rs" || get(&path, None).is_some(), "{name} is not served");
        }
        for asset in &ASSETS {
            let imported = asset.body.split(" from \"./").skip(1).map(|rest| format!("/assets/{rest}"));
            let linked = asset.body.split("\"/assets/").skip(1).map(|rest| format!("/assets/{rest}"));
            for named in imported.chain(linked) {
                let path = named.split('"').next().unwrap();
                assert!(get(path, None).is_some(), "{} names {path}", asset.path);
            }
        }
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let first = get("/", None).unwrap();
        assert_eq!((first.status(), first.headers()[CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, HTML));
        let tag = &first.headers()[ETAG];
        assert_eq!(get("/", Some(tag)).unwrap().status(), StatusCode::NOT_MODIFIED);
        let weak = HeaderValue::try_from(format!("\"x\", W/{}", tag.to_str().unwrap())).unwrap();
        assert_eq!(get("/", Some(&weak)).unwrap().status(), StatusCode::NOT_MODIFIED);
        assert_eq!(get("/assets/app.js", Some(tag)).unwrap().status(), StatusCode::OK);
        assert!(get("/assets/other.js", None).is_none() && get("/assets/../mod.rs", None).is_none());
    }

    #[test]
    fn no_file_makes_markup_of_text_or_asks_anything_outside() {
        for asset in &ASSETS {
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"] {
                assert!(!asset.body.contains(forbidden), "{} has {forbidden}", asset.path);
            }
            let inline = asset.content_type == HTML && (asset.body.contains("style=") || asset.body.contains(" on"));
            assert!(!inline, "{} has style or script in it", asset.path);
        }
    }
}
