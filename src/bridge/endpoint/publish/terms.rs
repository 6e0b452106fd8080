//! What a request asks for besides its messages: which session, in what order, and how often.

use std::net::IpAddr;

use aws_lc_rs::digest;
use http::{HeaderMap, HeaderValue, header, request};

use crate::bridge::Sender;
use crate::bridge::endpoint::asks;
use crate::bridge::session::SessionId;
use crate::config::model::Mode;
use crate::http::problem::Problem;

/// A key is no longer than this.
const LONGEST_KEY: usize = 255;

/// SHA-256.
pub(super) type Hash = [u8; 32];

/// The fields of a request that say how its messages are to be sent.
#[derive(Debug)]
pub(super) struct Terms {
    /// `Streamgate-Session`, or `session` in the query.
    pub(super) session: Option<SessionId>,
    /// `Streamgate-Seq`: the message's number in its session.
    pub(super) number: Option<u64>,
    /// `Idempotency-Key`, as it is passed on.
    pub(super) idempotency_key: Option<HeaderValue>,
    /// The same with what the client authenticates itself by.
    key: Option<Hash>,
}

impl Terms {
    /// Reads the fields.
    ///
    /// # Errors
    /// 400: one of them is not what it should be.
    pub(super) fn of(head: &request::Parts, mode: Mode) -> Result<Self, Problem> {
        let headers = &head.headers;
        let number = number(headers)?;
        if number.is_some() && mode == Mode::Shared {
            return Err(Problem::BadRequest(
                "`Streamgate-Seq` counts within a session, and here is none",
            ));
        }
        Ok(Self {
            session: asks::session(headers, head.uri.query()),
            number,
            key: key(headers)?,
            idempotency_key: headers.get("idempotency-key").cloned(),
        })
    }

    /// The key with all that sets its sender apart from others who may use the same one: where it is known who asks,
    /// that it is, whatever it was known by this time and from wherever.
    pub(super) fn key(&self, sender: Sender, user: Option<&str>) -> Option<Hash> {
        let key = self.key?;
        if let (Some(user), Some(plain)) = (user, &self.idempotency_key) {
            return Some(hash(&[b"user", plain.as_bytes(), user.as_bytes()]));
        }
        let sender = match sender {
            Sender::Session(epoch) => epoch.to_string(),
            Sender::Client(IpAddr::V4(v4)) => v4.to_string(),
            Sender::Client(IpAddr::V6(v6)) => v6.to_string(),
        };
        Some(hash(&[&key, sender.as_bytes()]))
    }
}

/// A hash of the parts, in which none can pass for a piece of another.
pub(super) fn hash(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn number(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let wrong = Problem::BadRequest("`Streamgate-Seq` is a whole number from 1");
    let mut fields = headers.get_all("streamgate-seq").iter();
    let (first, second) = (fields.next(), fields.next());
    let Some(first) = first else {
        return Ok(None);
    };
    let digits = first
        .to_str()
        .ok()
        .filter(|text| second.is_none() && text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(number) if number > 0 => Ok(Some(number)),
        _ => Err(wrong),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<Hash>, Problem> {
    let mut fields = headers.get_all("idempotency-key").iter();
    let (first, second) = (fields.next(), fields.next());
    let Some(key) = first else {
        return Ok(None);
    };
    if second.is_some() || key.is_empty() || key.len() > LONGEST_KEY {
        return Err(Problem::BadRequest(
            "`Idempotency-Key` is one value of up to 255 bytes",
        ));
    }
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.map_or(&b""[..], |value| value.as_bytes());
    Ok(Some(hash(&[key.as_bytes(), authorization])))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::bridge::cursor::Epoch;

    fn terms(mode: Mode, fields: &[(&str, &str)]) -> Result<Terms, Problem> {
        let mut request = Request::post("/live?session=x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Terms::of(&request.body(()).unwrap().into_parts().0, mode)
    }

    #[test]
    fn a_number_is_decimal_from_one_and_of_a_session() {
        let number = |text| terms(Mode::Session, &[("streamgate-seq", text)]);
        for (text, expected) in [("1", 1), ("007", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(number(text).unwrap().number, Some(expected), "{text}");
        }
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "1.0",
            "x",
            "18446744073709551616",
            "1 2",
        ] {
            assert!(number(text).is_err(), "{text}");
        }
        let twice = [("streamgate-seq", "1"), ("streamgate-seq", "2")];
        assert!(terms(Mode::Session, &twice).is_err());
        assert!(terms(Mode::Shared, &twice[..1]).is_err());
        assert!(terms(Mode::Shared, &[]).unwrap().number.is_none());
    }

    #[test]
    fn a_key_is_that_of_its_sender() {
        let key = |fields: &[(&str, &str)], sender| {
            let terms = terms(Mode::Shared, fields).unwrap();
            terms.key(sender, None).unwrap()
        };
        let sender = |address: &str| Sender::Client(address.parse().unwrap());
        let (here, there) = (sender("192.0.2.1"), sender("192.0.2.2"));
        let plain = [("idempotency-key", "k")];
        let signed = [("idempotency-key", "k"), ("authorization", "Bearer a")];
        let other = [("idempotency-key", "kB"), ("authorization", "earer a")];
        let keys = [
            key(&plain, here),
            key(&plain, there),
            key(&signed, here),
            key(&other, here),
            key(&plain, Sender::Session(Epoch::random())),
        ];
        let distinct: std::collections::HashSet<Hash> = keys.into_iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(key(&plain, here), keys[0]);
        let known = |fields: &[(&str, &str)], sender, user| {
            let terms = terms(Mode::Shared, fields).unwrap();
            terms.key(sender, Some(user)).unwrap()
        };
        let ann = known(&plain, here, "ann");
        assert_eq!(known(&signed, there, "ann"), ann, "by a fresh token");
        assert_ne!(known(&plain, here, "eve"), ann);
        assert!(!distinct.contains(&ann));
        let long = "k".repeat(256);
        for value in ["", long.as_str()] {
            assert!(terms(Mode::Shared, &[("idempotency-key", value)]).is_err());
        }
    }
}
