//! What may be asked of a route: from which pages of a browser, who is told so, and with how large a body.

use http::Request;
use hyper::body::Incoming;

use crate::bridge::rejected::Reason;
use crate::guard;
use crate::http::problem::Problem;
use crate::respond::fields::Rendered;
use crate::snapshot::{Action, Route};

/// Refuses what a page may not ask for; and tells those that a bridge's route lists that they may read its response.
///
/// # Errors
/// 403.
pub(super) fn admit<B>(
    route: &Route,
    request: &Request<B>,
    fields: &mut Rendered,
) -> Result<(), Problem> {
    let (origins, headers) = (route.origins.as_ref(), request.headers());
    if let Action::Bridge(bridge) = &route.action {
        guard::origin::check(origins, headers)
            .and_then(|()| guard::origin::check_site(origins, headers))
            .inspect_err(|_refused| bridge.rejected().count(Reason::Origin))?;
        guard::cors::allow(origins, headers, fields);
    } else if guard::websocket::is_asked_for(request) {
        guard::origin::check(origins, headers)?;
    }
    Ok(())
}

/// The limit for the request's body, which its announced length must not pass.
pub(super) fn body_limit(
    limit: Option<u64>,
    request: &Request<Incoming>,
) -> Result<Option<u64>, Problem> {
    let announced = http_body::Body::size_hint(request.body()).lower();
    match limit {
        Some(limit) if announced > limit => Err(Problem::ContentTooLarge { limit }),
        within => Ok(within),
    }
}
