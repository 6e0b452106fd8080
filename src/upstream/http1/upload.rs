//! The request on its way to the server: its head, then its body, framed as the head says.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::exchange::ExchangeError;
use super::head::Framing;
use crate::http::chunked;
use crate::tls::ServerStream;

/// A request that is being written.
pub(super) struct Upload<B> {
    body: Option<B>,
    state: State,
    /// Framing that goes before `data`: the head, a chunk's size, the last chunk.
    before: Vec<u8>,
    data: Bytes,
    after: &'static [u8],
    /// Bytes of the body that the client gave.
    sent: u64,
    /// Bytes that the server took, framing and all.
    written: u64,
    /// Some of them may lie in the stream still: TLS keeps what its socket does not take at once.
    unflushed: bool,
}

/// When a request's body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendBody {
    /// With the head.
    AtOnce,
    /// Once the server asks for it, or has had time to: the head has `Expect: 100-continue` (RFC 9110 §10.1.1).
    WhenAsked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The head goes out; the body waits for the server's word.
    Unasked(Framing),
    Body(Framing),
    /// What is held is the last of it.
    Last,
    Done,
    /// The server takes no more; it may still answer.
    Refused,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// `head` is written as it is; `framing` is what it says of `body`.
    pub(super) fn new(head: Vec<u8>, framing: Framing, body: Option<B>, send: SendBody) -> Self {
        let state = if body.is_none() || framing == Framing::Empty {
            State::Last
        } else if send == SendBody::WhenAsked {
            State::Unasked(framing)
        } else {
            State::Body(framing)
        };
        Self {
            body,
            state,
            before: head,
            data: Bytes::new(),
            after: b"",
            sent: 0,
            written: 0,
            unflushed: false,
        }
    }

    /// Whether the request was written whole.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the server has not said yet that it wants the body.
    pub(super) fn is_unasked(&self) -> bool {
        matches!(self.state, State::Unasked(_))
    }

    /// Sends the body now.
    pub(super) fn proceed(&mut self) {
        if let State::Unasked(framing) = self.state {
            self.state = State::Body(framing);
        }
    }

    /// The server has answered without asking for the body: it is not sent any more.
    pub(super) fn refuse_unasked(&mut self) {
        if self.is_unasked() {
            self.state = State::Refused;
        }
    }

    /// Whether the server has taken all that the client gave so far.
    pub(super) fn waits_for_client(&self) -> bool {
        let held = !self.before.is_empty() || !self.data.is_empty() || !self.after.is_empty();
        matches!(self.state, State::Body(_)) && !held && !self.unflushed
    }

    /// Bytes that the server took.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes on. Ready when all is written, or when the server takes no more (it may have answered already).
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut ServerStream,
    ) -> Poll<Result<(), ExchangeError>> {
        loop {
            if matches!(self.state, State::Done | State::Refused) {
                return Poll::Ready(Ok(()));
            }
            if let Err(_broken) = ready!(self.poll_write(cx, stream)) {
                self.state = State::Refused;
                return Poll::Ready(Ok(()));
            }
            if let State::Body(framing) = self.state
                && let Poll::Ready(next) = self.poll_next(cx, framing)
            {
                next?;
                continue;
            }
            // Nothing more comes for now, or at all: what was written has to reach the server.
            match (ready!(self.poll_flush(cx, stream)), self.state) {
                (Err(_broken), _) => self.state = State::Refused,
                (Ok(()), State::Last) => self.state = State::Done,
                (Ok(()), _waiting) => return Poll::Pending,
            }
        }
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut ServerStream,
    ) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut ServerStream,
    ) -> Poll<io::Result<()>> {
        loop {
            let slices = [
                IoSlice::new(&self.before),
                IoSlice::new(&self.data),
                IoSlice::new(self.after),
            ];
            if slices.iter().all(|slice| slice.is_empty()) {
                return Poll::Ready(Ok(()));
            }
            // A request without a body is one slice, and a plain write costs the kernel less.
            let written = if self.data.is_empty() && self.after.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, &self.before))?
            } else {
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        self.unflushed = true;
        let before = written.min(self.before.len());
        self.before.drain(..before);
        let data = (written - before).min(self.data.len());
        self.data.advance(data);
        self.after = &self.after[written - before - data..];
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        framing: Framing,
    ) -> Poll<Result<(), ExchangeError>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(self.end(framing, None));
        };
        let frame = match ready!(Pin::new(body).poll_frame(cx)) {
            None => return Poll::Ready(self.end(framing, None)),
            Some(Err(error)) => return Poll::Ready(Err(ExchangeError::Client(error.into()))),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                self.data(framing, data);
                Poll::Ready(Ok(()))
            }
            Err(frame) => Poll::Ready(match frame.into_trailers() {
                Ok(trailers) => self.end(framing, Some(&trailers)),
                Err(_unknown) => Ok(()),
            }),
        }
    }

    fn data(&mut self, framing: Framing, data: Bytes) {
        self.sent += data.len() as u64;
        // A chunk of no bytes would be the last.
        if framing == Framing::Chunked && !data.is_empty() {
            chunked::head(data.len(), &mut self.before);
            self.after = chunked::TAIL;
        }
        self.data = data;
    }

    fn end(&mut self, framing: Framing, trailers: Option<&HeaderMap>) -> Result<(), ExchangeError> {
        self.state = State::Last;
        match (framing, trailers) {
            (Framing::Length(length), _) if length != self.sent => Err(ExchangeError::BodyTooShort),
            (Framing::Chunked, Some(trailers)) => {
                chunked::trailer_section(trailers, &mut self.before);
                Ok(())
            }
            (Framing::Chunked, None) => {
                self.before.extend_from_slice(chunked::LAST);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::sync::Arc;

    use http_body::Frame;
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::tls::client::{Offer, Roots, ServerTls};

    /// A body whose frames a test sends.
    struct Sent(mpsc::Receiver<Bytes>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let frame = |data: Option<Bytes>| data.map(|data| Ok(Frame::data(data)));
            self.0.poll_recv(cx).map(frame)
        }
    }

    async fn tls() -> (ServerStream, tokio_rustls::server::TlsStream<TcpStream>) {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await;
        let far = listener.accept().await.unwrap().0;
        let client = ServerTls::new(Roots::Unverified, None, None).unwrap();
        let (near, far) = tokio::join!(
            client.connect("a.test", Offer::Http1, tcp.unwrap()),
            TlsAcceptor::from(Arc::new(config)).accept(far)
        );
        (near.unwrap().0, far.unwrap())
    }

    fn keeps_sealed_records(stream: &ServerStream) -> bool {
        matches!(stream, ServerStream::Tls(tls) if tls.get_ref().1.wants_write())
    }

    #[tokio::test]
    async fn a_request_is_not_written_while_tls_holds_its_end() {
        let (mut near, mut far) = tls().await;
        let (frames, body) = mpsc::channel(1);
        let head = b"POST".to_vec();
        let mut upload = Upload::new(head, Framing::Chunked, Some(Sent(body)), SendBody::AtOnce);
        let mut sent = 0;
        // The server reads nothing: at some time its socket takes no more.
        while !keeps_sealed_records(&near) {
            frames.try_send(Bytes::from_static(&[b'x'; 1000])).unwrap();
            sent += 1000;
            assert!(futures_util::poll!(poll_fn(|cx| upload.poll(cx, &mut near))).is_pending());
            tokio::task::yield_now().await;
        }
        drop(frames);
        let written = futures_util::poll!(poll_fn(|cx| upload.poll(cx, &mut near)));
        assert!(written.is_pending() && !upload.is_done());
        let reading = async {
            let mut all = Vec::new();
            while !all.ends_with(b"\r\n0\r\n\r\n") {
                assert_ne!(far.read_buf(&mut all).await.unwrap(), 0);
            }
            all.iter().filter(|byte| **byte == b'x').count()
        };
        let (written, read) = tokio::join!(poll_fn(|cx| upload.poll(cx, &mut near)), reading);
        assert!(written.is_ok() && upload.is_done());
        assert_eq!(read, sent);
    }
}
