//! `POST`: the way back, from a browser to the feed.
//!
//! Nothing is queued while the feed is down: a 2xx says that every message was handed to the feed's socket, or was taken
//! by the server that it was posted to, whose answer is then the client's. What may be
//! sent twice by a client that could not know better is sent once: by its number in a session ([`crate::bridge::order`]),
//! or by its `Idempotency-Key`.

mod body;
pub(super) mod deliver;
pub(super) mod site;
mod terms;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::time::{Instant, timeout};

use crate::bridge::channel::Channel;
use crate::bridge::post::{Address, Answered, Post, Unsent};
use crate::bridge::repeat::{Begun, First, Outcome};
use crate::bridge::{Bridge, Lease, Sender};
use crate::config::model;
use crate::http::body::Body;
use crate::http::problem::{GatewayFault, Problem};
use crate::lifecycle::tasks;
use crate::stream::Answer;

use super::Asked;

use self::deliver::{Delivery, Undelivered};
use self::terms::Terms;

/// When to try again where nobody says more.
const SOON: Duration = Duration::from_secs(1);
/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(30);

/// Where the messages go.
enum Target {
    /// To a channel, which is kept open as long as it takes.
    Shared(Lease),
    /// To a session, which lives for its subscriber.
    Session(Arc<Channel>),
}

impl Target {
    fn channel(&self) -> &Arc<Channel> {
        match self {
            Self::Shared(lease) => &lease.0,
            Self::Session(channel) => channel,
        }
    }
}

/// Publishes the body of `request`.
pub(super) async fn answer<B>(
    bridge: &Arc<Bridge>,
    request: Request<B>,
    asked: &Asked<'_>,
) -> Result<Answer, Problem>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let Some(publish) = &bridge.config().publish else {
        return Err(Problem::Forbidden("nothing can be published here"));
    };
    let (head, body) = request.into_parts();
    // A page that is listed was let in by name, whatever its site.
    if !asked.is_listed {
        site::check(&head.headers, &head.uri)?;
    }
    let form = body::form(&head.headers)?;
    let terms = Terms::of(&head, bridge.config().mode)?;
    // Who has no session any more need not send the body.
    let session = match bridge.config().mode {
        model::Mode::Session => Some(session(bridge, asked, &terms)?),
        model::Mode::Shared => None,
    };
    let body = timeout(BODY, body::read(body, publish.max_size))
        .await
        .map_err(|_elapsed| Problem::RequestTimeout)??;
    let hash = terms::hash(&[&body]);
    let messages = body::messages(form, body)?;
    let target = match session {
        Some(channel) => Target::Session(channel),
        // A feed that is opened by this very request is not up yet, so it is refused; the next one may find it open.
        None => {
            let lease = bridge.lease(asked.captures, &asked.downstream.guard);
            Target::Shared(lease.map_err(|_full| down())?)
        }
    };
    let sender = Sender::of(target.channel(), asked.downstream.client);
    if let Some(rate) = publish.rate {
        bridge
            .live
            .paces
            .take(sender, messages.len(), rate, Instant::now())
            .map_err(|retry_after| Problem::TooManyRequests { retry_after })?;
    }
    let user = asked.losses.user().map(AsRef::as_ref);
    let first = match terms.key(sender, user) {
        Some(key) => match begin(target.channel(), key, hash).await? {
            Ok(first) => Some(first),
            Err(outcome) => return told(outcome),
        },
        None => None,
    };
    let address = Address::of(bridge.config(), asked.captures);
    let post = address.map(|address| Post {
        address,
        key: terms.idempotency_key,
    });
    let delivery = Delivery {
        target,
        messages,
        post,
        number: terms.number,
        reply: publish.reply.clone(),
        first,
        _guard: asked.downstream.guard.clone(),
    };
    // A task of its own: a client that goes away now asks again, and is then to be told what became of its message.
    match tasks::spawn(delivery.run()).await {
        Ok(Ok(outcome)) => told(outcome),
        Ok(Err(undelivered)) => refused(undelivered),
        Err(_panicked) => Err(Problem::Internal),
    }
}

