//! HTTP/1.1 written and read byte by byte, for both ends: a test's client and a test's backend.
//!
//! It is no HTTP library on purpose: what goes out is exactly what the test wrote, and what came in can be
//! told from what should have come, down to a body that ends without its last chunk.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{PATIENCE, within, within_time};

/// A client's connection to the program over TLS.
pub type TlsWire = Wire<TlsStream<TcpStream>>;

/// A body that ended before its end: the connection closed or broke, or the framing did.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut;

/// The start line and the fields of a message, as they came.
#[derive(Debug, Clone)]
pub struct Head {
    /// `GET / HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub start: String,
    /// Names in lower case, values trimmed, in the order of the wire.
    pub fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a field has a colon");
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Self { start, fields }
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.part(1).parse().expect("a status is a number")
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.part(0)
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.part(1)
    }

    fn part(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|(field, _)| field == name);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    fn body(&self, request_method: Option<&str>) -> Body {
        let is_response = self.start.starts_with("HTTP/");
        if is_response && (request_method == Some("HEAD") || self.status() < 200) {
            return Body::None;
        }
        if is_response && matches!(self.status(), 204 | 304) {
            return Body::None;
        }
        if let Some(coding) = self.get("transfer-encoding") {
            assert!(coding.eq_ignore_ascii_case("chunked"), "coding {coding}");
            return Body::Chunked;
        }
        match self.get("content-length") {
            Some(length) => Body::Length(length.parse().expect("a length is a number")),
            None if is_response => Body::UntilClose,
            None => Body::None,
        }
    }
}

/// How the body that is being read ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none, or it has been read.
    None,
    /// After so many bytes more.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// One end of a connection.
