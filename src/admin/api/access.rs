//! Who may see what, and change it: by the way a request comes, by the token, by what a browser says of the page it is for.
//!
//! Over the Unix socket the kernel says who comes. Over TCP nobody does: without a token whoever is on this machine may read,
//! and nobody may change anything; with one, who shows it may do both. Invariants: a token is compared in constant time and
//! is in no answer and no line of the log; a page of another site gets nothing here, whatever its browser knows.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, SET_COOKIE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{Either, Full};

use crate::admin::answer::{Answered, Refusal};
use crate::admin::door::Way;
use crate::config::model::Secret;
use crate::http::host::RequestHost;
use crate::http::page_origin::PageOrigin;

/// The cookie that stands for the token.
const COOKIE_NAME: &str = "streamgate_admin";

/// What the cookie's value is signed over, with the token as key.
const COOKIE_WORDS: &[u8] = b"streamgate admin cookie";

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Look.
    Read,
    /// Look, and change.
    Change,
}

/// Whether the token is right.
pub(super) fn admit(head: &Parts, way: Way, token: Option<&Secret>) -> Result<Access, Refusal> {
    match (way, token) {
        (Way::Owner, _) => Ok(Access::Change),
        (Way::Local, _) => Ok(Access::Read),
        (Way::Loopback, None) => Ok(Access::Read),
        (Way::Network, None) => {
            let why = "over the network the API needs `[admin] token`, and none is set";
            Err(Refusal::new(StatusCode::FORBIDDEN, why))
        }
        (Way::Loopback | Way::Network, Some(token)) => {
            if shows_token(head, token) || shows_cookie(head, token) {
                return Ok(Access::Change);
            }
            Err(unauthorized())
        }
    }
}

/// The answer to whoever may look and wants to change something.
pub(super) fn may_not_change(way: Way) -> Refusal {
    let why = match way {
        Way::Loopback | Way::Network => {
            "changes over TCP need `[admin] token`, and none is set: set one, or use the admin socket"
        }
        Way::Owner | Way::Local => {
            "changes over the admin socket are for the user of the process, and root"
        }
    };
    Refusal::new(StatusCode::FORBIDDEN, why)
}

fn unauthorized() -> Refusal {
    let why = "`Authorization: Bearer TOKEN` is needed, with the token of `[admin]`";
    let bearer = HeaderValue::from_static("Bearer realm=\"streamgate admin\"");
    Refusal::new(StatusCode::UNAUTHORIZED, why).with(WWW_AUTHENTICATE, bearer)
}

fn shows_token(head: &Parts, token: &Secret) -> bool {
    let shown = head.headers.get_all(AUTHORIZATION).iter();
    let mut shown = shown.filter_map(|value| {
        // The scheme's name has no case (RFC 9110 §11.1).
        let (scheme, shown) = value.as_bytes().split_at_checked(7)?;
        scheme
            .eq_ignore_ascii_case(b"Bearer ")
            .then_some(shown.trim_ascii())
    });
    shown.any(|shown| constant_time::verify_slices_are_equal(shown, token.reveal()).is_ok())
}

fn shows_cookie(head: &Parts, token: &Secret) -> bool {
    let expected = cookie_value(token);
    let fields = head.headers.get_all(COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.any(|pair| {
        let value = pair
            .trim_ascii()
            .strip_prefix(COOKIE_NAME.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="));
        value.is_some_and(|value| {
            constant_time::verify_slices_are_equal(value, expected.as_bytes()).is_ok()
        })
    })
}

/// The same on every node and after every restart, as long as the token is; the token cannot be had from it.
fn cookie_value(token: &Secret) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.reveal());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, COOKIE_WORDS))
}

/// `/api/session`: gives the cookie for the token, or takes it away.
pub(super) fn session(method: &Method, head: &Parts, way: Way, token: Option<&Secret>) -> Answered {
    let value = if method == Method::DELETE {
        format!("{COOKIE_NAME}=; Max-Age=0")
    } else {
        let none = || match admit(head, way, None) {
            Ok(_) => Refusal::new(StatusCode::FORBIDDEN, "`[admin] token` is not set"),
            Err(refusal) => refusal,
        };
        let token = token.ok_or_else(none)?;
        if !shows_token(head, token) {
            return Err(unauthorized());
        }
        format!("{COOKIE_NAME}={}", cookie_value(token))
    };
    let secure = if is_secure(head) { "; Secure" } else { "" };
    let cookie = format!("{value}; Path=/api; HttpOnly; SameSite=Strict{secure}");
    let cookie =
        HeaderValue::from_str(&cookie).expect("base64 and words of ours are visible ASCII");
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().insert(SET_COOKIE, cookie);
    Ok(answer)
}

