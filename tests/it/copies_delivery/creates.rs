//! Creates: the id that the primary gave goes along, or the two ids are paired.

use super::*;

#[test]
fn a_create_carries_its_id_in_the_path() {
    let (legacy, modern) = (Service::counting_from(16), Service::default());
    let (primary, copied) = (legacy.start(), modern.start());
    let copies = "entity: \"order:{rest}\", created: location, carry_id: path";
    let router = router(primary.address, copied.address, copies);
    assert_eq!(router.exchange(request("POST", "/orders", r#"{"a":1}"#)).status(), 201);
    copied.wait_for_requests(1);
    assert_eq!(copied.request().line, "PUT /orders/17 HTTP/1.1");
    assert_eq!(copied.request().text(), r#"{"a":1}"#);
}

#[test]
fn a_create_carries_its_id_in_a_header_or_in_the_body() {
    let forms = [("header:x-id", ""), ("json:/id", r#","id":17"#)];
    for (carrier, member) in forms {
        let (legacy, modern) = (Service::counting_from(16), Service::default());
        let (primary, copied) = (legacy.start(), modern.start());
        let copies = format!("entity: \"order:{{rest}}\", created: \"json:/id\", carry_id: \"{carrier}\"");
        let router = router(primary.address, copied.address, &copies);
        assert_eq!(router.exchange(request("POST", "/orders", r#"{"a":1}"#)).status(), 201);
        copied.wait_for_requests(1);
        let copy = copied.request();
        assert_eq!((copy.line.as_str(), copy.text()), ("POST /orders HTTP/1.1", format!("{{\"a\":1{member}}}")));
        assert_eq!(copy.field("x-id"), if member.is_empty() { "17" } else { "" });
        assert_eq!(copy.field("content-length"), copy.body.len().to_string());
    }
}

#[test]
fn ids_that_differ_are_paired_both_ways() {
    let (legacy, modern) = (Service::counting_from(16), Service::counting_from(899));
    let (primary, copied) = (legacy.start(), modern.start());
    let copies = "entity: \"order:{rest}\", created: location";
    let router = router(primary.address, copied.address, copies);
    assert_eq!(router.exchange(request("POST", "/orders", r#"{"a":1}"#)).status(), 201);
    assert_eq!(router.exchange(request("PUT", "/orders/17", r#"{"a":2}"#)).status(), 200);
    copied.wait_for_requests(2);
    let lines: Vec<String> = copied.requests().iter().map(|copy| copy.line.clone()).collect();
    assert_eq!(lines, ["POST /orders HTTP/1.1", "PUT /orders/900 HTTP/1.1"]);
    wait_until("it arrives", || modern.thing("/orders/900").as_deref() == Some(r#"{"a":2}"#));
    // The other way round: modern serves, legacy gets the copies.
    router.edit_flags(&stage("live"));
    router.wait_for_metric("banyan_config_generation", &[], 2.0);
    assert_eq!(router.exchange(request("PUT", "/orders/900", r#"{"a":3}"#)).status(), 200);
    wait_until("legacy has it under its own name", || legacy.thing("/orders/17").as_deref() == Some(r#"{"a":3}"#));
}
