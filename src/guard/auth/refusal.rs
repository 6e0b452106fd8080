//! Why somebody is not let in, and what of it the client is told.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode};

use super::Auth;
use crate::config::model::AuthMethod;
use crate::credentials::jwt::TokenError;
use crate::http::body::Body;
use crate::http::problem::{GatewayFault, Problem};
use crate::respond;
use crate::upstream::connect::ConnectError;
use crate::upstream::fetch::FetchError;

/// Why it is not known who asks, for the log.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nothing was shown.
    #[error("there are no credentials")]
    Missing,
    /// It was shown twice.
    #[error("there are two credentials in one place")]
    Ambiguous,
    /// A token that is not taken.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Not a name and a password, or not those of anybody.
    #[error("that is nobody's password")]
    Password,
    /// The claim, or the field, that names the user cannot be a name.
    #[error("the user has no name that can be one")]
    Nameless,
    /// A ticket or a pass that is not taken, or not any more.
    #[error("the ticket is not good, or not any more")]
    Ticket,
    /// A stream's route lets in by something else now.
    #[error("the route's `auth` is another one now")]
    Changed,
    /// A stream's client would be somebody else now.
    #[error("that is another user now")]
    Another,
    /// More passwords are to be verified than there is time for, or more tickets come than are noted.
    #[error("too many clients sign in at the same time")]
    Busy,
    /// The keys for tokens have not been fetched yet.
    #[error("there are no keys for tokens yet")]
    Keyless,
    /// The other server does not let the client in, and says so by itself.
    #[error("the server that was asked answered with {0}")]
    Answered(StatusCode, Answer),
    /// The other server says nothing that has a meaning.
    #[error("the server that was asked answered with {0}, which says nothing about the client")]
    Odd(StatusCode),
    /// The other server does not answer.
    #[error("{}", respond::chain(.0))]
    Unasked(#[from] FetchError),
    /// It is a question of ours about a request.
    #[error("the question about a request came back")]
    Loop,
}

/// What another server answers to the client.
pub struct Answer(pub Box<Response<Body>>);

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl Refusal {
    /// Whether it says nothing about the client, so that who is in may stay.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        passing(self).is_some()
    }
}

/// What a client is told that is not let in. Where another server has answered, the client gets that answer instead.
#[must_use]
pub fn problem(auth: &Auth, refusal: &Refusal) -> Problem {
    if let Some(problem) = passing(refusal) {
        return problem;
    }
    let bearer = |more: &str| format!("Bearer realm=\"{}\"{more}", auth.name());
    let challenge = match (&auth.config().method, refusal) {
        (AuthMethod::Basic(basic), _) => {
            format!("Basic realm=\"{}\", charset=\"UTF-8\"", basic.realm)
        }
        (_, Refusal::Missing) => bearer(""),
        (_, Refusal::Token(TokenError::Expired)) => {
            bearer(", error=\"invalid_token\", error_description=\"the token has expired\"")
        }
        _ => bearer(", error=\"invalid_token\""),
    };
    match HeaderValue::try_from(challenge) {
        Ok(challenge) => Problem::Challenged(challenge),
        Err(_unwritable) => Problem::Unauthorized,
    }
}

/// What says nothing about the client; `None`: it does.
fn passing(refusal: &Refusal) -> Option<Problem> {
    let soon = |seconds, reason| Problem::Unavailable {
        retry_after: Duration::from_secs(seconds),
        reason,
    };
    Some(match refusal {
        Refusal::Busy => soon(2, "Too many clients sign in at the same time."),
        Refusal::Keyless => soon(5, "It cannot be told now who asks."),
        Refusal::Loop => Problem::Gateway(GatewayFault::Loop),
        Refusal::Odd(_) => Problem::Gateway(GatewayFault::ProtocolError),
        Refusal::Unasked(error) => Problem::Gateway(fault(error)),
        Refusal::Missing
        | Refusal::Ambiguous
        | Refusal::Token(_)
        | Refusal::Password
        | Refusal::Nameless
        | Refusal::Ticket
        | Refusal::Changed
        | Refusal::Another
        | Refusal::Answered(..) => return None,
    })
}

fn fault(error: &FetchError) -> GatewayFault {
    match error {
        FetchError::TimedOut { .. } => GatewayFault::ResponseTimeout,
        FetchError::Connect(error) => match error {
            ConnectError::TimedOut { .. } => GatewayFault::ConnectionTimeout,
            ConnectError::Resolve { .. } => GatewayFault::DnsError,
            ConnectError::Tls { .. } => GatewayFault::TlsProtocol,
            ConnectError::Refused { .. } => GatewayFault::ConnectionRefused,
            ConnectError::Http2 { .. } => GatewayFault::ProtocolError,
        },
        FetchError::Body(_) => GatewayFault::ResponseIncomplete,
        FetchError::Exchange(_) | FetchError::TooLarge { .. } | FetchError::Unsendable => {
            GatewayFault::ProtocolError
        }
    }
}
