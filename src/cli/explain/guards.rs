//! What a request meets on its route before anything is done with it, in that order.

use crate::cli::explain::asked::Asked;
use crate::cli::explain::verdict::Taken;
use crate::config::Explained;
use crate::config::model::{AuthMethod, Keys, RequestRate, RouteAction, Sender, TokenPlace};
use crate::guard::origin;

/// One guard.
#[derive(Debug)]
pub(super) struct Guard {
    /// The route's key.
    pub(super) name: &'static str,
    /// What it asks for, and what who does not have it gets.
    pub(super) says: String,
    /// Whether this request passes, where that can be said from here.
    pub(super) passes: Option<bool>,
}

/// All that the route has.
pub(super) fn of(explained: &Explained, asked: &Asked, taken: &Taken<'_>) -> Vec<Guard> {
    let route = taken.route;
    let mut guards = Vec::new();
    guards.extend(origins(explained, asked, taken));
    guards.extend(route.rate.as_ref().map(rate));
    if let Some(name) = &route.auth {
        let method = explained
            .config
            .auths
            .get(name)
            .map(|auth| method(&auth.method));
        guards.push(Guard {
            name: "auth",
            says: format!("\"{name}\": {}", method.unwrap_or_default()),
            passes: None,
        });
    }
    let streams = [
        ("limits.streams", route.streams.total, "in all, 503 beyond"),
        (
            "limits.streams_per_ip",
            route.streams.per_ip,
            "of one address, 429 beyond",
        ),
        (
            "limits.streams_per_user",
            route.streams.per_user,
            "of one user, 429 beyond",
        ),
    ];
    for (name, limit, what) in streams {
        guards.extend(limit.map(|limit| Guard {
            name,
            says: format!("{limit} live streams {what}"),
            passes: None,
        }));
    }
    guards
}

fn origins(explained: &Explained, asked: &Asked, taken: &Taken<'_>) -> Option<Guard> {
    let route = taken.route;
    let allowed = route.origins.as_ref()?;
    let index = taken.index.to_string();
    let keys = explained.settings.of_table(&["route", &index]);
    let listed = keys.into_iter().find(|setting| setting.key == "origins");
    let listed = listed.map(|setting| setting.value).unwrap_or_default();
    let is_bridge = matches!(route.action, RouteAction::Bridge { .. });
    if !is_bridge && !asked.is_websocket() {
        return Some(Guard {
            name: "origins",
            says: format!("{listed}, of pages that open a WebSocket; this request does not"),
            passes: Some(true),
        });
    }
    let passes = origin::check(Some(allowed), &asked.headers).is_ok()
        && (!is_bridge || origin::check_site(Some(allowed), &asked.headers).is_ok());
    let own = asked.headers.get(http::header::ORIGIN);
    let own = match own.map(|it| String::from_utf8_lossy(it.as_bytes())) {
        Some(own) => format!("this one is {own}"),
        None => "this request names none, as what is no browser".to_owned(),
    };
    Some(Guard {
        name: "origins",
        says: format!("{listed}, 403 for other pages; {own}"),
        passes: Some(passes),
    })
}

fn rate(rate: &RequestRate) -> Guard {
    let window = match rate.window.as_secs() {
        1 => "s",
        60 => "m",
        _ => "h",
    };
    let by = match &rate.by {
        Sender::Client => "address".to_owned(),
        Sender::User => "user".to_owned(),
        Sender::Header(name) => format!("value of `{name}`"),
    };
    Guard {
        name: "limits.rate",
        says: format!(
            "{}/{window} of one {by}, {} at once, 429 beyond",
            rate.count, rate.burst
        ),
        passes: None,
    }
}

/// How it is known who asks, without anything of a secret.
fn method(method: &AuthMethod) -> String {
    match method {
        AuthMethod::Jwt(jwt) => {
            let places: Vec<String> = jwt.from.iter().map(token_place).collect();
            let keys = match &jwt.keys {
                Keys::Given(_) => "keys of the configuration".to_owned(),
                Keys::At(remote) => format!("keys from {}", remote.server),
            };
            format!("a token in {}, {keys}; 401 without", places.join(" or "))
        }
        AuthMethod::Basic(_) => "a name and a password; 401 without".to_owned(),
        AuthMethod::Forward(forward) => {
            format!(
                "{} is asked, and its answer is the client's",
                forward.at.server
            )
        }
    }
}

fn token_place(place: &TokenPlace) -> String {
    match place {
        TokenPlace::Header => "`Authorization`".to_owned(),
        TokenPlace::Cookie(name) => format!("the cookie `{name}`"),
        TokenPlace::Query(name) => format!("the query's `{name}`"),
        TokenPlace::Subprotocol => "`Sec-WebSocket-Protocol`".to_owned(),
    }
}
