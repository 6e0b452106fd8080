//! Responses of streamgate's own, as they leave it: with the request's name, the route's rules and the operator's pages, and
//! never without a record.
//!
//! Owns also the requests that are refused before they are routed, by whoever drives the connection.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};

use super::{Service, X_REQUEST_ID, named, origin};
use crate::http::body::Body;
use crate::http::inbound::Outline;
use crate::http::problem::Problem;
use crate::net::ClientAddr;
use crate::observe::access::{End, RequestId, RequestRecord};
use crate::respond::fields::Rendered;
use crate::respond::{self, action};
use crate::snapshot::Snapshot;
use crate::stream::{Answer, Downstream};

impl Service {
    /// Answers a request that is not to be served.
    pub fn refuse<B>(
        &self,
        downstream: &Downstream,
        request: &Request<B>,
        problem: &Problem,
    ) -> Response<Body> {
        let (id, told) = self.begin(downstream, request);
        let snapshot = self.current.get();
        refused(problem, &snapshot, &Asker::of(request), &id, told)
    }

    /// Sends the client to the same address by `https`, on `port`.
    pub fn send_to_https<B>(
        &self,
        downstream: &Downstream,
        request: &Request<B>,
        port: u16,
    ) -> Response<Body> {
        let (id, told) = self.begin(downstream, request);
        match respond::redirect_to_https(request, port) {
            Ok(mut response) => {
                own(&mut response, &id, &told.fields);
                finish(response, told.record)
            }
            Err(problem) => {
                let snapshot = self.current.get();
                refused(&problem, &snapshot, &Asker::of(request), &id, told)
            }
        }
    }

    /// Answers a request whose head is not whole or not sound, so that no more than an outline is known of it. The
    /// connection is to be closed behind the response.
    pub fn refuse_unread(
        &self,
        client: ClientAddr,
        outline: Outline,
        problem: &Problem,
    ) -> Response<Bytes> {
        let id = RequestId::random();
        let mut record =
            RequestRecord::begin(&id, client, Version::HTTP_11, || outline.asked.clone());
        if let Some(host) = &outline.host {
            record.addressed(host.name());
        }
        let mut response = problem.response_from(&self.current.get().config.errors, None);
        own(&mut response, &id, &Rendered::default());
        let length = response.body().len();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if matches!(outline.asked, Some((Method::HEAD, _))) {
            *response.body_mut() = Bytes::new();
        }
        record.failed(problem.label());
        record.answered(response.status());
        record.bytes_out = response.body().len() as u64;
        record.ended(End::Backend);
        response
    }

    /// The name and the record of a request that is not routed.
    fn begin<B>(&self, downstream: &Downstream, request: &Request<B>) -> (RequestId, Told) {
        let snapshot = self.current.get();
        let origin = origin(&snapshot, downstream, request.headers());
        let id = named(&snapshot, &origin, request);
        let client = downstream.told_by(&origin).client;
        let told = Told {
            record: Some(RequestRecord::begin(&id, client, request.version(), || {
                asked_of(request)
            })),
            fields: Rendered::default(),
        };
        (id, told)
    }
}

/// What is learnt of a request on its way.
pub(super) struct Told {
    /// `None`: whoever has the response's end has taken it.
    pub(super) record: Option<RequestRecord>,
    /// Its route's rules for the response.
    pub(super) fields: Rendered,
}

impl Told {
    /// The head is due.
    pub(super) fn answered(&mut self, status: StatusCode) {
        if let Some(record) = &mut self.record {
            record.answered(status);
        }
    }
}

/// What is asked for, for the log.
pub(super) fn asked_of<B>(request: &Request<B>) -> Option<(Method, Uri)> {
    Some((request.method().clone(), request.uri().clone()))
}

/// What a response of streamgate's own depends on in its request.
pub(super) struct Asker {
    accept: Option<HeaderValue>,
    version: Version,
    is_head: bool,
}

impl Asker {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            accept: request.headers().get(header::ACCEPT).cloned(),
            version: request.version(),
            is_head: *request.method() == Method::HEAD,
        }
    }
}

/// The response that tells of `problem`, with the request's record closed.
pub(super) fn refused(
    problem: &Problem,
    snapshot: &Snapshot,
    asker: &Asker,
    id: &RequestId,
    mut told: Told,
) -> Response<Body> {
    let response = problem.response_from(&snapshot.config.errors, asker.accept.as_ref());
    let mut response = response.map(Body::from);
    own(&mut response, id, &told.fields);
    if ends_connection(problem) && asker.version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if let Some(record) = &mut told.record {
        record.failed(problem.label());
    }
    if asker.is_head {
        response = action::without_body(response);
    }
    finish(response, told.record)
}

/// Gives a response of streamgate's own its name, and changes it as its route says.
fn own<B>(response: &mut Response<B>, id: &RequestId, fields: &Rendered) {
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    fields.apply(response.headers_mut());
}

/// The same for what may be a hand-over, which knows how its head is to be.
pub(super) fn owned(mut answer: Answer, id: &RequestId, fields: &Rendered) -> Answer {
    if let Answer::Response(response) = &mut answer {
        own(response, id, fields);
    }
    answer
}

/// Whether what follows on an HTTP/1.1 connection can no longer be trusted, or is a body that nobody wants.
fn ends_connection(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::BadRequest(_) | Problem::RequestTimeout | Problem::ContentTooLarge { .. }
    )
}

/// Closes the record of a request whose answer is at hand. A body that streams has taken the request's record with it,
/// or has a record of its own.
pub(super) fn finish(response: Response<Body>, record: Option<RequestRecord>) -> Response<Body> {
    let Some(mut record) = record else {
        return response;
    };
    record.answered(response.status());
    if matches!(response.body(), Body::Stream(_)) {
        record.superseded();
        return response;
    }
    record.bytes_out = http_body::Body::size_hint(response.body()).lower();
    record.ended(End::Backend);
    response
}
