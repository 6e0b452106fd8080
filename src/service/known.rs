//! Who asks, on routes that want to know: taken from the request first, judged before anything is done with it.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, header};

use crate::guard::auth::{self, Known, Shown};
use crate::http::problem::Problem;
use crate::observe::access::RequestRecord;
use crate::respond::fields::Rendered;
use crate::snapshot::{Action, Route};
use crate::stream::{Losses, Pass};

/// Takes out of the request what nothing behind may see: a token in the query is not even there for a route's own rules.
pub(super) fn take<B>(route: &Route, request: &mut Request<B>) -> Option<Shown> {
    let auth = route.auth.as_ref()?;
    Some(auth::take(auth, request))
}

/// Who asks; `None` on a route that does not want to know.
///
/// # Errors
/// 401, or 503 where there is no time to find out.
pub(super) async fn know<B>(
    route: &Route,
    shown: Option<Shown>,
    request: &Request<B>,
    record: &mut Option<RequestRecord>,
) -> Result<Option<Known>, Problem> {
    let (Some(auth), Some(shown)) = (&route.auth, shown) else {
        return Ok(None);
    };
    // A browser asks with nothing in its hands whether it may ask (Fetch §3.2.5), and a bridge answers that by itself.
    let is_preflight = *request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight && matches!(route.action, Action::Bridge(_)) {
        return Ok(None);
    }
    match auth::judge(auth, shown).await {
        Ok(known) => {
            if let Some(record) = record {
                record.asked_by(&known.user.name);
            }
            Ok(Some(known))
        }
        Err(refusal) => {
            let (route, auth_name) = (&*route.name, &*auth.name);
            tracing::debug!(route, auth = auth_name, error = %refusal, "not let in");
            Err(auth::problem(auth, &refusal))
        }
    }
}

/// What ends the streams of who was let in: the route's reasons, and the end of what they were let in by.
pub(super) fn losses(route: &Route, known: Option<&Known>) -> Arc<Losses> {
    let Some(known) = known else {
        return route.losses.clone();
    };
    Arc::new(Losses {
        pass: Some(Pass {
            user: known.user.name.clone(),
            expires: auth::deadline(&known.user),
        }),
        ..Losses::clone(&route.losses)
    })
}

/// Adds to the rules for a request what its server is told of who asks.
pub(super) fn tell(known: Option<&Known>, rules: &mut Rendered) {
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
