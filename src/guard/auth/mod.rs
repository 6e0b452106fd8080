//! Who asks: what a request shows of it, and whether that is believed.
//!
//! Owns where credentials are looked for, what a request loses of them on its way to the backend, and the challenge for who
//! has none that counts. How a credential is judged is `credentials`' affair. Invariants: a field that tells the backend who
//! asks is never the client's own; of two credentials in one place neither counts; what is wrong with a credential is
//! told to the log, and to the client only that it is (or that it has expired).

mod asking;
mod keyring;
mod passwords;
mod places;
mod question;
mod refusal;
mod tickets;

pub use keyring::{Keyring, Keyrings};
pub use refusal::{Refusal, problem};
pub use tickets::{GOOD_FOR, Unticketed};

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use tokio::time::Instant;

use crate::config::model::{self, AuthMethod, Basic, Jwt, Keys};
use crate::credentials::User;
use crate::credentials::jwt::{self, KeySet, TokenError};
use crate::http::host::RequestHost;
use crate::http::origin::Origin;
use crate::respond::fields::Rendered;
use crate::tls::peer::ClientCertificate;
use crate::upstream::pool::Pools;
use crate::upstream::{Endpoint, Queue};
use asking::Asking;
use passwords::Asker;
use tickets::{Stub, Tickets};

/// The longest time until a stream looks for its end.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// One `[auth.NAME]`, with what it has found out and given out. A reload that leaves it as it is keeps it.
#[derive(Debug)]
pub struct Auth {
    config: Arc<model::Auth>,
    /// For keys that are somewhere else.
    keyring: Option<Arc<Keyring>>,
    /// The other server that is asked: the name of the connections to it.
    asked: Option<Arc<Endpoint>>,
    asking: Asking,
    tickets: Tickets,
}

/// What is known of a request besides its head.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Where it comes from.
    pub origin: &'a Origin,
    /// The host that it is for.
    pub host: &'a RequestHost,
    /// The client's own certificate, where it has shown one.
    pub certificate: Option<&'a ClientCertificate>,
}

/// What a request shows of who asks. It holds secrets, and prints none.
#[derive(Clone)]
pub struct Shown {
    what: What,
    /// Where the request comes from.
    client: IpAddr,
    /// On a path where tickets count.
    stub: Option<Stub>,
}

#[derive(Clone)]
enum What {
    /// What is judged here.
    Credential(Result<Option<String>, Ambiguous>),
    /// What another server is asked with; `None`: it is such a question itself.
    Question(Option<HeaderMap>),
}

/// Two credentials in one place: whoever reads on might take the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// Who asks, and what the backend is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who it is; `None`: somebody who may ask, and whose name is not known.
    pub user: Option<Arc<str>>,
    /// From when on that is worth nothing; `None`: it does not age.
    pub expires: Option<SystemTime>,
    fields: Vec<(HeaderName, Option<HeaderValue>)>,
    /// What it is let in by next time, where it came with a ticket.
    pass: Option<String>,
}

impl Auth {
    /// What `config` says, with what is still good of what `previous` has found out.
    #[must_use]
    pub fn new(config: Arc<model::Auth>, previous: Option<&Self>) -> Arc<Self> {
        let (mut keyring, mut asked) = (None, None);
        match &config.method {
            AuthMethod::Jwt(jwt) => {
                if let Keys::At(at) = &jwt.keys {
                    let kept = previous.and_then(|previous| previous.keyring.clone());
                    let kept = kept.filter(|kept| kept.is_at(at));
                    keyring = Some(kept.unwrap_or_else(|| Arc::new(Keyring::new(at.clone()))));
                }
            }
            AuthMethod::Basic(_) => {}
            AuthMethod::Forward(forward) => {
                let server = forward.at.server.clone();
                asked = Some(Endpoint::new(server, &Arc::new(Queue::default())));
            }
        }
        Arc::new(Self {
            config,
            keyring,
            asked,
            asking: Asking::default(),
            tickets: Tickets::new(),
        })
    }

    /// What it was made of.
    #[must_use]
    pub fn config(&self) -> &Arc<model::Auth> {
        &self.config
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Keys that are to be fetched.
    #[must_use]
    pub fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.keyring.as_ref()
    }

    /// Takes what the request shows. What the backend must not see is not in the request any more.
    pub fn take<B>(&self, request: &mut Request<B>, seen: &Seen<'_>) -> Shown {
        let what = match &self.config.method {
            AuthMethod::Jwt(jwt) => What::Credential(places::take_token(&jwt.from, request)),
            AuthMethod::Basic(_) => {
                What::Credential(places::of_authorization(request.headers(), "basic"))
            }
            AuthMethod::Forward(forward) => What::Question(question::about(forward, request, seen)),
        };
        Shown {
            what,
            client: seen.origin.client.ip(),
            stub: None,
        }
    }

    /// The same on a path where tickets count, with the [passes](take_passes) of the request: its ticket is taken out in any case.
    pub fn take_stub<B>(&self, request: &mut Request<B>, passes: Vec<String>, shown: &mut Shown) {
        let ticket = places::out_of_query(request.uri_mut(), tickets::PARAMETER);
        // They open streams, and do nothing else in anybody's name.
        if *request.method() == Method::GET {
            shown.stub = Some(Stub {
                path: request.uri().path().to_owned(),
                ticket: ticket.ok().flatten(),
                passes,
            });
        }
    }

