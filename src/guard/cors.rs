//! What a page of another origin may see of a bridge (Fetch §3.2).
//!
//! Owns who is told so: the pages that the route lists, each by its own origin, and nobody where there is no list. So a
//! cookie is never taken for a page that nobody has allowed. What a preflight allows is the bridge's affair.

use http::HeaderMap;
use http::header::{self, HeaderValue};

use crate::http::page_origin::PageOrigins;
use crate::respond::fields::Rendered;

/// What a page's script may read besides the body.
const EXPOSED: &str = "retry-after, x-request-id";

/// Adds to a response's fields what a listed page needs to see it. The request has passed [`super::origin::check`]: an
/// origin that it has is a listed one.
pub fn allow(allowed: Option<&PageOrigins>, request: &HeaderMap, fields: &mut Rendered) {
    if allowed.is_none() {
        return;
    }
    // Whoever keeps a response must not give one page's to another (RFC 9110 §12.5.5), nor one without an origin.
    fields.add(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = request.get(header::ORIGIN) else {
        return;
    };
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
        (
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        ),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        ),
    ] {
        fields.set(name, value);
    }
}

/// Whether the request is known to come from a listed page. It has passed [`super::origin::check`].
#[must_use]
pub fn is_listed(allowed: Option<&PageOrigins>, request: &HeaderMap) -> bool {
    allowed.is_some() && request.contains_key(header::ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::page_origin::OriginPattern;

    fn told(has_list: bool, origin: Option<&'static str>) -> HeaderMap {
        let pattern = OriginPattern::parse("https://*.example.net").unwrap();
        let list: PageOrigins = [pattern].into_iter().collect();
        let mut request = HeaderMap::new();
        origin.map(|origin| request.insert(header::ORIGIN, HeaderValue::from_static(origin)));
        let (mut fields, mut headers) = (Rendered::default(), HeaderMap::new());
        allow(has_list.then_some(&list), &request, &mut fields);
        fields.apply(&mut headers);
        headers
    }

    #[test]
    fn a_listed_page_is_told_its_own_origin() {
        let headers = told(true, Some("https://a.example.net"));
        assert_eq!(
            headers["access-control-allow-origin"],
            "https://a.example.net"
        );
        assert_eq!(headers["access-control-allow-credentials"], "true");
        assert_eq!(headers["vary"], "origin");
    }

    #[test]
    fn without_a_list_or_an_origin_nobody_is() {
        assert!(told(false, Some("https://a.example.net")).is_empty());
        let headers = told(true, None);
        assert_eq!(
            (headers.len(), &headers["vary"]),
            (1, &HeaderValue::from_static("origin"))
        );
    }
}
