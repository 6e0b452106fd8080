//! `streamgate reload`: asks the running process over its admin socket, and says how it went.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::config::{self, ProcessEnv};

/// Where the process has its socket when it was started by the unit that comes with it.
const DEFAULT_SOCKET: &str = "/run/streamgate/admin.sock";

/// How long the process may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of its answer at most.
const LONGEST: usize = 4 * 1024 * 1024;

/// The exit code for a configuration that has mistakes (`EX_CONFIG` of sysexits).
const EXIT_CONFIG: u8 = 78;

/// Why the process cannot be asked.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("nobody answers at `{}`: is streamgate running, and does its `[admin]` have this `socket`?", path.display())]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the process does not answer")]
    Http(#[from] hyper::Error),
    #[error("the answer cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the process has not answered within {PATIENCE:?}")]
    Late,
    #[error("the system refuses")]
    System(#[from] io::Error),
    #[error("the answer was {status}: {text}")]
    Refused { status: StatusCode, text: String },
}

/// Asks the process that runs with this configuration to reload it, or to say what that would change. Prints the answer.
#[must_use]
pub fn run(config: &Path, plan: bool) -> ExitCode {
    let socket = config::admin_socket(config, &ProcessEnv);
    let socket = socket.unwrap_or_else(|| DEFAULT_SOCKET.into());
    let answer = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AskError::from)
        .and_then(|runtime| {
            runtime.block_on(async {
                let asked = timeout(PATIENCE, ask(&socket, plan)).await;
                asked.unwrap_or(Err(AskError::Late))
            })
        });
    match answer {
        Ok(answer) => tell(&answer),
        Err(error) => {
            eprintln!("streamgate: {}", crate::respond::chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn ask(socket: &Path, plan: bool) -> Result<Value, AskError> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|source| AskError::Connect {
        path: socket.to_owned(),
        source,
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let query = if plan { "?plan" } else { "" };
    let request = Request::post(format!("/api/reload{query}"))
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())
        .expect("the parts are valid");
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
    serde_json::from_slice(&body).map_err(|_no_json| AskError::Refused {
        status,
        text: String::from_utf8_lossy(&body).trim().to_owned(),
    })
}

/// Prints what the process said, and makes it an exit code.
fn tell(answer: &Value) -> ExitCode {
    if answer["outcome"] == "refused" {
        let error = answer["error"].as_str().unwrap_or_default();
        eprintln!("streamgate: nothing has changed: {}", error.trim_end());
        return code_of(answer).into();
    }
    match answer["outcome"].as_str() {
        Some("done") => println!("reloaded"),
        Some("planned") => println!("a reload would change:"),
        _ => println!("nothing has changed"),
    }
    let changes = answer["changes"].as_array();
    for change in changes.into_iter().flatten() {
        println!("  {}", change["line"].as_str().unwrap_or_default());
    }
    code_of(answer).into()
}

fn code_of(answer: &Value) -> u8 {
    match (answer["outcome"].as_str(), answer["because"].as_str()) {
        (Some("refused"), Some("configuration")) => EXIT_CONFIG,
        (Some("refused"), _) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_exit_code_tells_a_mistake_from_what_the_machine_refuses() {
        let table = [
            (json!({"outcome": "done", "changes": []}), 0),
            (json!({"outcome": "unchanged"}), 0),
            (json!({"outcome": "planned", "changes": []}), 0),
            (
                json!({"outcome": "refused", "because": "configuration"}),
                78,
            ),
            (json!({"outcome": "refused", "because": "system"}), 1),
        ];
        for (answer, code) in table {
            assert_eq!(code_of(&answer), code, "{answer}");
        }
    }
}
