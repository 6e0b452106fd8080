//! One `GET` of streamgate's own, with its whole answer: what the guard of a route asks elsewhere.
//!
//! In HTTP/1.1. Invariants: redirects are not followed, for whoever answers must not choose whom this process connects to;
//! the answer has a bound in bytes, and all of it one in time.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::Empty;

use super::EndpointId;
use super::connect::{self, ConnectError, Manner};
use super::http1::{
    Connection, Exchange, ExchangeError, Framing, Reply, ReplyError, ResponseHead, SendBody,
    write_request_head,
};
use super::pool::{Idle, Pools, keep_alive_limit};
use crate::config::model::KeepAlive;
use crate::net::ServerAddr;
use crate::tls::client::{Offer, ServerTls};

/// What is asked for.
#[derive(Debug)]
pub struct Fetch<'a> {
    /// Where.
    pub server: &'a ServerAddr,
    /// For an `https://` server.
    pub tls: Option<&'a ServerTls>,
    /// Path and query; they may hold a secret and are not logged.
    pub path: &'a str,
    /// Fields of the request, without `Host`.
    pub fields: HeaderMap,
    /// For all of it, to the last byte of the answer.
    pub timeout: Duration,
    /// Bytes of the answer's body at most.
    pub max_body: usize,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Fetched {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, as they came.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It did not answer as HTTP wants it.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The answer broke off.
    #[error(transparent)]
    Body(#[from] ReplyError),
    /// The answer is too long.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The time was up.
    #[error("`{server}` did not answer within {limit:?}")]
    TimedOut {
        /// Where.
        server: ServerAddr,
        /// The limit.
        limit: Duration,
    },
    /// The server's name is no field's value.
    #[error("the request cannot be sent")]
    Unsendable,
}

impl Fetch<'_> {
    /// Asks by a connection of its own.
    ///
    /// # Errors
    /// [`FetchError`].
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn alone(self) -> Result<Fetched, FetchError> {
        let asked = async {
            let head = self.head()?;
            let connection = self.connect().await?;
            let (head, mut reply) = exchange(connection, head).await.map_err(|it| it.0)?;
            let body = read(&mut reply, self.max_body).await?;
            Ok(fetched(head, body))
        };
        self.within(asked).await
    }

    /// Asks by a connection of the worker's, where one is idle, and leaves it there afterwards.
    ///
    /// # Errors
    /// [`FetchError`].
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn pooled(self, pools: &Pools, server: EndpointId) -> Result<Fetched, FetchError> {
        let asked = async {
            let head = self.head()?;
            let (head, mut reply) = match pools.take(server, Idle::Any) {
                None => exchange(self.connect().await?, head).await,
                // Its server may close it just now, and a `GET` may be sent again (RFC 9110 §9.2.2).
                Some(idle) => match exchange(idle, head.clone()).await {
                    Err(Failed(_, true)) => exchange(self.connect().await?, head).await,
                    answered => answered,
                },
            }
            .map_err(|it| it.0)?;
            let body = read(&mut reply, self.max_body).await?;
            if let Some(connection) = reply.reusable() {
                let said = keep_alive_limit(&head.headers);
                pools.keep(server, connection, &KeepAlive::default(), said);
            }
            Ok(fetched(head, body))
        };
        self.within(asked).await
    }

    async fn within(
        &self,
        asked: impl Future<Output = Result<Fetched, FetchError>>,
    ) -> Result<Fetched, FetchError> {
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(FetchError::TimedOut {
                server: self.server.clone(),
                limit: self.timeout,
            }),
        }
    }

    async fn connect(&self) -> Result<Connection, ConnectError> {
        let manner = Manner {
            tls: self.tls,
            offer: Offer::Http1,
            greeting: &[],
        };
        let (stream, _http1) = connect::open(self.server, manner, self.timeout).await?;
        Ok(Connection::new(stream))
    }

    fn head(&self) -> Result<Vec<u8>, FetchError> {
        let mut fields = self.fields.clone();
        let host = HeaderValue::from_str(&self.server.host_field());
        fields.insert(header::HOST, host.map_err(|_bad| FetchError::Unsendable)?);
        let mut head = Vec::with_capacity(512);
        write_request_head(&mut head, &Method::GET, self.path, &fields, b"");
        Ok(head)
    }
}

type Answer = Reply<Empty<Bytes>>;

/// What happened, and whether it may have been the end of a connection that was idle.
struct Failed(FetchError, bool);

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        Self(error.into(), false)
    }
}

async fn exchange(connection: Connection, head: Vec<u8>) -> Result<(ResponseHead, Answer), Failed> {
    let body = (Framing::Empty, None::<Empty<Bytes>>);
    let exchange = Exchange::new(connection, Method::GET, head, body, SendBody::AtOnce);
    let answered = exchange.run(None).await;
    answered.map_err(|failed| Failed(failed.error.into(), failed.reused))
}

async fn read(reply: &mut Answer, limit: usize) -> Result<Bytes, FetchError> {
    let mut body = Vec::new();
    while let Some(piece) = poll_fn(|cx| reply.poll_piece(cx)).await {
        let Ok(data) = piece?.into_data() else {
            continue;
        };
        if body.len() + data.len() > limit {
            return Err(FetchError::TooLarge { limit });
        }
        body.extend_from_slice(&data);
    }
    Ok(body.into())
}

fn fetched(head: ResponseHead, body: Bytes) -> Fetched {
    Fetched {
        status: head.status,
        headers: head.headers,
        body,
    }
}
