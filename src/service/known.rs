//! Who asks, on routes that want to know: taken from the request first, judged before anything is done with it, and for as
//! long as a stream lives.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response};

use super::Service;
use super::own::Told;
use super::rounds::Rounds;
use crate::bridge::endpoint;
use crate::config::model::{self, Preflight};
use crate::guard::auth::{self, Auth, Known, Refusal, Seen, Shown, Unticketed};
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::observe::access::RequestId;
use crate::respond::fields::Rendered;
use crate::snapshot::{Action, Route, Snapshot};
use crate::stream::{Answer, Losses, Pass, Watch};

/// What a request is, to a route that wants to know who asks.
pub(super) enum Judged {
    /// It may go on; `None`: on a route that does not want to know.
    LetIn(Option<Known>),
    /// Another server has answered it, or it is to come again.
    Answered(Answer),
}

/// Takes out of the request what nothing behind may see: a token in the query is not even there for a route's own rules.
pub(super) fn take<B>(route: &Route, request: &mut Request<B>, seen: &Seen<'_>) -> Option<Shown> {
    // On every route: nobody else is to see them.
    let passes = auth::take_passes(request.headers_mut());
    let auth = route.auth.as_ref()?;
    let mut shown = auth.take(request, seen);
    if gives_tickets(route) {
        auth.take_stub(request, passes, &mut shown);
    }
    Some(shown)
}

/// Whether a client can get tickets for the route's streams.
pub(super) fn gives_tickets(route: &Route) -> bool {
    let gives = |auth: &Arc<Auth>| auth.config().tickets;
    matches!(route.action, Action::Bridge(_)) && route.auth.as_ref().is_some_and(gives)
}

/// What becomes of a request without credentials that can have none: a browser asks whether it may ask (Fetch §3.2.5).
fn preflight<B: http_body::Body>(
    route: &Route,
    auth: &Auth,
    request: &Request<B>,
) -> Option<Judged> {
    let headers = request.headers();
    let is_preflight = *request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && request.body().is_end_stream();
    let passes = match (&route.action, auth.config().preflight) {
        // It answers by itself, and asks its feed for nothing.
        (Action::Bridge(_), _) => true,
        (Action::Forward { .. }, Preflight::Pass) => true,
        (Action::Forward { .. }, Preflight::Refuse) => false,
        // They say the same to everybody, and so nothing to nobody.
        (Action::Redirect(_) | Action::Respond(_), _) => false,
    };
    (is_preflight && passes).then(|| Judged::LetIn(Some(auth.nobody())))
}

impl Service {
    /// Who asks.
    ///
    /// # Errors
    /// 401; 502 to 504 where it cannot be found out now.
    pub(super) async fn know<B: http_body::Body>(
        &self,
        id: &RequestId,
        route: &Route,
        shown: Option<&Shown>,
        request: &Request<B>,
        told: &mut Told,
    ) -> Result<Judged, Problem> {
        let (Some(auth), Some(shown)) = (&route.auth, shown) else {
            return Ok(Judged::LetIn(None));
        };
        if let Some(judged) = preflight(route, auth, request) {
            return Ok(judged);
        }
        match auth.judge(shown, Some(&self.pools)).await {
            Ok(known) => {
                if let (Some(record), Some(user)) = (&mut told.record, &known.user) {
                    record.asked_by(user);
                }
                known.give(request.uri().path(), &mut told.fields);
                Ok(Judged::LetIn(Some(known)))
            }
            Err(Refusal::Answered(status, answer)) => {
                tracing::debug!(%id, route = &*route.name, auth = &**auth.name(), %status, "not let in by the server that was asked");
                Ok(Judged::Answered(Answer::Response(*answer.0)))
            }
            Err(refusal) => {
                tell(id, route, auth, &refusal);
                let problem = auth::problem(auth, &refusal);
                let again = refusal.is_passing().then(|| come_again(route, request, id));
                match again.flatten() {
                    Some(answer) => {
                        if let Some(record) = &mut told.record {
                            record.failed(problem.label());
                        }
                        Ok(Judged::Answered(answer))
                    }
                    None => Err(problem),
                }
            }
        }
    }

    /// What ends the streams of who was let in: the route's reasons, and the end of what they were let in by.
    pub(super) fn losses(
        &self,
        route: &Route,
        shown: Option<Shown>,
        known: Option<&Known>,
    ) -> Arc<Losses> {
        let (Some(auth), Some(shown), Some(known)) = (&route.auth, shown, known) else {
            return route.losses.clone();
        };
        let expires = known.deadline();
        let watch = auth.config().recheck.map(|every| Recheck {
            shared: self.shared.clone(),
            auth: auth.name().clone(),
            route: route.name.clone(),
            shown: shown.again(known),
            user: known.user.clone(),
            rounds: Rounds::new(every, expires),
        });
        Arc::new(Losses {
            pass: Some(Pass {
                user: known.user.clone(),
                // Who looks again sees to that, too: it may have been put off.
                expires: expires.filter(|_at| watch.is_none()),
                watch: watch.map(|watch| Arc::new(watch) as Arc<dyn Watch>),
            }),
            ..Losses::clone(&route.losses)
        })
    }
}

