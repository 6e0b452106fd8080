//! What is to be looked at, out of what was typed.
//!
//! Owns the reading of the URL, the fields, the time and the address, and nothing that opens anything. Invariant: a
//! [`Target`]'s path, host and fields can be sent as they are; the fields that a handshake is made of are the doctor's own.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use thiserror::Error;

use crate::cli::doctor::Doctor;
use crate::net::Authority;

/// How long it is listened to where nothing is said.
const USUAL: Duration = Duration::from_secs(20);

/// The bounds of `--for`.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(1);

/// Units of a time, in milliseconds.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Fields that say how the connection is used: they are the doctor's own.
const OWN: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// What is expected at the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An event stream.
    Sse,
    /// A WebSocket.
    WebSocket,
    /// Both.
    Both,
    /// At least one of them.
    Either,
}

impl Wanted {
    /// Whether an event stream is tried.
    pub(super) const fn tries_sse(self) -> bool {
        !matches!(self, Self::WebSocket)
    }

    /// Whether a WebSocket is tried.
    pub(super) const fn tries_websocket(self) -> bool {
        !matches!(self, Self::Sse)
    }
}

/// How long it is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// All of this time: so it was asked for.
    Whole(Duration),
    /// This time at most, and less where less will do.
    AtMost(Duration),
}

impl Patience {
    /// The time at most.
    pub(super) const fn limit(self) -> Duration {
        match self {
            Self::Whole(time) | Self::AtMost(time) => time,
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Whether TLS is spoken.
    pub(super) is_secure: bool,
    /// Host and port of the URL.
    pub(super) authority: Authority,
    /// What requests are for.
    pub(super) path: PathAndQuery,
    /// What is expected.
    pub(super) wanted: Wanted,
    /// How long.
    pub(super) patience: Patience,
    /// Fields for every request. They may hold secrets, and are never told.
    pub(super) fields: HeaderMap,
    /// Where the host is taken to be.
    pub(super) address: Option<SocketAddr>,
}

/// In what the command line cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum TargetError {
    #[error("`{0}` is no URL with https, http, wss or ws")]
    Url(String),
    #[error(
        "a URL with a name and a password in it is not taken: use `--header 'Authorization: …'`"
    )]
    Credentials,
    #[error("`{0}` is no time from 1s to 1h, such as `90s`")]
    Time(String),
    #[error("`--header` takes `Name: value`")]
    Field,
    #[error("`{0}` is a field of the doctor's own")]
    OwnField(HeaderName),
    #[error("`--resolve` takes `HOST:ADDRESS`, with the URL's host")]
    Resolve,
}

impl Target {
    /// Reads what was typed.
    ///
    /// # Errors
    /// [`TargetError`], the first that is found.
    pub(super) fn of(typed: &Doctor) -> Result<Self, TargetError> {
        let text = typed.url.as_deref().unwrap_or_default();
        let (scheme, authority, path) = url(text)?;
        let is_websocket = scheme.starts_with("ws");
        let wanted = match (typed.sse, typed.websocket, typed.both) {
            (true, _, _) => Wanted::Sse,
            (_, true, _) => Wanted::WebSocket,
            (_, _, true) => Wanted::Both,
            _ if is_websocket => Wanted::WebSocket,
            _ => Wanted::Either,
        };
        let patience = match &typed.time {
            Some(text) => Patience::Whole(time(text)?),
            None => Patience::AtMost(USUAL),
        };
        let address = typed.resolve.as_deref();
        let address = address.map(|text| resolve(text, &authority)).transpose()?;
        Ok(Self {
            is_secure: matches!(scheme.as_str(), "https" | "wss"),
            authority,
            path,
            wanted,
            patience,
            fields: fields(&typed.headers)?,
            address,
        })
    }

    /// Host and port as `Host` and `Origin` have them: the scheme's own port is left out.
    pub(super) fn host(&self) -> String {
        let usual = if self.is_secure { 443 } else { 80 };
        let whole = self.authority.to_string();
        let short = whole.strip_suffix(&format!(":{usual}"));
        short.unwrap_or(&whole).to_owned()
    }

    /// The origin of a page from the same place.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    /// The URL without its query, which may hold a token.
    pub(super) fn shown(&self) -> String {
        format!("{}{}", self.origin(), self.path.path())
    }

    /// The same target with one more word in its query.
    pub(super) fn asking_for(&self, word: &str) -> Self {
        let mark = if self.path.query().is_some() {
            '&'
        } else {
            '?'
        };
        let path = format!("{}{mark}{word}", self.path);
        let path = path.parse().unwrap_or_else(|_too_long| self.path.clone());
        Self {
            path,
            ..self.clone()
        }
    }
}