pub struct Wire<S> {
    stream: S,
    buffer: BytesMut,
    body: Body,
    /// The trailer section of the last chunked body.
    pub trailers: Vec<(String, String)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Takes a connection over.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            body: Body::None,
            trailers: Vec::new(),
        }
    }

    /// The connection, and what has been read from it and not been used.
    pub fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.buffer)
    }

    /// The connection.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// How the body being read ends.
    pub fn framing(&self) -> Body {
        self.body
    }

    /// Writes bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.try_send(bytes.as_ref()).await;
        sent.expect("the other side takes what is sent");
    }

    /// Writes bytes, and tells when the other side is gone.
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("the other side to take what is sent", async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Writes one chunk.
    pub async fn send_chunk(&mut self, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        let mut framed = format!("{:x}\r\n", data.len()).into_bytes();
        framed.extend_from_slice(data);
        framed.extend_from_slice(b"\r\n");
        self.send(framed).await;
    }

    /// Writes the last chunk.
    pub async fn end_chunks(&mut self) {
        self.send("0\r\n\r\n").await;
    }

    /// Ends this side's direction and leaves the other open.
    pub async fn half_close(&mut self) {
        within("the half-close", self.stream.shutdown())
            .await
            .expect("a connection can be half-closed");
    }

    /// The next message's head; its body is read with [`Wire::piece`] or [`Wire::body`].
    pub async fn head(&mut self) -> Head {
        self.head_of_answer_to("GET").await
    }

    /// The next response's head, where the request's method matters: HEAD has no body.
    pub async fn head_of_answer_to(&mut self, method: &str) -> Head {
        let head = within("a head", self.head_if_any(method)).await;
        head.expect("a head before the connection closes")
    }

    /// The next message's head, or nothing when the connection ends before one.
    pub async fn head_if_any(&mut self, method: &str) -> Option<Head> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let text = self.buffer.split_to(end + 4);
                let head = Head::parse(std::str::from_utf8(&text).expect("a head is text"));
                self.body = head.body(Some(method));
                return Some(head);
            }
            if !self.fill().await {
                assert!(self.buffer.is_empty(), "half a head: {:?}", self.buffer);
                return None;
            }
        }
    }

    /// The next piece of the body as it arrives, nothing at its end, an error when it is cut.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Cut> {
        within("a piece of the body", self.next_piece()).await
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Cut> {
        match self.body {
            Body::None => Ok(None),
            Body::Length(left) => {
                let piece = self.available(left).await?;
                let left = left - piece.len() as u64;
                self.body = if left == 0 {
                    Body::None
                } else {
                    Body::Length(left)
                };
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
            Body::Chunked => self.chunk().await,
            Body::UntilClose => match self.available_until_close().await? {
                piece if piece.is_empty() => {
                    self.body = Body::None;
                    Ok(None)
                }
                piece => Ok(Some(piece)),
            },
        }
    }

    async fn available(&mut self, most: u64) -> Result<Bytes, Cut> {
        if most > 0 && self.buffer.is_empty() && !self.fill().await {
            return Err(Cut);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let length = most.min(self.buffer.len());
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn available_until_close(&mut self) -> Result<Bytes, Cut> {
        while self.buffer.is_empty() {
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return Err(Cut),
            }
        }
        Ok(self.buffer.split().freeze())
    }

    /// One whole chunk, so that a test sees where the sender put the borders.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Cut> {
        let size = self.line().await?;
        let size = size.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).expect("a chunk's size is hexadecimal");
        if size == 0 {
            self.body = Body::None;
            self.trailers.clear();
            loop {
                let line = self.line().await?;
                let Some((name, value)) = line.split_once(':') else {
                    return Ok(None);
                };
                self.trailers
                    .push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        while self.buffer.len() < size + 2 {
            if !self.fill().await {
                return Err(Cut);
            }
        }
        let data = self.buffer.split_to(size).freeze();
        assert_eq!(&self.buffer[..2], b"\r\n", "a chunk ends with CRLF");
        self.buffer.advance(2);
        Ok(Some(data))
    }

    async fn line(&mut self) -> Result<String, Cut> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill().await {
                return Err(Cut);
            }
        }
    }

    /// The whole body, which must end as it should.
    pub async fn body(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await.expect("the body ends as it should") {
            whole.extend_from_slice(&piece);
        }
        whole
    }

    /// The same as text.
    pub async fn text(&mut self) -> String {
        String::from_utf8(self.body().await).expect("the body is text")
    }

    /// What there is of a body that must not end as it should.
    pub async fn body_that_is_cut(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        loop {
            match self.piece().await {
                Ok(Some(piece)) => whole.extend_from_slice(&piece),
                Ok(None) => panic!("the body ended as if it were whole, after {whole:?}"),
                Err(Cut) => return whole,
            }
        }
    }

    /// Bytes of the body until they contain as many as `length`; more than that fails.
    pub async fn body_bytes(&mut self, length: usize) -> Vec<u8> {
        let mut whole = Vec::new();
        while whole.len() < length {
            let piece = self.piece().await.expect("the body goes on");
            whole.extend_from_slice(&piece.expect("the body is longer"));
        }
        assert_eq!(whole.len(), length, "more than was awaited: {whole:?}");
        whole
    }

    /// So many bytes as they are: a tunnel's.
    pub async fn raw(&mut self, length: usize) -> Vec<u8> {
        let filled = within("bytes of the tunnel", async {
            while self.buffer.len() < length && self.fill().await {}
        });
        filled.await;
        assert!(
            self.buffer.len() >= length,
            "the connection ended after {:?}",
            self.buffer
        );
        self.buffer.split_to(length).to_vec()
    }

    /// All that comes until the other side ends its direction.
    pub async fn raw_until_close(&mut self) -> Vec<u8> {
        within("the other side's end", async { while self.fill().await {} }).await;
        self.buffer.split().to_vec()
    }

    /// The same without a limit: what a backend's task does until the test is over.
    pub async fn raw_until_close_unbounded(&mut self) {
        while self.fill().await {
            self.buffer.clear();
        }
    }

    /// The next bytes as they come, nothing at the end; without a limit, for a backend's task.
    pub async fn some_raw(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() && !self.fill().await {
            return None;
        }
        Some(self.buffer.split().freeze())
    }

    /// Waits until the connection ends, in whatever way, and nothing more may come before it does.
    pub async fn closes(&mut self) {
        self.closes_within(PATIENCE).await;
    }

    /// The same, where how quickly is the behaviour.
    pub async fn closes_within(&mut self, limit: Duration) {
        within_time(limit, "the connection's end", async {
            while self.fill().await {}
        })
        .await;
        assert!(self.buffer.is_empty(), "before the end: {:?}", self.buffer);
    }

    async fn fill(&mut self) -> bool {
        self.buffer.reserve(16 << 10);
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}
