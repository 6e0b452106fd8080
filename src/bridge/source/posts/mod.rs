//! The way to a source of events: each message is a `POST` of its own to `publish.url` (RFC 9110 §9.3.3).
//!
//! Owns the connections for it, which are the feed's worker's, and how many messages are under way at once. Redirects are
//! not followed, as for the source itself. Invariants: the messages of one [`Publish`] go one after another, and none goes
//! whose publisher has given up; a message is never sent twice, so only a connection that its server has hardly had time
//! to close is used again.

mod answer;

pub(super) use self::answer::is_encoded;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, Method};
use http_body_util::Full;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use crate::bridge::channel::{Outgoing, Publish};
use crate::bridge::post::{Address, Delivered, Post, Unsent};
use crate::config::model::{Bridge, Mode};
use crate::lifecycle::{drain, tasks};
use crate::net::ServerAddr;
use crate::tls::client::Offer;
use crate::upstream::connect::{self, Manner};
use crate::upstream::http1::{
    Connection, Exchange, ExchangeError, Framing, Reply, ResponseHead, SendBody, write_request_head,
};

/// Publishes of one channel that are under way at once; more wait. A session's are one client's, and keep their order.
const AT_ONCE: usize = 16;
/// Name resolution, TCP and TLS in all.
const CONNECT: Duration = Duration::from_secs(5);
/// From a message's last progress to the head of the answer.
const ANSWER: Duration = Duration::from_secs(10);
/// What comes behind the head is waited for so long.
const BODY: Duration = Duration::from_secs(5);
/// Bytes of an answer's body that a client is given.
const LONGEST: usize = 64 * 1024;
/// How long a connection is kept for another message: a server hardly closes one so soon, and no message is to meet that.
const KEPT: Duration = Duration::from_secs(1);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

type Response = Reply<Full<Bytes>>;

/// What goes from one channel by `POST`.
pub(super) struct Posts {
    client: Rc<Client>,
    room: Arc<Semaphore>,
}

/// The right to be under way.
pub(super) struct Permit(OwnedSemaphorePermit);

impl Posts {
    pub(super) fn new(config: Arc<Bridge>) -> Self {
        let at_once = match config.mode {
            Mode::Session => 1,
            Mode::Shared => AT_ONCE,
        };
        Self {
            client: Rc::new(Client {
                config,
                idle: RefCell::default(),
                kept: Notify::new(),
                is_failing: Cell::new(false),
            }),
            room: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// The next publish, once there is room for it to be under way.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub(super) async fn next(
        &self,
        publishes: &mut mpsc::Receiver<Publish>,
    ) -> Option<(Publish, Permit)> {
        let next = async {
            let permit = self.room.clone().acquire_owned().await.ok()?;
            let publish = publishes.recv().await?;
            Some((publish, Permit(permit)))
        };
        tokio::select! {
            next = next => next,
            never = self.client.tend() => match never {},
        }
    }

    /// Sends it, in a task that holds the drain. Without an address it is dropped, which its publisher learns.
    pub(super) fn send(&self, publish: Publish, permit: Permit, guard: &drain::Guard) {
        let (client, guard) = (self.client.clone(), guard.clone());
        drop(tasks::spawn(async move {
            client.deliver(publish).await;
            drop((permit.0, guard));
        }));
    }
}

/// One message on its way.
struct Letter<'a> {
    address: &'a Address,
    content_type: &'static str,
    body: Bytes,
    key: Option<HeaderValue>,
}

/// An idle connection.
struct Kept {
    server: ServerAddr,
    connection: Connection,
    until: Instant,
}

struct Client {
    config: Arc<Bridge>,
    /// The one used last is last.
    idle: RefCell<Vec<Kept>>,
    /// Told when one more is idle.
    kept: Notify,
    /// Whether the last message got no answer.
    is_failing: Cell<bool>,
}

