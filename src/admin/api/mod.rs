//! The admin API: `/api/…`, in JSON.
//!
//! [`answer`] is the way of one request: where it comes from ([`access`]), what it is for, whether it may. What there is is
//! listed in [`Resource::ALL`], and described in `openapi.json`, which a test holds to that list. Invariants: what an answer
//! costs is bounded, in its length and on the workers; secrets are in none.

mod access;
mod bridges;
mod certificates;
pub(super) mod live;
pub(super) mod log;
mod moment;
mod params;
mod routes;
mod status;
mod streams;
mod upstreams;

use std::rc::Rc;

use bytes::Bytes;
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use super::answer::{Answer, Answered, JSON, Refusal, body};
use super::door::Way;
use super::{State, control};
use access::Access;

pub(super) use streams::LISTS;

/// The whole API for programs (OpenAPI 3.1).
const DESCRIPTION: &[u8] = include_bytes!("openapi.json");

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Status,
    Routes,
    Upstreams,
    Certificates,
    Streams,
    Drain,
    Stream,
    Bridges,
    Reload,
    Log,
    Live,
    Session,
    Description,
}

impl Resource {
    /// All of them, with their paths and methods. A path with a name in braces is for what none before it is for; where there is
    /// `GET`, there is `HEAD`.
    const ALL: [(Self, &'static str, &'static [&'static str]); 13] = [
        (Self::Status, "/api/status", &["GET"]),
        (Self::Routes, "/api/routes", &["GET"]),
        (Self::Upstreams, "/api/upstreams", &["GET"]),
        (Self::Certificates, "/api/certificates", &["GET"]),
        (Self::Streams, "/api/streams", &["GET"]),
        (Self::Drain, "/api/streams/drain", &["POST"]),
        (Self::Stream, "/api/streams/{id}", &["DELETE"]),
        (Self::Bridges, "/api/bridges", &["GET"]),
        (Self::Reload, "/api/reload", &["GET", "POST"]),
        (Self::Log, "/api/log", &["GET", "PUT"]),
        (Self::Live, "/api/live", &["GET"]),
        (Self::Session, "/api/session", &["POST", "DELETE"]),
        (Self::Description, "/api/openapi.json", &["GET"]),
    ];

    /// What a path is for, with its methods.
    fn of(path: &str) -> Option<(Self, &'static [&'static str])> {
        let is_for = |(_, known, _): &&(Self, &str, _)| match known.split_once('{') {
            None => *known == path,
            Some((before, _name)) => path
                .strip_prefix(before)
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('/')),
        };
        let found = Self::ALL.iter().find(is_for);
        found.map(|(resource, _, methods)| (*resource, *methods))
    }
}

