//! Long polls: for clients whose network breaks streams.

use serde_json::Value;

use super::*;

async fn poll(gate: &Gate, query: &str) -> Value {
    let request = Request::get(format!("/live?{query}")).header("accept", "application/json");
    let request = request.body(Full::default()).unwrap();
    let response = gate.response(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

fn cursor(answer: &Value) -> &str {
    answer["cursor"].as_str().unwrap()
}

/// A gate with its feed open and a first cursor.
async fn opened(feed: &Feed, config: model::Bridge) -> (Gate, FeedLink, String) {
    let gate = Gate::new(config);
    let first = poll(&gate, "").await;
    let link = feed.accept().await;
    (gate, link, cursor(&first).to_owned())
}

#[test]
fn without_a_cursor_one_is_told_at_once() {
    worker(async {
        let gate = Gate::new(config(&[9]));
        let first = poll(&gate, "wait=30").await;
        assert_eq!(first["channel"], "prices");
        assert_eq!(first["events"], Value::Array(Vec::new()));
        assert_eq!(first["gap"], Value::Null);
        assert_eq!(first["upstream"], "connecting");
        assert!(cursor(&first).ends_with("-0"));
        assert_eq!(gate.bridge.subscribers(), 0, "it has left");
    });
}

#[test]
fn a_poll_waits_for_an_event_and_the_next_one_goes_on_behind_it() {
    worker(async {
        let feed = Feed::new().await;
        let (gate, mut link, start) = opened(&feed, config(&[feed.port])).await;
        let query = format!("after={start}");
        let asked = poll(&gate, &query);
        let sent = async {
            while gate.bridge.subscribers() == 0 {
                tokio::task::yield_now().await;
            }
            link.send("one").await;
        };
        let (answer, ()) = tokio::join!(asked, sent);
        assert_eq!(answer["events"][0]["data"], "one");
        assert_eq!(answer["events"][0]["event"], "message");
        assert_eq!(answer["events"][0]["id"], cursor(&answer));
        let again = poll(&gate, &format!("after={start}&wait=0")).await;
        assert_eq!(again["events"], answer["events"]);
        let nothing = poll(&gate, &format!("after={}&wait=0", cursor(&answer))).await;
        assert_eq!(nothing["events"], Value::Array(Vec::new()));
        assert_eq!(nothing["cursor"], answer["cursor"]);
    });
}

#[test]
fn an_answer_has_a_bound_and_the_rest_comes_with_the_next() {
    worker(async {
        let feed = Feed::new().await;
        let (gate, mut link, mut at) = opened(&feed, config(&[feed.port])).await;
        for number in 0..1_500 {
            link.send(&number.to_string()).await;
        }
        let mut all = 0;
        while all < 1_500 {
            let answer = poll(&gate, &format!("after={at}")).await;
            let events = answer["events"].as_array().unwrap();
            assert!(events.len() <= 1_000);
            for event in events {
                assert_eq!(event["data"], all.to_string());
                all += 1;
            }
            at = cursor(&answer).to_owned();
        }
    });
}

#[test]
fn cursors_that_no_log_gave_are_gaps_and_are_answered_at_once() {
    worker(async {
        let gate = Gate::new(config(&[9]));
        let channel = gate.bridge.lease(&Captures::empty(), &gate.trigger.guard());
        let own = channel.unwrap().0.epoch();
        let at = |seq| crate::bridge::cursor::EventId { epoch: own, seq }.to_string();
        for (after, reason) in [
            ("0123456789-5".to_owned(), "epoch"),
            (at(7), "ahead"),
            (at(u64::MAX), "ahead"),
            ("0123456789-99999999999999999999999".to_owned(), "bad_id"),
            ("%00".to_owned(), "bad_id"),
            ("x".repeat(60_000), "bad_id"),
        ] {
            let answer = poll(&gate, &format!("after={after}&wait=30")).await;
            assert_eq!(answer["gap"]["reason"], reason);
            let back = poll(&gate, &format!("after={}&wait=0", cursor(&answer))).await;
            assert_eq!(back["gap"], Value::Null, "it is told once");
        }
    });
}

#[test]
fn a_poll_that_cannot_be_served_gets_the_honest_503_and_is_counted() {
    worker(async {
        let mut config = config(&[9]);
        config.limits.subscribers = 0;
        let gate = Gate::new(config);
        let request = Request::get("/live").header("accept", "application/json");
        let refused = gate.response(request.body(Full::default()).unwrap()).await;
        assert_eq!(
            refused.err().unwrap().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(gate.bridge.rejected().of(Reason::Subscribers), 1);
        for wait in ["31", "-1", "x", ""] {
            let request =
                Request::get(format!("/live?wait={wait}")).header("accept", "application/json");
            let refused = gate.response(request.body(Full::default()).unwrap()).await;
            assert_eq!(refused.err().unwrap().status(), StatusCode::BAD_REQUEST);
        }
    });
}

#[test]
fn a_drain_answers_whoever_waits() {
    worker(async {
        let feed = Feed::new().await;
        let (gate, _link, start) = opened(&feed, config(&[feed.port])).await;
        let query = format!("after={start}&wait=30");
        let drain = async {
            while gate.bridge.subscribers() == 0 {
                tokio::task::yield_now().await;
            }
            gate.trigger
                .begin(tokio::time::Instant::now() + Duration::from_secs(10));
        };
        let (answer, ()) = tokio::join!(poll(&gate, &query), drain);
        assert_eq!(cursor(&answer), start);
    });
}
