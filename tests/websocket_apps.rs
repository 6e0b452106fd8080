//! WebSocket applications that others wrote, through the program over TLS: socket.io, graphql-ws, and the clients and servers
//! of Node's ws and Python's websockets with each other.
//!
//! The scripts in `tests/clients` assert what they see; a script that ends well has seen all of it.

use tokio::process::Command;

use crate::harness::{Gate, Server, authority_file, node, output, python};

/// Runs a client that is told where the gate is and whom to trust.
async fn run(mut client: Command, gate: &Gate, scheme: &str, path: &str) -> String {
    client
        .arg(format!("{scheme}://localhost:{}{path}", gate.https.port()))
        .arg(authority_file(gate.directory().path()));
    output(client).await
}

async fn talk_servers() -> [Server; 2] {
    let python = Server::start(python("websockets_talk_server.py"), "listening");
    [Server::node("ws_talk_server.js").await, python.await]
}

#[tokio::test(flavor = "multi_thread")]
async fn node_ws_talks_with_node_and_python() {
    for server in talk_servers().await {
        let gate = Gate::start(&server.for_everything()).await;
        let said = run(node("ws_talk.js"), &gate, "wss", "/talk").await;
        assert_eq!(said, "talked\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_websockets_talks_with_node_and_python() {
    let [node, python_s_own] = talk_servers().await;
    // ws puts a message together before it sends it back; only the other server shows that fragments pass as they are.
    for (server, fragments) in [(node, "joined"), (python_s_own, "kept")] {
        let gate = Gate::start(&server.for_everything()).await;
        let said = run(python("websockets_talk.py"), &gate, "wss", "/talk").await;
        assert_eq!(said, format!("fragments {fragments}\ntalked\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_io_goes_over_from_polling_to_a_websocket() {
    let server = Server::node("socket_io_server.js").await;
    let gate = Gate::start(&server.for_everything()).await;
    let said = run(node("socket_io_client.js"), &gate, "https", "/").await;
    assert_eq!(
        said,
        "upgraded from polling to websocket\nheard 200 in order\n"
    );
    let tunnels = gate.log.since(0);
    let tunnels = tunnels
        .iter()
        .filter(|line| line.message() == "stream open" && line.has("kind", "tunnel"));
    assert_eq!(tunnels.count(), 3, "one for each client:\n{}", gate.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_ws_counts_by_subscription() {
    let server = Server::node("graphql_server.js").await;
    let gate = Gate::start(&server.for_everything()).await;
    let said = run(node("graphql_client.js"), &gate, "wss", "/graphql").await;
    assert_eq!(
        said,
        "counted to 100\ngave up a subscription\nclosed by 4401\n"
    );
}
