//! From which pages a browser may open a WebSocket, or use a bridge.
//!
//! A browser lets any page open a WebSocket to any server, and sends the server's cookies with it: the server has to look at
//! `Origin` (RFC 6455 §10.2). Who sends none is no browser, and could write what it likes there.

use http::HeaderMap;
use http::header::{self, HeaderValue};

use crate::http::page_origin::{PageOrigin, PageOrigins};
use crate::http::problem::Problem;

/// Refuses a request from a page that is not in `allowed`. `None` allows all.
///
/// # Errors
/// 403.
pub fn check(allowed: Option<&PageOrigins>, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(allowed) = allowed else {
        return Ok(());
    };
    let mut lines = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = lines.next() else {
        return Ok(());
    };
    let one = origin.to_str().ok().filter(|_one| lines.next().is_none());
    // `null`, which sandboxed pages and files send, is the origin of nobody.
    let origin = one.and_then(|text| PageOrigin::parse(text).ok());
    if origin.is_some_and(|origin| allowed.allow(&origin)) {
        return Ok(());
    }
    Err(Problem::Forbidden(
        "Pages of this origin may not connect here.",
    ))
}

/// Refuses what a browser loads into a page of another site or origin without saying which: an image, a script, a frame. A
/// page's own EventSource sends no `Origin` either, but says that it is of the same origin.
///
/// # Errors
/// 403.
pub fn check_site(allowed: Option<&PageOrigins>, headers: &HeaderMap) -> Result<(), Problem> {
    if allowed.is_none() || headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_other) => Err(Problem::Forbidden(
            "Pages of other sites may not connect here.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::page_origin::OriginPattern;

    fn checked(origins: &[&str]) -> bool {
        let pattern = |text: &&str| OriginPattern::parse(text).unwrap();
        let allowed = ["https://app.example.org", "https://*.example.net"];
        let allowed: PageOrigins = allowed.iter().map(pattern).collect();
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(header::ORIGIN, origin.parse().unwrap());
        }
        check(Some(&allowed), &headers).is_ok()
    }

    #[test]
    fn pages_that_are_listed_pass_and_no_others() {
        for (origins, passes) in [
            (&["https://app.example.org"][..], true),
            (&["https://x.example.net"], true),
            (&[], true),
            (&["https://example.net"], false),
            (&["http://app.example.org"], false),
            (&["https://app.example.org.evil.test"], false),
            (&["null"], false),
            (&[""], false),
            (&["https://app.example.org, https://evil.test"], false),
            (&["https://app.example.org", "https://evil.test"], false),
        ] {
            assert_eq!(checked(origins), passes, "{origins:?}");
        }
    }

    #[test]
    fn a_request_without_an_origin_is_told_by_its_site() {
        let list: PageOrigins = [OriginPattern::parse("https://a.test").unwrap()]
            .into_iter()
            .collect();
        for (site, passes) in [
            (None, true),
            (Some("same-origin"), true),
            (Some("none"), true),
            (Some("same-site"), false),
            (Some("cross-site"), false),
            (Some("Same-Origin"), false),
        ] {
            let mut headers = HeaderMap::new();
            site.map(|site| headers.insert("sec-fetch-site", HeaderValue::from_static(site)));
            assert_eq!(
                check_site(Some(&list), &headers).is_ok(),
                passes,
                "{site:?}"
            );
            assert!(check_site(None, &headers).is_ok());
            // Whoever names its origin was judged by it.
            headers.insert(header::ORIGIN, HeaderValue::from_static("https://a.test"));
            assert!(check_site(Some(&list), &headers).is_ok());
        }
    }

    #[test]
    fn without_a_list_all_pass() {
        let mut headers = HeaderMap::new();
        headers.append(header::ORIGIN, "https://evil.test".parse().unwrap());
        assert_eq!(check(None, &headers), Ok(()));
    }
}
