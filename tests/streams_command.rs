//! `streamgate streams`: what it shows, and what it closes.

use serde_json::Value;

use crate::harness::{
    ADMIN_API, AdminSocket, Backend, Gate, Outcome, WebSocketClient, echo_websocket, run_program,
};

async fn run(gate: &Gate, arguments: &[&str]) -> Outcome {
    let all = [&["streams"], arguments, &["--config", "streamgate.toml"]].concat();
    run_program(gate.directory().path(), &all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_shown_and_closed_by_the_begin_of_their_id() {
    let backend = Backend::that(echo_websocket).await;
    let gate = Gate::start(&format!("{ADMIN_API}{}", backend.for_everything())).await;
    let none = run(&gate, &[]).await;
    assert_eq!((none.code, none.said.as_str()), (0, "no stream lives\n"));
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(WebSocketClient::open(&gate, "/ws", &[]).await);
    }
    let api = AdminSocket::of(&gate);
    let streams = api.streams("", 3).await;
    let ids: Vec<_> = streams
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    let table = run(&gate, &["--route", "/*", "--kind", "tunnel"]).await;
    assert_eq!(table.code, 0, "{}", table.said);
    let lines: Vec<_> = table.said.lines().collect();
    assert_eq!(lines.len(), 4, "{}", table.said);
    assert!(
        lines[0].starts_with("ID ") && lines[0].ends_with(" OUT"),
        "{}",
        table.said
    );
    for (line, id) in lines[1..].iter().zip(&ids) {
        assert!(line.starts_with(id) && line.contains("tunnel"), "{line}");
        assert!(line.contains(&backend.address().to_string()), "{line}");
    }
    assert!(
        !table.said.contains('\u{1b}'),
        "no colours but on a terminal"
    );
    let json = run(&gate, &["--json", "--client", "127.0.0.1"]).await;
    let told: Value = serde_json::from_str(&json.said).unwrap();
    assert_eq!(
        (&told["matched"], &told["streams"][1]["id"]),
        (&3.into(), &ids[1].into())
    );
    // Eight of 128 random bits are enough.
    let closed = run(&gate, &["close", &ids[0][..8], ids[2]]).await;
    assert_eq!(
        (closed.code, closed.said),
        (0, format!("closed {}\nclosed {}\n", ids[0], ids[2]))
    );
    let left = api.streams("", 1).await;
    assert_eq!(left[0]["id"], ids[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_told_and_fails() {
    let backend = Backend::that(echo_websocket).await;
    let gate = Gate::start(&format!("{ADMIN_API}{}", backend.for_everything())).await;
    let table: [(&[&str], &str); 3] = [
        (
            &["close", "0a1b2c3d"],
            "no live stream's id begins with `0a1b2c3d`",
        ),
        (&["--kind", "websocket"], "`kind` is one of `tunnel`"),
        (&["--client", "nobody"], "`client` is an address"),
    ];
    for (arguments, said) in table {
        let outcome = run(&gate, arguments).await;
        assert_eq!(outcome.code, 1, "{}", outcome.said);
        assert!(outcome.said.contains(said), "{}", outcome.said);
    }
    let arguments = ["streams", "--config", "absent.toml"];
    let outcome = run_program(gate.directory().path(), &arguments).await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.said.contains("nobody answers at"),
        "{}",
        outcome.said
    );
}
