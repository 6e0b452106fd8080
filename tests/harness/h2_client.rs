//! An HTTP/2 client over TLS, frame by frame.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use std::sync::Arc;
use tokio::task::JoinSet;

use super::certificates::client_config;
use super::{Gate, within};

/// One connection. Dropping it closes the connection.
pub struct H2Client {
    send: SendRequest<Bytes>,
    pings: PingPong,
    connection: JoinSet<()>,
}

/// A response, its head come, its body under way.
pub struct H2Response {
    /// Status and fields.
    pub head: Response<()>,
    /// The body's stream.
    pub body: RecvStream,
}

impl H2Client {
    /// Connects by ALPN.
    pub async fn connect(gate: &Gate) -> Self {
        let config = client_config(&["h2"], rustls::ALL_VERSIONS);
        let stream = gate.handshake(Arc::new(config), "localhost").await;
        // Windows as browsers have them: one stream that is not read must not use up the connection's.
        let handshake = h2::client::Builder::new()
            .initial_connection_window_size(8 << 20)
            .handshake(stream.expect("a handshake succeeds"));
        let (send, mut connection) = within("the HTTP/2 preface", handshake).await.unwrap();
        let mut pings = connection.ping_pong().expect("taken once");
        let mut task = JoinSet::new();
        task.spawn(async move {
            // How a connection ends is seen on its streams.
            let _ = connection.await;
        });
        // The answer comes behind the server's SETTINGS, so that these are known from here on.
        let pong = pings.ping(Ping::opaque());
        within("a pong", pong)
            .await
            .expect("the connection is sound");
        Self {
            send,
            pings,
            connection: task,
        }
    }

    /// Waits until the connection has ended.
    pub async fn closed(&mut self) {
        while self.connection.join_next().await.is_some() {}
    }

    /// Whether the server takes extended CONNECT.
    pub fn takes_tunnels(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    /// Sends a ping and waits for its answer: what was sent before has been taken by the server then.
    pub async fn ping(&mut self) {
        let pong = self.pings.ping(Ping::opaque());
        within("a pong", pong)
            .await
            .expect("the connection is sound");
    }

    /// Begins a tunnel by extended CONNECT, with fields added to the handshake.
    pub async fn connect_to(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        self.begin(extended_connect("websocket", path, fields), false)
            .await
    }

    /// Sends a request without a body and waits for the response's head.
    pub async fn get(&mut self, path: &str) -> H2Response {
        let request = Request::get(format!("https://localhost{path}"));
        self.request(request.body(()).unwrap()).await
    }

    /// Sends a request without a body and waits for the response's head.
    pub async fn request(&mut self, request: Request<()>) -> H2Response {
        let (response, _) = self.begin(request, true).await;
        H2Response::from(within("a response's head", response).await.unwrap())
    }

    /// Sends a request's head; the body follows by hand.
    pub async fn begin(
        &mut self,
        request: Request<()>,
        ends_here: bool,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let ready = within("a free stream", self.send.clone().ready()).await;
        self.send = ready.expect("the connection is sound");
        self.send.send_request(request, ends_here).unwrap()
    }
}

/// What a handshake of this version has.
pub const VERSION_13: &[(&str, &str)] = &[("sec-websocket-version", "13")];

/// An extended CONNECT (RFC 8441) with exactly these fields.
pub fn extended_connect(
    protocol: &'static str,
    path: &str,
    fields: &[(&str, &str)],
) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://localhost{path}"))
        .extension(h2::ext::Protocol::from_static(protocol));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// A tunnel within an HTTP/2 connection.
pub struct H2Tunnel {
    /// The answer to the handshake, and what comes from the server.
    pub down: H2Response,
    /// What goes there.
    pub up: SendStream<Bytes>,
}

impl H2Tunnel {
    /// Waits for the server's agreement.
    pub async fn opened(response: h2::client::ResponseFuture, up: SendStream<Bytes>) -> Self {
        let response = within("the answer to the handshake", response).await;
        let down = H2Response::from(response.expect("the stream is sound"));
        assert_eq!(down.status(), 200, "{:?}", down.head);
        Self { down, up }
    }

    /// Sends bytes, as far as the window allows at once.
    pub fn send(&mut self, bytes: impl Into<Bytes>) {
        self.up.send_data(bytes.into(), false).unwrap();
    }

    /// Ends the client's direction: END_STREAM.
    pub fn half_close(&mut self) {
        self.up.send_data(Bytes::new(), true).unwrap();
    }

    /// Resets the stream.
    pub fn reset(mut self, reason: Reason) {
        self.up.send_reset(reason);
    }

    /// Exactly so many bytes from the server.
    pub async fn raw(&mut self, length: usize) -> Vec<u8> {
        let mut whole = Vec::new();
        while whole.len() < length {
            let piece = self.down.piece().await.expect("the stream is sound");
            whole.extend_from_slice(&piece.expect("the stream goes on"));
        }
        assert_eq!(whole.len(), length, "more came than was expected");
        whole
    }

    /// Whatever comes until the server's END_STREAM.
    pub async fn raw_until_end(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(piece) = self.down.piece().await.expect("the stream is sound") {
            whole.extend_from_slice(&piece);
        }
        whole
    }
}

impl From<Response<RecvStream>> for H2Response {
    fn from(response: Response<RecvStream>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            head: Response::from_parts(parts, ()),
            body,
        }
    }
}

impl H2Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    /// The next piece of the body as it arrives, nothing at its end, the reason when it is reset.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Reason> {
        match within("a piece of the body", self.body.data()).await {
            None => Ok(None),
            Some(Ok(piece)) => {
                let _ = self.body.flow_control().release_capacity(piece.len());
                Ok(Some(piece))
            }
            Some(Err(error)) => Err(error.reason().unwrap_or(Reason::INTERNAL_ERROR)),
        }
    }

    /// The whole body, which must end as it should.
    pub async fn text(&mut self) -> String {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await.expect("the body ends as it should") {
            whole.extend_from_slice(&piece);
        }
        String::from_utf8(whole).expect("the body is text")
    }

    /// What follows the body.
    pub async fn trailers(&mut self) -> Option<HeaderMap> {
        within("the trailers", self.body.trailers()).await.unwrap()
    }
}
