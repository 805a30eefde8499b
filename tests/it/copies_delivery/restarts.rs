//! What is under way when the router dies is delivered by the next one, with the same key and in order.

use rustix::process::Signal;

use super::*;

#[test]
fn a_killed_router_goes_on_where_it_was() {
    let (legacy, modern) = (Service::default(), Service::default());
    let primary = legacy.start();
    let address = nowhere();
    let mut first = router(primary.address, address, "");
    let expected: Vec<String> = (0..25).map(|value| format!("{{\"v\":{value}}}")).collect();
    for body in &expected {
        assert_eq!(first.exchange(request("PUT", "/orders/1", body)).status(), 200);
    }
    first.signal(Signal::KILL);
    first.wait_for_exit();
    let copied = modern.start_on(TcpListener::bind(address).unwrap());
    let second = first.again(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    wait_until("the last has arrived", || modern.thing("/orders/1").as_ref() == expected.last());
    // A slow answer makes an attempt come twice, with the same key.
    let mut bodies: Vec<String> = copied.requests().iter().map(Message::text).collect();
    bodies.dedup();
    assert_eq!(bodies, expected);
    let keys = |requests: &[Message]| -> Vec<String> {
        let writes = requests.iter().filter(|request| request.line.starts_with("PUT"));
        let mut keys: Vec<String> = writes.map(|request| request.field("idempotency-key")).collect();
        keys.dedup();
        keys
    };
    assert_eq!(keys(&copied.requests()), keys(&primary.requests()));
    // A third finds nothing left to do.
    let mut second = second;
    second.exchange(request("PUT", "/orders/2", "{}"));
    wait_until("the next has arrived", || modern.thing("/orders/2").is_some());
    second.signal(Signal::TERM);
    second.wait_for_exit();
    let third = second.again(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    third.exchange(request("PUT", "/orders/3", "{}"));
    wait_until("the next has arrived", || modern.thing("/orders/3").is_some());
    assert_eq!(keys(&copied.requests()).len(), 27);
}
