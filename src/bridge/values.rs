//! What a channel is told apart by: the values of the route's path, and parts of a client's request where the bridge asks
//! for them (`{query.name}`, `{header.name}`).

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::config::model::Bridge;
use crate::route::template::{HEADER, QUERY, is_of_request};
use crate::route::{Captures, Escape, Template};

/// The values for `config`'s texts, where it has names that are not of the path; `None`: those of the path are enough.
pub(super) fn of_request(
    config: &Bridge,
    captures: &Captures,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Option<Captures> {
    let names = names(config);
    if names.is_empty() {
        return None;
    }
    let own = captures
        .iter()
        .map(|(name, value)| (name, value.to_owned()));
    let of_request = names
        .iter()
        .filter_map(|name| Some((name.as_str(), value(name, headers, query)?)));
    Some(own.chain(of_request).collect())
}

/// Beside the values of the path: who asks. No path and no text can have this name.
const USER: &str = "\0user";

/// The same values, of a client that is known.
pub(super) fn with_user(values: &Captures, user: &str) -> Captures {
    let own = values.iter().map(|(name, value)| (name, value.to_owned()));
    own.chain([(USER, user.to_owned())]).collect()
}

/// Where a session is: another user, or another room, is another place.
pub(super) fn place(config: &Bridge, values: &Captures) -> String {
    let user = values.get(USER).unwrap_or_default();
    // A key has no line end in it, whatever its values have.
    format!("{}\n{user}", key(config, values))
}

/// A channel's key: two clients have the same only if all their values for it are equal.
pub(super) fn key(config: &Bridge, values: &Captures) -> String {
    // Whatever a value holds, it cannot hold what stands between two of them.
    config.share_key.render(values, Escape::PathSegment)
}

/// What of a key may be shown to clients and in logs: the value of a field or of a query may be a secret, and is told by a
/// number that means something in this process alone.
pub(super) fn shown(config: &Bridge, values: &Captures) -> String {
    static HASHED: OnceLock<RandomState> = OnceLock::new();
    let names_of_key = config.share_key.names().count();
    config.share_key.render_with(|name, text| {
        let value = values.get(name).unwrap_or_default();
        if name.starts_with(HEADER) || name.starts_with(QUERY) {
            let hash = HASHED.get_or_init(RandomState::new).hash_one(value);
            text.push_str(&format!("{hash:016x}"));
        } else if names_of_key > 1 || value.contains(char::is_control) {
            Escape::PathSegment.push(value, text);
        } else {
            text.push_str(value);
        }
    })
}

/// The names that are not of the path, each once.
fn names(config: &Bridge) -> Vec<String> {
    let greetings = config.connect.send.iter().map(|greeting| &greeting.text);
    let resume = config.resume.iter().map(|resume| &resume.send);
    let texts = greetings.chain(resume).chain([&config.share_key]);
    let forwarded = config.connect.forward.iter();
    let mut names: Vec<String> = forwarded.map(|name| format!("{HEADER}{name}")).collect();
    for name in texts.flat_map(Template::names) {
        if is_of_request(name) && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// `None`, when the request does not say.
fn value(name: &str, headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    if let Some(field) = name.strip_prefix(HEADER) {
        let mut lines = headers.get_all(field).iter();
        let first = lines.next()?.to_str().ok()?.to_owned();
        // HTTP/2 may divide a cookie (RFC 9113 §8.2.3), and any field may be a list (RFC 9110 §5.3).
        let between = if field == "cookie" { "; " } else { ", " };
        return lines.try_fold(first, |all, line| Some(all + between + line.to_str().ok()?));
    }
    let wanted = name.strip_prefix(QUERY)?;
    let mut pairs = query?
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, _)| *key == wanted)?;
    let value = value.replace('+', " ");
    let decoded = percent_decode_str(&value).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;
    use crate::bridge::tests::config;
    use crate::config::model::Greeting;

    fn asking(share_key: &str, send: &str, forward: &[&'static str]) -> Bridge {
        let mut config = config(&[1]);
        config.share_key = Template::parse_of_request(share_key).unwrap();
        config.connect.send = vec![Greeting {
            text: Template::parse_of_request(send).unwrap(),
            expect: None,
        }];
        let forward = forward.iter().copied().map(HeaderName::from_static);
        config.connect.forward = forward.collect();
        config.idle.ping = Duration::from_secs(20);
        config
    }

    fn values(config: &Bridge, cookies: &[&str], query: &str) -> Captures {
        let path: Captures = [("room", "a")].into_iter().collect();
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append("cookie", cookie.parse().unwrap());
        }
        of_request(config, &path, &headers, Some(query)).unwrap_or(path)
    }

    #[test]
    fn parts_of_the_request_are_taken_where_they_are_named() {
        let config = asking("{room}/{query.symbol}", "{query.symbol}", &["cookie"]);
        let values = values(&config, &["a=1", "b=2"], "x=1&symbol=A%2FB+c&symbol=2");
        assert_eq!(values.get("query.symbol"), Some("A/B c"));
        assert_eq!(values.get("header.cookie"), Some("a=1; b=2"));
        assert_eq!(values.get("query.x"), None);
        assert_eq!(key(&config, &values), "a/A%2FB%20c");
        let plain = asking("{room}", "hello", &[]);
        assert!(of_request(&plain, &values, &HeaderMap::new(), None).is_none());
    }

    #[test]
    fn no_value_can_be_taken_for_two() {
        let config = asking("{query.a}/{query.b}", "", &[]);
        let one = values(&config, &[], "a=x%2Fy&b=z");
        let other = values(&config, &[], "a=x&b=y%2Fz");
        assert_ne!(key(&config, &one), key(&config, &other));
        let absent = values(&config, &[], "");
        assert_eq!(key(&config, &absent), "/");
    }

    #[test]
    fn a_querys_value_is_not_shown_and_a_path_cannot_begin_a_line() {
        let config = asking("{query.token}", "", &[]);
        let name = shown(&config, &values(&config, &[], "token=secret"));
        assert_eq!(name.len(), 16, "{name}");
        assert!(!name.contains("secret"), "{name}");
        let config = asking("{room}", "", &[]);
        let path: Captures = [("room", "a\nfeed open")].into_iter().collect();
        assert_eq!(shown(&config, &path), "a%0Afeed%20open");
    }

    #[test]
    fn a_fields_value_is_not_shown() {
        let config = asking("{room}/{header.cookie}", "", &["cookie"]);
        let name = |cookie: &str| shown(&config, &values(&config, &[cookie], ""));
        assert!(!name("secret").contains("secret"), "{}", name("secret"));
        assert!(name("secret").starts_with("a/"));
        assert_eq!(name("secret"), name("secret"));
        assert_ne!(name("secret"), name("other"));
    }
}
