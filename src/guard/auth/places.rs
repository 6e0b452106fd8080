//! Where in a request a credential may be, and how it is taken out.
//!
//! Pure. Invariants: a parameter of the query and a subprotocol that hold a token are taken out whether the token counts or
//! not; everything else of the request stays as it was, byte by byte.

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use percent_encoding::percent_decode_str;

use super::Ambiguous;
use crate::config::model::TokenPlace;

/// What a WebSocket's subprotocol that is a token begins with.
const SUBPROTOCOL: &str = "bearer.";

/// What was found in one place.
type Found = Result<Option<String>, Ambiguous>;

/// Takes a token out of the first place that has one.
pub(super) fn take_token<B>(places: &[TokenPlace], request: &mut Request<B>) -> Found {
    let mut first: Found = Ok(None);
    for place in places {
        let found = match place {
            TokenPlace::Header => of_authorization(request.headers(), "bearer"),
            TokenPlace::Cookie(name) => of_cookies(request.headers(), name),
            TokenPlace::Query(name) => out_of_query(request.uri_mut(), name),
            TokenPlace::Subprotocol => out_of_subprotocols(request.headers_mut()),
        };
        if first == Ok(None) {
            first = found;
        }
    }
    first
}

/// What `Authorization` says by `scheme`, which is in lower case (RFC 9110 §11.4).
pub(super) fn of_authorization(headers: &HeaderMap, scheme: &str) -> Found {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        let is_there = headers.contains_key(header::AUTHORIZATION);
        return if is_there { Err(Ambiguous) } else { Ok(None) };
    };
    let credentials = line.to_str().ok().and_then(|line| {
        let (said, rest) = line.split_once(' ')?;
        said.eq_ignore_ascii_case(scheme).then(|| rest.trim())
    });
    Ok(credentials.map(ToOwned::to_owned))
}

/// All cookies, in order (RFC 6265 §4.2), which may stand in several lines over HTTP/2. What is no text hides none of the others.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii)
}

/// The value, if `pair` is a cookie of this name.
fn named<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
    let is_ours = pair[..end].trim_ascii() == name.as_bytes();
    is_ours.then(|| pair.get(end + 1..).unwrap_or_default().trim_ascii())
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// The value of a cookie.
fn of_cookies(headers: &HeaderMap, name: &str) -> Found {
    let values = cookies(headers).filter_map(|pair| named(pair, name));
    only(values.map(|value| text(value).trim_matches('"').to_owned()))
}

/// Makes one line of all cookies, as HTTP/1.1 has it; HTTP/2 may have more (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = cookies(headers).collect();
    // It is made of what lines were made of.
    if let Ok(line) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, line);
    }
}

/// The values of all cookies of this name, which go. Those that are left stand in one line.
pub(super) fn out_of_cookies(headers: &mut HeaderMap, name: &str) -> Vec<String> {
    // The usual case takes no memory.
    if cookies(headers).all(|pair| named(pair, name).is_none()) {
        return Vec::new();
    }
    let (ours, others): (Vec<&[u8]>, Vec<&[u8]>) =
        cookies(headers).partition(|pair| named(pair, name).is_some());
    let values = ours.iter().filter_map(|pair| named(pair, name));
    let values = values.map(text).collect();
    // It is made of what lines were made of.
    let left = HeaderValue::from_bytes(&others.join(&b"; "[..])).ok();
    let left = left.filter(|left| !left.is_empty());
    headers.remove(header::COOKIE);
    if let Some(left) = left {
        headers.insert(header::COOKIE, left);
    }
    values
}

/// The value of a query's parameter, which goes, however its name is written.
pub(super) fn out_of_query(uri: &mut Uri, name: &str) -> Found {
    let Some(query) = uri.query() else {
        return Ok(None);
    };
    let is_ours = |pair: &str| {
        let key = pair.split('=').next().unwrap_or_default();
        percent_decode_str(key).eq(name.bytes())
    };
    let (ours, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| is_ours(pair));
    if ours.is_empty() {
        return Ok(None);
    }
    let values = ours.iter().map(|pair| {
        let value = pair.split_once('=').map_or("", |(_, value)| value);
        percent_decode_str(value).decode_utf8_lossy().into_owned()
    });
    let found = only(values);
    let target = match others.as_slice() {
        [] => uri.path().to_owned(),
        others => format!("{}?{}", uri.path(), others.join("&")),
    };
    let mut parts = std::mem::take(uri).into_parts();
    // It is a part of what was one.
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
    found
}

/// The token among a WebSocket's subprotocols, which goes (RFC 6455 §11.3.4).
fn out_of_subprotocols(headers: &mut HeaderMap) -> Found {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered: Vec<String> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|protocol| protocol.trim().to_owned())
        .collect();
    let (ours, others): (Vec<String>, Vec<String>) = offered
        .into_iter()
        .partition(|protocol| protocol.starts_with(SUBPROTOCOL));
    if ours.is_empty() {
        return Ok(None);
    }
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if let Ok(line) = HeaderValue::try_from(others.join(", "))
        && !others.is_empty()
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, line);
    }
    only(ours.iter().map(|it| it[SUBPROTOCOL.len()..].to_owned()))
}

