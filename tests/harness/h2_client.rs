//! An HTTP/2 client over TLS, frame by frame.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use std::sync::Arc;
use tokio::task::JoinSet;

use super::certificates::client_config;
use super::{Gate, within};

/// One connection. Dropping it closes the connection.
pub struct H2Client {
    send: SendRequest<Bytes>,
    _connection: JoinSet<()>,
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
        let (send, connection) = within("the HTTP/2 preface", handshake).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            // How a connection ends is seen on its streams.
            let _ = connection.await;
        });
        Self {
            send,
            _connection: task,
        }
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
