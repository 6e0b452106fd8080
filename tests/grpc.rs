//! gRPC through the program: Python's `grpcio` on both sides, to a server in clear text and to one with TLS.

use crate::harness::{Directory, Gate, Server, authority_file, leaf, output, python};

/// Runs every kind of call against the program.
async fn all_calls_work(gate: &Gate) {
    let mut client = python("grpc_client.py");
    client
        .arg(format!("localhost:{}", gate.https.port()))
        .arg(authority_file(gate.directory().path()));
    assert_eq!(output(client).await.trim(), "all good");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_calls_reach_a_server_in_clear_text() {
    let server = Server::start(python("grpc_server.py"), "listening").await;
    let gate = Gate::start(&format!(
        "[upstream.calls]\nservers = [\"h2c://127.0.0.1:{}\"]\n[[route]]\nupstream = \"calls\"\n",
        server.port
    ))
    .await;
    all_calls_work(&gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_calls_reach_a_server_with_tls() {
    let directory = Directory::new();
    let (certificate, key) = leaf(&["localhost"]).write(directory.path(), "calls");
    let authority = authority_file(directory.path());
    let mut command = python("grpc_server.py");
    command.arg(certificate).arg(key);
    let server = Server::start(command, "listening").await;
    let gate = Gate::start(&format!(
        "[upstream.calls]\nservers = [\"https://localhost:{}\"]\ntls = {{ ca = \"{}\" }}\n\
         [[route]]\nupstream = \"calls\"\n",
        server.port,
        authority.display()
    ))
    .await;
    all_calls_work(&gate).await;
}
