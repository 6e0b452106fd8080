//! The feed's life, as its subscribers and the feed itself see it.

use super::*;

fn quick(ports: &[u16]) -> model::Bridge {
    let mut config = config(ports);
    config.reconnect.initial = Duration::from_millis(1);
    config
}

#[test]
fn a_lost_feed_is_told_once_and_its_gap_is_logged() {
    worker(async {
        let (first, second) = (Feed::new().await, Feed::new().await);
        let gate = Gate::new(quick(&[first.port, second.port]));
        let mut client = gate.subscribe("").await;
        let mut link = first.accept().await;
        client.skip_to(r#"{"upstream":"up"}"#).await;
        link.send("one").await;
        assert_eq!(client.data().await, "one");
        drop(link);
        assert_eq!(client.data().await, r#"{"upstream":"reconnecting"}"#);
        let mut link = second.accept().await;
        assert_eq!(client.data().await, r#"{"upstream":"up"}"#);
        let gap = client.next().await.unwrap();
        assert_eq!(gap.event, "streamgate.gap");
        assert!(
            gap.data
                .starts_with(r#"{"reason":"upstream_reconnect","down_ms":"#)
        );
        link.send("two").await;
        assert_eq!(client.data().await, "two");
    });
}

#[test]
fn too_long_a_message_is_a_gap_and_the_feed_stays() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = quick(&[feed.port]);
        config.max_message = 100;
        let gate = Gate::new(config);
        let mut client = gate.subscribe("").await;
        let mut link = feed.accept().await;
        client.skip_to(r#"{"upstream":"up"}"#).await;
        link.send(&"x".repeat(101)).await;
        let gap = client.next().await.unwrap();
        assert_eq!(gap.data, r#"{"reason":"oversize","bytes":101}"#);
        link.send("short").await;
        client.skip_to("short").await;
    });
}

#[test]
fn a_text_that_is_not_utf_8_fails_the_connection_with_1007() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(quick(&[feed.port]));
        let mut client = gate.subscribe("").await;
        let mut link = feed.accept().await;
        client.skip_to(r#"{"upstream":"up"}"#).await;
        link.0.get_mut().write_all(b"\x81\x01\xff").await.unwrap();
        let Message::Close(Some(close)) = link.next().await else {
            panic!("the feed is closed");
        };
        assert_eq!(u16::from(close.code), 1007);
        assert_eq!(client.data().await, r#"{"upstream":"reconnecting"}"#);
    });
}

#[test]
fn a_feed_gets_its_greeting_and_a_channel_nobody_uses_is_closed_with_1000() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = quick(&[feed.port]);
        config.idle.linger = Duration::from_millis(10);
        let greeting = crate::route::Template::parse(r#"{"op":"subscribe"}"#).unwrap();
        config.connect.send = vec![model::Greeting {
            text: greeting,
            expect: None,
        }];
        config
            .connect
            .headers
            .insert("authorization", HeaderValue::from_static("Bearer x"));
        let gate = Gate::new(config);
        let client = gate.subscribe("").await;
        let mut link = feed.accept().await;
        assert_eq!(link.next().await, Message::text(r#"{"op":"subscribe"}"#));
        drop(client);
        let Message::Close(Some(close)) = link.next().await else {
            panic!("the feed is closed");
        };
        assert_eq!(u16::from(close.code), 1000);
        assert_eq!(gate.bridge.channels(), 0);
        // Whoever comes now gets a new channel, so a new epoch and a new feed.
        let _client = gate.subscribe("").await;
        feed.accept().await;
    });
}

#[test]
fn a_feed_that_answers_no_ping_is_dead() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = quick(&[feed.port]);
        config.idle.ping = Duration::from_millis(20);
        config.idle.pong = Duration::from_millis(20);
        let gate = Gate::new(config);
        let mut client = gate.subscribe("").await;
        let _link = feed.accept().await;
        client.skip_to(r#"{"upstream":"reconnecting"}"#).await;
        let mut link = feed.accept().await;
        client.skip_to(r#"{"upstream":"up"}"#).await;
        // A feed that reads answers pings by itself, and stays.
        let told = tokio::time::timeout(Duration::from_millis(200), link.next());
        assert!(told.await.is_err());
    });
}

#[test]
fn fragments_are_one_event_and_binary_is_base64() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(quick(&[feed.port]));
        let mut client = gate.subscribe("").await;
        let mut link = feed.accept().await;
        client.skip_to(r#"{"upstream":"up"}"#).await;
        // "ab", a ping between, "cd".
        let fragments = b"\x01\x02ab\x89\x00\x80\x02cd";
        link.0.get_mut().write_all(fragments).await.unwrap();
        assert_eq!(client.data().await, "abcd");
        link.0.send(Message::binary(vec![255, 0])).await.unwrap();
        let event = client.next().await.unwrap();
        assert_eq!(
            (event.event.as_str(), event.data.as_str()),
            ("binary", "/wA=")
        );
    });
}
