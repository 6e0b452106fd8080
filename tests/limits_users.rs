//! What one user may do, wherever it comes from, on routes that know who asks.

use crate::auth::{AUTH, ask, bridge_with_auth, token};
use crate::harness::{Backend, Gate, Heard, Subscriber, echo_http, echo_websocket, within};
use crate::tunnel::handshake;

/// The tests' own address is that of a proxy, so that they can be many clients.
const MANY_CLIENTS: &str = "[trust]\nproxies = [\"127.0.0.1\"]\n";

/// A guarded route to `backend` with these limits.
fn limited(backend: &Backend, limits: &str) -> String {
    let route = backend.for_everything();
    format!("{route}limits = {{ {limits} }}\n{AUTH}{MANY_CLIENTS}")
}

/// The fields of `user` who comes from `client`.
fn fields(user: &str, client: &str) -> String {
    let token = token(user, 60);
    format!("Authorization: Bearer {token}\r\nX-Forwarded-For: {client}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_its_rate_wherever_it_comes_from() {
    let backend = Backend::that(echo_http).await;
    let rate = "rate = \"2/h\", burst = 2, by = \"user\"";
    let gate = Gate::start(&limited(&backend, rate)).await;
    for (user, client, expected) in [
        ("ann", "192.0.2.1", 200),
        ("ann", "192.0.2.2", 200),
        ("ann", "192.0.2.3", 429),
        ("bob", "192.0.2.3", 200),
    ] {
        let (head, _body) = ask(&gate, "/", &fields(user, client)).await;
        assert_eq!(head.status(), expected, "{user} from {client}");
        assert_eq!(head.get("retry-after").is_some(), expected == 429);
    }
    // Who is not let in is told so, however often, and takes nothing from anybody.
    for _ in 0..4 {
        let nobody = "X-Forwarded-For: 192.0.2.3\r\n";
        assert_eq!(ask(&gate, "/", nobody).await.0.status(), 401);
    }
    let (head, _body) = ask(&gate, "/", &fields("bob", "192.0.2.4")).await;
    assert_eq!(head.status(), 200);
    assert_eq!(backend.requests().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_streams_wherever_it_comes_from() {
    let backend = Backend::that(echo_websocket).await;
    let gate = Gate::start(&limited(&backend, "streams_per_user = 1")).await;
    let open = async |user: &str, client: &str| {
        let mut wire = gate.tls().await;
        wire.send(handshake("/ws", &fields(user, client))).await;
        (wire.head().await, wire)
    };
    let (head, first) = open("ann", "192.0.2.1").await;
    assert_eq!(head.status(), 101);
    let (head, _refused) = open("ann", "192.0.2.2").await;
    assert_eq!(head.status(), 429);
    assert!(head.get("retry-after").is_some());
    let (head, _other) = open("bob", "192.0.2.2").await;
    assert_eq!(head.status(), 101);
    drop(first);
    within("a place", async {
        while open("ann", "192.0.2.2").await.0.status() != 101 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_s_subscribers_are_among_its_streams() {
    let mut backend = Backend::by_hand().await;
    let config = bridge_with_auth(&backend, "");
    let limits = "limits = { streams_per_user = 1 }\nauth = ";
    let gate = Gate::start(&config.replacen("auth = ", limits, 1)).await;
    let target = |user: &str| format!("/live/a?token={}", token(user, 60));
    let mut first = Subscriber::open(&gate, &target("ann"), None).await;
    let _feed = backend.feed().await;
    first.opened().await;
    let (head, wire) = Subscriber::ask(&gate, &target("ann"), None).await;
    assert_eq!(
        head.status(),
        200,
        "a status would end an EventSource for good"
    );
    let heard = Subscriber::over(wire).until_end().await;
    assert!(matches!(heard[0], Heard::Retry(10_000..)), "{heard:?}");
    let mut other = Subscriber::open(&gate, &target("bob"), None).await;
    other.opened().await;
}
