//! Another server is asked about each request (`forward`), as nginx's `auth_request`, Traefik's ForwardAuth and Caddy's
//! `forward_auth` do it.
//!
//! Owns what it is asked and what its answer means. Invariants: what the client says by the names of the question's own
//! fields, or of its certificate, never gets into it; only 2xx lets a request pass; and no question leads to another one about itself.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};

use super::refusal::Answer;
use super::{Known, Refusal, Seen, keyring, places};
use crate::config::model::Forward;
use crate::credentials::User;
use crate::http::body::Body;
use crate::http::{hop_by_hop, provenance};
use crate::upstream::EndpointId;
use crate::upstream::fetch::{Fetch, Fetched};
use crate::upstream::pool::Pools;

/// Bytes of an answer's body: a page to sign in is shorter.
const MAX_BODY: usize = 64 * 1024;
/// A longer lease is not told from none.
const LONGEST_LEASE: Duration = Duration::from_secs(365 * 24 * 3600);

/// By this field a question is known that comes back to the process that has asked it.
const MARK: HeaderName = HeaderName::from_static("streamgate-auth-question");

/// What goes with the question about a request. `None`: it is such a question itself.
pub(super) fn about<B>(
    forward: &Forward,
    request: &Request<B>,
    seen: &Seen<'_>,
) -> Option<HeaderMap> {
    let headers = request.headers();
    if headers.get_all(MARK).iter().any(|mark| mark == own_mark()) {
        return None;
    }
    let mut fields = HeaderMap::new();
    let mut shown = HeaderMap::new();
    if let Some(certificate) = seen.certificate {
        certificate.tell(&mut shown);
    }
    for name in &forward.asks_with {
        let headers = match provenance::is_of_certificate(name.as_str()) {
            true => &shown,
            false => headers,
        };
        for value in headers.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    places::join_cookies(&mut fields);
    let origin = seen.origin;
    let host = origin.host.as_deref().unwrap_or(seen.host.authority());
    let target = request.uri().path_and_query();
    for (name, value) in [
        ("x-forwarded-method", request.method().as_str()),
        ("x-forwarded-proto", origin.proto),
        ("x-forwarded-host", host),
        (
            "x-forwarded-uri",
            target.map_or("/", |target| target.as_str()),
        ),
        ("x-forwarded-for", &origin.client.ip().to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(HeaderName::from_static(name), value);
        }
    }
    fields.insert(MARK, own_mark().clone());
    Some(fields)
}

/// Of this process alone.
fn own_mark() -> &'static HeaderValue {
    static OWN: OnceLock<HeaderValue> = OnceLock::new();
    OWN.get_or_init(|| {
        let mut bits = [0; 16];
        aws_lc_rs::rand::fill(&mut bits)
            .expect("aws-lc ends the process when there is no randomness");
        let text = format!("{:032x}", u128::from_be_bytes(bits));
        HeaderValue::try_from(text).expect("digits are a field's value")
    })
}

/// Asks, by one of the worker's connections where it has some.
///
/// # Errors
/// [`Refusal`].
///
/// # Cancel safety
/// Dropping it gives the question up.
pub(super) async fn ask(
    forward: &Forward,
    fields: &HeaderMap,
    connections: Option<(&Pools, EndpointId)>,
) -> Result<Known, Refusal> {
    let fetch = Fetch {
        server: &forward.at.server,
        tls: forward.at.tls.as_ref(),
        path: &forward.at.path,
        fields: fields.clone(),
        timeout: forward.timeout,
        max_body: MAX_BODY,
    };
    let answer = match connections {
        Some((pools, server)) => fetch.pooled(pools, server).await,
        None => fetch.alone().await,
    };
    judge(forward, answer?, SystemTime::now())
}

fn judge(forward: &Forward, answer: Fetched, now: SystemTime) -> Result<Known, Refusal> {
    match answer.status.as_u16() {
        200..=299 => let_in(forward, &answer.headers, now),
        301 | 302 | 303 | 307 | 308 | 401 | 403 => {
            let status = answer.status;
            Err(Refusal::Answered(status, passed_on(answer)))
        }
        _ => Err(Refusal::Odd(answer.status)),
    }
}

