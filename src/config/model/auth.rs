//! `[auth.NAME]`

use std::sync::Arc;

use http::HeaderName;

use crate::credentials::jwt::{KeySet, Rules};
use crate::credentials::users::Users;

/// One `[auth.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// Its name.
    pub name: Arc<str>,
    /// How it is known who asks.
    pub method: AuthMethod,
}

/// How it is known who asks: exactly one of these keys.
#[derive(Debug, Clone, PartialEq)]
pub enum AuthMethod {
    /// `jwt = { … }`
    Jwt(Jwt),
    /// `basic = { … }`
    Basic(Basic),
}

/// `jwt = { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Jwt {
    /// Who may have signed.
    pub keys: KeySet,
    /// What a token must say.
    pub rules: Rules,
    /// Where it may be, in this order.
    pub from: Vec<TokenPlace>,
    /// Fields of the backend's request, with the claims that they say.
    pub claims: Vec<(HeaderName, String)>,
    /// The claim that names the user.
    pub user: String,
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
