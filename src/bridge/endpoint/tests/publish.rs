//! Requests that do not subscribe.

use futures_util::FutureExt;

use super::*;
use crate::bridge::channel::Outgoing;
use crate::bridge::post::Delivered;

fn post(kind: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::post("/live").header("content-type", kind);
    request.body(Full::from(body)).unwrap()
}

#[test]
fn a_post_reaches_the_feed_and_is_refused_while_it_is_down() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let refused = gate.response(post("text/plain", "early")).await;
        assert!(matches!(refused, Err(Problem::Unavailable { .. })));
        let accepted = feed.accept();
        let (mut link, _client) = tokio::join!(accepted, gate.subscribe_up(""));
        let response = gate.response(post("text/plain", "hello")).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let lines = post("application/x-ndjson", "1\n2\n");
        assert!(gate.response(lines).await.is_ok());
        for expected in ["hello", "1", "2"] {
            assert_eq!(link.next().await, Message::text(expected));
        }
    });
}

#[test]
fn requests_that_cannot_be_served_are_told_why() {
    worker(async {
        let mut config = config(&[9]);
        config.publish = Some(model::Publish {
            url: None,
            max_size: 4,
            rate: None,
            reply: None,
        });
        let gate = Gate::new(config.clone());
        let too_large = gate.response(post("text/plain", "12345")).await;
        assert_eq!(too_large.err(), Some(Problem::ContentTooLarge { limit: 4 }));
        let unknown = gate.response(post("text/html", "1")).await;
        assert!(matches!(unknown, Err(Problem::UnsupportedMediaType(_))));
        config.publish = None;
        let gate = Gate::new(config);
        let disabled = gate.response(post("text/plain", "1")).await;
        assert!(matches!(disabled, Err(Problem::Forbidden(_))));
        let delete = Request::delete("/live").body(Full::default()).unwrap();
        let expected = vec![Method::GET, Method::HEAD, Method::OPTIONS];
        assert_eq!(
            gate.response(delete).await.err(),
            Some(Problem::MethodNotAllowed(expected))
        );
        assert_eq!(gate.bridge.channels(), 0);
    });
}

#[test]
fn options_and_head_open_nothing() {
    worker(async {
        let gate = Gate::new(config(&[9]));
        let options = Request::options("/live").body(Full::default()).unwrap();
        let response = gate.response(options).await.unwrap();
        assert_eq!(response.headers()["allow"], "GET, HEAD, OPTIONS, POST");
        let head = Request::head("/live").body(Full::default()).unwrap();
        let response = gate.response(head).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(gate.bridge.channels(), 0);
    });
}

#[test]
fn over_the_limit_a_client_is_sent_away_with_a_200() {
    worker(async {
        let mut config = config(&[9]);
        config.limits.subscribers = 1;
        let gate = Gate::new(config);
        let _client = gate.subscribe("").await;
        let request = Request::get("/live").body(Full::default()).unwrap();
        let response = gate.response(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let mut decoder = Decoder::default();
        let told = decoder.decode(std::str::from_utf8(&body).unwrap());
        assert_eq!(told[0].data, r#"{"state":"busy"}"#);
        assert!(decoder.retry.unwrap() >= 10_000);
    });
}

#[test]
fn what_its_publisher_has_given_up_is_not_sent() {
    worker(async {
        let feed = Feed::new().await;
        let gate = Gate::new(config(&[feed.port]));
        let accepted = feed.accept();
        let (mut link, _client) = tokio::join!(accepted, gate.subscribe_up(""));
        let guard = gate.trigger.guard();
        let lease = gate.bridge.lease(&Captures::empty(), &guard).unwrap();
        let say = |text: &str| lease.0.publish(vec![Outgoing::Text(text.into())], None);
        // Given up before the feed's task has looked at it.
        assert!(say("given up").now_or_never().is_none());
        assert_eq!(say("wanted").await, Ok(Delivered::Taken));
        assert_eq!(link.next().await, Message::text("wanted"));
    });
}