fn let_in(forward: &Forward, headers: &HeaderMap, now: SystemTime) -> Result<Known, Refusal> {
    let user = match forward.user.as_ref().and_then(|name| headers.get(name)) {
        Some(name) => {
            let name = std::str::from_utf8(name.as_bytes()).unwrap_or_default();
            Some(User::new(name, None).ok_or(Refusal::Nameless)?.name)
        }
        None => None,
    };
    let lease = forward.lease.as_ref().and_then(|name| lease(headers, name));
    let told = forward.tells.iter();
    let told = told.map(|name| (name.clone(), whole(headers, name)));
    Ok(Known {
        user,
        expires: lease.and_then(|lease| now.checked_add(lease)),
        fields: told.chain(untold(forward)).collect(),
        pass: None,
    })
}

/// What the backend is told of who is let in although nobody was asked: nothing, and what the client says of it goes.
pub(super) fn of_nobody(forward: &Forward) -> Vec<(HeaderName, Option<HeaderValue>)> {
    let told = forward.tells.iter().map(|name| (name.clone(), None));
    told.chain(untold(forward)).collect()
}

/// The field that names the user, where the backend is not told it: it is no more the client's own for that.
fn untold(forward: &Forward) -> impl Iterator<Item = (HeaderName, Option<HeaderValue>)> {
    let user = forward.user.iter();
    let untold = user.filter(|name| !forward.tells.contains(name));
    untold.map(|name| (name.clone(), None))
}