/// What an EventSource of a bridge gets for a fault that passes: a status would end it for ever.
fn come_again<B>(route: &Route, request: &Request<B>, id: &RequestId) -> Option<Answer> {
    let Action::Bridge(bridge) = &route.action else {
        return None;
    };
    endpoint::sent_away(bridge, request, id, Duration::ZERO)
}

/// Tells the log why somebody is not let in.
fn tell(id: &RequestId, route: &Route, auth: &Auth, refusal: &Refusal) {
    let (route, auth) = (&*route.name, &**auth.name());
    if refusal.is_passing() {
        tracing::warn!(%id, route, auth, error = %refusal, "it cannot be found out who asks");
        return;
    }
    tracing::debug!(%id, route, auth, error = %refusal, "not let in");
}

/// Looks again, from time to time, whether a stream's client would still be let in.
struct Recheck {
    shared: Arc<ArcSwap<Snapshot>>,
    auth: Arc<str>,
    route: Arc<str>,
    shown: Shown,
    user: Option<Arc<str>>,
    rounds: Rounds,
}

/// It holds a secret.
impl fmt::Debug for Recheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recheck({:?})", self.rounds)
    }
}

impl Watch for Recheck {
    fn revoked(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(self.run())
    }
}

impl Recheck {
    async fn run(&self) {
        loop {
            self.rounds.due().await;
            let refusal = match self.look().await {
                Ok(known) => {
                    self.rounds.looked(known.deadline());
                    continue;
                }
                Err(refusal) => refusal,
            };
            let (route, auth, user) = (&*self.route, &*self.auth, self.user.as_deref());
            if refusal.is_passing() && self.rounds.holds() {
                tracing::debug!(route, auth, user, error = %refusal, "it cannot be found out whether a stream may go on");
                self.rounds.looked_in_vain();
                continue;
            }
            tracing::info!(route, auth, user, error = %refusal, "a stream's client is not let in any more");
            return;
        }
    }

    /// By what the configuration in force says, of the route as of the client.
    async fn look(&self) -> Result<Known, Refusal> {
        let auth = {
            let snapshot = self.shared.load();
            let routes = &snapshot.config.routes;
            if !still_asks(routes, &self.route, &self.auth) {
                return Err(Refusal::Changed);
            }
            snapshot.auth(&self.auth).cloned()
        };
        // Nobody is let in by what is not there any more.
        let known = auth
            .ok_or(Refusal::Changed)?
            .judge(&self.shown, None)
            .await?;
        match known.user == self.user {
            true => Ok(known),
            false => Err(Refusal::Another),
        }
    }
}

/// Whether the route still lets in by this auth. What becomes of the streams of a route that is gone is for `on_remove` to say.
fn still_asks(routes: &[model::Route], name: &Arc<str>, auth: &Arc<str>) -> bool {
    let mut same = routes.iter().filter(|route| route.name == *name).peekable();
    same.peek().is_none() || same.any(|route| route.auth.as_ref() == Some(auth))
}

/// Adds to the rules for a request what its server is told of who asks.
pub(super) fn tell_server(known: Option<&Known>, rules: &mut Rendered) {
    if let Some(known) = known {
        known.tell(rules);
    }
}

/// The same in the request itself, where there is no server.
pub(super) fn tell_in(known: Option<&Known>, headers: &mut HeaderMap) {
    if let Some(known) = known {
        known.tell_in(headers);
    }
}

/// A ticket for the streams of `stem`, to who is known.
///
/// # Errors
/// 400 and 403: there can be none.
pub(super) fn ticket(
    route: &Route,
    known: Option<&Known>,
    stem: &str,
) -> Result<Response<Body>, Problem> {
    let (Some(auth), Some(known)) = (&route.auth, known) else {
        return Err(Problem::NotFound);
    };
    let ticket = auth.ticket(known, stem).map_err(|none| match none {
        Unticketed::Path => Problem::BadRequest("There are no tickets for this path."),
        Unticketed::TooLong => {
            Problem::Forbidden("What is known of this client does not fit a ticket.")
        }
    })?;
    let json = serde_json::json!({"ticket": ticket, "expires_in": auth::GOOD_FOR});
    let mut response = Response::new(Body::from(Bytes::from(json.to_string())));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
