//! The cookie that names a client's server.
//!
//! Its value is an HMAC-SHA256 of the server's name: nothing of the inside can be read from it, nobody can make one who
//! does not know the secret, and it means the same on every node that does. It names a server and nobody: whoever
//! steals one learns and gains nothing.

use std::sync::OnceLock;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{self, HeaderMap, HeaderValue};

use crate::config::model::{Cookie, SameSite};
use crate::net::{Scheme, ServerAddr};

/// Bytes of the HMAC that are shown: half of it, as RFC 2104 §5 allows.
const SHOWN: usize = 16;

/// Whether the client came by https: only then is the cookie for https alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// `https`
    Secure,
    /// `http`
    Clear,
}

/// The cookie of one upstream.
#[derive(Debug)]
pub(super) struct Sticky {
    config: Cookie,
    /// By server.
    values: Box<[String]>,
}

impl Sticky {
    /// The cookie for these servers.
    pub(super) fn new<'a>(
        config: &Cookie,
        upstream: &str,
        servers: impl Iterator<Item = &'a ServerAddr>,
    ) -> Self {
        let secret = config.secret.as_ref().map(|secret| secret.reveal());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.unwrap_or_else(|| own_secret()));
        let value = |server: &ServerAddr| {
            let scheme = match server.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
                Scheme::H2c => "h2c",
            };
            let name = format!("streamgate cookie\0{upstream}\0{scheme}://{server}");
            let tag = hmac::sign(&key, name.as_bytes());
            URL_SAFE_NO_PAD.encode(&tag.as_ref()[..SHOWN])
        };
        Self {
            config: config.clone(),
            values: servers.map(value).collect(),
        }
    }

    /// The server that `value` names.
    pub(super) fn named_by(&self, value: &str) -> Option<usize> {
        let equal = |known: &String| {
            constant_time::verify_slices_are_equal(known.as_bytes(), value.as_bytes()).is_ok()
        };
        self.values.iter().position(equal)
    }

    /// Takes the cookie out of a request's fields: the value of the first of its name, and no server sees any.
    pub(super) fn take(&self, headers: &mut HeaderMap) -> Option<String> {
        let prefix = format!("{}=", self.config.name);
        let ours = |pair: &[u8]| pair.trim_ascii_start().starts_with(prefix.as_bytes());
        let fields = headers.get_all(header::COOKIE);
        let has = |field: &HeaderValue| field.as_bytes().split(|byte| *byte == b';').any(ours);
        if !fields.iter().any(has) {
            return None;
        }
        let mut found = None;
        let mut left = Vec::new();
        for field in headers.get_all(header::COOKIE) {
            let pairs = field.as_bytes().split(|byte| *byte == b';');
            let (mine, others): (Vec<&[u8]>, Vec<&[u8]>) = pairs.partition(|pair| ours(pair));
            if let Some(first) = mine.first().filter(|_pair| found.is_none()) {
                let value = first.trim_ascii().get(prefix.len()..).unwrap_or_default();
                found = Some(String::from_utf8_lossy(value).into_owned());
            }
            let rest = others.join(&b';');
            left.extend(
                HeaderValue::from_bytes(rest.trim_ascii())
                    .ok()
                    .filter(|rest| !rest.is_empty()),
            );
        }
        headers.remove(header::COOKIE);
        for field in left {
            headers.append(header::COOKIE, field);
        }
        found
    }

    /// The `Set-Cookie` (RFC 6265 §4.1) that names a server.
    pub(super) fn set(&self, server: usize, channel: Channel) -> Option<HeaderValue> {
        let (name, value) = (&self.config.name, self.values.get(server)?);
        let same_site = match self.config.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}");
        if let Some(age) = self.config.max_age {
            text.push_str(&format!("; Max-Age={}", age.as_secs()));
        }
        if channel == Channel::Secure {
            text.push_str("; Secure");
        }
        HeaderValue::try_from(text).ok()
    }
}

/// The secret of those who have given none: it is made once, and lives as long as the process.
fn own_secret() -> &'static [u8] {
    static SECRET: OnceLock<[u8; 32]> = OnceLock::new();
    SECRET.get_or_init(|| {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret)
            .expect("aws-lc ends the process when there is no randomness");
        secret
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model::Secret;
    use crate::net::Authority;

    fn servers() -> Vec<ServerAddr> {
        let server = |port| Authority {
            host: "10.1.2.3".into(),
            port,
        };
        [3000, 3001].map(|port| server(port).into()).into()
    }

    fn sticky(secret: Option<&str>) -> Sticky {
        let config = Cookie {
            name: "sg".into(),
            secret: secret.map(Secret::new),
            max_age: Some(Duration::from_secs(3600)),
            same_site: SameSite::Lax,
        };
        Sticky::new(&config, "app", servers().iter())
    }

    #[test]
    fn a_value_means_the_same_wherever_the_secret_is_known() {
        let (one, other) = (
            sticky(Some("one secret of many")),
            sticky(Some("one secret of many")),
        );
        let field = one.set(1, Channel::Secure).unwrap();
        let text = field.to_str().unwrap();
        let value = text.strip_prefix("sg=").unwrap().split(';').next().unwrap();
        assert_eq!(other.named_by(value), Some(1));
        assert_eq!(
            sticky(Some("another secret altogether")).named_by(value),
            None
        );
        assert_eq!(sticky(None).named_by(value), None);
        assert!(text.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure"));
        assert!(!text.contains("3001") && value.len() == 22, "{text}");
        assert!(
            !one.set(0, Channel::Clear)
                .unwrap()
                .to_str()
                .unwrap()
                .contains("Secure")
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_none_of_its_name_is_left_and_the_others_stay(
            pairs in proptest::collection::vec("(sg|a|sgx)(=[a-z=]{0,3})?", 0..6),
            separator in "; ?",
        ) {
            let mut headers = HeaderMap::new();
            let field = HeaderValue::from_str(&pairs.join(&separator)).unwrap();
            headers.append(header::COOKIE, field);
            let taken = sticky(None).take(&mut headers);
            let ours = |pair: &&String| pair.starts_with("sg=");
            let first = pairs.iter().find(ours).map(|pair| pair[3..].to_owned());
            proptest::prop_assert_eq!(taken, first);
            let others: Vec<&str> = pairs.iter().filter(|pair| !ours(pair)).map(String::as_str).collect();
            let left = headers.get(header::COOKIE).map_or("", |field| field.to_str().unwrap());
            let left: Vec<&str> = left.split(';').map(str::trim).filter(|pair| !pair.is_empty()).collect();
            proptest::prop_assert_eq!(left, others);
        }
    }

    #[test]
    fn no_server_sees_the_cookie() {
        let table: [(&[&str], Option<&str>, &[&str]); 6] = [
            (&["a=1"], None, &["a=1"]),
            (&["sg=x"], Some("x"), &[]),
            (&["a=1; sg=x; b=2"], Some("x"), &["a=1; b=2"]),
            (&["sg=x; a=1", "b=2;sg=y"], Some("x"), &["a=1", "b=2"]),
            (&["asg=1; sgb=2"], None, &["asg=1; sgb=2"]),
            (&["sg="], Some(""), &[]),
        ];
        for (before, value, after) in table {
            let mut headers = HeaderMap::new();
            for field in before {
                headers.append(header::COOKIE, HeaderValue::from_str(field).unwrap());
            }
            assert_eq!(
                sticky(None).take(&mut headers).as_deref(),
                value,
                "{before:?}"
            );
            let left: Vec<&HeaderValue> = headers.get_all(header::COOKIE).iter().collect();
            assert_eq!(left, after, "{before:?}");
        }
    }
}