/// Whether a path is answered here.
pub(super) fn is_for(path: &str) -> bool {
    path.strip_prefix("/api")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers one request.
pub(super) async fn answer(request: Request<Incoming>, way: Way, state: &Rc<State>) -> Answer {
    let (head, body) = request.into_parts();
    respond(&head, body, way, state)
        .await
        .unwrap_or_else(Answer::from)
}

async fn respond(head: &Parts, body: Incoming, way: Way, state: &Rc<State>) -> Answered {
    let token = state.shown.shared.load().config.admin.token.clone();
    access::same_site(head, way, token.as_ref())?;
    let found = Resource::of(head.uri.path());
    if let Some((Resource::Session, methods)) = found {
        let method = allowed(&head.method, methods)?;
        return access::session(method, head, way, token.as_ref());
    }
    let access = access::admit(head, way, token.as_ref())?;
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this path");
    let (resource, methods) = found.ok_or_else(not_found)?;
    let method = allowed(&head.method, methods)?;
    if method != Method::GET && access == Access::Read {
        return Err(access::may_not_change(way));
    }
    dispatch(resource, method, head, (body, access), state).await
}

/// What `resource` says; the method is one of its own.
async fn dispatch(
    resource: Resource,
    method: &Method,
    head: &Parts,
    (body, access): (Incoming, Access),
    state: &Rc<State>,
) -> Answered {
    let uri = &head.uri;
    match resource {
        Resource::Status => Ok(status::status(access, state)),
        Resource::Routes => Ok(routes::routes(state)),
        Resource::Upstreams => Ok(upstreams::upstreams(state)),
        Resource::Certificates => Ok(certificates::certificates(state)),
        Resource::Streams => streams::list(uri, state).await,
        Resource::Drain => streams::drain(uri, state).await,
        Resource::Stream => {
            let id = uri.path().rsplit('/').next().unwrap_or_default();
            let id = percent_decode_str(id).decode_utf8_lossy();
            streams::close(&id, state).await
        }
        Resource::Bridges => Ok(bridges::bridges(state)),
        Resource::Reload if method == Method::POST => control::reload(uri, state).await,
        Resource::Reload => Ok(control::last(state)),
        Resource::Log if method == Method::PUT => log::set(body, state).await,
        Resource::Log => Ok(log::level(state)),
        Resource::Live => live::follow(&head.headers, state),
        Resource::Session | Resource::Description => Ok(description()),
    }
}

/// The method, where it is one of these; `HEAD` is `GET`, and hyper leaves the body away.
fn allowed<'a>(method: &'a Method, methods: &[&str]) -> Result<&'a Method, Refusal> {
    let meant = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    if methods.contains(&meant.as_str()) {
        return Ok(meant);
    }
    let mut known = methods.join(", ");
    if methods.contains(&"GET") {
        known.insert_str(0, "HEAD, ");
    }
    let refusal = Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("the methods here are {known}"),
    );
    let known = HeaderValue::from_str(&known).expect("names of methods are visible ASCII");
    Err(refusal.with(ALLOW, known))
}

fn description() -> Answer {
    body(StatusCode::OK, JSON, Bytes::from_static(DESCRIPTION))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_path_is_for_one_thing() {
        let table = [
            ("/api/status", Some(Resource::Status)),
            ("/api/streams", Some(Resource::Streams)),
            ("/api/streams/drain", Some(Resource::Drain)),
            ("/api/streams/0a1b", Some(Resource::Stream)),
            ("/api/streams/a%2Fb", Some(Resource::Stream)),
            ("/api/streams/", None),
            ("/api/streams/a/b", None),
            ("/api/status/", None),
            ("/api", None),
        ];
        for (path, expected) in table {
            let found = Resource::of(path).map(|(resource, _methods)| resource);
            assert_eq!(found, expected, "{path}");
        }
        for (path, expected) in [("/api", true), ("/api/x", true), ("/apis", false)] {
            assert_eq!(is_for(path), expected, "{path}");
        }
    }

    #[test]
    fn the_description_has_what_there_is_and_nothing_else() {
        let description: serde_json::Value = serde_json::from_slice(DESCRIPTION).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in description["paths"].as_object().unwrap() {
            for (method, about) in methods.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                assert!(about["summary"].is_string(), "{method} {path}");
                let answers = about["responses"].as_object().unwrap();
                assert!(!answers.is_empty(), "{method} {path}");
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let all = Resource::ALL.iter().flat_map(|(_, path, methods)| {
            methods.iter().map(move |method| format!("{method} {path}"))
        });
        assert_eq!(described, all.collect());
    }

    #[test]
    fn every_reference_in_the_description_leads_somewhere() {
        fn walk(value: &serde_json::Value, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Object(members) => {
                    for (name, member) in members {
                        match member.as_str() {
                            Some(target) if name == "$ref" => found.push(target.to_owned()),
                            _ => walk(member, found),
                        }
                    }
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
                _ => {}
            }
        }
        let description: serde_json::Value = serde_json::from_slice(DESCRIPTION).unwrap();
        let mut references = Vec::new();
        walk(&description, &mut references);
        assert!(references.len() > 10);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(description.pointer(pointer).is_some(), "{reference}");
        }
    }
}