/// All lines of a field as one (RFC 9110 §5.3).
fn whole(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let mut whole = first.as_bytes().to_vec();
    for line in lines {
        whole.extend_from_slice(b", ");
        whole.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_bytes(&whole).ok()
}

/// How long the answer holds.
fn lease(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let lease = if *name == header::CACHE_CONTROL {
        // What must not be kept says nothing about how long somebody is known.
        keyring::max_age(headers).filter(|age| !age.is_zero())?
    } else {
        let seconds = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
        Duration::from_secs(seconds)
    };
    (lease <= LONGEST_LEASE).then_some(lease)
}

/// The answer as the client gets it: whole, but for what was between that server and us.
fn passed_on(answer: Fetched) -> Answer {
    let bodiless = answer.status == StatusCode::NO_CONTENT;
    let mut response = Response::new(if bodiless {
        Body::empty()
    } else {
        Body::from(answer.body)
    });
    *response.status_mut() = answer.status;
    let mut headers = answer.headers;
    hop_by_hop::strip(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRAILER);
    // Caches may keep a 301 or a 308 that says nothing of it (RFC 9110 §15.1), and this one was for this request.
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    *response.headers_mut() = headers;
    Answer(Box::new(response))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::model::Remote;
    use crate::http::host::RequestHost;
    use crate::http::origin::Origin;
    use crate::net::Authority;
    use crate::tls::peer::ClientCertificate;

    fn forward(lease: Option<&'static str>) -> Forward {
        let name = HeaderName::from_static;
        let server = Authority {
            host: "auth".into(),
            port: 80,
        };
        Forward {
            at: Remote {
                server: server.into(),
                path: "/".to_owned(),
                tls: None,
            },
            timeout: Duration::from_secs(1),
            asks_with: vec![header::COOKIE],
            tells: vec![name("x-user"), name("x-roles")],
            user: Some(name("x-user")),
            lease: lease.map(name),
        }
    }

    fn answer(status: u16, fields: &[(&'static str, &str)]) -> Fetched {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Fetched {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from_static(b"why"),
        }
    }

    #[test]
    fn what_is_said_of_a_certificate_is_not_asked_with() {
        let mut forward = forward(None);
        forward.asks_with = ["x-client-cert-subject", "x_client_cert_subject", "cookie"]
            .map(HeaderName::from_static)
            .to_vec();
        let mut request = Request::new(());
        for name in &forward.asks_with {
            let said = HeaderValue::from_static("CN=eve");
            request.headers_mut().insert(name.clone(), said);
        }
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let kind = rcgen::DnType::CommonName;
        params.distinguished_name.push(kind, "ann");
        let key = rcgen::KeyPair::generate().unwrap();
        let shown = ClientCertificate::of(params.self_signed(&key).unwrap().der());
        for (certificate, expected) in [(None, None), (Some(&shown), Some("CN=ann"))] {
            let client = "192.0.2.1:1".parse().unwrap();
            let seen = Seen {
                origin: &Origin::of_connection(client, "https", 443),
                host: &RequestHost::parse("app.example").unwrap(),
                certificate,
            };
            let fields = about(&forward, &request, &seen).unwrap();
            let subject = fields.get("x-client-cert-subject");
            assert_eq!(subject.map(|it| it.to_str().unwrap()), expected);
            assert!(!fields.contains_key("x_client_cert_subject"));
            assert_eq!(fields[header::COOKIE], "CN=eve");
        }
    }

    #[test]
    fn only_2xx_lets_in_and_only_what_means_the_client_is_passed_on() {
        let judged = |status| judge(&forward(None), answer(status, &[]), SystemTime::now());
        for status in [200, 202, 204] {
            assert!(judged(status).is_ok(), "{status}");
        }
        for status in [301, 302, 303, 307, 308, 401, 403] {
            let passed = judged(status);
            assert!(
                matches!(&passed, Err(Refusal::Answered(told, _)) if *told == status),
                "{status}"
            );
        }
        for status in [304, 400, 404, 405, 407, 429, 500, 502, 503] {
            assert!(matches!(judged(status), Err(Refusal::Odd(_))), "{status}");
        }
    }

    #[test]
    fn the_answer_s_own_fields_are_told_and_nobody_else_s() {
        let fields = [
            ("x-user", "ann"),
            ("x-other", "no"),
            ("connection", "x-user"),
        ];
        let known = judge(&forward(None), answer(200, &fields), SystemTime::now()).unwrap();
        assert_eq!(known.user.as_deref(), Some("ann"));
        assert_eq!(known.fields.len(), 2);
        assert_eq!(known.fields[0].1.as_ref().unwrap(), "ann");
        assert_eq!(
            known.fields[1].1, None,
            "clients' own are removed all the same"
        );
        let nameless = judge(&forward(None), answer(200, &[]), SystemTime::now()).unwrap();
        assert_eq!((nameless.user, nameless.expires), (None, None));
    }

    #[test]
    fn the_field_that_names_the_user_is_never_the_client_s() {
        let mut forward = forward(None);
        forward.user = Some(HeaderName::from_static("x-name"));
        let answer = answer(200, &[("x-name", "ann"), ("x-user", "1")]);
        let known = judge(&forward, answer, SystemTime::now()).unwrap();
        assert_eq!(known.user.as_deref(), Some("ann"));
        for fields in [known.fields, of_nobody(&forward)] {
            let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["x-user", "x-roles", "x-name"]);
            assert_eq!(fields[2].1, None);
        }
    }

    #[test]
    fn a_lease_is_in_seconds_or_an_age() {
        let now = SystemTime::UNIX_EPOCH;
        for (name, value, seconds) in [
            ("x-lease", "60", Some(60)),
            ("x-lease", "0", Some(0)),
            ("x-lease", "soon", None),
            ("x-lease", "99999999999999999999", None),
            ("cache-control", "private, max-age=60", Some(60)),
            ("cache-control", "max-age=0", None),
            ("cache-control", "no-store", None),
        ] {
            let known = judge(&forward(Some(name)), answer(200, &[(name, value)]), now).unwrap();
            let expected = seconds.map(|seconds| now + Duration::from_secs(seconds));
            assert_eq!(known.expires, expected, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_passed_on_is_whole_but_for_the_hop() {
        let fields = [
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("location", "https://id/"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("content-length", "3"),
        ];
        let passed = passed_on(answer(302, &fields)).0;
        assert_eq!(passed.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(passed.headers()["location"], "https://id/");
        for gone in ["connection", "x-hop", "content-length"] {
            assert!(!passed.headers().contains_key(gone), "{gone}");
        }
        assert_eq!(passed.headers()[header::CACHE_CONTROL], "no-store");
        let own = passed_on(answer(301, &[("cache-control", "max-age=60")])).0;
        let own: Vec<_> = own
            .headers()
            .get_all(header::CACHE_CONTROL)
            .iter()
            .collect();
        assert_eq!(own, ["max-age=60"]);
    }
}
