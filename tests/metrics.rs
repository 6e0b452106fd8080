//! What is counted: requests, and streams while they live and when they have ended.

use futures_util::future::join_all;
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::bridge::{bridge, open};
use crate::harness::{
    ADMIN, Admin, Backend, Gate, WebSocketClient, echo_http, echo_websocket, within,
};
use crate::tunnel::handshake;

async fn measured(text: &str) -> (Gate, Admin) {
    let gate = Gate::start(&format!("{ADMIN}{text}")).await;
    let admin = Admin::of(&gate).await;
    (gate, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_count_by_route_and_status_without_an_access_log_too() {
    let backend = Backend::that(echo_http).await;
    let upstream = backend.upstream("app");
    let text = format!(
        "{upstream}[[route]]\npath = \"/app/*\"\nupstream = \"app\"\n\
         [[route]]\npath = \"/gone\"\nrespond = 410\n[log]\naccess = false\n"
    );
    let (gate, admin) = measured(&text).await;
    for path in ["/app/1", "/app/2?token=secret", "/gone", "/nowhere"] {
        gate.get(path).await;
    }
    let scrape = admin
        .counts(&[
            (
                "streamgate_requests_total{route=\"/app/*\",status=\"200\"}",
                2.0,
            ),
            (
                "streamgate_requests_total{route=\"/gone\",status=\"410\"}",
                1.0,
            ),
            (
                "streamgate_requests_total{route=\"none\",status=\"404\"}",
                1.0,
            ),
            (
                "streamgate_response_head_seconds_count{route=\"/app/*\"}",
                2.0,
            ),
        ])
        .await;
    let sum = scrape.value("streamgate_response_head_seconds_sum{route=\"/app/*\"}");
    assert!(sum.is_some_and(|sum| sum > 0.0 && sum < 15.0), "{sum:?}");
    for secret in ["nowhere", "token", "127.0.0.1:5"] {
        assert!(!scrape.0.contains(secret), "{secret} is in {}", scrape.0);
    }
    assert!(
        gate.log
            .since(0)
            .iter()
            .all(|line| line.message() != "request")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_counts_while_it_lives_and_by_its_close() {
    let backend = Backend::that(echo_websocket).await;
    let (gate, admin) = measured(&backend.for_everything()).await;
    let mut client = WebSocketClient::open(&gate, "/ws", &[]).await;
    client.echoes(Message::text("hello")).await;
    client.echoes(Message::text("again")).await;
    let of = "{kind=\"tunnel\",route=\"/*\"}";
    let live = format!("streamgate_streams{of}");
    admin
        .counts(&[
            (&live, 1.0),
            (&format!("streamgate_streams_opened_total{of}"), 1.0),
            (
                &format!("streamgate_stream_received_messages_total{of}"),
                2.0,
            ),
            (&format!("streamgate_stream_sent_messages_total{of}"), 2.0),
            // A client masks, which takes four bytes more.
            (&format!("streamgate_stream_received_bytes_total{of}"), 22.0),
            (&format!("streamgate_stream_sent_bytes_total{of}"), 14.0),
            (
                "streamgate_requests_total{route=\"/*\",status=\"101\"}",
                1.0,
            ),
        ])
        .await;
    let close = CloseFrame {
        code: CloseCode::Library(4999),
        reason: "".into(),
    };
    within("the Close to be taken", client.socket.close(Some(close)))
        .await
        .unwrap();
    admin
        .counts(&[
            (&live, 0.0),
            (
                "streamgate_streams_closed_total{kind=\"tunnel\",route=\"/*\",cause=\"client\"}",
                1.0,
            ),
            (
                "streamgate_websocket_closes_total{route=\"/*\",code=\"other\"}",
                1.0,
            ),
            ("streamgate_stream_life_seconds_count{kind=\"tunnel\"}", 1.0),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_counts_while_it_lives() {
    let mut backend = Backend::by_hand().await;
    let (gate, admin) = measured(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    assert_eq!(client.head().await.status(), 200);
    exchange.wire.send_chunk("data: one\n\n").await;
    client.body_bytes(11).await;
    let of = "{kind=\"event_stream\",route=\"/*\"}";
    let live = format!("streamgate_streams{of}");
    let scrape = admin.counts(&[(&live, 1.0)]).await;
    let sent = scrape.value(&format!("streamgate_stream_sent_bytes_total{of}"));
    assert!(sent.is_some_and(|sent| sent >= 11.0), "{sent:?}");
    exchange.wire.end_chunks().await;
    client.text().await;
    let cause = "{kind=\"event_stream\",route=\"/*\",cause=\"backend\"}";
    let closed = format!("streamgate_streams_closed_total{cause}");
    let status = "streamgate_requests_total{route=\"/*\",status=\"200\"}";
    admin
        .counts(&[(&live, 0.0), (&closed, 1.0), (status, 1.0)])
        .await;
}

/// What stands behind a chunk's data is nothing that the client waits for.
#[tokio::test(flavor = "multi_thread")]
async fn framing_that_comes_by_itself_is_not_delayed() {
    let mut backend = Backend::by_hand().await;
    let (gate, admin) = measured(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    assert_eq!(client.head().await.status(), 200);
    let of = "{kind=\"event_stream\",route=\"/*\"}";
    let sent = format!("streamgate_stream_sent_bytes_total{of}");
    for number in 1..=3_u8 {
        exchange.wire.send("9\r\ndata: x\n\n").await;
        assert_eq!(client.body_bytes(9).await, b"data: x\n\n");
        admin.counts(&[(&sent, 9.0 * f64::from(number))]).await;
        exchange.wire.send("\r\n").await;
    }
    exchange.wire.end_chunks().await;
    client.text().await;
    let delayed = "streamgate_stream_added_delay_seconds_count{kind=\"event_stream\"}";
    admin.counts(&[(delayed, 3.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_counts_its_events_and_heartbeats() {
    let mut feeds = Backend::by_hand().await;
    let (gate, admin) = measured(&bridge(&feeds, "heartbeat = \"1s\"")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut feeds).await;
    for text in ["one", "two", "three"] {
        feed.text(text).await;
        assert_eq!(subscriber.message().await, text);
    }
    let of = "{kind=\"subscription\",route=\"/live/{room}\"}";
    let live = format!("streamgate_streams{of}");
    let messages = format!("streamgate_stream_sent_messages_total{of}");
    let scrape = admin.counts(&[(&live, 1.0), (&messages, 3.0)]).await;
    let delayed = "streamgate_stream_added_delay_seconds_count{kind=\"subscription\"}";
    assert_eq!(scrape.value(delayed), Some(3.0));
    admin
        .counts(&[("streamgate_heartbeats_total{kind=\"subscription\"}", 1.0)])
        .await;
    drop(subscriber);
    let cause = "{kind=\"subscription\",route=\"/live/{room}\",cause=\"client\"}";
    let closed = format!("streamgate_streams_closed_total{cause}");
    admin.counts(&[(&live, 0.0), (&closed, 1.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_finds_a_hundred_streams_on_all_workers() {
    let backend = Backend::that(echo_websocket).await;
    let text = format!("{}[server]\nworkers = 2\n", backend.for_everything());
    let (gate, admin) = measured(&text).await;
    let opening = (0..100).map(|_| WebSocketClient::open(&gate, "/ws", &[]));
    let mut clients = join_all(opening).await;
    let of = "{kind=\"tunnel\",route=\"/*\"}";
    let live = format!("streamgate_streams{of}");
    let talking = join_all(clients.iter_mut().map(async |client| {
        client.echoes(Message::text("hello")).await;
    }));
    let all_live = [(&*live, 100.0)];
    let (_, scrape) = tokio::join!(talking, admin.counts(&all_live));
    assert!(scrape.0.ends_with("# EOF\n"));
    let messages = format!("streamgate_stream_sent_messages_total{of}");
    let under_way = format!(
        "streamgate_upstream_live{{upstream=\"app\",server=\"{}\"}}",
        backend.address()
    );
    let all = [
        (&*messages, 100.0),
        (&*under_way, 100.0),
        ("streamgate_connections", 100.0),
    ];
    admin.counts(&all).await;
    drop(clients);
    admin.counts(&[(&live, 0.0), (&under_way, 0.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_heartbeats_servers_and_certificates_are_told() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}heartbeat = \"1s\"\nlimits = {{ streams = 1 }}\n",
        backend.for_everything()
    );
    let (gate, admin) = measured(&text).await;
    let (mut client, _exchange) = crate::tunnel::open_tunnel(&gate, &mut backend).await;
    let mut second = gate.tls().await;
    second.send(handshake("/ws", "")).await;
    assert_eq!(second.head().await.status(), 503);
    let up = format!(
        "streamgate_upstream_up{{upstream=\"app\",server=\"{}\"}}",
        backend.address()
    );
    let scrape = admin
        .counts(&[
            (
                "streamgate_streams_refused_total{route=\"/*\",limit=\"route\"}",
                1.0,
            ),
            (
                "streamgate_requests_total{route=\"/*\",status=\"503\"}",
                1.0,
            ),
            // One to each side.
            ("streamgate_heartbeats_total{kind=\"tunnel\"}", 2.0),
            (&up, 1.0),
        ])
        .await;
    assert_eq!(client.raw(2).await[0], 0x89);
    let expiry = "streamgate_certificate_expiry_timestamp_seconds{name=\"localhost\"}";
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(
        scrape.value(expiry).is_some_and(|end| end > now),
        "{}",
        scrape.0
    );
}
