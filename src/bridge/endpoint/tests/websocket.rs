//! WebSocket clients: what they get, what they say, how they are left.

use serde_json::Value;
use tungstenite::protocol::Role;

use super::*;

pub(super) const JSON: (&str, &str) = ("sec-websocket-protocol", "streamgate.v1.json");
pub(super) const RAW: (&str, &str) = ("sec-websocket-protocol", "streamgate.v1.raw");

pub(super) type Socket = WebSocketStream<TcpStream>;

/// The socket behind a handshake on `/live`, and the answer's head.
async fn dial(gate: &Gate, query: &str, fields: &[(&str, &str)]) -> (TcpStream, String) {
    let mut request = Request::get(format!("/live?{query}"))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::new()).unwrap();
    let client = gate.subscribe_with(request).await;
    assert!(client.head.starts_with("HTTP/1.1 101 "), "{}", client.head);
    (client.tcp, client.head)
}

pub(super) async fn converse(gate: &Gate, query: &str, fields: &[(&str, &str)]) -> Socket {
    let (tcp, _head) = dial(gate, query, fields).await;
    WebSocketStream::from_raw_socket(tcp, Role::Client, None).await
}

pub(super) async fn next(socket: &mut Socket) -> Message {
    socket.next().await.unwrap().unwrap()
}

async fn event(socket: &mut Socket) -> Value {
    let message = next(socket).await;
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

/// The next event with this data.
pub(super) async fn skip_to(socket: &mut Socket, data: &str) -> Value {
    loop {
        let event = event(socket).await;
        if event["data"] == data {
            return event;
        }
    }
}

pub(super) async fn closed_with(socket: &mut Socket) -> u16 {
    loop {
        if let Message::Close(close) = next(socket).await {
            return close.map_or(1005, |close| close.code.into());
        }
    }
}

#[test]
fn events_come_as_objects_and_a_cursor_takes_up_where_it_was() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let mut socket = converse(&gate, "", &[JSON]).await;
        let open = event(&mut socket).await;
        assert_eq!(open["event"], "streamgate.open");
        let mut link = feed.accept().await;
        let up = skip_to(&mut socket, r#"{"upstream":"up"}"#).await;
        assert_eq!(
            (&up["event"], &up["id"]),
            (&"streamgate.status".into(), &Value::Null)
        );
        link.send("one").await;
        let one = event(&mut socket).await;
        assert_eq!(one["event"], "message");
        link.send("two").await;
        let two = event(&mut socket).await;
        let id = one["id"].as_str().unwrap();
        let mut back = converse(&gate, &format!("lastEventId={id}"), &[JSON]).await;
        let open = event(&mut back).await;
        assert!(
            open["data"]
                .as_str()
                .unwrap()
                .contains(r#""resumed":true,"replay":1"#)
        );
        assert_eq!(event(&mut back).await, two);
        let mut lost = converse(&gate, "lastEventId=x", &[JSON]).await;
        let gap = event(&mut lost).await;
        assert_eq!(gap["event"], "streamgate.gap");
        assert_eq!(gap["data"], r#"{"reason":"bad_id"}"#);
    });
}

#[test]
fn raw_clients_get_the_messages_and_nothing_else() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let mut plain = converse(&gate, "", &[]).await;
        let mut raw = converse(&gate, "", &[RAW]).await;
        let mut link = feed.accept().await;
        link.send("one").await;
        link.0.send(Message::binary(vec![255, 0])).await.unwrap();
        for socket in [&mut plain, &mut raw] {
            assert_eq!(next(socket).await, Message::text("one"));
            assert_eq!(next(socket).await, Message::binary(vec![255, 0]));
        }
    });
}

#[test]
fn an_event_is_compressed_where_it_was_agreed_and_a_client_s_messages_may_be() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let offer = (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits",
        );
        let (mut tcp, head) = dial(&gate, "", &[RAW, offer]).await;
        assert!(head.contains("permessage-deflate; server_no_context_takeover"));
        let mut link = feed.accept().await;
        let text = "tick ".repeat(50);
        link.send(&text).await;
        let (first, length) = (tcp.read_u8().await.unwrap(), tcp.read_u8().await.unwrap());
        assert_eq!(first, 0xc1, "a whole text message, compressed");
        let mut payload = vec![0; usize::from(length)];
        tcp.read_exact(&mut payload).await.unwrap();
        let inflated = crate::websocket::deflate::inflate(&payload, 1_000).unwrap();
        assert_eq!(inflated, text.as_bytes());
        // The key is zero, so that masking changes nothing.
        let mut frame = vec![0xc1, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(&payload);
        tcp.write_all(&frame).await.unwrap();
        assert_eq!(link.next().await, Message::text(text));
    });
}

#[test]
fn messages_go_up_as_they_are_and_are_refused_aloud_while_the_feed_is_down() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = config(&[feed.port]);
        config.reconnect.initial = Duration::from_secs(30);
        let gate = Gate::new(config);
        let mut socket = converse(&gate, "", &[JSON]).await;
        let mut raw = converse(&gate, "", &[RAW]).await;
        let mut link = feed.accept().await;
        skip_to(&mut socket, r#"{"upstream":"up"}"#).await;
        for message in [
            Message::text("a\r\n"),
            Message::binary(vec![1, 2]),
            Message::text(""),
        ] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(link.next().await, message);
        }
        raw.send(Message::text("raw")).await.unwrap();
        assert_eq!(link.next().await, Message::text("raw"));
        drop(link);
        drop(feed);
        skip_to(&mut socket, r#"{"upstream":"reconnecting"}"#).await;
        socket.send(Message::text("lost")).await.unwrap();
        let refused = next(&mut socket).await;
        assert_eq!(
            refused.to_text().unwrap(),
            r#"{"event":"streamgate.error","status":503}"#
        );
        raw.send(Message::text("lost")).await.unwrap();
        assert_eq!(closed_with(&mut raw).await, 1013);
    });
}

