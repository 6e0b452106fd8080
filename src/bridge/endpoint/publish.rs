//! `POST`: the way back, from a browser to the feed.
//!
//! Nothing is queued while the feed is down: a 204 says that every message was handed to the feed's socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use serde::de::IgnoredAny;
use tokio::time::timeout;

use crate::bridge::Bridge;
use crate::bridge::channel::Outgoing;
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::stream::Answer;

use super::Asked;

/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(30);
/// How long the feed may take to accept it.
const WRITE: Duration = Duration::from_secs(15);

/// What a message's `Content-Type` makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    /// One message a line.
    JsonLines,
    Binary,
}

/// Publishes the body of `request`.
pub(super) async fn answer<B>(
    bridge: &Arc<Bridge>,
    request: Request<B>,
    asked: &Asked<'_>,
) -> Result<Answer, Problem>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let Some(publish) = bridge.config().publish else {
        return Err(Problem::Forbidden("nothing can be published here"));
    };
    let (head, body) = request.into_parts();
    // A page that is listed was let in by name, whatever its site.
    if !asked.is_listed {
        check_site(&head.headers, &head.uri)?;
    }
    let form = form(&head.headers)?;
    let body = timeout(BODY, read(body, publish.max_size))
        .await
        .map_err(|_elapsed| Problem::RequestTimeout)??;
    let messages = messages(form, body)?;
    let guard = &asked.downstream.guard;
    let lease = bridge
        .lease(asked.captures, guard)
        .map_err(|_full| down())?;
    // A feed that is opened by this very request is not up yet, so it is refused; the next one may find it open.
    let sent = timeout(WRITE, lease.0.publish(messages)).await;
    match sent {
        Ok(Ok(())) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(Answer::Response(response))
        }
        _ => Err(down()),
    }
}

fn down() -> Problem {
    Problem::Unavailable {
        retry_after: Duration::from_secs(1),
        reason: "the feed is not open",
    }
}

/// A page of another site cannot publish in a user's name: a browser sends a simple `POST` anywhere, cookies included.
fn check_site(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let refused = Problem::Forbidden("a page of another site cannot publish here");
    if headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site")
    {
        return Err(refused);
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let own = uri.authority().map(Authority::as_str).or(host);
    let is_own = origin
        .to_str()
        .ok()
        .zip(own)
        .is_some_and(|(origin, own)| is_origin_of(origin, own));
    is_own.then_some(()).ok_or(refused)
}

/// Whether `origin` (RFC 6454 §6.1) is the origin of `authority`, where a missing port is the origin's scheme's.
fn is_origin_of(origin: &str, authority: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        return false;
    };
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return false,
    };
    let (Ok(theirs), Ok(own)) = (host.parse::<Authority>(), authority.parse::<Authority>()) else {
        return false;
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    theirs.host().eq_ignore_ascii_case(own.host()) && port(&theirs) == port(&own)
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "text/plain" => Ok(Form::Text),
        "application/json" => Ok(Form::Json),
        "application/x-ndjson" => Ok(Form::JsonLines),
        "application/octet-stream" => Ok(Form::Binary),
        _ => Err(Problem::UnsupportedMediaType(
            "text/plain, application/json, application/x-ndjson or application/octet-stream is wanted",
        )),
    }
}

async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let too_large = || Problem::ContentTooLarge {
        limit: limit as u64,
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| Problem::BadRequest("the body ended early"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > limit {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

fn messages(form: Form, body: Bytes) -> Result<Vec<Outgoing>, Problem> {
    if body.is_empty() {
        return Err(Problem::BadRequest("the body is empty"));
    }
    if form == Form::Binary {
        return Ok(vec![Outgoing::Binary(body)]);
    }
    let Ok(text) = std::str::from_utf8(&body) else {
        return Err(Problem::BadRequest("the body is not UTF-8"));
    };
    let lines: Vec<&str> = match form {
        Form::JsonLines => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect(),
        _ => vec![text],
    };
    if lines.is_empty() {
        return Err(Problem::BadRequest("the body has no message"));
    }
    let is_json = |line: &&str| serde_json::from_str::<IgnoredAny>(line).is_ok();
    if form != Form::Text && !lines.iter().all(is_json) {
        return Err(Problem::BadRequest("the body is not JSON"));
    }
    Ok(lines
        .into_iter()
        .map(|line| Outgoing::Text(line.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Outgoing {
        Outgoing::Text(text.into())
    }

    #[test]
    fn a_body_becomes_messages_by_its_type() {
        type Row = (Form, &'static [u8], Option<Vec<Outgoing>>);
        let table: [Row; 11] = [
            (Form::Text, b"a\nb", Some(vec![text("a\nb")])),
            (Form::Text, b"\xff", None),
            (Form::Text, b"", None),
            (Form::Json, b"{\"a\":1}", Some(vec![text("{\"a\":1}")])),
            (Form::Json, b"{\"a\":", None),
            (Form::Json, b"1 2", None),
            (
                Form::JsonLines,
                b"1\r\n\n2\n",
                Some(vec![text("1"), text("2")]),
            ),
            (Form::JsonLines, b"1\nx\n", None),
            (Form::JsonLines, b"\n \n", None),
            (
                Form::Binary,
                b"\xff",
                Some(vec![Outgoing::Binary(Bytes::from_static(b"\xff"))]),
            ),
            (Form::Binary, b"", None),
        ];
        for (form, body, expected) in table {
            let found = messages(form, Bytes::from_static(body)).ok();
            assert_eq!(found, expected, "{form:?} {body:?}");
        }
    }

    #[test]
    fn only_pages_of_this_site_publish() {
        let table = [
            (None, None, true),
            (Some("https://a.example"), None, true),
            (Some("https://A.example:443"), Some("same-origin"), true),
            (Some("https://a.example:8443"), None, false),
            (Some("https://b.example"), None, false),
            (Some("https://a.example.evil"), None, false),
            (Some("null"), None, false),
            (Some("file://a.example"), None, false),
            (None, Some("cross-site"), false),
            (Some("https://a.example"), Some("cross-site"), false),
        ];
        for (origin, site, allowed) in table {
            let mut headers = HeaderMap::new();
            headers.insert("host", "a.example".parse().unwrap());
            origin.map(|origin| headers.insert("origin", origin.parse().unwrap()));
            site.map(|site| headers.insert("sec-fetch-site", site.parse().unwrap()));
            let found = check_site(&headers, &Uri::from_static("/live")).is_ok();
            assert_eq!(found, allowed, "{origin:?} {site:?}");
        }
    }

    #[test]
    fn types_have_a_form_or_are_refused() {
        let table = [
            (Some("text/plain; charset=utf-8"), Some(Form::Text)),
            (Some("Application/JSON"), Some(Form::Json)),
            (Some("application/x-ndjson"), Some(Form::JsonLines)),
            (Some("application/octet-stream"), Some(Form::Binary)),
            (Some("application/x-www-form-urlencoded"), None),
            (None, None),
        ];
        for (kind, expected) in table {
            let mut headers = HeaderMap::new();
            kind.map(|kind| headers.insert("content-type", kind.parse().unwrap()));
            assert_eq!(form(&headers).ok(), expected, "{kind:?}");
        }
    }
}
