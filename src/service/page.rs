//! What a page of a browser may ask of a route: who is let in by its origin, and who is told so.

use http::Request;

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
