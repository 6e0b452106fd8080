//! What streamgate says by itself: the small answers that need nobody behind, and a route's rules for the fields of
//! everybody's heads.

pub mod action;
pub mod fields;
pub mod values;

use std::error::Error;

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};

use crate::http::body::Body;
use crate::http::host::RequestHost;
use crate::http::problem::Problem;

/// The same address by `https`, for a listener with `redirect_to_https`. `port` is that of the TLS listener.
///
/// # Errors
/// The request does not say its host.
pub fn redirect_to_https<B>(request: &Request<B>, port: u16) -> Result<Response<Body>, Problem> {
    let host = RequestHost::of(request.uri(), request.headers(), request.version());
    let host =
        host.map_err(|_bad| Problem::BadRequest("The request's host is missing or not one."))?;
    let name = host.name();
    if name.is_empty() {
        // `https:///path` is an address whose first segment browsers take for its host.
        return Err(Problem::BadRequest("The request's host is missing."));
    }
    let name = if name.contains(':') && !name.starts_with('[') {
        format!("[{name}]")
    } else {
        name.to_owned()
    };
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    let location = if port == 443 {
        format!("https://{name}{path}")
    } else {
        format!("https://{name}:{port}{path}")
    };
    let location = HeaderValue::try_from(location)
        .map_err(|_bad| Problem::BadRequest("The request's path is not a plain one."))?;
    let mut response = Response::new(Body::empty());
    // 308 keeps the method and the body (RFC 9110 §15.4.9).
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// An error with all its causes, for the log.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_redirect_keeps_path_query_and_host_but_not_the_port() {
        let cases = [
            ("gate.test:80", "/a/b?c=d", 443, "https://gate.test/a/b?c=d"),
            ("gate.test", "/", 8443, "https://gate.test:8443/"),
            ("[::1]:8080", "/x", 443, "https://[::1]/x"),
        ];
        for (host, path, port, expected) in cases {
            let request = Request::get(path).header("host", host).body(()).unwrap();
            let response = redirect_to_https(&request, port).unwrap();
            assert_eq!(response.headers()["location"], expected);
        }
    }

    #[test]
    fn a_request_without_a_host_is_sent_nowhere() {
        let mut request = Request::get("//evil.org/").body(()).unwrap();
        *request.version_mut() = http::Version::HTTP_10;
        assert!(redirect_to_https(&request, 443).is_err());
    }
}
