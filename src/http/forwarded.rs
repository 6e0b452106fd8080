//! The `Forwarded` field (RFC 7239): what proxies say of the way that a request took.
//!
//! Owns the grammar, and the addresses of `X-Forwarded-For` with it, since both write them alike. Knows nothing of who is
//! believed. Invariant: a line is read whole or refused whole, so that an unclosed quote of a client cannot hide what a
//! proxy wrote behind it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

/// One element: what one proxy says of the request that it got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element<'a> {
    /// `for`: who sent the request to that proxy.
    pub client: Option<Node>,
    /// `host`: the `Host` field as it was received, unchecked.
    pub host: Option<Cow<'a, str>>,
    /// `proto`: the scheme, as it was written.
    pub proto: Option<Cow<'a, str>>,
}

/// The value of `for` (RFC 7239 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// An address, with its port if there is one.
    Address(IpAddr, Option<u16>),
    /// `unknown`, an obfuscated name such as `_hidden`, or what is no node at all.
    Hidden,
}

/// The line breaks the grammar of RFC 7239 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the Forwarded field is malformed")]
pub struct Malformed;

/// Reads one line of the field: its elements, the first proxy's first. Empty members of the list are skipped.
///
/// # Errors
/// [`Malformed`], wherever the fault is: nothing of the line can be relied on then.
pub fn elements(line: &str) -> Result<Vec<Element<'_>>, Malformed> {
    let mut scanner = Scanner { rest: line };
    let mut elements = Vec::new();
    loop {
        let (element, is_empty) = scanner.element()?;
        if !is_empty {
            elements.push(element);
        }
        if scanner.rest.is_empty() {
            return Ok(elements);
        }
        scanner.expect(',')?;
    }
}

/// An address as `X-Forwarded-For` and `for` write it: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`; without brackets an
/// IPv6 address has no port. An IPv4 address in IPv6 clothes is an IPv4 address.
#[must_use]
pub fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address.to_canonical(), None));
    }
    let (address, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, after) = inner.split_once(']')?;
            let address = IpAddr::V6(address.parse::<Ipv6Addr>().ok()?);
            match after {
                "" => return Some((address.to_canonical(), None)),
                _ => (address, after.strip_prefix(':')?),
            }
        }
        None => {
            let (address, port) = text.split_once(':')?;
            (IpAddr::V4(address.parse().ok()?), port)
        }
    };
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let port = Some(port).filter(|_port| digits)?.parse().ok()?;
    Some((address.to_canonical(), Some(port)))
}

impl Node {
    fn parse(text: &str) -> Self {
        if let Some((address, port)) = address(text) {
            return Self::Address(address, port);
        }
        // The port may be obfuscated while the address is not (RFC 7239 §6.3).
        let hidden_port = text.rsplit_once(':').filter(|(_, port)| {
            port.strip_prefix('_')
                .is_some_and(|name| !name.is_empty() && name.bytes().all(is_obfuscated))
        });
        match hidden_port.and_then(|(node, _port)| address(node)) {
            Some((address, None)) => Self::Address(address, None),
            _ => Self::Hidden,
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// One element, and whether there was nothing in it.
    fn element(&mut self) -> Result<(Element<'a>, bool), Malformed> {
        let mut element = Element::default();
        let mut seen: Vec<&str> = Vec::new();
        loop {
            self.skip_space();
            if !self.rest.is_empty() && !self.rest.starts_with([',', ';']) {
                let name = self.token()?;
                self.expect('=')?;
                let value = self.value()?;
                // RFC 7239 §4: no parameter twice in one element.
                if seen.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                    return Err(Malformed);
                }
                seen.push(name);
                if name.eq_ignore_ascii_case("for") {
                    element.client = Some(Node::parse(&value));
                } else if name.eq_ignore_ascii_case("host") {
                    element.host = Some(value);
                } else if name.eq_ignore_ascii_case("proto") {
                    element.proto = Some(value);
                }
                self.skip_space();
            }
            match self.rest.strip_prefix(';') {
                Some(rest) => self.rest = rest,
                None => return Ok((element, seen.is_empty())),
            }
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn expect(&mut self, character: char) -> Result<(), Malformed> {
        self.rest = self.rest.strip_prefix(character).ok_or(Malformed)?;
        Ok(())
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        let end = self
            .rest
            .bytes()
            .position(|b| !is_token(b))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        if token.is_empty() {
            return Err(Malformed);
        }
        Ok(token)
    }

    /// A token, or a quoted string without its quotes and escapes (RFC 9110 §5.6.4).
    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            return self.token().map(Cow::Borrowed);
        };
        let mut text = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &quoted[at + 1..];
                    return Ok(Cow::Owned(text));
                }
                '\\' => text.push(characters.next().ok_or(Malformed)?.1),
                _ => text.push(character),
            }
        }
        Err(Malformed)
    }
}

