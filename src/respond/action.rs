//! The actions of a route that need nobody behind: a redirect, a fixed response.

use http::Response;
use http::header::{self, HeaderValue};

use crate::config::model::{Fixed, Redirect};
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::respond::values::Values;
use crate::route::Escape;

/// Sends the client to another address. The request's query goes along unless the address has one of its own.
///
/// # Errors
/// What came of the values is no field value; the request's path is to blame.
pub fn redirect(redirect: &Redirect, values: &Values<'_>) -> Result<Response<Body>, Problem> {
    // `https:///path` is an address whose first segment browsers take for its host.
    if values.host.is_empty() && redirect.to.names().any(|name| name == "host") {
        return Err(Problem::BadRequest("The request's host is missing."));
    }
    let location = location(redirect, values);
    let location = HeaderValue::try_from(location)
        .map_err(|_bad| Problem::BadRequest("The request's path is not a plain one."))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// Answers with what the configuration says.
#[must_use]
pub fn fixed(fixed: &Fixed) -> Response<Body> {
    let mut response = Response::new(Body::from(fixed.body.clone()));
    *response.status_mut() = fixed.status;
    let headers = response.headers_mut();
    if let Some(content_type) = &fixed.content_type {
        headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    response
}

/// What `HEAD` gets: the same response without its body, whose length it tells (RFC 9110 §9.3.2). Over HTTP/2 a body would
/// break the stream.
#[must_use]
pub fn without_body(mut response: Response<Body>) -> Response<Body> {
    let length = http_body::Body::size_hint(response.body()).exact();
    if let Some(length) = length.filter(|length| *length > 0) {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
    response
}

fn location(redirect: &Redirect, values: &Values<'_>) -> String {
    let mut location = values.render(&redirect.to, Escape::PathSegment);
    // `//host` would be another site's address, and browsers take `\` for `/`: a path that begins so must not lead away.
    if redirect.is_local {
        let within = location.trim_start_matches(['/', '\\']).len();
        location.replace_range(..location.len() - within, "/");
    }
    if let Some(query) = values.query.filter(|_query| !redirect.has_query) {
        location.push('?');
        location.push_str(query);
    }
    location
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::values::tests::with;
    use super::*;
    use crate::route::{Captures, PathPattern, Template};

    #[test]
    fn a_request_without_a_host_is_not_sent_to_one() {
        for (text, is_sent) in [("https://{host}/x", false), ("https://a.org{path}", true)] {
            let found = with(|values| {
                let values = Values {
                    host: "",
                    ..*values
                };
                redirect(&to(text), &values).is_ok()
            });
            assert_eq!(found, is_sent, "{text}");
        }
    }

    fn to(text: &str) -> Redirect {
        Redirect {
            to: Template::parse(text).unwrap(),
            status: StatusCode::PERMANENT_REDIRECT,
            is_local: text.starts_with('/'),
            has_query: text.contains('?'),
        }
    }

    #[test]
    fn the_address_is_made_of_the_request() {
        for (text, expected) in [
            ("https://new.org/{rest}", "https://new.org/a%2Fb//c?d=e"),
            ("https://{host}{path}", "https://a.org/o%20ld/a%2Fb//c?d=e"),
            ("/new/{name}", "/new/o%20ld?d=e"),
            ("/search?q={name}&{query}", "/search?q=o%20ld&d=e"),
            ("/plain?", "/plain?"),
        ] {
            let found = with(|values| location(&to(text), values));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_path_cannot_lead_to_another_site() {
        for rest in [
            "/evil.org/x",
            "//evil.org/x",
            "\\evil.org/x",
            "/\\evil.org/x",
        ] {
            let found = with(|values| {
                let values = Values {
                    pattern: &PathPattern::parse("/*").unwrap(),
                    path: &format!("/{rest}"),
                    captures: &Captures::empty(),
                    query: None,
                    ..*values
                };
                location(&to("/{rest}"), &values)
            });
            assert_eq!(found, "/evil.org/x", "{rest}");
        }
    }
}