fn url(text: &str) -> Result<(String, Authority, PathAndQuery), TargetError> {
    let wrong = || TargetError::Url(text.split('?').next().unwrap_or_default().to_owned());
    let with_scheme = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let uri: Uri = with_scheme.parse().map_err(|_invalid| wrong())?;
    let scheme = uri.scheme().map_or("", Scheme::as_str).to_ascii_lowercase();
    let port = match scheme.as_str() {
        "https" | "wss" => 443,
        "http" | "ws" => 80,
        _ => return Err(wrong()),
    };
    let authority = uri.authority().ok_or_else(wrong)?;
    if authority.as_str().contains('@') {
        return Err(TargetError::Credentials);
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    if host.is_empty() {
        return Err(wrong());
    }
    let authority = Authority {
        host: host.to_ascii_lowercase().into(),
        port: authority.port_u16().unwrap_or(port),
    };
    let path = uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    Ok((scheme, authority, path))
}

fn time(text: &str) -> Result<Duration, TargetError> {
    let wrong = || TargetError::Time(text.to_owned());
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|_no_number| wrong())?;
    let (_, factor) = UNITS
        .into_iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    let time = Duration::from_millis(number.saturating_mul(factor));
    match (SHORTEST..=LONGEST).contains(&time) {
        true => Ok(time),
        false => Err(wrong()),
    }
}

fn fields(typed: &[String]) -> Result<HeaderMap, TargetError> {
    let mut fields = HeaderMap::new();
    for text in typed {
        let (name, value) = text.split_once(':').ok_or(TargetError::Field)?;
        let name: HeaderName = name.trim().parse().map_err(|_no_name| TargetError::Field)?;
        let mut value: HeaderValue = value
            .trim()
            .parse()
            .map_err(|_no_value| TargetError::Field)?;
        if OWN.contains(&name) {
            return Err(TargetError::OwnField(name));
        }
        value.set_sensitive(true);
        fields.append(name, value);
    }
    Ok(fields)
}

/// `app.test:127.0.0.1`, `app.test:127.0.0.1:8443` or `app.test:[::1]:8443`.
fn resolve(text: &str, authority: &Authority) -> Result<SocketAddr, TargetError> {
    let (host, address) = text.split_once(':').ok_or(TargetError::Resolve)?;
    if !host.eq_ignore_ascii_case(&authority.host) {
        return Err(TargetError::Resolve);
    }
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let with_usual_port = |ip: IpAddr| SocketAddr::new(ip, authority.port);
    let alone = bare.parse().map(with_usual_port);
    alone
        .or_else(|_has_port| address.parse())
        .map_err(|_no_address| TargetError::Resolve)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    use crate::cli::{Cli, Command};

    fn typed(words: &[&str]) -> Result<Target, TargetError> {
        let words = ["streamgate", "doctor"]
            .into_iter()
            .chain(words.iter().copied());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Doctor(typed) => Target::of(&typed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn urls_say_where_and_what() {
        for (url, origin, path, wanted) in [
            (
                "https://a.test/x?y=1",
                "https://a.test",
                "/x?y=1",
                Wanted::Either,
            ),
            ("A.test:8443", "https://a.test:8443", "/", Wanted::Either),
            (
                "wss://a.test/ws",
                "https://a.test",
                "/ws",
                Wanted::WebSocket,
            ),
            ("http://[::1]:80/x#f", "http://[::1]", "/x", Wanted::Either),
        ] {
            let target = typed(&[url]).unwrap();
            let found = (target.origin(), target.path.as_str(), target.wanted);
            assert_eq!(found, (origin.to_owned(), path, wanted), "{url}");
        }
        let silent = typed(&["https://a.test/x?y=1"])
            .unwrap()
            .asking_for("silent");
        assert_eq!(silent.path, "/x?y=1&silent");
        assert_eq!(silent.shown(), "https://a.test/x");
    }

    #[test]
    fn what_cannot_be_used_is_told_without_secrets() {
        let url = "https://a.test";
        for (words, error) in [
            (
                &["ftp://a.test/x?token=1"][..],
                TargetError::Url("ftp://a.test/x".into()),
            ),
            (&["https://ann:secret@a.test"], TargetError::Credentials),
            (&[url, "--for", "90"], TargetError::Time("90".into())),
            (&[url, "--for", "2h"], TargetError::Time("2h".into())),
            (&[url, "--header", "no colon"], TargetError::Field),
            (
                &[url, "--header", "Upgrade: x"],
                TargetError::OwnField(header::UPGRADE),
            ),
            (
                &[url, "--resolve", "b.test:127.0.0.1"],
                TargetError::Resolve,
            ),
        ] {
            assert_eq!(typed(words), Err(error), "{words:?}");
        }
    }

    #[test]
    fn times_fields_and_addresses_are_taken() {
        let words = [
            "https://a.test",
            "--for",
            "90s",
            "--header",
            "Cookie: a=b: c",
            "--resolve",
            "a.test:[::1]:8443",
        ];
        let target = typed(&words).unwrap();
        assert_eq!(target.patience, Patience::Whole(Duration::from_secs(90)));
        assert_eq!(target.fields["cookie"], "a=b: c");
        assert!(!format!("{target:?}").contains("a=b"));
        assert_eq!(target.address, Some("[::1]:8443".parse().unwrap()));
        let bare = typed(&["https://a.test", "--resolve", "a.test:::1"]).unwrap();
        assert_eq!(bare.address, Some("[::1]:443".parse().unwrap()));
    }
}
