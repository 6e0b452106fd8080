//! Session mode: one client, one feed; who comes back, who takes over, and how it ends.

use super::*;
use crate::config::model::{Mode, Verdict};

fn session_mode(ports: &[u16]) -> model::Bridge {
    let mut config = config(ports);
    config.mode = Mode::Session;
    config.close_map.insert(4401, Verdict::Unauthorized);
    config
}

/// Reads up to `streamgate.open`, and returns the session's name and the cursor.
async fn opened(client: &mut Client) -> (String, String) {
    loop {
        let event = client.next().await.unwrap();
        if event.event == "streamgate.open" {
            let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            return (data["session"].as_str().unwrap().to_owned(), event.id);
        }
    }
}

async fn begin(gate: &Gate, feed: &Feed, last_id: &str) -> (Client, FeedLink, String, String) {
    let mut client = gate.subscribe(last_id).await;
    let (session, cursor) = opened(&mut client).await;
    let link = feed.accept().await;
    client.skip_to(r#"{"upstream":"up"}"#).await;
    (client, link, session, cursor)
}

async fn get(gate: &Gate, last_id: &str) -> Result<Response<Body>, Problem> {
    let request = Request::get("/live").header("last-event-id", last_id);
    gate.response(request.body(Full::default()).unwrap()).await
}

async fn close(link: &mut FeedLink, code: u16) {
    let frame = tungstenite::protocol::CloseFrame {
        code: code.into(),
        reason: "".into(),
    };
    link.0.close(Some(frame)).await.unwrap();
}

#[test]
fn each_client_has_a_feed_of_its_own() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(session_mode(&[feed.port]));
        let (mut one, mut link_one, name_one, _) = begin(&gate, &feed, "").await;
        let (mut two, mut link_two, name_two, _) = begin(&gate, &feed, "").await;
        assert_ne!(name_one, name_two);
        link_one.send("to one").await;
        link_two.send("to two").await;
        assert_eq!(one.data().await, "to one");
        assert_eq!(two.data().await, "to two");
        assert_eq!(gate.bridge.channels(), 2);
    });
}

#[test]
fn who_comes_back_goes_on_where_it_was_on_the_same_connection() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(session_mode(&[feed.port]));
        let (mut client, mut link, name, _) = begin(&gate, &feed, "").await;
        link.send("one").await;
        let cursor = client.next().await.unwrap().id;
        drop(client);
        link.send("two").await;
        let mut back = gate.subscribe(&cursor).await;
        assert_eq!(opened(&mut back).await, (name.clone(), cursor));
        assert_eq!(back.data().await, "two");
        drop(back);
        // The same by its name, and without a cursor.
        let request = Request::get(format!("/live?session={name}"));
        let mut named = gate
            .subscribe_with(request.body(Empty::new()).unwrap())
            .await;
        assert_eq!(opened(&mut named).await.0, name);
        link.send("three").await;
        assert_eq!(named.data().await, "three");
        assert_eq!(gate.bridge.channels(), 1);
    });
}

#[test]
fn who_takes_over_ends_the_other_for_good() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(session_mode(&[feed.port]));
        let (mut first, mut link, _, cursor) = begin(&gate, &feed, "").await;
        let mut second = gate.subscribe(&cursor).await;
        opened(&mut second).await;
        let last = first.next().await.unwrap();
        assert_eq!(last.data, r#"{"state":"taken_over"}"#);
        assert!(first.next().await.is_none() && first.is_complete);
        let stopped = get(&gate, &last.id).await.unwrap();
        assert_eq!(stopped.status(), StatusCode::NO_CONTENT);
        link.send("to the second").await;
        assert_eq!(second.data().await, "to the second");
        assert_eq!(gate.bridge.subscribers(), 1);
    });
}

#[test]
fn a_close_with_1000_is_the_end_on_any_node() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(session_mode(&[feed.port]));
        let (mut client, mut link, _, _) = begin(&gate, &feed, "").await;
        link.send("last").await;
        close(&mut link, 1000).await;
        assert_eq!(client.data().await, "last");
        let status = client.next().await.unwrap();
        assert_eq!(status.event, "streamgate.status");
        assert_eq!(status.data, r#"{"state":"ended","code":1000}"#);
        assert!(status.id.ends_with("-1-end"), "{}", status.id);
        assert!(client.next().await.is_none() && client.is_complete);
        for gate in [gate, Gate::new(session_mode(&[feed.port]))] {
            let stopped = get(&gate, &status.id).await.unwrap();
            assert_eq!(stopped.status(), StatusCode::NO_CONTENT);
            assert_eq!(gate.bridge.channels(), 0);
        }
    });
}

