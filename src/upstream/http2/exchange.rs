//! One request on a stream of its own, up to the head of its response.

use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, Uri, header, uri};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::connection::Reserved;
use super::reply::Reply;
use super::upload::{Progress, Upload};
use crate::net::Scheme;
use crate::upstream::http1::{ExchangeError, Framing, ResponseHead};

/// Why there is no response's head.
pub struct Failed {
    /// What happened.
    pub error: ExchangeError,
    /// Whether the connection had been used before: its server may have closed it just then.
    pub reused: bool,
    /// The request as it was, if nothing of it was sent.
    pub unsent: Option<Request<Upload>>,
}

/// A request for a server that is spoken to by `scheme`: the authority is taken from `Host`, and what HTTP/2 has no
/// fields for goes (RFC 9113 §8.2.2, §8.3.1).
///
/// # Errors
/// `Host` or `path` cannot stand in a URI.
pub fn request(
    scheme: Scheme,
    method: &Method,
    path: &str,
    mut headers: HeaderMap,
    body: Upload,
) -> Result<Request<Upload>, http::Error> {
    let scheme = match scheme {
        Scheme::Https => uri::Scheme::HTTPS,
        Scheme::Http | Scheme::H2c => uri::Scheme::HTTP,
    };
    let host = headers.remove(header::HOST);
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(host.as_ref().map_or(&b""[..], |host| host.as_bytes()))
        .path_and_query(path)
        .build()?;
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::HeaderName::from_static("keep-alive"),
        header::HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
    if headers.get(header::TE).is_some_and(|te| te != "trailers") {
        headers.remove(header::TE);
    }
    let mut request = Request::builder().method(method).uri(uri).body(body)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Sends `request` on the stream that was reserved, and reads the head of its response. The body may still be under way
/// then. `limit` is the time from the body's last progress to the head; `None`: no limit.
///
/// # Errors
/// [`Failed`], with the request where nothing of it was sent.
///
/// # Cancel safety
/// Dropping it resets the stream.
pub async fn exchange(
    reserved: Reserved,
    mut request: Request<Upload>,
    limit: Option<Duration>,
) -> Result<(ResponseHead, Reply), Box<Failed>> {
    let Reserved {
        mut send,
        reused,
        place,
    } = reserved;
    let progress = request.body().progress().clone();
    progress.begin();
    request.body_mut().place = Some(place.clone());
    let leaving = Leaving(progress.clone());
    let failed = |error, unsent| {
        Box::new(Failed {
            error,
            reused,
            unsent,
        })
    };
    let answered = tokio::select! {
        answered = send.try_send_request(request) => answered,
        late = expired(&progress, limit) => return Err(failed(late, None)),
    };
    match answered {
        Ok(response) => {
            let (head, body) = head(response);
            Ok((head, Reply::new(body, leaving, place)))
        }
        Err(mut error) => {
            let unsent = error.take_message().map(|mut request| {
                request.body_mut().place = None;
                request
            });
            let fault = progress.fault.take();
            let error = fault.unwrap_or_else(|| blame(error.into_error()));
            Err(failed(error, unsent))
        }
    }
}

/// Ends the request's body when the response is not waited for any more.
pub(super) struct Leaving(pub(super) Rc<Progress>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn head(response: Response<Incoming>) -> (ResponseHead, Incoming) {
    let (parts, body) = response.into_parts();
    let framing = if body.is_end_stream() {
        Framing::Empty
    } else {
        body.size_hint()
            .exact()
            .map_or(Framing::Chunked, Framing::Length)
    };
    let head = ResponseHead {
        status: parts.status,
        version: parts.version,
        headers: parts.headers,
        framing,
    };
    (head, body)
}

/// Returns when the body has made no progress for `limit`.
async fn expired(progress: &Progress, limit: Option<Duration>) -> ExchangeError {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    loop {
        let due = progress.since.get() + limit;
        if Instant::now() >= due {
            break;
        }
        tokio::time::sleep_until(due).await;
    }
    match (progress.done.get(), progress.waits_for_client.get()) {
        (true, _) => ExchangeError::TimedOut(limit),
        (false, true) => ExchangeError::Stalled(limit),
        // hyper asks for the body as far as the server takes it.
        (false, false) => ExchangeError::NotTaken(limit),
    }
}

/// Whose fault it is: what the server refused before it looked at it (RFC 9113 §8.7) can be sent again, whatever it was.
fn blame(error: hyper::Error) -> ExchangeError {
    if error.is_canceled() {
        return ExchangeError::Refused(error);
    }
    let Some(cause) = find::<h2::Error>(&error) else {
        return ExchangeError::Reset(error);
    };
    if let Some(broken) = cause.get_io().map(io::Error::kind) {
        // A head of HTTP/2 comes whole or not at all.
        return ExchangeError::Broken {
            answered: false,
            source: io::Error::new(broken, error),
        };
    }
    let reason = cause.reason();
    let unprocessed = cause.is_remote()
        && (reason == Some(h2::Reason::REFUSED_STREAM)
            || cause.is_go_away() && reason == Some(h2::Reason::NO_ERROR));
    if unprocessed {
        return ExchangeError::Refused(error);
    }
    if cause.is_remote() && cause.is_reset() && reason == Some(h2::Reason::HTTP_1_1_REQUIRED) {
        return ExchangeError::Http1Required(error);
    }
    // What h2 itself ends is a server that broke the protocol.
    if cause.is_library() {
        return ExchangeError::Http2(error);
    }
    ExchangeError::Reset(error)
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn the_authority_is_the_host_and_connection_fields_go() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "app.test:8443"),
            ("connection", "TE"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("x-kept", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let body = Upload::new(None::<Empty<Bytes>>);
        let request = request(Scheme::Https, &Method::GET, "/a?b", headers, body).unwrap();
        assert_eq!(request.uri(), "https://app.test:8443/a?b");
        let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["te", "x-kept"]);
    }

    #[test]
    fn a_request_without_a_host_is_refused() {
        let body = Upload::new(None::<Empty<Bytes>>);
        let refused = request(Scheme::H2c, &Method::GET, "/", HeaderMap::new(), body);
        assert!(refused.is_err());
    }
}
