//! What the tests stand on: the program under test, the backends behind it, the clients before it.
//!
//! Owns every wait's limit ([`within`]), the places where files may be written ([`Directory`]) and the rule that a test leaves
//! nothing behind: [`Gate`] stops its program and demands that no connection and no task was left.

mod admin;
mod backend;
mod behaviour;
mod certificates;
mod checked;
mod dns;
mod event_source;
mod events;
mod feed;
mod gate;
mod h2_backend;
mod h2_client;
mod log;
mod program;
mod relay;
mod tls_backend;
mod tools;
mod websocket;
mod wire;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use admin::{ADMIN, ADMIN_API, Admin, AdminSocket};
pub use backend::{Backend, Exchange, reset};
pub use behaviour::{
    answers_101_fast, closes_mid_body, echo_http, echo_websocket, half_closes, refuses_upgrade,
    stalls_after_head, wrong_accept,
};
pub use certificates::{
    authority_file, client_config, client_config_showing, leaf, server_config,
    server_config_for_known_clients, stranger, untrusting_client_config,
};
pub use checked::{Checked, balanced, refusing};
pub use dns::NameServer;
pub use event_source::{Event, Heard, Subscriber};
pub use events::{Meant, NumberedSource, every_kind_of_event, meant};
pub use feed::Feed;
pub use gate::{Gate, Reloaded, connect};
pub use h2_backend::H2Backend;
pub use h2_client::{H2Client, H2Response, H2Tunnel, VERSION_13, extended_connect};
pub use log::Line;
pub use program::{Outcome, run_program};
pub use relay::Relay;
pub use tls_backend::TlsBackend;
pub use tools::{Server, browser_driver, node, node_file, output, python, tool};
pub use websocket::WebSocketClient;
pub use wire::{Body, Head, TlsWire, Wire};

/// How long any one thing may take before the test says that it did not happen.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits for `future`, and says what was awaited when it does not come within [`PATIENCE`].
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    within_time(PATIENCE, what, future).await
}

/// The same with a limit of the caller's: where the limit is the behaviour, or where much is awaited.
pub async fn within_time<F: Future>(limit: Duration, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {limit:?} in vain for {what}"),
    }
}

/// Lets `length` pass in silence. Only where the silence itself is what a test is about: a quiet tunnel, a stalled
/// handshake. Whatever must *happen* is waited for instead.
pub async fn silence(length: Duration) {
    tokio::time::sleep(length).await;
}

/// Asserts that `future` stays pending for `length`.
pub async fn stays_pending<F: Future>(what: &str, length: Duration, future: F) {
    assert!(
        tokio::time::timeout(length, future).await.is_err(),
        "{what} came, and should not have"
    );
}

/// Raises this process's limit of open files as far as it may go, for the tests that hold thousands of connections.
pub fn allow_many_files() {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux tells its limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let hard = line
        .and_then(|line| line.split_whitespace().nth(4))
        .expect("the hard limit");
    let status = Command::new("prlimit")
        .args([
            "--pid",
            &std::process::id().to_string(),
            &format!("--nofile={hard}"),
        ])
        .status()
        .expect("`prlimit` of util-linux");
    assert!(status.success(), "the limit of open files cannot be raised");
}

/// A directory of one test's own, removed with it.
pub struct Directory(PathBuf);

impl Directory {
    /// Makes an empty directory under the build's own place for such things.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and returns where.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
