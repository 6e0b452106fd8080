//! The request that is asked about: an URL, a method, and fields of its head.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use crate::http::host::{HostError, RequestHost};

/// An address as a browser has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Url {
    /// As it was typed, without its fragment, which no server sees.
    pub text: String,
    /// `https` or `wss`.
    pub is_tls: bool,
    /// `ws` or `wss`.
    pub is_websocket: bool,
    /// All of it.
    pub uri: Uri,
}

impl Url {
    /// Reads one with a scheme of `http`, `https`, `ws` or `wss`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.split('#').next().unwrap_or_default();
        let (is_tls, is_websocket) = match text.split_once("://").map(|(scheme, _)| scheme) {
            Some("http") => (false, false),
            Some("https") => (true, false),
            Some("ws") => (false, true),
            Some("wss") => (true, true),
            Some(_) => return Err("the scheme is none of http, https, ws and wss".to_owned()),
            None => return Err(format!("the scheme is missing: https://{text}")),
        };
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err("the host is missing".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            is_tls,
            is_websocket,
            uri,
        })
    }

    /// The port, given or the scheme's.
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = if self.is_tls { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(usual)
    }
}

/// Reads `Name: value`.
///
/// # Errors
/// It is no field (RFC 9110 §5.1), in words.
pub(super) fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a field is written \"Name: value\"")?;
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_invalid| "that is no field's name")?;
    let value =
        HeaderValue::from_str(value.trim()).map_err(|_invalid| "that is no field's value")?;
    Ok((name, value))
}

/// A request, as far as routes and guards look at it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    /// By `Host` if it is given, else the URL's.
    pub(super) host: RequestHost,
}

impl Asked {
    /// # Errors
    /// The host is none.
    pub(super) fn new(
        url: Url,
        method: Method,
        fields: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Self, HostError> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        let named = headers.get(header::HOST).map(HeaderValue::to_str);
        let host = match named {
            Some(text) => RequestHost::parse(text.map_err(|_not_ascii| HostError::Name)?)?,
            None => RequestHost::parse(url.uri.authority().map_or("", |it| it.as_str()))?,
        };
        Ok(Self {
            url,
            method,
            headers,
            host,
        })
    }

    /// The path, still percent-encoded.
    pub(super) fn path(&self) -> &str {
        self.url.uri.path()
    }

    /// The same with its query.
    pub(super) fn path_and_query(&self) -> &str {
        self.url.uri.path_and_query().map_or("/", |it| it.as_str())
    }

    /// The same request after a redirect, whose URL says the host.
    pub(super) fn sent_to(mut self, url: Url) -> Self {
        let authority = url.uri.authority().map_or("", |it| it.as_str());
        if let Ok(host) = RequestHost::parse(authority) {
            self.host = host;
        }
        self.headers.remove(header::HOST);
        Self {
            url: Url {
                is_websocket: self.url.is_websocket,
                ..url
            },
            ..self
        }
    }

    /// Whether a WebSocket is asked for.
    pub(super) fn is_websocket(&self) -> bool {
        let upgrade = self.headers.get(header::UPGRADE);
        let named = upgrade.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"));
        self.url.is_websocket || named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_says_tls_websocket_and_port() {
        for (text, tls, websocket, port) in [
            ("https://a.org/x?y#z", true, false, 443),
            ("http://a.org", false, false, 80),
            ("wss://a.org:8443/ws", true, true, 8443),
            ("ws://[::1]:81/", false, true, 81),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (url.is_tls, url.is_websocket, url.port()),
                (tls, websocket, port),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused_in_words() {
        for (text, says) in [
            ("a.org/x", "https://a.org/x"),
            ("ftp://a.org", "scheme"),
            ("https:///x", ""),
            ("https://a b/", ""),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_host_field_goes_before_the_urls() {
        let url = || Url::parse("http://127.0.0.1:8080/").unwrap();
        let asked = Asked::new(
            url(),
            Method::GET,
            vec![field("Host: App.Example.org").unwrap()],
        );
        assert_eq!(asked.unwrap().host.name(), "app.example.org");
        let asked = Asked::new(url(), Method::GET, Vec::new()).unwrap();
        assert_eq!(asked.host.name(), "127.0.0.1");
        assert!(Asked::new(url(), Method::GET, vec![field("Host: a b").unwrap()]).is_err());
        assert!(field("nothing").is_err());
    }
}
