//! Subscribers: how they begin, go on and end.

use super::*;
use crate::bridge::session::Claim;

fn opened(event: &Decoded) -> serde_json::Value {
    assert_eq!(event.event, "streamgate.open");
    serde_json::from_str(&event.data).unwrap()
}

#[test]
fn events_reach_a_client_and_a_returning_one_misses_nothing() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let mut client = gate.subscribe("").await;
        assert!(client.head.contains("content-type: text/event-stream\r\n"));
        let open = client.next().await.unwrap();
        assert_eq!(opened(&open)["resumed"], false);
        assert_eq!(client.data().await, r#"{"upstream":"connecting"}"#);
        let mut link = feed.accept().await;
        assert_eq!(client.data().await, r#"{"upstream":"up"}"#);
        link.send("one").await;
        link.send("two\r\nlines").await;
        let one = client.next().await.unwrap();
        assert_eq!((one.event.as_str(), one.data.as_str()), ("", "one"));
        assert_eq!(client.data().await, "two\nlines");
        drop(client);
        link.send("three").await;
        let mut other = gate.subscribe("earliest").await;
        other.skip_to("three").await;

        let mut back = gate.subscribe(&one.id).await;
        let open = back.next().await.unwrap();
        assert_eq!(open.id, one.id);
        assert_eq!(opened(&open)["resumed"], true);
        assert_eq!(opened(&open)["replay"], 2);
        assert_eq!(back.data().await, "two\nlines");
        assert_eq!(back.data().await, "three");
        link.send("four").await;
        assert_eq!(back.data().await, "four");
        assert_eq!(other.data().await, "four");
    });
}

#[test]
fn a_flood_reaches_every_client_whole_and_in_order() {
    worker(async {
        const EVENTS: usize = 3_000;
        let feed = Feed::new().await;
        let mut config = config(&[feed.port]);
        (config.slow.events, config.slow.bytes) = (u64::MAX, u64::MAX);
        let gate = Gate::new(config);
        let first = gate.subscribe("").await;
        let mut link = feed.accept().await;
        let mut clients = vec![first];
        for _ in 1..10 {
            clients.push(gate.subscribe("earliest").await);
        }
        let padding = "x".repeat(200);
        let readers = clients.into_iter().map(|mut client| async move {
            for number in 0..EVENTS {
                loop {
                    let event = client.next().await.unwrap();
                    if event.event.is_empty() {
                        assert!(event.data.starts_with(&format!("{number} ")));
                        break;
                    }
                }
            }
        });
        let readers: Vec<_> = readers.map(tasks::spawn).collect();
        for number in 0..EVENTS {
            let text = format!("{number} {padding}");
            link.0.feed(Message::text(text)).await.unwrap();
        }
        link.0.flush().await.unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
    });
}

#[test]
fn a_client_that_does_not_read_is_cut_and_resumes() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = config(&[feed.port]);
        config.slow.bytes = 1 << 20;
        let gate = Gate::new(config);
        let mut client = gate.subscribe("").await;
        let mut link = feed.accept().await;
        client.skip_to(r#"{"upstream":"up"}"#).await;
        // More than both kernels' buffers can hold.
        let text = "x".repeat(100_000);
        let mut sent = 0;
        while gate.bridge.subscribers() > 0 {
            link.send(&text).await;
            sent += 1;
            tokio::task::yield_now().await;
        }
        let mut last = None;
        while let Some(event) = client.next().await {
            assert_eq!(event.data, text);
            last = Some(event.id);
        }
        assert!(!client.is_complete && sent > 10);
        let mut back = gate.subscribe(&last.unwrap()).await;
        assert_eq!(opened(&back.next().await.unwrap())["resumed"], true);
        assert_eq!(back.data().await, text);
    });
}

