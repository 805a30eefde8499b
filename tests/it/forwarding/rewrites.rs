//! What an upstream's `rewrite` changes in heads, fields that the router adds included.

use super::GET;
use crate::support::Origin;
use crate::support::router::Setup;

#[test]
fn a_rewrite_removes_and_replaces_the_fields_that_the_router_adds() {
    let origin = Origin::ok();
    let rewrite = "remove_headers: [traceparent, x-a], set_headers: {x-forwarded-proto: https, x-b: set}";
    let router = Setup::upstream(origin.address, &format!("rewrite: {{{rewrite}}}")).start();
    let request = GET.replace("\r\n\r\n", "\r\nx-a: 1\r\nx-b: 1\r\nx-forwarded-proto: gopher\r\n\r\n");
    assert_eq!(router.exchange(request).status(), 200);
    let sent = origin.request();
    assert!(!sent.has("traceparent") && !sent.has("x-a"), "{sent:?}");
    assert_eq!(sent.values("x-forwarded-proto"), ["https"]);
    assert_eq!(sent.values("x-b"), ["set"]);
    assert_eq!(sent.values("x-forwarded-host"), ["a.example"]);
}
