//! Extended CONNECTs that must not become a tunnel.

use h2::Reason;
use http::{Method, Request};

use super::{LISTEN, gate, open};
use crate::harness::{
    Backend, Gate, H2Client, H2Response, VERSION_13, echo_http, extended_connect, refuses_upgrade,
    stalls_after_head, within, wrong_accept,
};

/// The answer to a handshake that is refused.
async fn refused(client: &mut H2Client, path: &str, fields: &[(&str, &str)]) -> H2Response {
    let (response, _send) = client.connect_to(path, fields).await;
    H2Response::from(within("a head", response).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_backend_is_passed_on_whole() {
    let backend = Backend::that(refuses_upgrade).await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let mut response = refused(&mut client, "/ws", VERSION_13).await;
    assert_eq!(response.status(), 401);
    let fields = response.head.headers();
    assert_eq!(fields["www-authenticate"], "Bearer realm=\"feed\"");
    assert_eq!(response.text().await, "log in, please");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_is_no_101_is_502() {
    // Passed on, it would tell the client that its tunnel is there.
    let backend = Backend::that(echo_http).await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let response = refused(&mut client, "/ws", VERSION_13).await;
    assert_eq!(response.status(), 502);
    assert!(response.head.headers().contains_key("proxy-status"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_accept_or_choice_of_the_backend_is_502() {
    let backend = Backend::that(wrong_accept).await;
    let gate_ = gate(&backend).await;
    let mut client = H2Client::connect(&gate_).await;
    assert_eq!(refused(&mut client, "/ws", VERSION_13).await.status(), 502);

    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    for chosen in [
        "Sec-WebSocket-Protocol: unasked\r\n",
        "Sec-WebSocket-Extensions: unasked\r\n",
    ] {
        let (response, _send) = client.connect_to("/ws", VERSION_13).await;
        let mut exchange = backend.next().await;
        let answer = exchange.switching_protocols(chosen);
        exchange.wire.send(answer).await;
        let response = within("a head", response).await.unwrap();
        assert_eq!(response.status(), 502, "{chosen}");
        exchange.wire.raw_until_close_unbounded().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_stalls_in_the_handshake_is_504() {
    let backend = Backend::that(stalls_after_head).await;
    let text = format!(
        "{}timeouts = {{ upgrade = \"500ms\" }}\n{LISTEN}",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = H2Client::connect(&gate).await;
    assert_eq!(refused(&mut client, "/ws", VERSION_13).await.status(), 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_handshakes_reach_no_backend() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    for fields in [
        &[][..],
        &[("sec-websocket-version", "8")],
        &[("sec-websocket-version", "13, 8")],
        &[
            ("sec-websocket-version", "13"),
            ("sec-websocket-version", "13"),
        ],
    ] {
        let response = refused(&mut client, "/ws", fields).await;
        assert_eq!(response.status(), 426, "{fields:?}");
        let fields = response.head.headers();
        assert_eq!(fields["sec-websocket-version"], "13");
        assert!(!fields.contains_key("connection") && !fields.contains_key("upgrade"));
    }
    let bad_host = [("sec-websocket-version", "13"), ("host", "elsewhere.test")];
    let response = refused(&mut client, "/ws", &bad_host).await;
    assert_eq!(response.status(), 400);
    let response = refused(&mut client, "/a/../b", VERSION_13).await;
    assert_eq!(response.status(), 400);
    assert!(backend.request_if_any().is_none());
    open(&mut client, &mut backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_and_plain_connect_are_refused() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    for protocol in ["connect-udp", "webtransport", "websocket2"] {
        let request = extended_connect(protocol, "/ws", VERSION_13);
        let (response, _send) = client.begin(request, false).await;
        let response = within("a head", response).await.unwrap();
        assert_eq!(response.status(), 501, "{protocol}");
    }
    let plain = Request::builder().method(Method::CONNECT);
    let plain = plain.uri("localhost:443").body(()).unwrap();
    let (response, _send) = client.begin(plain, false).await;
    assert_eq!(within("a head", response).await.unwrap().status(), 400);
    assert!(backend.request_if_any().is_none());
    open(&mut client, &mut backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_without_the_key_do_not_offer_it() {
    let backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    assert!(!client.takes_tunnels());
    let plain = Request::builder().method(Method::CONNECT);
    let plain = plain.uri("localhost:443").body(()).unwrap();
    let (response, _send) = client.begin(plain, false).await;
    assert_eq!(within("a head", response).await.unwrap().status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_new_connections_are_offered() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut before = H2Client::connect(&gate).await;
    let tunnel = open(&mut before, &mut backend).await;
    gate.reload_well(&backend.for_everything()).await;
    assert!(!H2Client::connect(&gate).await.takes_tunnels());
    // What is open stays.
    let (mut tunnel, mut exchange) = tunnel;
    tunnel.send("still");
    assert_eq!(exchange.wire.raw(5).await, b"still");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_our_own_never_look_like_a_tunnel() {
    let backend = Backend::by_hand().await;
    let routes = "[[route]]\npath = \"/fixed\"\nrespond = { status = 200, body = \"hello\" }\n\
                  [[route]]\npath = \"/moved\"\nredirect = \"https://elsewhere.test/\"\n";
    let text = format!("{}{routes}{LISTEN}", backend.upstream("app"));
    let gate = Gate::start(&text).await;
    let mut client = H2Client::connect(&gate).await;
    for (path, status) in [("/fixed", 400), ("/moved", 308), ("/nowhere", 404)] {
        let response = refused(&mut client, path, VERSION_13).await;
        assert_eq!(response.status(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_with_a_body_harms_nobody_else() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let fields = [("sec-websocket-version", "13"), ("content-length", "5")];
    let (response, mut send) = client.connect_to("/ws", &fields).await;
    let _ = send.send_data("hello".into(), true);
    if let Err(error) = within("an answer", response).await {
        assert!(error.reason() != Some(Reason::NO_ERROR), "{error}");
    }
    assert!(backend.request_if_any().is_none());
    let mut other = H2Client::connect(&gate).await;
    open(&mut other, &mut backend).await;
}
