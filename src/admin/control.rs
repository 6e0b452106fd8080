//! What the operator may ask the process to do: `/api/reload`.
//!
//! A wish goes to whoever reloads and waits for the answer; it is done there, one after another. Here is only who may wish
//! what: whoever reaches the TCP address may read how the last reload went, and only the Unix socket takes wishes.

use std::time::Duration;

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::Full;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::State;
use super::serve::{body, text};

/// Wishes that wait at the same time: one of each connection.
const WISHES: usize = super::CONNECTIONS;

/// How long a wish may wait for its turn and its answer.
const LIMIT: Duration = Duration::from_secs(25);

const JSON: &str = "application/json";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Put in force what the configuration says now.
    Reload,
    /// Say what that would change.
    Plan,
}

/// The answer to a wish.
#[derive(Debug, Clone)]
pub struct Told {
    /// How it went, for whoever reads no further.
    pub status: StatusCode,
    /// The same at length, as JSON.
    pub json: Bytes,
}

/// A wish, with whoever waits for its answer.
#[derive(Debug)]
pub struct Ask {
    /// What is asked for.
    pub wish: Wish,
    answer: oneshot::Sender<Told>,
}

impl Ask {
    /// Answers it. Whoever asked may have gone.
    pub fn answer(self, told: Told) {
        let _ = self.answer.send(told);
    }
}

/// Where wishes come out.
#[derive(Debug)]
pub struct Asks(mpsc::Receiver<Ask>);

impl Asks {
    /// The next wish.
    ///
    /// # Cancel safety
    /// No wish is lost when it is dropped.
    pub async fn next(&mut self) -> Ask {
        match self.0.recv().await {
            Some(ask) => ask,
            None => std::future::pending().await,
        }
    }

    /// The wishes that wait already.
    pub fn waiting(&mut self) -> Vec<Ask> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// A way for wishes, and where they come out.
pub(super) fn channel() -> (mpsc::Sender<Ask>, Asks) {
    let (wishes, asks) = mpsc::channel(WISHES);
    (wishes, Asks(asks))
}

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Look.
    Read,
    /// Look, and wish.
    Change,
}

/// Answers `/api/reload`.
pub(super) async fn reload(
    method: &Method,
    uri: &Uri,
    access: Access,
    state: &State,
) -> Response<Full<Bytes>> {
    let wish = match (method, uri.query()) {
        (&Method::GET | &Method::HEAD, _) => return last(state),
        (&Method::POST, None) => Wish::Reload,
        (&Method::POST, Some("plan")) => Wish::Plan,
        (&Method::POST, Some(_)) => {
            return text(StatusCode::BAD_REQUEST, "the query may be `plan`\n");
        }
        _ => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            let allowed = HeaderValue::from_static("GET, HEAD, POST");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
    };
    if access == Access::Read {
        let why = "changes are made over the admin socket, by the same user or root\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    let busy = "the process is stopping, or has too much to reload\n";
    let (answer, told) = oneshot::channel();
    if state.wishes.try_send(Ask { wish, answer }).is_err() {
        return text(StatusCode::SERVICE_UNAVAILABLE, busy);
    }
    match timeout(LIMIT, told).await {
        Ok(Ok(told)) => body(told.status, JSON, told.json),
        Ok(Err(_)) | Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, busy),
    }
}

fn last(state: &State) -> Response<Full<Bytes>> {
    let last = state.last.borrow().clone();
    let none = Bytes::from_static(b"{\"outcome\":\"none\"}\n");
    body(StatusCode::OK, JSON, last.unwrap_or(none))
}