impl Client {
    async fn deliver(&self, publish: Publish) {
        let Publish {
            messages,
            post,
            written,
        } = publish;
        let Some(post) = post else {
            return;
        };
        let count = messages.len();
        let mut delivered = Ok(Delivered::Taken);
        for (number, message) in messages.into_iter().enumerate() {
            if written.is_closed() {
                return;
            }
            let letter = letter(&post, message, (number, count));
            delivered = self.send(letter).await;
            if delivered.is_err() {
                break;
            }
        }
        if count > 1 && delivered.is_ok() {
            // Which answer were that of several?
            delivered = Ok(Delivered::Taken);
        }
        // A publisher that has gone away does not want to know.
        let _ = written.send(delivered);
    }

    async fn send(&self, letter: Letter<'_>) -> Result<Delivered, Unsent> {
        let server = &letter.address.server;
        let connection = match self.take(server) {
            Some(connection) => connection,
            None => self.connect(server).await?,
        };
        let head = head(&letter).ok_or(Unsent::BadAnswer)?;
        let framing = Framing::Length(letter.body.len() as u64);
        let body = (framing, Some(Full::new(letter.body)));
        let exchange = Exchange::new(connection, Method::POST, head, body, SendBody::AtOnce);
        let (head, reply) = exchange.run(Some(ANSWER)).await.map_err(|failed| {
            self.tell_failure(server, &failed.error);
            match failed.error {
                ExchangeError::TimedOut(_) | ExchangeError::NotTaken(_) => Unsent::Late,
                _ => Unsent::BadAnswer,
            }
        })?;
        self.is_failing.set(false);
        let body = self.read(server, &head, reply).await;
        answer::judge(&head, body).inspect_err(|unsent| {
            let (bridge, status) = (&self.config.name, head.status.as_u16());
            tracing::debug!(%bridge, %server, status, error = %unsent, "message not delivered");
        })
    }

    async fn connect(&self, server: &ServerAddr) -> Result<Connection, Unsent> {
        let manner = Manner {
            tls: self.config.tls.as_ref(),
            offer: Offer::Http1,
            greeting: &[],
        };
        match connect::open(server, manner, CONNECT).await {
            Ok((stream, _http1)) => Ok(Connection::new(stream)),
            Err(error) => {
                self.tell_failure(server, &error);
                Err(Unsent::Unavailable { retry_after: None })
            }
        }
    }

    /// A server that is down is told of once, whatever its clients send: their storm is not to be one of log lines too.
    fn tell_failure(&self, server: &ServerAddr, error: &dyn std::error::Error) {
        let bridge = &self.config.name;
        if self.is_failing.replace(true) {
            tracing::debug!(%bridge, %server, %error, "message not answered");
            return;
        }
        tracing::warn!(%bridge, %server, %error, "message not answered");
    }

    /// The answer's body, or nothing where it cannot be given to a client: its status says enough.
    async fn read(&self, server: &ServerAddr, head: &ResponseHead, mut reply: Response) -> Bytes {
        let mut whole = Vec::new();
        let all = async {
            while let Some(piece) = poll_fn(|cx| reply.poll_piece(cx)).await {
                let piece = piece.ok()?;
                let data = piece.data_ref().map_or(&[][..], |data| &data[..]);
                if whole.len() + data.len() > LONGEST {
                    return None;
                }
                whole.extend_from_slice(data);
            }
            Some(())
        };
        if !matches!(timeout(BODY, all).await, Ok(Some(()))) {
            return Bytes::new();
        }
        // Behind a 101, which nobody has asked for, the server speaks something else.
        let is_http = !head.status.is_informational();
        if let Some(connection) = reply.reusable().filter(|_| is_http) {
            self.keep(server, connection);
        }
        match is_encoded(&head.headers) {
            true => Bytes::new(),
            false => whole.into(),
        }
    }

