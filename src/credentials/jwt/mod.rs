//! JSON Web Tokens (RFC 7519), as RFC 8725 wants them judged.
//!
//! The signature is `jsonwebtoken`'s affair; which key and algorithm it is tried with, and what the claims must say, is
//! judged here. Invariants: what a token says of itself (`alg`, `kid`) only chooses among what the configuration allows;
//! `jku`, `x5u`, `jwk` and the like are never looked at; a claim that is asked for is there, and of its type.

mod keys;

pub use keys::{KeyError, KeySet, MAX_KEYS, MIN_SECRET};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use jsonwebtoken::Algorithm;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// What holds for a token.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// With which algorithms it may be signed. `None`: all that the keys are for.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Who may have made it. Empty: anybody who has a key.
    pub issuer: Vec<String>,
    /// For whom it may have been made. Empty: for anybody.
    pub audience: Vec<String>,
    /// How far the clocks may be apart.
    pub leeway: Duration,
    /// Claims that it must have, whatever they say.
    pub required: Vec<String>,
}

/// Why a token is not taken. None of it is told to clients but [`TokenError::Expired`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN`].
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    /// It is no token, or has a header that is not known.
    #[error("that is no token")]
    Malformed,
    /// A header field that must be understood, and is not (RFC 7515 §4.1.11).
    #[error("the token has a critical header")]
    Critical,
    /// An algorithm that is not allowed, or that no key is for.
    #[error("the token is signed with an algorithm that is not allowed")]
    Algorithm,
    /// A `kid` that no key has. Other keys may be there in a while.
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// Somebody else signed it, or it was changed.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp`
    #[error("the token has expired")]
    Expired,
    /// `nbf`
    #[error("the token is not valid yet")]
    NotYet,
    /// `iss`
    #[error("the token was made by somebody else")]
    Issuer,
    /// `aud`
    #[error("the token was made for somebody else")]
    Audience,
    /// A claim is not there, or of another type.
    #[error("the token has no `{0}`")]
    Claim(String),
}

/// What a token says, once it is believed.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// A claim as text: a string, a number, `true` or `false`; a list of such, with commas between, if there is none in
    /// them: they would be read as more than they are. `name` is a claim's name, or a pointer into it (`"/realm/roles"`,
    /// RFC 6901).
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.find(name)? {
            Value::Array(list) => {
                let single = |value| scalar(value).filter(|text| !text.contains(','));
                let texts: Option<Vec<String>> = list.iter().map(single).collect();
                texts.map(|texts| texts.join(","))
            }
            value => scalar(value),
        }
    }

    /// The same of one thing only: a list of two names is not a name.
    #[must_use]
    pub fn single(&self, name: &str) -> Option<String> {
        scalar(self.find(name)?)
    }

    /// When it expires; `None`: never.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        let after = seconds(self.0.get("exp")?)?;
        UNIX_EPOCH.checked_add(after)
    }

    fn find(&self, name: &str) -> Option<&Value> {
        let Some(pointer) = name.strip_prefix('/') else {
            return self.0.get(name);
        };
        let (first, rest) = pointer
            .find('/')
            .map_or((pointer, ""), |at| pointer.split_at(at));
        let first = first.replace("~1", "/").replace("~0", "~");
        self.0.get(&first)?.pointer(rest)
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(word) => Some(word.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Seconds since 1970 (RFC 7519 §2), perhaps with a fraction.
fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}

/// Judges a token.
///
/// # Errors
/// [`TokenError`].
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &Rules,
    now: SystemTime,
) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::TooLong);
    }
    let claims = Claims(signed(token, keys, rules)?);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    check_times(&claims, rules.leeway, now)?;
    for (name, wanted, error) in [
        ("iss", &rules.issuer, TokenError::Issuer),
        ("aud", &rules.audience, TokenError::Audience),
    ] {
        if !wanted.is_empty() && !names_one_of(claims.0.get(name), wanted) {
            return Err(error);
        }
    }
    for name in &rules.required {
        if claims.find(name).is_none_or(Value::is_null) {
            return Err(TokenError::Claim(name.clone()));
        }
    }
    Ok(claims)
}

/// Tries the keys that the token may mean.
fn signed(token: &str, keys: &KeySet, rules: &Rules) -> Result<Map<String, Value>, TokenError> {
    // Of the algorithms that exist `none` is not one.
    let header = decode_header(token).map_err(|_error| TokenError::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    let is_allowed = |allowed: &Vec<Algorithm>| allowed.contains(&header.alg);
    if rules.algorithms.as_ref().is_some_and(|it| !is_allowed(it)) {
        return Err(TokenError::Algorithm);
    }
    let mut error = TokenError::Algorithm;
    for key in &keys.keys {
        if !is_allowed(&key.algorithms) {
            continue;
        }
        // A key without a name may have any.
        if let (Some(wanted), Some(id)) = (&header.kid, &key.id)
            && wanted != id
        {
            if error == TokenError::Algorithm {
                error = TokenError::UnknownKey;
            }
            continue;
        }
        match decode::<Map<String, Value>>(token, &key.key, &signature_only(header.alg)) {
            Ok(token) => return Ok(token.claims),
            Err(refused) => {
                error = match refused.kind() {
                    ErrorKind::InvalidSignature => TokenError::Signature,
                    _ => TokenError::Malformed,
                }
            }
        }
    }
    Err(error)
}

/// Claims are judged here, by one clock, and so that a claim of a wrong type is not passed over.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut only = Validation::new(algorithm);
    only.required_spec_claims.clear();
    only.validate_exp = false;
    only.validate_nbf = false;
    only.validate_aud = false;
    only
}

fn check_times(claims: &Claims, leeway: Duration, now: Duration) -> Result<(), TokenError> {
    let time = |name: &str| match claims.0.get(name) {
        None => Ok(None),
        Some(value) => match seconds(value) {
            Some(time) => Ok(Some(time)),
            None => Err(TokenError::Claim(name.to_owned())),
        },
    };
    if time("exp")?.is_some_and(|end| end.saturating_add(leeway) <= now) {
        return Err(TokenError::Expired);
    }
    if time("nbf")?.is_some_and(|begin| begin > now.saturating_add(leeway)) {
        return Err(TokenError::NotYet);
    }
    Ok(())
}

/// A string, or a list with such a string in it (RFC 7519 §4.1.3).
fn names_one_of(claim: Option<&Value>, wanted: &[String]) -> bool {
    let is_wanted = |value: &Value| {
        value
            .as_str()
            .is_some_and(|it| wanted.iter().any(|w| w == it))
    };
    match claim {
        Some(Value::Array(list)) => list.iter().any(is_wanted),
        Some(value) => is_wanted(value),
        None => false,
    }
}

#[cfg(test)]
mod tests;
