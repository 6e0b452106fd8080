//! The parameters of a query: each known, each once, each as it is meant. What is not known is told and not passed over: a filter
//! that nobody understood would end streams that nobody meant.

use std::time::Duration;

use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;

use crate::admin::answer::Refusal;
use crate::config::duration;
use crate::observe::access::Kind;
use crate::observe::streams::{ClientPart, Query};

/// The longest value that is taken, in bytes.
const LONGEST: usize = 512;

/// A request's parameters that are not taken yet.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads them as a form writes them.
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let mut all: Vec<(String, String)> = Vec::new();
        let pairs = uri.query().unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if all.iter().any(|(known, _)| *known == name) {
                let why = format!("`{name}` stands there twice");
                return Err(Refusal::bad_request(why));
            }
            all.push((name, value));
        }
        Ok(Self(all))
    }

    /// Refuses empty ones, where leaving a filter out by mistake would mean more than was meant.
    pub(super) fn none_empty(&self) -> Result<(), Refusal> {
        match self.0.iter().find(|(_, value)| value.is_empty()) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(40).collect();
                Err(Refusal::bad_request(format!("`{name}` is empty")))
            }
        }
    }

    /// Takes one; an empty one is none.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.0.swap_remove(place);
        (!value.is_empty()).then_some(value)
    }

    /// Takes those that say which streams are meant.
    pub(super) fn query(&mut self) -> Result<Query, Refusal> {
        let kind = self.take("kind").map(|word| kind(&word)).transpose()?;
        let client = self.take("client").map(|text| client(&text)).transpose()?;
        Ok(Query {
            kind,
            client,
            route: self.take("route").map(Into::into),
            user: self.take("user").map(Into::into),
            backend: self.take("backend").map(Into::into),
            part: self.take("q").map(Into::into),
        })
    }

    /// Takes a number from 1 to `most`.
    pub(super) fn number(&mut self, name: &str, most: usize) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let number = text
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number));
        let wrong = || Refusal::bad_request(format!("`{name}` is a number from 1 to {most}"));
        number.map(Some).ok_or_else(wrong)
    }

    /// Takes a time up to `most`.
    pub(super) fn time(&mut self, name: &str, most: Duration) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        time(name, &text, most).map(Some)
    }

    /// All are taken.
    pub(super) fn end(self) -> Result<(), Refusal> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(40).collect();
                Err(Refusal::bad_request(format!("`{name}` means nothing here")))
            }
        }
    }
}

/// A time such as `30s`, up to `most`.
pub(super) fn time(name: &str, text: &str, most: Duration) -> Result<Duration, Refusal> {
    let wrong = || {
        let most = most.as_secs();
        let why = format!("`{name}` is a duration such as `30s`, at most {most} seconds");
        Refusal::bad_request(why)
    };
    let time = duration(text).filter(|time| *time <= most);
    time.ok_or_else(wrong)
}

fn decoded(text: &str) -> Result<String, Refusal> {
    if text.len() > LONGEST {
        let why = format!("a parameter has at most {LONGEST} bytes");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, why));
    }
    // A form writes a space as a plus, and a plus as `%2B`.
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| Refusal::bad_request("a parameter is not UTF-8"))?;
    Ok(decoded.into_owned())
}

fn kind(word: &str) -> Result<Kind, Refusal> {
    let known = Kind::ALL.into_iter().find(|kind| kind.label() == word);
    known.ok_or_else(|| {
        let words = Kind::ALL.map(|kind| format!("`{}`", kind.label()));
        Refusal::bad_request(format!("`kind` is one of {}", words.join(", ")))
    })
}

fn client(text: &str) -> Result<ClientPart, Refusal> {
    let why = "`client` is an address, with a port or without, or a network such as `192.0.2.0/24`";
    ClientPart::parse(text).ok_or_else(|| Refusal::bad_request(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Result<Params, Refusal> {
        Params::of(&format!("/api/streams?{query}").parse().unwrap())
    }

    #[test]
    fn what_is_known_is_taken_and_the_rest_is_told() {
        let mut all = params("kind=tunnel&route=%2Fa+b&client=192.0.2.1&limit=7&over=30s").unwrap();
        let query = all.query().unwrap();
        assert_eq!(query.kind, Some(Kind::Tunnel));
        assert_eq!(query.route.as_deref(), Some("/a b"));
        assert!(query.client.is_some() && query.part.is_none());
        assert_eq!(all.number("limit", 1000).unwrap(), Some(7));
        let most = Duration::from_secs(600);
        let over = all.time("over", most).unwrap();
        assert_eq!(over, Some(Duration::from_secs(30)));
        assert!(all.end().is_ok());
        assert!(params("").unwrap().query().unwrap().is_all());
        assert!(params("user=&q=").unwrap().query().unwrap().is_all());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        assert!(params("q=a&q=b").is_err());
        assert!(params("q=%ff").is_err());
        assert!(params(&format!("q={}", "a".repeat(LONGEST + 1))).is_err());
        for query in ["kind=other", "client=example.org", "client=192.0.2.0%2F99"] {
            assert!(params(query).unwrap().query().is_err(), "{query}");
        }
        for query in ["limit=0", "limit=1001", "limit=x", "limit=-1"] {
            assert!(params(query).unwrap().number("limit", 1000).is_err());
        }
        for query in ["over=5", "over=11m", "over=soon"] {
            let most = Duration::from_secs(600);
            assert!(
                params(query).unwrap().time("over", most).is_err(),
                "{query}"
            );
        }
        assert!(params("unknown=1").unwrap().end().is_err());
        assert!(params("kind=tunnel&user=").unwrap().none_empty().is_err());
        assert!(params("kind=tunnel").unwrap().none_empty().is_ok());
    }
}
