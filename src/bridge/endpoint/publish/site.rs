//! Who may speak in a user's name: pages of this site.

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use crate::http::problem::Problem;

/// A page of another site cannot speak in a user's name: a browser sends a simple `POST` anywhere, cookies included, and
/// opens a WebSocket anywhere, where the page may even read (RFC 6455 §10.2).
pub(in crate::bridge::endpoint) fn check(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let refused = Problem::Forbidden("a page of another site cannot connect here");
    if headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site")
    {
        return Err(refused);
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let own = uri.authority().map(Authority::as_str).or(host);
    let is_own = origin
        .to_str()
        .ok()
        .zip(own)
        .is_some_and(|(origin, own)| is_origin_of(origin, own));
    is_own.then_some(()).ok_or(refused)
}

/// Whether `origin` (RFC 6454 §6.1) is the origin of `authority`, where a missing port is the origin's scheme's.
fn is_origin_of(origin: &str, authority: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        return false;
    };
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return false,
    };
    let (Ok(theirs), Ok(own)) = (host.parse::<Authority>(), authority.parse::<Authority>()) else {
        return false;
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    theirs.host().eq_ignore_ascii_case(own.host()) && port(&theirs) == port(&own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_site_publish() {
        let table = [
            (None, None, true),
            (Some("https://a.example"), None, true),
            (Some("https://A.example:443"), Some("same-origin"), true),
            (Some("https://a.example:8443"), None, false),
            (Some("https://b.example"), None, false),
            (Some("https://a.example.evil"), None, false),
            (Some("null"), None, false),
            (Some("file://a.example"), None, false),
            (None, Some("cross-site"), false),
            (Some("https://a.example"), Some("cross-site"), false),
        ];
        for (origin, site, allowed) in table {
            let mut headers = HeaderMap::new();
            headers.insert("host", "a.example".parse().unwrap());
            origin.map(|origin| headers.insert("origin", origin.parse().unwrap()));
            site.map(|site| headers.insert("sec-fetch-site", site.parse().unwrap()));
            let found = check(&headers, &Uri::from_static("/live")).is_ok();
            assert_eq!(found, allowed, "{origin:?} {site:?}");
        }
    }
}