/// Whether the page came by https: something before us speaks it, and the browser says so in the page's origin.
fn is_secure(head: &Parts) -> bool {
    let origin = head.headers.get(ORIGIN);
    origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

/// Refuses what a browser asks for a page of another site, and, where nothing but the way in protects us, whoever calls this
/// machine by a name that its own DNS made up (rebinding). Over the Unix socket, too: by `ssh -L` a browser may be at its end.
pub(super) fn same_site(head: &Parts, way: Way, token: Option<&Secret>) -> Result<(), Refusal> {
    let foreign = |why: &'static str| Refusal::new(StatusCode::FORBIDDEN, why);
    let host = RequestHost::of(&head.uri, &head.headers, head.version)
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    let is_known = match way {
        // Programs that speak over a socket have to write some host: nobody can have a name of one word by public DNS.
        Way::Owner | Way::Local => is_of_this_machine(host.name()) || !host.name().contains('.'),
        Way::Loopback | Way::Network => token.is_some() || is_of_this_machine(host.name()),
    };
    if head.headers.contains_key(HOST) && !is_known {
        let why = "without `[admin] token` the host has to be an address or `localhost`, as over the admin socket";
        return Err(foreign(why));
    }
    for origin in head.headers.get_all(ORIGIN) {
        let origin = origin.to_str().ok();
        let origin = origin.and_then(|origin| PageOrigin::parse(origin).ok());
        if !origin.is_some_and(|origin| origin.is_of(&host)) {
            return Err(foreign("the page that asks is of another origin"));
        }
    }
    let site = head.headers.get_all("sec-fetch-site").iter();
    let is_own = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    if !site.into_iter().all(is_own) {
        return Err(foreign("the page that asks is of another site"));
    }
    Ok(())
}

fn is_of_this_machine(name: &str) -> bool {
    name.starts_with('[')
        || name.parse::<std::net::Ipv4Addr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn head(fields: Fields<'_>) -> Parts {
        let mut request = Request::get("/api/status");
        if fields.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", "127.0.0.1:9180");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn status(answered: Result<Access, Refusal>) -> Result<Access, u16> {
        answered.map_err(|refusal| {
            crate::admin::answer::Answer::from(refusal)
                .status()
                .as_u16()
        })
    }

    #[test]
    fn the_way_and_the_token_say_who_may() {
        let token = Secret::new(TOKEN);
        let cookie = format!("a=b; {COOKIE_NAME}={}; c=d", cookie_value(&token));
        let bearer = format!("bearer {TOKEN}");
        let right: [Fields<'_>; 2] = [&[("authorization", &bearer)], &[("cookie", &cookie)]];
        let as_cookie = format!("{COOKIE_NAME}={TOKEN}");
        let wrong: [Fields<'_>; 6] = [
            &[],
            &[("authorization", "Bearer 0123456789abcdeX")],
            &[("authorization", "Bearer")],
            &[("authorization", "Basic 0123456789abcdef")],
            &[("cookie", &as_cookie)],
            &[("cookie", COOKIE_NAME)],
        ];
        for way in [Way::Loopback, Way::Network] {
            for fields in right {
                let found = status(admit(&head(fields), way, Some(&token)));
                assert_eq!(found, Ok(Access::Change), "{fields:?}");
            }
            for fields in wrong {
                let found = status(admit(&head(fields), way, Some(&token)));
                assert_eq!(found, Err(401), "{fields:?}");
            }
        }
        for (way, expected) in [
            (Way::Owner, Ok(Access::Change)),
            (Way::Local, Ok(Access::Read)),
            (Way::Loopback, Ok(Access::Read)),
            (Way::Network, Err(403)),
        ] {
            let bare = status(admit(&head(&[]), way, None));
            assert_eq!(bare, expected, "{way:?}");
            // A token that nobody has set opens nothing.
            let shown = status(admit(&head(right[0]), way, None));
            assert_eq!(shown, expected, "{way:?}");
        }
    }

    #[test]
    fn pages_of_other_sites_and_names_of_other_machines_are_refused() {
        let token = Secret::new(TOKEN);
        type Fields<'a> = &'a [(&'a str, &'a str)];
        // Without a token, and with one.
        let table: [(Fields<'_>, bool, bool); 14] = [
            (&[], true, true),
            (&[("host", "localhost:9180")], true, true),
            (&[("host", "gate.localhost")], true, true),
            (&[("host", "[::1]:9180")], true, true),
            (&[("host", "gate.example.org")], false, true),
            (&[("host", "localhost.example.org")], false, true),
            (&[("host", "127.0.0.1.example.org")], false, true),
            (&[("origin", "http://127.0.0.1:9180")], true, true),
            (&[("origin", "http://127.0.0.1:9181")], false, false),
            (&[("origin", "null")], false, false),
            (&[("sec-fetch-site", "same-origin")], true, true),
            (&[("sec-fetch-site", "none")], true, true),
            (&[("sec-fetch-site", "same-site")], false, false),
            (&[("sec-fetch-site", "cross-site")], false, false),
        ];
        for (fields, without, with) in table {
            let head = head(fields);
            for way in [Way::Loopback, Way::Network] {
                let found = [None, Some(&token)].map(|token| same_site(&head, way, token).is_ok());
                assert_eq!(found, [without, with], "{fields:?}");
            }
            // A browser may be at the other end of a tunnel to the socket, and a token changes nothing there.
            for way in [Way::Owner, Way::Local] {
                let found = [None, Some(&token)].map(|token| same_site(&head, way, token).is_ok());
                assert_eq!(found, [without, without], "{fields:?}");
            }
        }
        let program = head(&[("host", "streamgate")]);
        assert!(same_site(&program, Way::Owner, None).is_ok());
        assert!(same_site(&program, Way::Loopback, None).is_err());
    }

    #[test]
    fn the_cookie_is_for_the_token_and_never_is_it() {
        let token = Secret::new(TOKEN);
        let bearer = format!("Bearer {TOKEN}");
        let head = head(&[
            ("host", "gate.example.org"),
            ("origin", "https://gate.example.org"),
            ("authorization", &bearer),
        ]);
        let given = session(&Method::POST, &head, Way::Network, Some(&token)).unwrap();
        let given = given.headers()[SET_COOKIE].to_str().unwrap().to_owned();
        assert!(given.ends_with("; Path=/api; HttpOnly; SameSite=Strict; Secure"));
        assert!(!given.contains(TOKEN));
        let other = Secret::new("another token of the operator");
        assert_ne!(cookie_value(&token), cookie_value(&other));
    }
}
