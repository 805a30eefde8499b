//! The access log and the log: what a line holds, that none can be forged, and that a slow sink stops nobody.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use banyan::fault::Fault;
use banyan::observe::{AccessLog, AccessRecord, LogFormat, LogOptions, LoggedHeaders, Tally, log_subscriber};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A sink that keeps what it is given, and can be blocked or broken.
#[derive(Clone, Default)]
struct Sink(Arc<(Mutex<SinkState>, Condvar)>);

#[derive(Default)]
struct SinkState {
    bytes: Vec<u8>,
    blocked: bool,
    broken: bool,
    waiting: bool,
}

impl Sink {
    fn change(&self, change: impl FnOnce(&mut SinkState)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// Waits until the writer is stuck in a write.
    fn wait_until_stuck(&self) {
        let state = self.0.0.lock().unwrap();
        let (_state, timeout) = self.0.1.wait_timeout_while(state, PATIENCE, |state| !state.waiting).unwrap();
        assert!(!timeout.timed_out(), "the writer got stuck");
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().bytes.clone()).expect("the log is UTF-8")
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap();
        while state.blocked {
            state.waiting = true;
            self.0.1.notify_all();
            state = self.0.1.wait(state).unwrap();
        }
        if state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn record<'a>() -> AccessRecord<'a> {
    AccessRecord {
        unix_ms: 1_709_210_096_789,
        request_id: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
        trace_id: Some(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        method: b"GET",
        host: b"shop.example",
        path: b"/api/orders/7",
        protocol: "HTTP/1.1",
        headers: LoggedHeaders::default(),
        status: 200,
        route: Some("orders"),
        flag: Some("orders-migration"),
        variant: Some("live"),
        reason: Some("TARGETING_MATCH"),
        bucket: Some((12, 100)),
        overridden: Some("split"),
        generation: 3,
        copied_to: None,
        overflow: false,
        held: false,
        upstream: Some("orders"),
        endpoint: Some(([127, 0, 0, 1], 9002).into()),
        reused: true,
        request_bytes: 0,
        response_bytes: 1_234,
        duration: Duration::from_micros(12_034),
        connect: None,
        first_byte: Some(Duration::from_micros(11_900)),
        fault: None,
    }
}

/// Logs records and gives what came out.
pub(crate) fn logged(format: LogFormat, sample: f64, records: &[AccessRecord<'_>]) -> String {
    let (sink, dropped) = (Sink::default(), Arc::new(Tally::default()));
    let log = AccessLog::start(format, sample, Box::new(sink.clone()), Arc::clone(&dropped)).unwrap();
    let mut writer = log.writer();
    records.iter().for_each(|record| writer.write(record));
    writer.flush();
    assert!(log.finish(PATIENCE));
    assert_eq!(dropped.value(), 0);
    sink.text()
}

#[test]
fn headers_that_were_asked_for_are_shown_and_absent_ones_too() {
    let names =
        [HeaderName::from_static("x-user"), HeaderName::from_static("x-plan"), HeaderName::from_static("x-odd")];
    let values = [Some(HeaderValue::from_static("ada")), None, Some(HeaderValue::from_bytes(b"a\" b\xff").unwrap())];
    let record = AccessRecord { headers: LoggedHeaders { names: &names, values: &values }, ..record() };
    let line: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json, 1.0, &[record])).unwrap();
    assert_eq!(line["headers"], serde_json::json!({"x-user": "ada", "x-plan": null, "x-odd": "a\" b\\xff"}));
    assert_eq!(line["status"], 200);
    let text = logged(LogFormat::Text, 1.0, &[record]);
    assert!(text.contains(r#" header.x-user=ada header.x-odd="a\" b\\xff" status=200"#), "{text}");
}

#[test]
fn a_json_line_says_everything() {
    insta::assert_snapshot!(logged(LogFormat::Json, 1.0, &[record()]), @r#"{"time":"2024-02-29T12:34:56.789Z","request_id":"0123456789abcdef0011223344556677","trace_id":"0af7651916cd43dd8448eb211c80319c","client":"192.0.2.7","method":"GET","host":"shop.example","path":"/api/orders/7","protocol":"HTTP/1.1","status":200,"route":"orders","flag":"orders-migration","variant":"live","reason":"TARGETING_MATCH","bucket":"12/100","override":"split","generation":3,"upstream":"orders","endpoint":"127.0.0.1:9002","reused":true,"request_bytes":0,"response_bytes":1234,"duration_ms":12.034,"first_byte_ms":11.900}"#);
}

#[test]
fn a_text_line_says_the_same() {
    insta::assert_snapshot!(logged(LogFormat::Text, 1.0, &[record()]), @"time=2024-02-29T12:34:56.789Z request_id=0123456789abcdef0011223344556677 trace_id=0af7651916cd43dd8448eb211c80319c client=192.0.2.7 method=GET host=shop.example path=/api/orders/7 protocol=HTTP/1.1 status=200 route=orders flag=orders-migration variant=live reason=TARGETING_MATCH bucket=12/100 override=split generation=3 upstream=orders endpoint=127.0.0.1:9002 reused=true request_bytes=0 response_bytes=1234 duration_ms=12.034 first_byte_ms=11.900");
}

#[test]
fn what_is_not_known_is_left_out_and_a_fault_has_a_side() {
    let refused = AccessRecord {
        trace_id: None,
        route: None,
        flag: None,
        variant: None,
        reason: None,
        bucket: None,
        overridden: None,
        upstream: None,
        endpoint: None,
        first_byte: None,
        status: 400,
        fault: Some(Fault::RequestMalformed),
        ..record()
    };
    insta::assert_snapshot!(logged(LogFormat::Text, 1.0, &[refused]), @"time=2024-02-29T12:34:56.789Z request_id=0123456789abcdef0011223344556677 client=192.0.2.7 method=GET host=shop.example path=/api/orders/7 protocol=HTTP/1.1 status=400 generation=3 request_bytes=0 response_bytes=1234 duration_ms=12.034 fault=request_malformed fault_side=client");
}

#[test]
fn times_are_right_through_the_calendar() {
    for (unix_ms, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_709_210_096_789, "2024-02-29T12:34:56.789Z"),
        (1_767_225_599_001, "2025-12-31T23:59:59.001Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ] {
        let line = logged(LogFormat::Text, 1.0, &[AccessRecord { unix_ms, ..record() }]);
        assert!(line.starts_with(&format!("time={text} ")), "{line}");
    }
}

#[test]
fn a_line_cannot_be_forged() {
    let path = b"/x\" status=200\r\n{\"time\":\"\xff\x1b[2J\xe2\x80\xa8\xc2\x85\xe2\x80\xae\\";
    for format in [LogFormat::Json, LogFormat::Text] {
        let line = logged(format, 1.0, &[AccessRecord { path, ..record() }]);
        assert_eq!(line.lines().count(), 1);
        let shown = r#""/x\" status=200\r\n{\"time\":\"\\xff\u001b[2J\u2028\u0085\u202e\\""#;
        assert!(line.contains(shown), "{line}");
    }
}

#[test]
fn fields_are_capped_between_characters() {
    let path = format!("/{}", "é".repeat(10_000));
    let line = logged(LogFormat::Json, 1.0, &[AccessRecord { path: path.as_bytes(), ..record() }]);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    let shown = json["path"].as_str().unwrap();
    assert_eq!(shown.len(), 8 * 1024 - 1 + "...(cut)".len(), "cut before the character that crosses 8 KiB");
    assert!(shown.ends_with("é...(cut)"));
}

proptest! {
    #[test]
    fn whatever_a_client_sends_stays_in_its_field(path: Vec<u8>, host: Vec<u8>, method: Vec<u8>) {
        let hostile = AccessRecord { path: &path, host: &host, method: &method, ..record() };
        let json = logged(LogFormat::Json, 1.0, &[hostile]);
        prop_assert_eq!(json.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
        prop_assert_eq!(value["status"].as_u64(), Some(200));
        if let Ok(clean) = std::str::from_utf8(&path) && clean.bytes().all(|byte| (b' '..b'\x7f').contains(&byte)) {
            // What is not known is left out.
            prop_assert_eq!(value["path"].as_str(), Some(clean).filter(|clean| !clean.is_empty()));
        }
        let text = logged(LogFormat::Text, 1.0, &[hostile]);
        prop_assert!(text.trim_end_matches('\n').chars().all(|letter| !letter.is_control()));
        // Whoever splits at blanks outside quotes finds the status where it belongs, once.
        let mut quoted = false;
        let mut escaped = false;
        let outside: String = text.chars().filter(|letter| {
            let now = quoted;
            match letter {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
            !now && !quoted
        }).collect();
        prop_assert!(!quoted);
        prop_assert_eq!(outside.matches(" status=").count(), 1);
    }
}

#[test]
fn sampling_is_exact_and_never_hides_a_failure() {
    let good = vec![record(); 1_000];
    assert_eq!(logged(LogFormat::Json, 0.25, &good).lines().count(), 250);
    assert_eq!(logged(LogFormat::Json, 0.0, &good).lines().count(), 0);
    let failed = [AccessRecord { status: 502, ..record() }, AccessRecord { fault: Some(Fault::Loop), ..record() }];
    assert_eq!(logged(LogFormat::Json, 0.0, &failed).lines().count(), 2);
}

#[test]
fn a_blocked_sink_stops_nobody_and_what_is_lost_is_counted() {
    let (sink, dropped) = (Sink::default(), Arc::new(Tally::default()));
    let log = AccessLog::start(LogFormat::Json, 1.0, Box::new(sink.clone()), Arc::clone(&dropped)).unwrap();
    let mut writer = log.writer();
    sink.change(|state| state.blocked = true);
    writer.write(&record());
    writer.flush();
    sink.wait_until_stuck();
    // 100,000 lines are some 50 MiB: far more than may wait. That this ends at all is the point.
    (0..100_000).for_each(|_| writer.write(&record()));
    writer.flush();
    let lost = dropped.value();
    assert!(lost > 50_000 && lost < 100_000, "{lost}");
    sink.change(|state| state.blocked = false);
    assert!(log.finish(PATIENCE));
    let text = sink.text();
    assert_eq!(text.lines().count() as u64 + lost, 100_001, "every line is written or counted");
    assert!(text.lines().all(|line| line.ends_with('}')), "no line is cut");
}

#[test]
fn a_sink_that_stays_blocked_does_not_hold_up_the_end() {
    let sink = Sink::default();
    sink.change(|state| state.blocked = true);
    let log = AccessLog::start(LogFormat::Json, 1.0, Box::new(sink.clone()), Arc::default()).unwrap();
    log.writer().write(&record());
    assert!(!log.finish(Duration::from_millis(20)), "it says that lines are left");
    sink.change(|state| state.blocked = false);
}

#[test]
fn a_broken_sink_is_counted() {
    let (sink, dropped) = (Sink::default(), Arc::new(Tally::default()));
    sink.change(|state| state.broken = true);
    let log = AccessLog::start(LogFormat::Json, 1.0, Box::new(sink), Arc::clone(&dropped)).unwrap();
    log.writer().write(&record());
    assert!(log.finish(PATIENCE));
    assert_eq!(dropped.value(), 1);
}

/// Logs one event and gives what came out.
fn event(format: LogFormat, emit: impl FnOnce()) -> String {
    let sink = Sink::default();
    let options = LogOptions { format, filter: "info".into() };
    let (subscriber, guard) = log_subscriber(&options, Box::new(sink.clone()), Arc::default()).unwrap();
    tracing::subscriber::with_default(subscriber, emit);
    drop(guard);
    sink.text()
}

#[test]
fn an_event_is_one_line_whatever_it_quotes() {
    let hostile = "first\n2026-01-01 ERROR forged\u{1b}[2J\u{9b}31m\u{2028}";
    for format in [LogFormat::Json, LogFormat::Text] {
        let text = event(format, || tracing::info!(path = %hostile, "seen {hostile}"));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.trim_end().chars().all(|letter| !letter.is_control() && letter != '\u{2028}'), "{text}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&event(LogFormat::Json, || tracing::info!(path = %hostile, "seen"))).unwrap();
    assert_eq!(json["path"].as_str(), Some(hostile), "escapes read back as what was logged");
    assert_eq!(json["message"].as_str(), Some("seen"));
    assert_eq!(json["level"].as_str(), Some("INFO"));
}

#[test]
fn the_filter_is_obeyed_and_a_wrong_one_refused() {
    assert_eq!(event(LogFormat::Text, || tracing::debug!("hidden")), "");
    let options = LogOptions { format: LogFormat::Text, filter: "banyan=nonsense".into() };
    assert!(log_subscriber(&options, Box::new(io::sink()), Arc::default()).is_err());
}
