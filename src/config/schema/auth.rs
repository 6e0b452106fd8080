//! `[auth.NAME]`: who may ask, and how it is known who does.

use http::HeaderName;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::schema::balance::is_token;
use crate::config::schema::collection::{List, OneOrMany};
use crate::config::schema::decode::{Decode, Located, Reader, mismatch};
use crate::config::schema::feed::Secret;
use crate::config::schema::fields::FieldName;
use crate::config::schema::scalar::{OneOf, Refusal, Scalar, Text, Word};
use crate::config::schema::table::table;
use crate::config::units::{MINUTE, Period};
use crate::credentials::jwt::Algorithm;

table! {
    /// `[auth.NAME]`: exactly one of `jwt` and `basic`.
    Auth, "`[auth.NAME]`", "a table, `[auth.NAME]`" {
        /// Signed tokens (JSON Web Tokens, RFC 7519).
        jwt: Jwt,
        /// Names and passwords (RFC 7617).
        basic: Basic,
    }
}

table! {
    /// `jwt = { … }` of an auth.
    Jwt, "`jwt` of an `[auth.NAME]`", "a table, `jwt = { … }`" {
        /// A file with the public keys (JWKS, RFC 7517). Exactly one of `jwks`, `key` and `secret` is given.
        jwks: Text,
        /// A file with one public key as PEM, RSA, P-256, P-384 or Ed25519.
        key: Text,
        /// A secret for HMAC: at least 32 bytes, or `{ file = "…" }`, `{ credential = "…" }`.
        secret: Secret,
        /// With which algorithms tokens may be signed, `["RS256"]`. Default: all that the keys are for; of a secret `HS256`, from 48
        /// bytes on `HS384` too, from 64 on `HS512`.
        algorithms: List<OneOf<Algorithm>>,
        /// Who may have made the tokens (`iss`): one of these. Absent: it is not looked at.
        issuer: OneOrMany<Text>,
        /// For whom they may be made (`aud`): one of these. Absent: it is not looked at, and tokens for others are taken too.
        audience: OneOrMany<Text>,
        /// How far clocks may be apart, for `exp` and `nbf`. Default `"10s"`, up to `"5m"`.
        leeway: Period<0, { 5 * MINUTE }>,
        /// Claims that a token must have. Default `["exp"]`; an empty list takes tokens that never expire.
        required: List<Text>,
        /// Where a token may be, the first that has one counts: `"header"` (`Authorization: Bearer`), `"cookie:NAME"`, `"query:NAME"`
        /// (which neither the backend nor a log sees) and `"subprotocol"` (of a WebSocket: `bearer.TOKEN`, which the backend does not see).
        /// Default `["header"]`.
        from: List<TokenPlace>,
        /// Fields that the backend gets from the token: `{ X-User = "sub" }`. Such fields from clients are removed in any case. A claim's
        /// name, or a pointer such as `"/realm/roles"`; lists are joined by commas.
        claims: ClaimFields,
        /// The claim that names the user in logs, and that sessions of a bridge are bound to. Default `"sub"`.
        user: Text,
    }
}

table! {
    /// `basic = { … }` of an auth.
    Basic, "`basic` of an `[auth.NAME]`", "a table, `basic = { … }`" {
        /// A file as `htpasswd` writes it, or a table, `{ name = "hash" }`. Hashes are argon2id, bcrypt or SHA-crypt. Required.
        users: Users,
        /// What browsers show. Default: the auth's name.
        realm: Realm,
    }
}

impl Word for Algorithm {
    const EXPECTED: &'static str = "an algorithm for signatures";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("ES256", Self::ES256),
        ("ES384", Self::ES384),
        ("EdDSA", Self::EdDSA),
        ("HS256", Self::HS256),
        ("HS384", Self::HS384),
        ("HS512", Self::HS512),
    ];
}

/// Where a token may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenPlace(pub(crate) crate::config::model::TokenPlace);

impl Scalar for TokenPlace {
    const EXPECTED: &'static str = "a place for tokens such as \"cookie:NAME\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        use crate::config::model::TokenPlace as Place;
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let is_name = !name.is_empty() && name.len() <= 64 && name.bytes().all(is_token);
        match kind {
            "header" if text == kind => Ok(Self(Place::Header)),
            "subprotocol" if text == kind => Ok(Self(Place::Subprotocol)),
            "cookie" if is_name => Ok(Self(Place::Cookie(name.into()))),
            // In a query such a name is not written in other letters.
            "query"
                if is_name
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)) =>
            {
                Ok(Self(Place::Query(name.into())))
            }
            _ => Err(Refusal::malformed(
                "`header`, `cookie:NAME`, `query:NAME` and `subprotocol` are known",
            )),
        }
    }
}

/// What browsers show: a quoted string without anything to escape (RFC 9110 §5.6.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Realm(pub(crate) String);

impl Scalar for Realm {
    const EXPECTED: &'static str = "a realm such as \"the app\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let plain =
            |byte: u8| (byte == b' ' || byte.is_ascii_graphic()) && !b"\"\\".contains(&byte);
        if text.is_empty() || text.len() > 128 || !text.bytes().all(plain) {
            return Err(Refusal::malformed(
                "1 to 128 ASCII characters are allowed, without `\"` and `\\`",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Fields with the claims that they are made of.
#[derive(Debug)]
pub(crate) struct ClaimFields(pub(crate) Vec<(HeaderName, String)>);

impl Decode for ClaimFields {
    const EXPECTED: &'static str = "a table of header fields and claims, `{ X-User = \"sub\" }`";

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(fields) = value.get_ref() else {
            mismatch(value, Self::EXPECTED, reader);
            return None;
        };
        let mut claims: Vec<(HeaderName, String)> = Vec::new();
        for (key, value) in fields {
            let place = reader.place(key.span());
            let refusal = match FieldName::parse(key.get_ref()) {
                Err(_refusal) => Some(format!("`{}` cannot be set", key.get_ref())),
                Ok(FieldName(name)) if claims.iter().any(|(known, _)| *known == name) => {
                    Some(format!("`{}` is set twice", key.get_ref()))
                }
                Ok(FieldName(name)) => {
                    let claim = Text::decode(value, reader);
                    claims.extend(claim.map(|claim| (name, claim.value)));
                    None
                }
            };
            if let Some(message) = refusal {
                reader.diagnostics.error(place, message);
            }
        }
        (claims.len() == fields.len()).then_some(Self(claims))
    }
}

/// `users`: a file, or a table of names and hashes.
#[derive(Debug)]
pub(crate) enum Users {
    /// The file.
    File(Located<Text>),
    /// Names with their hashes.
    Table(Vec<(String, Located<Text>)>),
}

impl Decode for Users {
    const EXPECTED: &'static str = "a file, or a table of names and hashes";

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let located = |value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>| {
            let place = reader.place(value.span());
            Text::decode(value, reader).map(|value| Located { value, place })
        };
        match value.get_ref() {
            DeValue::String(_) => located(value, reader).map(Self::File),
            DeValue::Table(table) => {
                let users = table.iter().filter_map(|(name, hash)| {
                    let hash = located(hash, reader)?;
                    Some((name.get_ref().clone().into_owned(), hash))
                });
                let users: Vec<_> = users.collect();
                (users.len() == table.len()).then_some(Self::Table(users))
            }
            _ => {
                mismatch(value, Self::EXPECTED, reader);
                None
            }
        }
    }
}