/// RFC 9110 §5.6.2
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_obfuscated(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Malformed, Node, address, elements};

    fn read(line: &str) -> Vec<(Option<Node>, Option<String>, Option<String>)> {
        let all = elements(line).unwrap().into_iter();
        all.map(|element| {
            (
                element.client,
                element.host.map(Into::into),
                element.proto.map(Into::into),
            )
        })
        .collect()
    }

    fn at(text: &str, port: Option<u16>) -> Option<Node> {
        Some(Node::Address(text.parse().unwrap(), port))
    }

    #[test]
    fn nodes_are_addresses_or_hidden() {
        for (node, expected) in [
            ("192.0.2.43", at("192.0.2.43", None)),
            ("\"192.0.2.43:47011\"", at("192.0.2.43", Some(47011))),
            ("\"[2001:db8:cafe::17]\"", at("2001:db8:cafe::17", None)),
            (
                "\"[2001:db8:cafe::17]:4711\"",
                at("2001:db8:cafe::17", Some(4711)),
            ),
            ("\"[::ffff:192.0.2.1]\"", at("192.0.2.1", None)),
            ("\"192.0.2.43:_port\"", at("192.0.2.43", None)),
            ("\"\\192.0.2.43\"", at("192.0.2.43", None)),
            ("unknown", Some(Node::Hidden)),
            ("\"unknown:80\"", Some(Node::Hidden)),
            ("_gazonk", Some(Node::Hidden)),
            ("\"192.0.2.43:\"", Some(Node::Hidden)),
            ("\"192.0.2.43:99999\"", Some(Node::Hidden)),
            ("\"[2001:db8::1\"", Some(Node::Hidden)),
            ("\"\"", Some(Node::Hidden)),
        ] {
            let found = read(&format!("for={node}"));
            assert_eq!(found, [(expected, None, None)], "{node}");
        }
    }

    #[test]
    fn elements_and_parameters_are_told_apart() {
        let found = read(
            "For=192.0.2.1;PROTO=https;by=_us;host=\"a.org:8443\" , ,for=_x; proto=http,secret=\"a,b;c\\\"\"",
        );
        assert_eq!(
            found,
            [
                (
                    at("192.0.2.1", None),
                    Some("a.org:8443".into()),
                    Some("https".into())
                ),
                (Some(Node::Hidden), None, Some("http".into())),
                (None, None, None),
            ]
        );
        assert_eq!(read(""), []);
        assert_eq!(read(";"), []);
    }

    #[test]
    fn what_breaks_the_grammar_is_refused_whole() {
        for line in [
            "for",
            "for=",
            "=a",
            "for=\"",
            "for=\"\\",
            "for=[::1]",
            "for=192.0.2.1:80",
            "for = a",
            "for=a b",
            "for=a;for=b",
            "for=a;FOR=b",
            // What a client left open swallows what the proxy appended.
            "for=1.1.1.1;x=\", for=192.0.2.1",
            "for=1.1.1.1;x=\", for=\"[2001:db8::1]\"",
        ] {
            assert_eq!(elements(line), Err(Malformed), "{line}");
        }
    }

    #[test]
    fn addresses_have_a_port_only_where_it_is_clear() {
        for (text, expected) in [
            ("192.0.2.1", Some(("192.0.2.1", None))),
            ("192.0.2.1:8080", Some(("192.0.2.1", Some(8080)))),
            ("2001:db8::1", Some(("2001:db8::1", None))),
            ("[2001:db8::1]", Some(("2001:db8::1", None))),
            ("[2001:db8::1]:443", Some(("2001:db8::1", Some(443)))),
            ("::ffff:192.0.2.1", Some(("192.0.2.1", None))),
            ("192.0.2.1:+1", None),
            ("192.0.2.1:", None),
            ("[192.0.2.1]", None),
            ("[::1]x", None),
            ("localhost", None),
            ("", None),
        ] {
            let expected = expected.map(|(ip, port)| (ip.parse().unwrap(), port));
            assert_eq!(address(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "[a-c=;,\" \\\\\\[\\]:.0-9\\PC]{0,40}") {
            let _ = elements(&line);
            let _ = address(&line);
        }

        #[test]
        fn a_quoted_value_comes_back(value in "[\\PC]{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let line = format!("host=\"{quoted}\";proto=https");
            let found = elements(&line).unwrap();
            prop_assert_eq!(found[0].host.as_deref(), Some(&*value));
            prop_assert_eq!(found[0].proto.as_deref(), Some("https"));
        }
    }
}