#[test]
fn where_nothing_is_published_a_message_is_refused() {
    worker(async {
        let mut config = config(&[9]);
        config.publish = None;
        let gate = Gate::new(config);
        let mut socket = converse(&gate, "", &[JSON]).await;
        socket.send(Message::text("x")).await.unwrap();
        loop {
            let told = event(&mut socket).await;
            if told["event"] == "streamgate.error" {
                assert_eq!(told["status"], 403);
                break;
            }
        }
        let mut raw = converse(&gate, "", &[RAW]).await;
        raw.send(Message::text("x")).await.unwrap();
        assert_eq!(closed_with(&mut raw).await, 1008);
    });
}

#[test]
fn what_breaks_the_protocol_is_closed_with_its_code() {
    worker(async {
        let mut config = config(&[9]);
        config.publish.as_mut().unwrap().max_size = 10;
        let gate = Gate::new(config);
        for (bytes, code) in [
            (&b"\x81\x01x"[..], 1002),
            (b"\x83\x80\0\0\0\0", 1002),
            (b"\x80\x80\0\0\0\0", 1002),
            (b"\x09\x80\0\0\0\0", 1002),
            (b"\xc1\x80\0\0\0\0", 1002),
            (b"\x81\x81\0\0\0\0\xff", 1007),
            (b"\x82\x8b\0\0\0\0", 1009),
            (b"\x02\x86\0\0\0\0abcdef\x80\x86\0\0\0\0", 1009),
            (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),
            (b"\x88\x82\0\0\0\0\x0f\xa0", 4000),
            (b"\x88\x80\0\0\0\0", 1000),
        ] {
            let (mut tcp, _head) = dial(&gate, "", &[RAW]).await;
            tcp.write_all(bytes).await.unwrap();
            let mut told = [0; 4];
            tcp.read_exact(&mut told).await.unwrap();
            assert_eq!(told[0], 0x88, "{bytes:x?}");
            assert_eq!(u16::from_be_bytes([told[2], told[3]]), code, "{bytes:x?}");
            // The client's Close, or its end, is waited for; then the connection is closed here (RFC 6455 §7.1.1).
            tcp.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
            tcp.shutdown().await.unwrap();
            let mut rest = Vec::new();
            tcp.read_to_end(&mut rest).await.unwrap();
        }
        while gate.bridge.subscribers() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn pings_are_answered_between_fragments_and_floods_of_them_are_not_kept() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let mut json = converse(&gate, "", &[JSON]).await;
        let mut link = feed.accept().await;
        skip_to(&mut json, r#"{"upstream":"up"}"#).await;
        let (mut tcp, _head) = dial(&gate, "", &[RAW]).await;
        tcp.write_all(b"\x01\x81\0\0\0\0a\x89\x82\0\0\0\0hi\x80\x81\0\0\0\0b")
            .await
            .unwrap();
        let mut pong = [0; 4];
        tcp.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\x8a\x02hi");
        assert_eq!(link.next().await, Message::text("ab"));
        let flood = b"\x89\x80\0\0\0\0".repeat(20_000);
        tcp.write_all(&flood).await.unwrap();
        tcp.write_all(b"\x81\x81\0\0\0\0c").await.unwrap();
        assert_eq!(link.next().await, Message::text("c"));
    });
}

#[test]
fn a_drain_closes_with_1001_and_waits_for_the_answer() {
    worker(async {
        let gate = Gate::new(config(&[9]));
        let mut socket = converse(&gate, "", &[JSON]).await;
        event(&mut socket).await;
        gate.trigger
            .begin(tokio::time::Instant::now() + Duration::from_millis(50));
        assert_eq!(closed_with(&mut socket).await, 1001);
        // tungstenite answers when it is polled again, and then sees the end.
        assert!(socket.next().await.is_none());
        drop(socket);
        gate.trigger.drained().await;
        let late = Request::get("/live")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(Full::default());
        let refused = gate.response(late.unwrap()).await.err().unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(gate.bridge.rejected().of(Reason::Draining), 1);
    });
}

#[test]
fn a_client_that_does_not_read_is_closed_with_1013_at_a_border() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = config(&[feed.port]);
        config.slow.bytes = 512 * 1024;
        let gate = Gate::new(config);
        let mut socket = converse(&gate, "", &[RAW]).await;
        let mut link = feed.accept().await;
        link.send("first").await;
        assert_eq!(next(&mut socket).await, Message::text("first"));
        let large = "x".repeat(100_000);
        for _ in 0..120 {
            link.send(&large).await;
        }
        let mut whole = 0;
        let code = loop {
            match next(&mut socket).await {
                Message::Close(close) => break u16::from(close.unwrap().code),
                message => {
                    assert_eq!(message.len(), large.len(), "no frame is torn");
                    whole += 1;
                }
            }
        };
        assert_eq!(code, 1013);
        assert!(whole < 120);
    });
}

#[test]
fn heartbeats_are_events_where_pages_watch_for_them() {
    worker(async {
        let mut config = config(&[9]);
        config.heartbeat = Some(Duration::from_millis(20));
        config.heartbeat_event = true;
        let gate = Gate::new(config);
        let mut socket = converse(&gate, "", &[JSON]).await;
        let ping = skip_to(&mut socket, r#"{"interval":20}"#).await;
        assert_eq!(ping["event"], "streamgate.ping");
        let mut stream = gate.subscribe("").await;
        let ping = stream.skip_to(r#"{"interval":20}"#).await;
        assert_eq!(ping.event, "streamgate.ping");
    });
}
