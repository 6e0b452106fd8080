use super::*;
use crate::observe::access::{End, RequestId, StreamRecord};
use crate::observe::streams::Moved;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");

fn exposed(metrics: &Metrics) -> String {
    metrics.fold();
    metrics.expose(&Standing::default(), Format::OpenMetrics)
}

fn has(text: &str, line: &str) {
    let found = text.lines().any(|other| other == line);
    assert!(found, "`{line}` is not in:\n{text}");
}

fn stream(kind: Kind) -> StreamRecord {
    let client = crate::net::ClientAddr("192.0.2.1:5".parse().unwrap());
    StreamRecord::open(
        RequestId::random(),
        kind,
        "/ws".into(),
        client,
        &"app:3000",
        http::Version::HTTP_11,
    )
}

#[test]
fn the_reference_has_every_metric_as_it_is() {
    let lines = Metrics::new().catalog.reference().join("\n");
    let expected = format!("| name | type | labels | what it says |\n|---|---|---|---|\n{lines}\n");
    let text = std::fs::read_to_string(REFERENCE).unwrap();
    let (before, rest) = text.split_once("catalog.rs -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- to here -->").unwrap();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let made = format!("{before}catalog.rs -->\n{expected}<!-- to here -->{after}");
        return std::fs::write(REFERENCE, made).unwrap();
    }
    assert_eq!(
        table, expected,
        "`UPDATE_EXPECTED=1` writes docs/metrics.md"
    );
}

#[test]
fn a_stream_counts_while_it_lives_and_when_it_ends() {
    let metrics = Metrics::new();
    let mut record = stream(Kind::Tunnel);
    record.reached(Moved {
        bytes_in: 10,
        bytes_out: 20,
        messages_in: 1,
        messages_out: 2,
    });
    record.heartbeat();
    record.delayed(Duration::from_micros(70));
    let text = exposed(&metrics);
    for line in [
        r#"streamgate_streams{kind="tunnel",route="/ws"} 1"#,
        r#"streamgate_streams_opened_total{kind="tunnel",route="/ws"} 1"#,
        r#"streamgate_stream_received_bytes_total{kind="tunnel",route="/ws"} 10"#,
        r#"streamgate_stream_sent_messages_total{kind="tunnel",route="/ws"} 2"#,
        r#"streamgate_heartbeats_total{kind="tunnel"} 1"#,
        r#"streamgate_stream_added_delay_seconds_bucket{le="0.00005",kind="tunnel"} 0"#,
        r#"streamgate_stream_added_delay_seconds_bucket{le="0.0001",kind="tunnel"} 1"#,
        r#"streamgate_stream_added_delay_seconds_count{kind="tunnel"} 1"#,
    ] {
        has(&text, line);
    }
    record.sent(5);
    record.closed_with(4999);
    record.close(End::Backend, Duration::ZERO);
    let text = exposed(&metrics);
    for line in [
        r#"streamgate_streams{kind="tunnel",route="/ws"} 0"#,
        r#"streamgate_stream_sent_bytes_total{kind="tunnel",route="/ws"} 25"#,
        r#"streamgate_streams_closed_total{kind="tunnel",route="/ws",cause="backend"} 1"#,
        r#"streamgate_websocket_closes_total{route="/ws",code="other"} 1"#,
        r#"streamgate_stream_life_seconds_count{kind="tunnel"} 1"#,
    ] {
        has(&text, line);
    }
}

#[test]
fn requests_count_once_by_route_and_status() {
    let metrics = Metrics::new();
    let route: Arc<str> = "/api".into();
    requested(Some(&route), Some((200, Duration::from_millis(3))));
    requested(Some(&route), Some((200, Duration::from_millis(3))));
    requested(None, Some((404, Duration::ZERO)));
    requested(Some(&route), None);
    stream_refused(&route, StreamLimit::Client);
    exposed(&metrics);
    let text = exposed(&metrics);
    for line in [
        r#"streamgate_requests_total{route="/api",status="200"} 2"#,
        r#"streamgate_requests_total{route="/api",status="none"} 1"#,
        r#"streamgate_requests_total{route="none",status="404"} 1"#,
        r#"streamgate_response_head_seconds_sum{route="/api"} 0.006"#,
        r#"streamgate_streams_refused_total{route="/api",limit="client"} 1"#,
    ] {
        has(&text, line);
    }
}

#[test]
fn what_is_gone_from_the_configuration_is_not_exposed() {
    let metrics = Metrics::new();
    let server = Server {
        upstream: "app".into(),
        server: "127.0.0.1:3000".to_owned(),
        is_up: true,
        live: 2,
    };
    let standing = Standing {
        log_lines_dropped: 3,
        certificates: vec![("a.test".to_owned(), 200), ("a.test".to_owned(), 100)],
        servers: vec![server],
        ..Standing::default()
    };
    let _before = metrics.expose(&standing, Format::OpenMetrics);
    let text = metrics.expose(&standing, Format::OpenMetrics);
    for line in [
        r#"streamgate_log_lines_dropped_total 3"#,
        r#"streamgate_certificate_expiry_timestamp_seconds{name="a.test"} 100"#,
        r#"streamgate_upstream_up{upstream="app",server="127.0.0.1:3000"} 1"#,
        r#"streamgate_upstream_live{upstream="app",server="127.0.0.1:3000"} 2"#,
    ] {
        has(&text, line);
    }
    let text = metrics.expose(&Standing::default(), Format::OpenMetrics);
    assert!(!text.contains("a.test") && !text.contains("3000"), "{text}");
}
