//! One request to a server, up to the head of its response.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body::Body;
use tokio::time::Sleep;

use super::clock::Clock;
use super::connection::Connection;
use super::head::{self, BadHead, Framing, ResponseHead};
use super::reply::Reply;
use super::upload::{SendBody, Upload};

/// Bytes of a response's head at most.
const MAX_HEAD: usize = 64 * 1024;

/// Interim responses (RFC 9110 §15.2) before the final one at most.
const MAX_INTERIM: u32 = 16;

/// How long a server that was asked by `Expect: 100-continue` may leave it open whether it wants the body: it may be one
/// that knows nothing of it (RFC 9110 §10.1.1).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no response's head.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection broke before the head was whole.
    #[error("the connection broke")]
    Broken {
        /// Whether the server had begun to answer, be it with an interim response.
        answered: bool,
        /// How it broke.
        #[source]
        source: io::Error,
    },
    /// The server ended the connection before the head was whole.
    #[error("the server closed the connection before it answered")]
    Closed {
        /// Whether it had begun to answer, be it with an interim response.
        answered: bool,
    },
    /// What came is no head.
    #[error("the server broke the protocol")]
    BadHead(#[from] BadHead),
    /// The head has no end within bounds.
    #[error("the response's head is longer than {MAX_HEAD} bytes")]
    HeadTooLarge,
    /// More than 16 interim responses.
    #[error("the server sent more than {MAX_INTERIM} interim responses")]
    TooManyInterim,
    /// The server was silent for too long after the request.
    #[error("the server did not answer within {0:?}")]
    TimedOut(Duration),
    /// The client gave nothing more of the request's body for too long.
    #[error("the request's body made no progress within {0:?}")]
    Stalled(Duration),
    /// The server took nothing more of the request for too long.
    #[error("the server took nothing of the request within {0:?}")]
    NotTaken(Duration),
    /// The server refused the request before it looked at it (RFC 9113 §8.7), or was not there any more.
    #[error("the server refused the request unseen")]
    Refused(#[source] hyper::Error),
    /// The server takes this request over HTTP/1.1 only (RFC 9113 §7, HTTP_1_1_REQUIRED).
    #[error("the server wants HTTP/1.1 for the request")]
    Http1Required(#[source] hyper::Error),
    /// The server ended the request's stream, or its connection.
    #[error("the server ended the stream")]
    Reset(#[source] hyper::Error),
    /// What came is not HTTP/2.
    #[error("the server broke HTTP/2")]
    Http2(#[source] hyper::Error),
    /// The client's body broke off.
    #[error("the request's body broke off")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client's body ended before its announced length.
    #[error("the request's body is shorter than its length")]
    BodyTooShort,
}

/// A request on its way.
pub struct Exchange<B> {
    connection: Connection,
    upload: Upload<B>,
    method: Method,
    partial: Vec<u8>,
    interim: u32,
    /// For a server that was asked whether it wants the body, and says nothing.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A request with `head` as [`head::write_request_head`] wrote it and `body` framed as that head says; `send` says
    /// when the body follows.
    #[must_use]
    pub fn new(
        connection: Connection,
        method: Method,
        head: Vec<u8>,
        (framing, body): (Framing, Option<B>),
        send: SendBody,
    ) -> Self {
        let upload = Upload::new(head, framing, body, send);
        Self {
            connection,
            upload,
            method,
            partial: Vec::new(),
            interim: 0,
            patience: None,
        }
    }

    /// Sends the request and reads the final response's head. The body may still be under way then: whoever holds the
    /// [`Reply`] sends it on. `limit` is the time from the request's last progress to the head; `None`: no limit.
    ///
    /// # Errors
    /// [`Failed`].
    ///
    /// # Cancel safety
    /// Dropping it closes the connection: the server sees that its client has left.
    // An `async fn` would hold itself twice, as its argument and as what it made of it.
    #[expect(clippy::manual_async_fn)]
    pub fn run(
        mut self,
        limit: Option<Duration>,
    ) -> impl Future<Output = Result<(ResponseHead, Reply<B>), Failed>> {
        async move {
            let mut clock = limit.map(Clock::new);
            match poll_fn(|cx| self.poll_head(cx, &mut clock)).await {
                Ok(head) => {
                    let reply = Reply::new(self.connection, self.upload, &head);
                    Ok((head, reply))
                }
                Err(error) => Err(Failed {
                    error,
                    reused: self.connection.reused,
                }),
            }
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        clock: &mut Option<Clock>,
    ) -> Poll<Result<ResponseHead, ExchangeError>> {
        // A server may answer before it has read the whole request: both go on at once.
        if let Poll::Ready(Err(error)) = self.upload.poll(cx, &mut self.connection.stream) {
            return Poll::Ready(Err(error));
        }
        if let Poll::Ready(head) = self.poll_final_head(cx) {
            match &head {
                // Not every server that reads a body says so first.
                Ok(head) if head.status.is_success() => self.upload.proceed(),
                _ => self.upload.refuse_unasked(),
            }
            return Poll::Ready(head);
        }
        if self.upload.is_unasked() {
            let patience = self
                .patience
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE_PATIENCE)));
            if patience.as_mut().poll(cx).is_ready() {
                self.upload.proceed();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let Some(clock) = clock else {
            return Poll::Pending;
        };
        let limit = ready!(clock.poll_expired(cx, self.upload.written()));
        let late = match (self.upload.is_done(), self.upload.waits_for_client()) {
            (true, _) => ExchangeError::TimedOut,
            (false, true) => ExchangeError::Stalled,
            (false, false) => ExchangeError::NotTaken,
        };
        Poll::Ready(Err(late(limit)))
    }

    fn poll_final_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, ExchangeError>> {
        loop {
            let Some(head) = ready!(self.poll_one_head(cx))? else {
                continue;
            };
            // 101 ends HTTP on this connection: it is final although it is informational.
            if !head.status.is_informational()
                || head.status == http::StatusCode::SWITCHING_PROTOCOLS
            {
                return Poll::Ready(Ok(head));
            }
            if head.status == http::StatusCode::CONTINUE && self.upload.is_unasked() {
                self.upload.proceed();
                cx.waker().wake_by_ref();
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Poll::Ready(Err(ExchangeError::TooManyInterim));
            }
        }
    }

    /// One read; `None` when the head is not whole after it.
    fn poll_one_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<ResponseHead>, ExchangeError>> {
        let answered = self.interim > 0 || !self.partial.is_empty();
        let (partial, method) = (&mut self.partial, &self.method);
        let read = self.connection.poll_with(cx, |input| {
            if input.is_empty() {
                return (0, Err(ExchangeError::Closed { answered }));
            }
            take_head(partial, input, method)
        });
        let broken = |source| ExchangeError::Broken { answered, source };
        Poll::Ready(ready!(read).map_err(broken)?)
    }
}

/// An exchange that has failed.
#[derive(Debug)]
pub struct Failed {
    /// What happened.
    pub error: ExchangeError,
    /// Whether the connection had been used before: its server may have closed it just then.
    pub reused: bool,
}

type Taken = (usize, Result<Option<ResponseHead>, ExchangeError>);

/// Takes a head from `input`, of which `partial` came before. Nearly always a head comes whole, and is parsed where it lies.
fn take_head(partial: &mut Vec<u8>, input: &[u8], method: &Method) -> Taken {
    if partial.is_empty() {
        return match head::parse(input, method) {
            Ok(Some((head, length))) => (length, Ok(Some(head))),
            Ok(None) => {
                partial.extend_from_slice(input);
                (input.len(), within_bounds(partial))
            }
            Err(error) => (0, Err(error.into())),
        };
    }
    let before = partial.len();
    partial.extend_from_slice(input);
    match head::parse(partial, method) {
        Ok(Some((head, length))) => {
            partial.clear();
            (length - before, Ok(Some(head)))
        }
        Ok(None) => (input.len(), within_bounds(partial)),
        Err(error) => (0, Err(error.into())),
    }
}

fn within_bounds(partial: &[u8]) -> Result<Option<ResponseHead>, ExchangeError> {
    if partial.len() > MAX_HEAD {
        Err(ExchangeError::HeadTooLarge)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::{Empty, StreamBody};
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_head_is_found_across_any_split_and_its_body_is_left() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        for at in 1..text.len() - 3 {
            let mut partial = Vec::new();
            let (taken, head) = take_head(&mut partial, &text[..at], &Method::GET);
            assert_eq!((taken, head.unwrap().is_none()), (at, true));
            let (taken, head) = take_head(&mut partial, &text[at..], &Method::GET);
            assert_eq!(&text[at + taken..], b"abc");
            assert_eq!(head.unwrap().unwrap().framing, Framing::Length(3));
        }
    }

    /// A request without a body on a connection, and the other end of that.
    async fn asking() -> (Exchange<Empty<Bytes>>, TcpStream) {
        let (near, far) = connected().await;
        let head = b"GET / HTTP/1.1\r\n\r\n".to_vec();
        let none = (Framing::Empty, None);
        let exchange = Exchange::new(near, Method::GET, head, none, SendBody::AtOnce);
        (exchange, far)
    }

    async fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await;
        let far = listener.accept().await.unwrap().0;
        (Connection::new(near.unwrap()), far)
    }

    #[tokio::test]
    async fn a_connection_that_breaks_tells_whether_an_answer_had_begun() {
        for (begun, expected) in [
            (&b""[..], false),
            (b"HTTP/1.1 200 OK\r\nContent-", true),
            (b"HTTP/1.1 103 Early Hints\r\n\r\n", true),
        ] {
            let (mut exchange, mut far) = asking().await;
            far.write_all(begun).await.unwrap();
            while expected && exchange.partial.is_empty() && exchange.interim == 0 {
                let head = poll_fn(|cx| exchange.poll_head(cx, &mut None));
                assert!(futures_util::poll!(head).is_pending());
                tokio::task::yield_now().await;
            }
            socket2::SockRef::from(&far)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(far);
            let head = poll_fn(|cx| exchange.poll_head(cx, &mut None)).await;
            match head {
                Err(ExchangeError::Broken { answered, .. }) => assert_eq!(answered, expected),
                // A write may have met the reset first, and then there is nothing more to read.
                Err(ExchangeError::Closed { answered: false }) => assert!(!expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_nothing_is_not_taken_for_a_client_that_gives_nothing() {
        let limit = Some(Duration::from_secs(5));
        let frame = || Frame::data(Bytes::from_static(&[0; 16 * 1024]));
        let endless = stream::repeat_with(move || Ok::<_, Infallible>(frame())).left_stream();
        let silent = stream::pending().right_stream();
        for (body, is_servers) in [(endless, true), (silent, false)] {
            let (near, _far) = connected().await;
            let head = b"POST / HTTP/1.1\r\n\r\n".to_vec();
            let body = (Framing::Chunked, Some(StreamBody::new(body)));
            let exchange = Exchange::new(near, Method::POST, head, body, SendBody::AtOnce);
            let error = exchange.run(limit).await.err().unwrap().error;
            match error {
                ExchangeError::NotTaken(_) => assert!(is_servers),
                ExchangeError::Stalled(_) => assert!(!is_servers),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let mut partial = Vec::new();
        let filler = vec![b'a'; MAX_HEAD / 2];
        let _status_line = take_head(&mut partial, b"HTTP/1.1 200 OK\r\nx: ", &Method::GET);
        let _first = take_head(&mut partial, &filler, &Method::GET);
        let (_, head) = take_head(&mut partial, &filler, &Method::GET);
        assert!(matches!(head, Err(ExchangeError::HeadTooLarge)));
    }
}