fn session(bridge: &Bridge, asked: &Asked<'_>, terms: &Terms) -> Result<Arc<Channel>, Problem> {
    let found = terms
        .session
        .and_then(|id| bridge.session(asked.captures, id));
    found.ok_or(GONE)
}

const GONE: Problem = Problem::Gone("This session is over; open a new stream.");

/// The first message of its key, or what became of the first.
async fn begin(
    channel: &Channel,
    key: terms::Hash,
    message: terms::Hash,
) -> Result<Result<First, Outcome>, Problem> {
    loop {
        match channel.repeats.begin(key, message, Instant::now()) {
            Begun::First(first) => return Ok(Ok(first)),
            Begun::Repeat(repeat) => {
                if let Some(outcome) = repeat.outcome().await {
                    return Ok(Err(outcome));
                }
            }
            Begun::Mistaken => {
                return Err(Problem::BadRequest(
                    "this `Idempotency-Key` is that of another message",
                ));
            }
            Begun::Crowded => return Err(crowded()),
        }
    }
}

fn told(outcome: Outcome) -> Result<Answer, Problem> {
    match outcome {
        Outcome::Sent => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(Answer::Response(response))
        }
        Outcome::Replied(reply) => Ok(json(StatusCode::OK, reply)),
        Outcome::Answered(answered) => Ok(given_on(answered)),
        Outcome::Unanswered => Err(Problem::Gateway(GatewayFault::ResponseTimeout)),
    }
}

fn refused(undelivered: Undelivered) -> Result<Answer, Problem> {
    match undelivered {
        Undelivered::Unsent(unsent) => unsent_is(unsent),
        Undelivered::Over => Err(GONE),
        Undelivered::Crowded => Err(crowded()),
        Undelivered::TooEarly { expected } => {
            let body = format!(r#"{{"expected":{expected}}}"#);
            Ok(json(StatusCode::CONFLICT, body.into()))
        }
    }
}

fn unsent_is(unsent: Unsent) -> Result<Answer, Problem> {
    match unsent {
        Unsent::Down => Err(down()),
        Unsent::Unavailable { retry_after } => Err(Problem::Unavailable {
            retry_after: retry_after.unwrap_or(SOON),
            reason: "the feed takes no messages now",
        }),
        Unsent::Refused(answered) => Ok(given_on(answered)),
        Unsent::BadAnswer => Err(Problem::Gateway(GatewayFault::ProtocolError)),
        Unsent::Late => Err(Problem::Gateway(GatewayFault::ResponseTimeout)),
    }
}

/// The answer of the server that a message was posted to, without what is between it and us.
fn given_on(answered: Answered) -> Answer {
    let mut response = Response::new(Body::from(answered.body.clone()));
    *response.status_mut() = answered.status;
    let headers = response.headers_mut();
    let kind = answered.content_type.filter(|_| !answered.body.is_empty());
    headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    if answered.status == StatusCode::TOO_MANY_REQUESTS {
        let wait = answered.retry_after.unwrap_or(SOON).max(SOON);
        headers.insert(header::RETRY_AFTER, wait.as_secs().into());
    }
    if answered.status == StatusCode::UNAUTHORIZED {
        // RFC 9110 §11.6.1: at least one challenge. The server's own is for whoever asks it, which is streamgate.
        let challenge = HeaderValue::from_static("Bearer");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    Answer::Response(response)
}

fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Answer::Response(response)
}

fn down() -> Problem {
    Problem::Unavailable {
        retry_after: SOON,
        reason: "the feed is not open",
    }
}

fn crowded() -> Problem {
    Problem::Unavailable {
        retry_after: SOON,
        reason: "too many messages are under way",
    }
}
