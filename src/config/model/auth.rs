//! `[auth.NAME]`

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::credentials::jwt::{KeySet, Rules};
use crate::credentials::users::Users;
use crate::net::ServerAddr;
use crate::tls::client::ServerTls;

/// One `[auth.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// Its name.
    pub name: Arc<str>,
    /// How it is known who asks.
    pub method: AuthMethod,
    /// What becomes of a browser's preflight, which has no credentials.
    pub preflight: Preflight,
    /// How often it is asked again who has a live stream; `None`: never.
    pub recheck: Option<Duration>,
    /// Whether bridges give out tickets.
    pub tickets: bool,
}

/// What becomes of a browser's preflight (Fetch §3.2.5) to an upstream. A bridge answers it by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preflight {
    /// It is refused as anything else without credentials.
    Refuse,
    /// The upstream answers it.
    Pass,
}

/// How it is known who asks: exactly one of these keys.
#[derive(Debug, Clone, PartialEq)]
pub enum AuthMethod {
    /// `jwt = { … }`
    Jwt(Jwt),
    /// `basic = { … }`
    Basic(Basic),
    /// `forward = { … }`
    Forward(Forward),
}

/// `jwt = { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Jwt {
    /// Who may have signed.
    pub keys: Keys,
    /// What a token must say.
    pub rules: Rules,
    /// Where it may be, in this order.
    pub from: Vec<TokenPlace>,
    /// Fields of the backend's request, with the claims that they say.
    pub claims: Vec<(HeaderName, String)>,
    /// The claim that names the user.
    pub user: String,
}

/// Where the keys for tokens are.
#[derive(Debug, Clone, PartialEq)]
pub enum Keys {
    /// In the configuration.
    Given(KeySet),
    /// Somewhere else, from where they are fetched.
    At(Remote),
}

/// A `http://` or `https://` address.
#[derive(Debug, Clone, PartialEq)]
pub struct Remote {
    /// The server.
    pub server: ServerAddr,
    /// Path and query; they may hold a secret and are not logged.
    pub path: String,
    /// For `https://`.
    pub tls: Option<ServerTls>,
}

/// `forward = { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// Who is asked.
    pub at: Remote,
    /// For the whole answer. Default 5 s.
    pub timeout: Duration,
    /// The fields of a client's request that go with the question.
    pub asks_with: Vec<HeaderName>,
    /// The fields of the answer that go with the request to the backend.
    pub tells: Vec<HeaderName>,
    /// The answer's field that names the user; `None`: users have no names.
    pub user: Option<HeaderName>,
    /// The answer's field that says for how many seconds it holds.
    pub lease: Option<HeaderName>,
}

/// Where a token may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    /// `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
    Header,
    /// A cookie of this name.
    Cookie(Box<str>),
    /// A parameter of the query of this name.
    Query(Box<str>),
    /// One of a WebSocket's subprotocols, `bearer.TOKEN`.
    Subprotocol,
}

/// `basic = { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    /// Who has which password.
    pub users: Users,
    /// What browsers show: visible ASCII without quotes.
    pub realm: String,
}
