//! One request as a browser sends it, over HTTP/1.1 or HTTP/2, and its answer as it comes.
//!
//! Invariant: a connection serves one request and ends with its [`Answer`]; a head is bounded by hyper, a body by whoever
//! reads it.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::lifecycle::tasks::{self, Local};
use crate::tls::accept::Protocol;
use crate::tls::client::Offer;

use super::connect::{ConnectError, Door};
use super::target::Target;

/// How the doctor calls itself. Some firewalls let nothing pass that does not begin like this.
const AGENT: &str = concat!(
    "Mozilla/5.0 (compatible; streamgate-doctor/",
    env!("CARGO_PKG_VERSION"),
    ")"
);

/// Lines of a head at most.
const MOST_FIELDS: usize = 200;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection broke before there was an answer")]
    Broken(#[from] hyper::Error),
    #[error("the request cannot be sent")]
    Request(#[from] http::Error),
    #[error("no answer came within {0:?}")]
    Late(Duration),
}

/// The head of an answer, and when it came.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// As it says.
    pub(super) status: StatusCode,
    /// As it says.
    pub(super) version: Version,
    /// As they are. What stands in them is not to be trusted.
    pub(super) fields: HeaderMap,
    /// Since the request was sent.
    pub(super) after: Duration,
}

impl Head {
    /// A field's value, if it is text.
    pub(super) fn text(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.fields.get(name)?.to_str().ok()
    }
}

/// An answer of which the body is still to come.
pub(super) struct Answer {
    /// The fields that were sent.
    pub(super) asked: HeaderMap,
    /// What came first.
    pub(super) head: Head,
    /// The rest, with what hyper needs to upgrade the connection.
    pub(super) response: Response<Incoming>,
    /// When the request was sent.
    pub(super) sent: Instant,
    connection: Connection,
}

impl Answer {
    /// Whether the server takes extended CONNECT, as far as is known now; `None`: it is not HTTP/2.
    pub(super) fn takes_extended_connect(&self) -> Option<bool> {
        self.connection
            .extended_connect
            .as_ref()
            .map(|seen| seen.get())
    }

    /// The body, if it comes as a whole within `time`, and no more than `most` bytes.
    pub(super) async fn whole(self, most: usize, time: Duration) -> Option<Bytes> {
        let body = Limited::new(self.response.into_body(), most).collect();
        let body = timeout(time, body).await.ok()?.ok()?;
        Some(body.to_bytes())
    }

    /// The body, and what keeps its connection alive.
    pub(super) fn into_body(self) -> (Incoming, Connection) {
        (self.response.into_body(), self.connection)
    }
}

/// Drives a connection; dropped, it ends it.
pub(super) struct Connection {
    task: JoinHandle<()>,
    extended_connect: Option<Rc<Cell<bool>>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A GET of the target with these fields; the user's own go before them.
///
/// # Errors
/// [`AskError`]; [`AskError::Late`] when no head has come within `patience`.
pub(super) async fn get(
    door: &Door,
    target: &Target,
    offer: Offer,
    fields: &[(HeaderName, &str)],
    patience: Duration,
) -> Result<Answer, AskError> {
    let (stream, protocol) = door.open(offer).await?;
    let request = request(target, protocol, fields)?;
    let asked = request.headers().clone();
    let io = TokioIo::new(stream);
    let sent = Instant::now();
    let (response, connection) = match protocol {
        Protocol::Http1 => {
            let mut builder = http1::Builder::new();
            builder.max_headers(MOST_FIELDS);
            let (mut sender, connection) = builder.handshake(io).await?;
            // What breaks it is told by the exchange too.
            let task = tasks::spawn(connection.with_upgrades().map(drop));
            let connection = Connection {
                task,
                extended_connect: None,
            };
            let response = timeout(patience, sender.send_request(request)).await;
            (response, connection)
        }
        Protocol::Http2 => {
            let (mut sender, mut connection) = http2::handshake(Local, io).await?;
            let seen = Rc::new(Cell::new(false));
            let told = Rc::clone(&seen);
            let task = tasks::spawn(poll_fn(move |cx| {
                let ended = connection.poll_unpin(cx).map(drop);
                told.set(connection.is_extended_connect_protocol_enabled());
                ended
            }));
            let connection = Connection {
                task,
                extended_connect: Some(seen),
            };
            let response = timeout(patience, sender.send_request(request)).await;
            (response, connection)
        }
    };
    let response = response.map_err(|_late| AskError::Late(patience))??;
    let head = Head {
        status: response.status(),
        version: response.version(),
        fields: response.headers().clone(),
        after: sent.elapsed(),
    };
    Ok(Answer {
        asked,
        head,
        response,
        sent,
        connection,
    })
}

fn request(
    target: &Target,
    protocol: Protocol,
    fields: &[(HeaderName, &str)],
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let host = target.host();
    let mut request = match protocol {
        Protocol::Http1 => Request::get(target.path.as_str()).header(header::HOST, host),
        Protocol::Http2 => Request::get(format!("https://{host}{}", target.path)),
    };
    request = request.header(header::USER_AGENT, AGENT);
    for (name, value) in fields {
        request = request.header(name, HeaderValue::from_bytes(value.as_bytes())?);
    }
    let mut request = request.body(Empty::new())?;
    for name in target.fields.keys() {
        request.headers_mut().remove(name);
    }
    let own = target.fields.iter();
    request
        .headers_mut()
        .extend(own.map(|(name, value)| (name.clone(), value.clone())));
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    use crate::cli::{Cli, Command};

    fn target(header: &str) -> Target {
        let url = "https://a.test:8443/x?y";
        let words = ["streamgate", "doctor", url, "--header", header];
        match Cli::try_parse_from(words).unwrap().command {
            Command::Doctor(typed) => Target::of(&typed).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_have_the_form_of_their_protocol_and_the_users_fields_win() {
        let target = target("Accept: text/plain");
        let fields = [(header::ACCEPT, "text/event-stream")];
        let one = request(&target, Protocol::Http1, &fields).unwrap();
        assert_eq!(one.uri(), "/x?y");
        assert_eq!(one.headers()["host"], "a.test:8443");
        let accepted: Vec<_> = one.headers().get_all("accept").iter().collect();
        assert_eq!(accepted, ["text/plain"]);
        // An id may be any text (WHATWG HTML, "Last-Event-ID").
        let id = [(HeaderName::from_static("last-event-id"), "größer")];
        let resumed = request(&target, Protocol::Http1, &id).unwrap();
        assert_eq!(resumed.headers()["last-event-id"], "größer".as_bytes());
        let two = request(&target, Protocol::Http2, &fields).unwrap();
        assert_eq!(two.uri(), "https://a.test:8443/x?y");
        assert!(!two.headers().contains_key("host"));
    }
}