#[test]
fn a_code_of_the_map_is_a_status_at_the_next_try() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(session_mode(&[feed.port]));
        let (mut client, mut link, _, _) = begin(&gate, &feed, "").await;
        close(&mut link, 4401).await;
        let status = client.next().await.unwrap();
        assert_eq!(status.data, r#"{"state":"ended","code":4401}"#);
        assert!(client.next().await.is_none());
        let refused = get(&gate, &status.id).await;
        assert_eq!(refused.err(), Some(Problem::Unauthorized));
    });
}

#[test]
fn after_any_other_end_of_its_feed_a_client_gets_a_new_session_and_is_told_of_the_gap() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(session_mode(&[feed.port]));
        let (mut client, mut link, name, mut cursor) = begin(&gate, &feed, "").await;
        for code in [1001, 1011, 4400, 0] {
            match code {
                0 => drop(link),
                code => close(&mut link, code).await,
            }
            assert!(
                client.next().await.is_none() && client.is_complete,
                "{code}"
            );
            assert!(client.decoder.retry.unwrap() < 5_000, "{code}");
            client = gate.subscribe(&cursor).await;
            let gap = client.next().await.unwrap();
            assert_eq!(gap.data, r#"{"reason":"epoch","missed":null}"#);
            let (other, at) = opened(&mut client).await;
            assert_ne!(other, name);
            cursor = at;
            link = feed.accept().await;
            client.skip_to(r#"{"upstream":"up"}"#).await;
        }
    });
}

#[test]
fn a_feed_that_cannot_be_opened_is_busy_and_asked_at_each_address_once() {
    worker(async {
        let (first, second) = (Feed::new().await, Feed::new().await);
        let ports = [first.port, second.port];
        drop(first);
        let gate = Gate::new(session_mode(&ports));
        let (_client, _link, _, _) = begin(&gate, &second, "").await;
        drop(second);
        let mut refused = gate.subscribe("").await;
        assert!(refused.head.starts_with("HTTP/1.1 200 "));
        refused.skip_to(r#"{"state":"busy"}"#).await;
        assert!(refused.next().await.is_none() && refused.is_complete);
        assert!(refused.decoder.retry.unwrap() >= 10_000);
        assert_eq!(gate.bridge.channels(), 1);
    });
}

#[test]
fn a_session_lives_on_for_linger_and_is_then_gone() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = session_mode(&[feed.port]);
        config.idle.linger = Duration::from_millis(20);
        let gate = Gate::new(config);
        let (client, mut link, name, cursor) = begin(&gate, &feed, "").await;
        drop(client);
        let Message::Close(Some(close)) = link.next().await else {
            panic!("the feed is closed");
        };
        assert_eq!(u16::from(close.code), 1000);
        let post = Request::post("/live")
            .header("content-type", "text/plain")
            .header("streamgate-session", name);
        let gone = gate.response(post.body(Full::from("late")).unwrap()).await;
        assert!(matches!(gone, Err(Problem::Gone(_))));
        let mut back = gate.subscribe(&cursor).await;
        let gap = back.next().await.unwrap();
        assert_eq!(gap.data, r#"{"reason":"epoch","missed":null}"#);
    });
}

#[test]
fn more_sessions_than_may_be_are_sent_away_and_none_is_found_elsewhere() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = session_mode(&[feed.port]);
        config.limits.channels = 1;
        let gate = Gate::new(config);
        let (_client, _link, name, _) = begin(&gate, &feed, "").await;
        let busy = get(&gate, "").await.unwrap();
        let body = busy.into_body().collect().await.unwrap().to_bytes();
        assert!(
            std::str::from_utf8(&body)
                .unwrap()
                .contains(r#"{"state":"busy"}"#)
        );
        // A name that differs in one digit is nobody's.
        let digit = if name.ends_with('0') { "1" } else { "0" };
        let wrong = format!("{}{digit}", &name[..31]);
        let post = Request::post(format!("/live?session={wrong}"));
        let post = post.header("content-type", "text/plain");
        let gone = gate.response(post.body(Full::from("x")).unwrap()).await;
        assert!(matches!(gone, Err(Problem::Gone(_))));
    });
}

#[test]
fn a_poll_that_loses_its_session_is_told_not_to_come_back() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(session_mode(&[feed.port]));
        let (first, _link, _, cursor) = begin(&gate, &feed, "").await;
        drop(first);
        let request = Request::get(format!("/live?after={cursor}&wait=30"));
        let request = request.header("accept", "application/json");
        let waits = gate.response(request.body(Full::default()).unwrap());
        let takes_over = async {
            tokio::task::yield_now().await;
            opened(&mut gate.subscribe(&cursor).await).await
        };
        let (answer, _) = tokio::join!(waits, takes_over);
        let body = answer
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["cursor"], format!("{cursor}-end"));
        let stopped = get(&gate, answer["cursor"].as_str().unwrap()).await;
        assert_eq!(stopped.unwrap().status(), StatusCode::NO_CONTENT);
    });
}