    /// The idle connection that was used last and is still good.
    fn take(&self, server: &ServerAddr) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        loop {
            let place = idle.iter().rposition(|kept| kept.server == *server)?;
            let mut kept = idle.remove(place);
            if kept.until > now && kept.connection.is_quiet() {
                return Some(kept.connection);
            }
        }
    }

    /// There are never more than were under way at once.
    fn keep(&self, server: &ServerAddr, connection: Connection) {
        self.idle.borrow_mut().push(Kept {
            server: server.clone(),
            connection,
            until: Instant::now() + KEPT,
        });
        self.kept.notify_one();
    }

    /// Closes connections that were idle for too long, for as long as it is polled.
    async fn tend(&self) -> Infallible {
        loop {
            let first = self.idle.borrow().first().map(|kept| kept.until);
            match first {
                None => self.kept.notified().await,
                Some(until) => {
                    sleep_until(until).await;
                    let now = Instant::now();
                    self.idle.borrow_mut().retain(|kept| kept.until > now);
                }
            }
        }
    }
}

/// The message as it is sent. One of several has a key of its own: to the server it is a message of its own.
fn letter(post: &Post, message: Outgoing, (number, count): (usize, usize)) -> Letter<'_> {
    let (content_type, body) = match message {
        Outgoing::Text(text) => ("text/plain; charset=utf-8", text.into()),
        Outgoing::Json(text) => ("application/json", text.into()),
        Outgoing::Binary(bytes) => ("application/octet-stream", bytes),
    };
    let key = post.key.as_ref().and_then(|key| match count {
        1 => Some(key.clone()),
        _ => {
            let own = [key.as_bytes(), format!("-{}", number + 1).as_bytes()].concat();
            HeaderValue::from_bytes(&own).ok()
        }
    });
    Letter {
        address: &post.address,
        content_type,
        body,
        key,
    }
}

/// The request's head; `None`, if its host is no field's value.
fn head(letter: &Letter<'_>) -> Option<Vec<u8>> {
    let mut fields = letter.address.fields.clone();
    let host = HeaderValue::from_str(&letter.address.server.host_field()).ok()?;
    fields.insert(header::HOST, host);
    let kind = HeaderValue::from_static(letter.content_type);
    fields.insert(header::CONTENT_TYPE, kind);
    let length = HeaderValue::from(letter.body.len());
    fields.insert(header::CONTENT_LENGTH, length);
    let identity = HeaderValue::from_static("identity");
    fields.insert(header::ACCEPT_ENCODING, identity);
    if let Some(key) = &letter.key {
        fields.insert(IDEMPOTENCY_KEY, key.clone());
    }
    let mut head = Vec::new();
    write_request_head(&mut head, &Method::POST, &letter.address.path, &fields, b"");
    Some(head)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn each_of_several_messages_has_a_key_of_its_own() {
        let post = Post {
            address: Arc::new(Address {
                server: crate::net::ServerAddr::from(crate::net::Authority {
                    host: "app".into(),
                    port: 80,
                }),
                path: "/say".into(),
                fields: HeaderMap::new(),
            }),
            key: Some(HeaderValue::from_static("k")),
        };
        let key = |number, count| {
            let letter = letter(&post, Outgoing::Text("x".into()), (number, count));
            letter.key.unwrap()
        };
        assert_eq!(key(0, 1), "k");
        assert_eq!(
            (key(0, 2), key(1, 2)),
            ("k-1".parse().unwrap(), "k-2".parse().unwrap())
        );
        let letter = letter(&post, Outgoing::Json("{}".into()), (0, 1));
        let text = String::from_utf8(head(&letter).unwrap()).unwrap();
        assert!(text.starts_with("POST /say HTTP/1.1\r\n"), "{text}");
        for line in [
            "host: app\r\n",
            "content-type: application/json\r\n",
            "content-length: 2\r\n",
            "idempotency-key: k\r\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}

#[cfg(test)]
mod patience;
