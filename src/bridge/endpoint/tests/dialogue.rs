//! What a WebSocket client may say, from which page, and how fast.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::task::Poll;

use super::super::clock::Ping;
use super::super::dialogue::Dialogue;
use super::super::outlet::Outlet;
use super::websocket::{JSON, RAW, closed_with, converse, next, skip_to};
use super::*;
use crate::bridge::channel::Channel;
use crate::bridge::log::tests::writer;
use crate::bridge::map::Upstream;
use crate::bridge::post::Delivered;
use crate::lifecycle::drain::Trigger;
use crate::websocket::boundary::Extensions;

#[test]
fn who_sends_faster_than_the_rate_is_refused() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = config(&[feed.port]);
        config.publish.as_mut().unwrap().rate = NonZeroU32::new(2);
        let gate = Gate::new(config);
        let mut socket = converse(&gate, "", &[JSON]).await;
        let mut raw = converse(&gate, "", &[RAW]).await;
        let mut link = feed.accept().await;
        skip_to(&mut socket, r#"{"upstream":"up"}"#).await;
        for text in ["1", "2", "3"] {
            socket.send(Message::text(text)).await.unwrap();
        }
        assert_eq!(link.next().await, Message::text("1"));
        assert_eq!(link.next().await, Message::text("2"));
        let refused = next(&mut socket).await;
        assert_eq!(
            refused.to_text().unwrap(),
            r#"{"event":"streamgate.error","status":429}"#
        );
        // In shared mode the address counts, whatever it sends by; and a raw client has no words for a refusal.
        for _ in 0..10 {
            raw.send(Message::text("4")).await.unwrap();
        }
        assert_eq!(closed_with(&mut raw).await, 1008);
        let post = Request::post("/live").header("content-type", "text/plain");
        let many = gate.response(post.body(Full::from("5")).unwrap()).await;
        assert!(matches!(many, Err(Problem::TooManyRequests { .. })));
    });
}

#[test]
fn a_page_of_another_site_opens_no_websocket_unless_it_is_listed() {
    worker(async {
        let gate = Gate::new(config(&[9]));
        for (name, value, is_refused) in [
            ("origin", "https://evil.test", true),
            ("origin", "null", true),
            ("sec-fetch-site", "cross-site", true),
            ("origin", "https://localhost", false),
            ("user-agent", "no browser", false),
        ] {
            let request = Request::get("/live")
                .header("host", "localhost")
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header(name, value)
                .body(Empty::<Bytes>::new());
            let answer = gate.ask(request.unwrap(), Some(Slot::default())).await;
            assert_eq!(
                matches!(answer, Err(Problem::Forbidden(_))),
                is_refused,
                "{name}: {value}"
            );
        }
        assert_eq!(gate.bridge.rejected().of(Reason::Origin), 3);
    });
}

#[test]
fn a_client_that_is_held_back_is_not_taken_for_dead() {
    worker(async {
        let (channel, mut publishes) = Channel::of(writer(1).log());
        channel.set_upstream(Upstream::Up);
        let trigger = Trigger::new();
        let outlet = Outlet {
            channel: Arc::new(channel),
            is_open: true,
            address: None,
            guard: trigger.guard(),
            max_size: 10,
            pace: None,
        };
        let early = Bytes::from_static(b"\x81\x80\0\0\0\0\x81\x80\0\0\0\0\x8a\x80\0\0\0\0");
        let mut dialogue = Dialogue::new(Form::WsJson, Extensions::None, outlet, early);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_tcp, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut stream = ClientStream::Clear(accepted.unwrap().0);
        dialogue.ping();
        assert!(matches!(dialogue.liveness(), Some(Ping::Awaited(_))));
        let mut listen = async || {
            poll_fn(|cx| {
                assert!(dialogue.poll(&mut stream, cx, |_count| {}).is_pending());
                Poll::Ready(dialogue.liveness())
            })
            .await
        };
        assert_eq!(listen().await, None, "two messages are under way");
        publishes
            .recv()
            .await
            .unwrap()
            .written
            .send(Ok(Delivered::Taken))
            .unwrap();
        let mut heard = listen().await;
        while heard.is_none() {
            tokio::task::yield_now().await;
            heard = listen().await;
        }
        assert!(matches!(heard, Some(Ping::Due(_))));
    });
}

#[test]
fn a_head_is_what_a_get_would_have() {
    worker(async {
        let gate = Gate::new(config(&[9]));
        for (last_id, status) in [("", 200), ("0123456789-5", 200), ("0123456789-5-end", 204)] {
            let request = Request::head("/live").header("last-event-id", last_id);
            let response = gate.response(request.body(Full::default()).unwrap()).await;
            assert_eq!(response.unwrap().status(), status, "{last_id}");
        }
    });
}
