//! What commands ask of a process that runs: a request over its admin socket, and the answer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::config::{self, ProcessEnv};

/// Where the process has its socket when it was started by the unit that comes with it.
const DEFAULT_SOCKET: &str = "/run/streamgate/admin.sock";

/// How long the process may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of its answer at most.
const LONGEST: usize = 4 * 1024 * 1024;

/// Why the process cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nobody listens at the socket.
    #[error("nobody answers at `{}`: is streamgate running, and does its `[admin]` have this `socket`?", path.display())]
    Connect {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What listens there does not speak HTTP, or has gone.
    #[error("the process does not answer")]
    Http(#[from] hyper::Error),
    /// It breaks off, or is too long.
    #[error("the answer cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It takes too long.
    #[error("the process has not answered within {PATIENCE:?}")]
    Late,
    /// There is no runtime.
    #[error("the system refuses")]
    System(#[from] io::Error),
    /// The process says no.
    #[error("the answer was {status}: {text}")]
    Refused {
        /// With this status.
        status: StatusCode,
        /// In these words.
        text: String,
    },
}

/// A process that runs.
pub(super) struct Process {
    socket: PathBuf,
    runtime: Runtime,
}

impl Process {
    /// The one that runs with this configuration: where its socket is stands there.
    ///
    /// # Errors
    /// There is no runtime.
    pub(super) fn of(config: &Path) -> Result<Self, AskError> {
        let socket = config::admin_socket(config, &ProcessEnv);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            socket: socket.unwrap_or_else(|| DEFAULT_SOCKET.into()),
            runtime,
        })
    }

    /// Asks it, and returns what it says in JSON. What is refused in other words than the API's own problems is an answer.
    ///
    /// # Errors
    /// [`AskError`]
    pub(super) fn ask(&self, method: &Method, target: &str) -> Result<Value, AskError> {
        self.runtime.block_on(async {
            let asked = timeout(PATIENCE, ask(&self.socket, method, target)).await;
            asked.unwrap_or(Err(AskError::Late))
        })
    }
}

async fn ask(socket: &Path, method: &Method, target: &str) -> Result<Value, AskError> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|source| AskError::Connect {
        path: socket.to_owned(),
        source,
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())
        .expect("a path of ours, with its parameters percent-encoded, is a target");
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(AskError::Body)?.to_bytes();
        Ok::<_, AskError>((status, body))
    };
    // The connection has to be driven, and ends by itself.
    let (answer, _ended) = tokio::join!(exchange, connection);
    let (status, body) = answer?;
    read(status, &body)
}

fn read(status: StatusCode, body: &[u8]) -> Result<Value, AskError> {
    let refused = |text: &str| AskError::Refused {
        status,
        text: text.trim().to_owned(),
    };
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return Err(refused(&String::from_utf8_lossy(body)));
    };
    match answer["detail"].as_str().filter(|_| !status.is_success()) {
        Some(detail) => Err(refused(detail)),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_refusals_and_other_json_is_an_answer() {
        let problem = br#"{"title":"Not Found","status":404,"detail":"no stream"}"#;
        let refused = read(StatusCode::NOT_FOUND, problem).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the answer was 404 Not Found: no stream"
        );
        let answer = read(
            StatusCode::UNPROCESSABLE_ENTITY,
            br#"{"outcome":"refused"}"#,
        );
        assert_eq!(answer.unwrap()["outcome"], "refused");
        let refused = read(StatusCode::BAD_GATEWAY, b"no JSON\n").unwrap_err();
        assert!(refused.to_string().ends_with(": no JSON"));
    }
}