#[test]
fn a_client_that_leaves_is_no_longer_counted() {
    worker(async {
        let gate = Gate::new(config(&[9]));
        let client = gate.subscribe("").await;
        assert_eq!(gate.bridge.subscribers(), 1);
        drop(client);
        while gate.bridge.subscribers() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_heartbeat_breaks_the_silence() {
    worker(async {
        let mut config = config(&[9]);
        config.heartbeat = Some(Duration::from_millis(20));
        let gate = Gate::new(config);
        let mut client = gate.subscribe("").await;
        client.next().await.unwrap();
        let mut seen = Vec::new();
        while memchr::memmem::find_iter(&seen, b"\r\n3\r\n:\n\n\r\n").count() < 2 {
            assert!(client.tcp.read_buf(&mut seen).await.unwrap() > 0);
        }
    });
}

#[test]
fn a_drain_ends_streams_with_the_last_chunk_and_the_feed_with_1001() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let mut client = gate.subscribe("").await;
        let mut link = feed.accept().await;
        client.skip_to(r#"{"upstream":"up"}"#).await;
        gate.trigger
            .begin(tokio::time::Instant::now() + Duration::from_millis(50));
        assert!(client.next().await.is_none());
        assert!(client.is_complete);
        assert!((250..4_000).contains(&client.decoder.retry.unwrap()));
        let Message::Close(Some(close)) = link.next().await else {
            panic!("the feed is closed");
        };
        assert_eq!(u16::from(close.code), 1001);
        gate.trigger.drained().await;
        let late = Request::get("/live").body(Full::default()).unwrap();
        let response = gate.response(late).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(memchr::memmem::find(&body, br#"{"state":"busy"}"#).is_some());
    });
}

#[test]
fn an_http_1_0_client_gets_plain_bytes() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let request = Request::get("/live").version(http::Version::HTTP_10);
        let request = request.body(Empty::new()).unwrap();
        let mut client = gate.subscribe_with(request).await;
        assert!(!client.head.contains("transfer-encoding"));
        let mut link = feed.accept().await;
        link.send("one").await;
        client.skip_to("one").await;
    });
}

#[test]
fn over_http_2_a_body_carries_the_same_stream() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let request = Request::get("/live").body(Full::default()).unwrap();
        let response = gate.response(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        let mut link = feed.accept().await;
        link.send("one").await;
        let mut text = String::new();
        while !text.contains("data: one\n\n") {
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
        assert!(text.starts_with("retry: "));
        assert!(text.contains("event: streamgate.open\n"));
        gate.trigger
            .begin(tokio::time::Instant::now() + Duration::from_millis(20));
        let rest = body.collect().await.unwrap().to_bytes();
        assert!(rest.starts_with(b"retry: "));
        while gate.bridge.subscribers() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn over_http_2_a_body_that_is_not_read_is_found_slow() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = config(&[feed.port]);
        config.slow.events = 10;
        let gate = Gate::new(config);
        let request = Request::get("/live").body(Full::default()).unwrap();
        let mut body = gate.response(request).await.unwrap().into_body();
        let mut link = feed.accept().await;
        link.send("one").await;
        let mut text = String::new();
        while !text.contains("data: one\n\n") {
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
        // Reading on until nothing is left shows that it has caught up.
        assert!(
            tokio::time::timeout(Duration::from_millis(20), body.frame())
                .await
                .is_err()
        );
        for _ in 0..20 {
            link.send("more").await;
        }
        while gate.bridge.subscribers() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(body.frame().await.unwrap().is_err());
    });
}

#[test]
fn a_subscribers_own_state_stays_small() {
    worker(async {
        let gate = Gate::new(config(&[9]));
        let guard = gate.trigger.guard();
        let plan = Plan {
            bridge: gate.bridge.clone(),
            subscription: gate
                .bridge
                .subscribe(
                    &Captures::empty(),
                    Claim::default(),
                    SubscriberKind::EventStream,
                    &guard,
                )
                .unwrap(),
            cursor: Cursor::Absent,
            form: Form::SseChunked,
            dialect: Dialect::EventStream,
            filter: None,
            client: ClientAddr(([127, 0, 0, 1], 1).into()),
            id: RequestId::random(),
            version: http::Version::HTTP_2,
            route: "/live".into(),
            fields: crate::respond::fields::Rendered::default(),
            losses: Arc::new(Losses::outlived()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await;
        let taken = Taken {
            stream: ClientStream::Clear(tcp.unwrap()),
            early: Bytes::new(),
            guard,
        };
        let (task, shared) = (
            size_of_val(&task::run(plan, taken)),
            size_of::<sse::Subscriber>(),
        );
        assert!(task + shared <= 1_024, "{task} + {shared}");
    });
}

#[test]
fn a_subscriber_on_another_worker_reads_the_same_log() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let mut here = gate.subscribe("").await;
        let mut link = feed.accept().await;
        link.send("before").await;
        let before = here.skip_to("before").await;
        let (subscribed, is_subscribed) = tokio::sync::oneshot::channel();
        let bridge = gate.bridge.clone();
        let other = std::thread::spawn(move || {
            worker(async move {
                let trigger = drain::Trigger::new();
                let gate = Gate { bridge, trigger };
                let mut there = gate.subscribe(&before.id).await;
                there.next().await.unwrap();
                subscribed.send(()).unwrap();
                assert_eq!(there.data().await, "after");
            });
        });
        is_subscribed.await.unwrap();
        link.send("after").await;
        here.skip_to("after").await;
        other.join().unwrap();
    });
}
