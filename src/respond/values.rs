//! What stands for the `{names}` in a route's texts when a request is at hand.

use std::net::IpAddr;

use crate::config::model::REST;
use crate::http::origin::Origin;
use crate::observe::access::RequestId;
use crate::route::{Captures, Escape, PathPattern, Template};

/// The values of one request.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// Of the path's named segments, percent-decoded.
    pub captures: &'a Captures,
    /// The route's pattern, which says what its `*` stands for.
    pub pattern: &'a PathPattern,
    /// The path as it came.
    pub path: &'a str,
    /// The query as it came.
    pub query: Option<&'a str>,
    /// The host's name that the client asked for, without a port.
    pub host: &'a str,
    /// Who asked, and how.
    pub origin: &'a Origin,
    /// The request's name.
    pub id: &'a RequestId,
}

impl Values<'_> {
    /// The text of `template`. A named segment's value is written as `escape` says. All else is as it came: still
    /// percent-encoded where it is a part of the target, and checked where it is not.
    #[must_use]
    pub fn render(&self, template: &Template, escape: Escape) -> String {
        template.render_with(|name, text| self.push(name, escape, text))
    }

    fn push(&self, name: &str, escape: Escape, text: &mut String) {
        if let Some(value) = self.captures.get(name) {
            return escape.push(value, text);
        }
        match name {
            REST => text.push_str(self.pattern.rest(self.path).unwrap_or_default()),
            "client_ip" => text.push_str(&self.client().to_string()),
            "host" => text.push_str(self.host),
            "path" => text.push_str(self.path),
            "proto" => text.push_str(self.origin.proto),
            "query" => text.push_str(self.query.unwrap_or_default()),
            "request_id" => text.push_str(self.id.as_str()),
            // The configuration's check lets no other name pass.
            _ => {}
        }
    }

    fn client(&self) -> IpAddr {
        self.origin.client.ip().to_canonical()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::model::NAMES_OF_REQUEST;

    /// Runs `test` with the values of a request for `/old/a%2Fb//c?d=e` on a route `/{name}/*`.
    pub(in crate::respond) fn with<T>(test: impl FnOnce(&Values<'_>) -> T) -> T {
        let captures: Captures = [("name", "o ld")].into_iter().collect();
        let origin = Origin::of_connection("[::ffff:192.0.2.1]:5".parse().unwrap(), "https", 443);
        let id = RequestId::told(b"the-id").unwrap();
        test(&Values {
            captures: &captures,
            pattern: &PathPattern::parse("/{name}/*").unwrap(),
            path: "/o%20ld/a%2Fb//c",
            query: Some("d=e"),
            host: "a.org",
            origin: &origin,
            id: &id,
        })
    }

    #[test]
    fn every_name_has_its_value() {
        let all = "{name}|{rest}|{client_ip}|{host}|{path}|{proto}|{query}|{request_id}";
        let template = Template::parse(all).unwrap();
        let text = with(|values| values.render(&template, Escape::PathSegment));
        assert_eq!(
            text,
            "o%20ld|a%2Fb//c|192.0.2.1|a.org|/o%20ld/a%2Fb//c|https|d=e|the-id"
        );
        let text = with(|values| values.render(&template, Escape::Verbatim));
        assert!(text.starts_with("o ld|"), "{text}");
        for name in NAMES_OF_REQUEST {
            assert!(all.contains(&format!("{{{name}}}")), "{name}");
        }
    }
}
