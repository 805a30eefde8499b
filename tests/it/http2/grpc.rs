//! gRPC's use of HTTP/2, end to end: trailers, streams both ways at once, resets. The upstream is the h2 crate's server.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};

use super::client;
use crate::support::router::Setup;
use crate::support::{PATIENCE, Router};

/// What the upstream has seen of calls.
#[derive(Debug, PartialEq)]
enum Seen {
    Call(String, Option<HeaderValue>),
    Trailers(HeaderMap),
    Reset(Reason),
}

/// Serves calls: the path says how.
fn upstream() -> (SocketAddr, Receiver<Seen>) {
    let (seen, sees) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(call(request, respond, seen.clone()));
                    }
                });
            }
        });
    });
    (address, sees)
}

async fn call(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: Sender<Seen>) {
    let (head, mut body) = request.into_parts();
    seen.send(Seen::Call(head.uri.to_string(), head.headers.get("te").cloned())).unwrap();
    let status = |code| {
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", HeaderValue::from_static(code));
        fields
    };
    let mut response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    if head.uri.path() == "/refused" {
        // "Trailers only": one head is the whole answer.
        response.headers_mut().extend(status("7"));
        respond.send_response(response, true).unwrap();
        return;
    }
    let mut send = respond.send_response(response, false).unwrap();
    if head.uri.path() == "/endless" {
        let reason = poll_fn(|cx| send.poll_reset(cx)).await.unwrap();
        seen.send(Seen::Reset(reason)).unwrap();
        return;
    }
    if head.uri.path() == "/cut" {
        send.send_data(Bytes::from_static(b"half"), false).unwrap();
        // The reset would overtake it: the client says when it has come.
        body.data().await.unwrap().unwrap();
        send.send_reset(Reason::INTERNAL_ERROR);
        return;
    }
    while let Some(Ok(message)) = body.data().await {
        body.flow_control().release_capacity(message.len()).unwrap();
        send.send_data(message, false).unwrap();
    }
    if let Some(trailers) = body.trailers().await.unwrap() {
        seen.send(Seen::Trailers(trailers)).unwrap();
    }
    send.send_trailers(status("0")).unwrap();
}

fn start() -> (Router, Receiver<Seen>) {
    let (address, sees) = upstream();
    (Setup::upstream(address, "protocol: h2c").start(), sees)
}

fn post(path: &str) -> Request<()> {
    let uri = format!("http://a.example{path}");
    Request::post(uri).header("te", "trailers").header("content-type", "application/grpc").body(()).unwrap()
}

#[test]
fn a_unary_call_ends_with_its_trailers() {
    let (router, sees) = start();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let answer = client::exchange(&router, post("/shop.Orders/Get"), &[b"\0\0\0\0\x02hi"], Some(trailers.clone()));
    assert_eq!((answer.head.status.as_u16(), &*answer.body), (200, "\0\0\0\0\u{2}hi"));
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    let call = sees.recv_timeout(PATIENCE).unwrap();
    assert_eq!(call, Seen::Call("http://a.example/shop.Orders/Get".into(), Some(HeaderValue::from_static("trailers"))));
    assert_eq!(sees.recv_timeout(PATIENCE).unwrap(), Seen::Trailers(trailers));
}

#[test]
fn an_answer_of_trailers_alone_is_one_head() {
    let (router, _sees) = start();
    let answer = client::exchange(&router, post("/refused"), &[b"x"], None);
    assert_eq!((answer.head.headers["grpc-status"].as_bytes(), &*answer.body), (&b"7"[..], ""));
    assert!(answer.trailers.is_none());
}

#[test]
fn messages_pass_one_by_one_while_both_sides_speak() {
    let (router, _sees) = start();
    client::run(&router, async |mut sender| {
        let (response, mut send) = sender.send_request(post("/stream"), false).unwrap();
        let (_, mut body) = response.await.unwrap().into_parts();
        for number in 0..20_u8 {
            // The next is not sent before this one has come back.
            send.send_data(Bytes::copy_from_slice(&[number; 3]), false).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap()[..], [number; 3]);
            body.flow_control().release_capacity(3).unwrap();
        }
        send.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn a_call_that_is_cancelled_is_cancelled_upstream() {
    let (router, sees) = start();
    client::run(&router, async |mut sender| {
        let (response, mut send) = sender.send_request(post("/endless"), false).unwrap();
        response.await.unwrap();
        send.send_reset(Reason::CANCEL);
    });
    sees.recv_timeout(PATIENCE).unwrap();
    assert_eq!(sees.recv_timeout(PATIENCE).unwrap(), Seen::Reset(Reason::CANCEL));
    assert_eq!(router.metric("banyan_faults_total", &["side=\"upstream\""]), 0.0);
}

#[test]
fn u1_a_call_that_the_upstream_breaks_off_is_no_whole_answer() {
    let (router, _sees) = start();
    client::run(&router, async |mut sender| {
        let (response, mut send) = sender.send_request(post("/cut"), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        send.send_data(Bytes::from_static(b"go"), false).unwrap();
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    });
    router.wait_for_metric("banyan_faults_total", &["fault=\"response_incomplete\""], 1.0);
}