    /// Judges what was shown. `pools` has the worker's connections to other servers; without it, it is for somebody who was let in
    /// before and has a stream.
    ///
    /// # Errors
    /// [`Refusal`].
    ///
    /// # Cancel safety
    /// Dropping it gives the answer up; a ticket may have been used up.
    pub async fn judge(&self, shown: &Shown, pools: Option<&Pools>) -> Result<Known, Refusal> {
        let credential = match &shown.what {
            What::Question(fields) => return self.ask(fields.as_ref(), pools).await,
            What::Credential(Err(Ambiguous)) => return Err(Refusal::Ambiguous),
            What::Credential(Ok(credential)) => credential,
        };
        let Some(credential) = credential else {
            let stub = shown.stub.as_ref().ok_or(Refusal::Missing)?;
            return self.tickets.take(stub, SystemTime::now());
        };
        match &self.config.method {
            AuthMethod::Jwt(jwt) => self.token(jwt, credential).await,
            AuthMethod::Basic(Basic { users, .. }) => {
                let asker = match pools {
                    Some(_) => Asker::Request(shown.client),
                    None => Asker::Stream,
                };
                passwords::verify(users, credential, asker).await
            }
            // A reload has changed how it is known who asks: what was shown is no question.
            AuthMethod::Forward(_) => Err(Refusal::Missing),
        }
    }

    async fn ask(
        &self,
        fields: Option<&HeaderMap>,
        pools: Option<&Pools>,
    ) -> Result<Known, Refusal> {
        let fields = fields.ok_or(Refusal::Loop)?;
        let AuthMethod::Forward(forward) = &self.config.method else {
            // A reload has changed how it is known who asks.
            return Err(Refusal::Missing);
        };
        let _place = self.asking.enter(forward.timeout, pools.is_none()).await?;
        let connections = pools.zip(self.asked.as_ref().map(|server| server.id()));
        question::ask(forward, fields, connections).await
    }

    async fn token(&self, jwt: &Jwt, credential: &str) -> Result<Known, Refusal> {
        let keyring = match (&jwt.keys, &self.keyring) {
            (Keys::Given(keys), _) => return token(jwt, keys, credential),
            (Keys::At(_), keyring) => keyring.as_ref().ok_or(Refusal::Keyless)?,
        };
        if credential.len() > jwt::MAX_TOKEN {
            return Err(TokenError::TooLong.into());
        }
        let keys = keyring.keys().await.ok_or(Refusal::Keyless)?;
        match token(jwt, &keys, credential) {
            // The other keys may be for another algorithm, too.
            Err(Refusal::Token(TokenError::UnknownKey | TokenError::Algorithm)) => {
                let others = keyring.others(&keys).await;
                token(jwt, others.as_ref().unwrap_or(&keys), credential)
            }
            judged => judged,
        }
    }

    /// A ticket for the streams of `path`, to who is `known`.
    ///
    /// # Errors
    /// [`Unticketed`].
    pub fn ticket(&self, known: &Known, path: &str) -> Result<String, Unticketed> {
        self.tickets.give(known, path, SystemTime::now())
    }

    /// What the backend is told of a request that is let in although nobody knows who asks: that nobody does.
    #[must_use]
    pub fn nobody(&self) -> Known {
        let fields = match &self.config.method {
            AuthMethod::Jwt(jwt) => {
                let claims = jwt.claims.iter();
                claims.map(|(name, _)| (name.clone(), None)).collect()
            }
            AuthMethod::Forward(forward) => question::of_nobody(forward),
            AuthMethod::Basic(_) => Vec::new(),
        };
        Known {
            user: None,
            expires: None,
            fields,
            pass: None,
        }
    }
}

/// Takes the passes out of a request: a browser sends one to every path below the one that it is for, whatever is there.
pub fn take_passes(headers: &mut HeaderMap) -> Vec<String> {
    places::out_of_cookies(headers, tickets::COOKIE)
}

impl Shown {
    /// What the same client would show next time, once it is `known`: a ticket counts only once.
    #[must_use]
    pub fn again(mut self, known: &Known) -> Self {
        if let (Some(stub), Some(pass)) = (&mut self.stub, &known.pass) {
            stub.ticket = None;
            stub.passes = vec![pass.clone()];
        }
        self
    }
}

fn token(jwt: &Jwt, keys: &KeySet, token: &str) -> Result<Known, Refusal> {
    let claims = jwt::verify(token, keys, &jwt.rules, SystemTime::now())?;
    // A stream may last as long as the token would open it again.
    let expires = claims.expires();
    let expires = expires.and_then(|at| at.checked_add(jwt.rules.leeway));
    let name = claims.single(&jwt.user).unwrap_or_default();
    let user = User::new(&name, expires).ok_or(Refusal::Nameless)?;
    let value = |claim: &str| {
        let text = claims.text(claim)?;
        HeaderValue::try_from(text).ok()
    };
    let fields = jwt.claims.iter();
    Ok(Known {
        user: Some(user.name),
        expires,
        fields: fields
            .map(|(name, claim)| (name.clone(), value(claim)))
            .collect(),
        pass: None,
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

    /// Adds to the fields of the response what the client comes again with, where it came with a ticket.
    pub fn give(&self, path: &str, fields: &mut Rendered) {
        let pass = self.pass.as_deref();
        let cookie = pass.and_then(|pass| tickets::cookie(pass, path, self.expires));
        if let Some(cookie) = cookie {
            fields.add(header::SET_COOKIE, cookie);
        }
    }

    /// When what the client was let in by is worth nothing any more.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let left = self.expires?.duration_since(SystemTime::now());
        Some(Instant::now() + left.unwrap_or_default().min(YEAR))
    }
}

#[cfg(test)]
mod tests;
