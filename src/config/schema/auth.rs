//! `[auth.NAME]`: who may ask, and how it is known who does.

use http::HeaderName;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::model::Preflight;
use crate::config::schema::balance::is_token;
use crate::config::schema::collection::{List, OneOrMany};
use crate::config::schema::decode::{Decode, Located, Reader, mismatch};
use crate::config::schema::feed::Secret;
use crate::config::schema::fields::FieldName;
use crate::config::schema::form::Form;
use crate::config::schema::scalar::{OneOf, Refusal, Scalar, Text, Word};
use crate::config::schema::table::table;
use crate::config::schema::upstream::UpstreamTls;
use crate::config::schema::url::{self, Url};
use crate::config::units::{DAY, MINUTE, Period, SECOND, TimeLimit};
use crate::credentials::jwt::Algorithm;
use crate::net::{Place, Scheme, ServerAddr};

table! {
    /// `[auth.NAME]`: exactly one of `jwt`, `basic` and `forward`.
    Auth, "`[auth.NAME]`", "a table, `[auth.NAME]`" {
        /// Signed tokens (JSON Web Tokens, RFC 7519).
        jwt: Jwt,
        /// Names and passwords (RFC 7617).
        basic: Basic,
        /// Another server is asked at each request.
        forward: Forward,
        /// What becomes of a browser's preflight, which never has credentials: `"refuse"` (the default), or `"pass"`: an upstream
        /// answers it. A bridge answers it by itself in any case.
        preflight: OneOf<Preflight>,
        /// How often it is asked again who has a live stream, by what the configuration in force says then; the stream ends when
        /// its client is not let in any more. Default `"0"`: never; else from `"1s"` to `"1d"`.
        recheck: TimeLimit<SECOND, DAY>,
        /// Whether bridges give out tickets, `POST PATH/ticket`: what an EventSource, which can send no fields, opens a stream with.
        /// Default `true`; with `forward` there are none.
        tickets: bool,
    }
}

impl Word for Preflight {
    const EXPECTED: &'static str = "what becomes of a preflight";
    const WORDS: &'static [(&'static str, Self)] =
        &[("refuse", Self::Refuse), ("pass", Self::Pass)];
}

table! {
    /// `jwt = { … }` of an auth.
    Jwt, "`jwt` of an `[auth.NAME]`", "a table, `jwt = { … }`" {
        /// The public keys (JWKS, RFC 7517): a file, or an `https://` URL that is asked again from time to time. Exactly one of
        /// `jwks`, `key` and `secret` is given.
        jwks: KeySource,
        /// How an `https://` URL of `jwks` is spoken to.
        tls: UpstreamTls,
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

table! {
    /// `forward = { … }` of an auth.
    Forward, "`forward` of an `[auth.NAME]`", "a table, `forward = { … }`" {
        /// Who is asked, by a `GET` with `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`: `"http://127.0.0.1:4180/auth"`, or
        /// `https://`. 2xx lets the request pass; 401, 403 and redirects are the client's answer. Required.
        url: AuthUrl,
        /// How an `https://` URL is spoken to.
        tls: UpstreamTls,
        /// How long the answer may take; 504 then. Default `"5s"`, from `"10ms"` to `"1m"`.
        timeout: Period<10, MINUTE>,
        /// Fields of the client's request that go with the question. Default `["Accept", "Accept-Language", "Authorization",
        /// "Cookie", "Origin", "User-Agent", "X-Requested-With"]`.
        headers_request: List<AskedWith>,
        /// Fields of the answer that the backend gets: `["X-Auth-User"]`. Such fields from clients are removed in any case. Default:
        /// none.
        headers_response: List<FieldName>,
        /// The answer's field that names the user in logs, and that sessions of a bridge are bound to. Default: users have no
        /// names.
        user: FieldName,
        /// The answer's field that says for how many seconds it holds; streams end then, or are asked about again with `recheck`.
        /// `"Cache-Control"` is understood too (`max-age`). Default: it holds for as long as a stream lives.
        lease: FieldName,
    }
}

/// Where the public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// A file.
    File(Text),
    /// Another server.
    Url(AuthUrl),
}

impl Scalar for KeySource {
    const EXPECTED: &'static str = "a file, or a URL such as \"https://id.example.org/jwks.json\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if !text.contains("://") {
            return Ok(Self::File(Text {
                value: text.to_owned(),
                substituted: true,
            }));
        }
        AuthUrl::parse(text).map(Self::Url)
    }
}

/// `https://host:port/path?query`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthUrl {
    pub(crate) server: ServerAddr,
    pub(crate) path: String,
}

impl Scalar for AuthUrl {
    const EXPECTED: &'static str = "a URL such as \"http://127.0.0.1:4180/auth\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let Url {
            scheme,
            authority,
            rest,
        } = url::parse(text, &[("http", 80), ("https", 443)])?;
        let visible = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte);
        if !rest.bytes().all(visible) {
            return Err(Refusal::malformed(
                "its path and query must be such as can be sent (RFC 3986 §3.3, §3.4), without `#` and `{…}`",
            ));
        }
        let path = if rest.starts_with('/') {
            rest.to_owned()
        } else {
            format!("/{rest}")
        };
        let scheme = match scheme {
            "https" => Scheme::Https,
            _ => Scheme::Http,
        };
        Ok(Self {
            server: ServerAddr {
                scheme,
                place: Place::Tcp(authority),
            },
            path,
        })
    }
}

/// A field that goes with a question: any but what belongs to the connection, or is written here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AskedWith(pub(crate) HeaderName);

impl Scalar for AskedWith {
    const EXPECTED: &'static str = "a field such as \"Cookie\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let FieldName(name) = match FieldName::parse(text) {
            // A token may be in it.
            Err(_) if text.eq_ignore_ascii_case("sec-websocket-protocol") => {
                FieldName(http::header::SEC_WEBSOCKET_PROTOCOL)
            }
            name => name?,
        };
        if name.as_str().starts_with("x-forwarded-") {
            return Err(Refusal::malformed("it is set for every question"));
        }
        Ok(Self(name))
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

    fn form() -> Form {
        Form::Map {
            names: ".",
            values: Box::new(Form::Text("a claim")),
        }
    }

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

    fn form() -> Form {
        Form::Either(vec![
            Form::Text("a file"),
            Form::Map {
                names: ".",
                values: Box::new(Form::Secret(Text::EXPECTED)),
            },
        ])
    }

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
