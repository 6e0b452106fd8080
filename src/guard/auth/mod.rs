//! Who asks: what a request shows of it, and whether that is believed.
//!
//! Owns where credentials are looked for, what a request loses of them on its way to the backend, and the challenge for who
//! has none that counts. How a credential is judged is `credentials`' affair. Invariants: a field that tells the backend who
//! asks is never the client's own; of two credentials in one place neither counts; what is wrong with a credential is
//! told to the log, and to the client only that it is (or that it has expired).

mod passwords;
mod places;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::time::Instant;

use crate::config::model::{Auth, AuthMethod, Basic, Jwt};
use crate::credentials::User;
use crate::credentials::jwt::{self, TokenError};
use crate::http::problem::Problem;
use crate::respond::fields::Rendered;

/// What a request shows of who asks. It holds secrets, and prints none.
pub struct Shown(Result<Option<String>, Ambiguous>);

/// Two credentials in one place: whoever reads on might take the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// Who asks, and what the backend is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who it is.
    pub user: User,
    fields: Vec<(HeaderName, Option<HeaderValue>)>,
}

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
    /// The claim that names the user cannot be a name.
    #[error("the token names nobody")]
    Nameless,
    /// More passwords are to be verified than there is time for.
    #[error("too many passwords are being verified")]
    Busy,
}

/// Takes what the request shows, as `auth` says. What the backend must not see is not in the request any more.
pub fn take<B>(auth: &Auth, request: &mut Request<B>) -> Shown {
    Shown(match &auth.method {
        AuthMethod::Jwt(jwt) => places::take_token(&jwt.from, request),
        AuthMethod::Basic(_) => places::of_authorization(request.headers(), "basic"),
    })
}

/// Judges what was shown.
///
/// # Errors
/// [`Refusal`].
///
/// # Cancel safety
/// Dropping it gives the answer up.
pub async fn judge(auth: &Auth, shown: Shown) -> Result<Known, Refusal> {
    let shown = shown.0.map_err(|Ambiguous| Refusal::Ambiguous)?;
    let shown = shown.ok_or(Refusal::Missing)?;
    match &auth.method {
        AuthMethod::Jwt(jwt) => token(jwt, &shown, SystemTime::now()),
        AuthMethod::Basic(Basic { users, .. }) => passwords::verify(users, &shown).await,
    }
}

fn token(jwt: &Jwt, token: &str, now: SystemTime) -> Result<Known, Refusal> {
    let claims = jwt::verify(token, &jwt.keys, &jwt.rules, now)?;
    // A stream may last as long as the token would open it again.
    let expires = claims.expires();
    let expires = expires.and_then(|at| at.checked_add(jwt.rules.leeway));
    let name = claims.text(&jwt.user).unwrap_or_default();
    let user = User::new(&name, expires).ok_or(Refusal::Nameless)?;
    let value = |claim: &str| {
        let text = claims.text(claim)?;
        HeaderValue::try_from(text).ok()
    };
    let fields = jwt.claims.iter();
    Ok(Known {
        user,
        fields: fields
            .map(|(name, claim)| (name.clone(), value(claim)))
            .collect(),
    })
}

impl Known {
    /// Adds to a route's rules for requests what the backend is told. A field without a value is removed: what stands
    /// there was said by the client.
    pub fn tell(&self, rules: &mut Rendered) {
        for (name, value) in &self.fields {
            match value {
                Some(value) => rules.set(name.clone(), value.clone()),
                None => rules.remove(name.clone()),
            }
        }
    }

    /// The same in a request's own head.
    pub fn tell_in(&self, headers: &mut HeaderMap) {
        let mut rules = Rendered::default();
        self.tell(&mut rules);
        rules.apply_to_request(headers);
    }
}

/// The longest time until a stream looks for its end.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// When what a user was let in by is worth nothing any more.
#[must_use]
pub fn deadline(user: &User) -> Option<Instant> {
    let left = user.expires?.duration_since(SystemTime::now());
    Some(Instant::now() + left.unwrap_or_default().min(YEAR))
}

/// What a client is told whose credentials are refused.
#[must_use]
pub fn problem(auth: &Auth, refusal: &Refusal) -> Problem {
    let challenge = match (&auth.method, refusal) {
        (_, Refusal::Busy) => {
            return Problem::Unavailable {
                retry_after: Duration::from_secs(2),
                reason: "Too many clients sign in at the same time.",
            };
        }
        (AuthMethod::Basic(basic), _) => {
            format!("Basic realm=\"{}\", charset=\"UTF-8\"", basic.realm)
        }
        (AuthMethod::Jwt(_), Refusal::Missing) => format!("Bearer realm=\"{}\"", auth.name),
        (AuthMethod::Jwt(_), refusal) => {
            let more = match refusal {
                Refusal::Token(TokenError::Expired) => {
                    ", error_description=\"the token has expired\""
                }
                _ => "",
            };
            format!(
                "Bearer realm=\"{}\", error=\"invalid_token\"{more}",
                auth.name
            )
        }
    };
    match HeaderValue::try_from(challenge) {
        Ok(challenge) => Problem::Challenged(challenge),
        Err(_unwritable) => Problem::Unauthorized,
    }
}

#[cfg(test)]
mod tests;