/// The only one; of two neither counts.
fn only(mut values: impl Iterator<Item = String>) -> Found {
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Ambiguous),
        (first, None) => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_query_goes_and_the_rest_stays() {
        for (target, found, left) in [
            ("/a?token=x", Ok(Some("x")), "/a"),
            ("/a?b=1&token=x&c=%20", Ok(Some("x")), "/a?b=1&c=%20"),
            ("/a?%74oken=x%2Ey", Ok(Some("x.y")), "/a"),
            ("/a?token=x&token=y&b", Err(Ambiguous), "/a?b"),
            ("/a?token", Ok(Some("")), "/a"),
            ("/a?Token=x", Ok(None), "/a?Token=x"),
            ("/a?b=token=x", Ok(None), "/a?b=token=x"),
            ("/a", Ok(None), "/a"),
            ("https://h:1/a?token=x", Ok(Some("x")), "https://h:1/a"),
        ] {
            let mut uri: Uri = target.parse().unwrap();
            let found = found.map(|it| it.map(ToOwned::to_owned));
            assert_eq!(out_of_query(&mut uri, "token"), found, "{target}");
            assert_eq!(uri.to_string(), left, "{target}");
        }
    }

    fn headers(lines: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn two_credentials_in_one_place_are_none() {
        let authorization = |lines: &[&'static str]| {
            let lines: Vec<_> = lines
                .iter()
                .map(|it| (header::AUTHORIZATION, *it))
                .collect();
            of_authorization(&headers(&lines), "bearer")
        };
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(authorization(&["Bearer x"]), some("x"));
        assert_eq!(authorization(&["bEARER  x "]), some("x"));
        assert_eq!(authorization(&["Basic x"]), Ok(None));
        assert_eq!(authorization(&["Bearer"]), Ok(None));
        assert_eq!(authorization(&[]), Ok(None));
        assert_eq!(authorization(&["Bearer x", "Bearer y"]), Err(Ambiguous));
        assert_eq!(authorization(&["Basic x", "Bearer y"]), Err(Ambiguous));
        let cookies = |lines: &[&'static str]| {
            let lines: Vec<_> = lines.iter().map(|it| (header::COOKIE, *it)).collect();
            of_cookies(&headers(&lines), "t")
        };
        assert_eq!(cookies(&["a=b; t=x"]), some("x"));
        assert_eq!(cookies(&["a=b", "t=\"x\""]), some("x"));
        assert_eq!(cookies(&["t=x; t=y"]), Err(Ambiguous));
        assert_eq!(cookies(&["xt=x", "T=y"]), Ok(None));
    }

    #[test]
    fn cookies_of_a_name_go_and_the_others_stay() {
        for (lines, found, left) in [
            (&["a=b; t=x; c=d"][..], &["x"][..], Some("a=b; c=d")),
            (&["t=x"], &["x"], None),
            (&["t=x; a=b", "t=y"], &["x", "y"], Some("a=b")),
            (&["a=b;c=d"], &[], Some("a=b;c=d")),
        ] {
            let lines: Vec<_> = lines.iter().map(|it| (header::COOKIE, *it)).collect();
            let mut headers = headers(&lines);
            assert_eq!(out_of_cookies(&mut headers, "t"), found, "{lines:?}");
            let is_left = headers.get(header::COOKIE).map(|it| it.to_str().unwrap());
            assert_eq!(is_left, left, "{lines:?}");
        }
    }

    #[test]
    fn a_byte_that_is_no_text_hides_no_cookie_of_its_line() {
        let line = HeaderValue::from_bytes(b"theme=caf\xe9; t=x; \xff").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, line);
        assert_eq!(of_cookies(&headers, "t"), Ok(Some("x".to_owned())));
        assert_eq!(out_of_cookies(&mut headers, "t"), ["x"]);
        assert_eq!(headers[header::COOKIE].as_bytes(), b"theme=caf\xe9; \xff");
    }

    #[test]
    fn cookies_of_several_lines_are_one() {
        for (lines, joined) in [
            (&["a=b", "c=d; e=f"][..], "a=b; c=d; e=f"),
            (&["a=b;c=d"], "a=b;c=d"),
        ] {
            let lines: Vec<_> = lines.iter().map(|it| (header::COOKIE, *it)).collect();
            let mut headers = headers(&lines);
            join_cookies(&mut headers);
            let left: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
            assert_eq!(left, [joined]);
        }
    }

    #[test]
    fn a_token_among_subprotocols_goes() {
        let name = header::SEC_WEBSOCKET_PROTOCOL;
        for (lines, found, left) in [
            (&["chat, bearer.x"][..], Ok(Some("x")), Some("chat")),
            (&["bearer.x"], Ok(Some("x")), None),
            (&["a,b", "bearer.x, c"], Ok(Some("x")), Some("a, b, c")),
            (&["bearer.x, bearer.y, c"], Err(Ambiguous), Some("c")),
            (&["bearer, c"], Ok(None), Some("bearer, c")),
        ] {
            let lines: Vec<_> = lines.iter().map(|it| (name.clone(), *it)).collect();
            let mut headers = headers(&lines);
            let found = found.map(|it| it.map(ToOwned::to_owned));
            assert_eq!(out_of_subprotocols(&mut headers), found, "{lines:?}");
            let is_left = headers.get(&name).map(|it| it.to_str().unwrap());
            assert_eq!(is_left, left, "{lines:?}");
        }
    }
}
