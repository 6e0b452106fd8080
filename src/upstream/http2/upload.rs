//! The request's body on its way to the server, as hyper asks for it.
//!
//! hyper sends a body from a task of its own, and tells nobody how far it is. So the body itself tells: it shares its
//! [`Progress`] with whoever waits for the response, and learns there that nobody waits any more.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::connection::Place;
use super::stop::Stop;
use crate::http::body::{Body, BodyError};
use crate::upstream::http1::ExchangeError;

/// A request's body. `None` inside: there is none.
pub struct Upload {
    body: Option<Body>,
    progress: Rc<Progress>,
    /// The stream's, once there is one: the body may outlive the response.
    pub(super) place: Option<Rc<Place>>,
}

/// How far a request's body is.
pub(super) struct Progress {
    /// When the body last gave something to hyper, which asks only for what it can send.
    pub(super) since: Cell<Instant>,
    /// Whether hyper has asked for more than the client has given.
    pub(super) waits_for_client: Cell<bool>,
    /// Whether all of it is with hyper.
    pub(super) done: Cell<bool>,
    /// Why it broke off, until somebody asks.
    pub(super) fault: RefCell<Option<ExchangeError>>,
    left: Cell<bool>,
    /// hyper's task that sends it.
    task: RefCell<Option<Rc<Stop>>>,
}

impl Progress {
    /// Somebody waits for the response: a request that was not sent the first time begins again.
    pub(super) fn begin(&self) {
        self.since.set(Instant::now());
        self.left.set(false);
        self.task.take();
    }

    /// Nobody waits for the response any more: the body ends, and with it the stream.
    pub(super) fn leave(&self) {
        self.left.set(true);
        if let Some(task) = self.task.take() {
            task.stop();
        }
    }
}

/// A client's body broke off. Shared: hyper resets the stream by what it finds in it, and the log tells it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the client's body broke off")]
struct Broken(#[source] Arc<dyn Error + Send + Sync>);

impl Upload {
    /// `body` on its way.
    #[must_use]
    pub fn new<B>(body: Option<B>) -> Self
    where
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<BodyError>,
    {
        let body = body.map(|body| {
            let body = http_body_util::BodyExt::map_err(body, Into::into);
            Body::stream(body)
        });
        let progress = Progress {
            since: Cell::new(Instant::now()),
            waits_for_client: Cell::new(false),
            done: Cell::new(body.is_none()),
            fault: RefCell::default(),
            left: Cell::new(false),
            task: RefCell::default(),
        };
        Self {
            body,
            progress: Rc::new(progress),
            place: None,
        }
    }

    pub(super) fn progress(&self) -> &Rc<Progress> {
        &self.progress
    }

    fn fail<T>(
        &mut self,
        fault: ExchangeError,
        error: BodyError,
    ) -> Poll<Option<Result<T, BodyError>>> {
        self.body = None;
        self.progress.fault.replace(Some(fault));
        Poll::Ready(Some(Err(error)))
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let upload = self.get_mut();
        if upload.progress.left.get() {
            let reason = h2::Error::from(h2::Reason::CANCEL);
            upload.body = None;
            return Poll::Ready(Some(Err(reason.into())));
        }
        let Some(body) = &mut upload.body else {
            return Poll::Ready(None);
        };
        if upload.place.is_some() && upload.progress.task.borrow().is_none() {
            let Some(task) = Stop::of_this_task() else {
                // hyper looks once whether there is something before it makes the task, and could wait there for the window.
                return Poll::Pending;
            };
            upload.progress.task.replace(Some(task));
        }
        let next = Pin::new(body).poll_frame(cx);
        upload.progress.waits_for_client.set(next.is_pending());
        let Poll::Ready(next) = next else {
            return Poll::Pending;
        };
        upload.progress.since.set(Instant::now());
        match next {
            None => {
                upload.progress.done.set(true);
                upload.body = None;
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                let broken = Broken(error.into());
                let fault = ExchangeError::Client(Box::new(broken.clone()));
                upload.fail(fault, Box::new(broken))
            }
            Some(Ok(frame)) => {
                // hyper asks no more after trailers, nor after the last data.
                if frame.is_trailers() || upload.is_end_stream() {
                    upload.progress.done.set(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn a_body_that_nobody_waits_for_resets_its_stream() {
        let mut upload = Upload::new(Some(Full::new(Bytes::from_static(b"1"))));
        upload.progress().leave();
        let error = upload.frame().await.unwrap().unwrap_err();
        let reason = error
            .downcast_ref::<h2::Error>()
            .and_then(h2::Error::reason);
        assert_eq!(reason, Some(h2::Reason::CANCEL));
    }

    #[tokio::test]
    async fn a_body_that_is_with_hyper_is_done() {
        let mut upload = Upload::new(Some(Full::new(Bytes::from_static(b"1"))));
        let progress = upload.progress().clone();
        assert!(!progress.done.get());
        upload.frame().await.unwrap().unwrap();
        assert!(progress.done.get());
        assert!(Upload::new(None::<Full<Bytes>>).progress().done.get());
    }
}
