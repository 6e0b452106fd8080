//! What the operator may ask the process to do: `/api/reload`.
//!
//! A wish goes to whoever reloads and waits for the answer; it is done there, one after another. Here is only
//! what is asked for; who may ask is decided before (`api/access`).

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::State;
use super::answer::{Answer, Answered, JSON, Refusal, body};

/// Wishes that wait at the same time: one of each connection.
const WISHES: usize = super::CONNECTIONS;

/// How long a wish may wait for its turn and its answer.
const LIMIT: Duration = Duration::from_secs(25);

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

/// `POST /api/reload`, and with `?plan` only what it would do.
pub(super) async fn reload(uri: &Uri, state: &State) -> Answered {
    let wish = match uri.query() {
        None => Wish::Reload,
        Some("plan") => Wish::Plan,
        Some(_) => return Err(Refusal::bad_request("the query may be `plan`")),
    };
    let busy = || {
        let why = "the process is stopping, or has too much to reload";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
    };
    let (answer, told) = oneshot::channel();
    if state.wishes.try_send(Ask { wish, answer }).is_err() {
        return Err(busy());
    }
    match timeout(LIMIT, told).await {
        Ok(Ok(told)) => Ok(body(told.status, JSON, told.json)),
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}

/// `GET /api/reload`: how the last one went.
pub(super) fn last(state: &State) -> Answer {
    let last = state.last.borrow().clone();
    let none = Bytes::from_static(b"{\"outcome\":\"none\"}\n");
    body(StatusCode::OK, JSON, last.unwrap_or(none))
}
