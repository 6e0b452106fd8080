//! Asking for an event stream again, as its client would: the same request, with `Last-Event-ID`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::lasting::{self, Kind};
use super::reply_body::Home;
use super::request::Outbound;
use super::{Asker, Servers, retry};
use crate::config::model::Timeouts;
use crate::net::ClientAddr;
use crate::observe::access::RequestId;
use crate::respond;
use crate::stream::events::{Content, Reopen, Reopened};
use crate::upstream::Upstream;
use crate::upstream::pool::Pools;

/// WHATWG HTML, "Server-sent events", §9.2.4.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What it takes to ask again. It goes to the servers that the stream began with, whatever has been reloaded since.
pub(super) struct Again(Rc<Request>);

struct Request {
    upstream: Arc<Upstream>,
    pools: Rc<Pools>,
    cookie: Option<String>,
    outbound: Outbound,
    client: ClientAddr,
    local: SocketAddr,
    timeouts: Timeouts,
    id: RequestId,
}

impl Again {
    pub(super) fn new(servers: Servers<'_>, mut outbound: Outbound, asker: Asker<'_>) -> Self {
        own_values(&mut outbound.headers);
        Self(Rc::new(Request {
            upstream: servers.upstream.clone(),
            pools: servers.pools.clone(),
            cookie: servers.cookie.map(str::to_owned),
            outbound,
            client: asker.client,
            local: asker.local,
            timeouts: asker.timeouts.clone(),
            id: asker.id.clone(),
        }))
    }

    /// What the client has seen before the stream began.
    pub(super) fn last_id(&self) -> Option<Bytes> {
        let value = self.0.outbound.headers.get(LAST_EVENT_ID)?;
        Some(Bytes::copy_from_slice(value.as_bytes())).filter(|id| !id.is_empty())
    }
}

impl Reopen for Again {
    fn reopen(&self, last_id: Option<&[u8]>) -> Pin<Box<dyn Future<Output = Reopened>>> {
        let request = self.0.clone();
        let last_id = last_id.map(HeaderValue::from_bytes);
        Box::pin(async move {
            let mut outbound = request.outbound.clone();
            match last_id {
                None => drop(outbound.headers.remove(LAST_EVENT_ID)),
                Some(Ok(id)) => drop(outbound.headers.insert(LAST_EVENT_ID, id)),
                // A stream with such an id is not taken up at all.
                Some(Err(_unfit)) => return Reopened::Failed,
            }
            request.ask(&outbound).await
        })
    }
}

impl Request {
    async fn ask(&self, outbound: &Outbound) -> Reopened {
        let servers = Servers {
            upstream: &self.upstream,
            pools: &self.pools,
            cookie: self.cookie.as_deref(),
        };
        let asker = Asker {
            client: self.client,
            local: self.local,
            timeouts: &self.timeouts,
            id: &self.id,
        };
        let (lease, head, reply) = match retry::exchange(servers, (outbound, None), asker).await {
            Ok(answered) => answered,
            Err(error) => {
                let cause = respond::chain(&error);
                tracing::debug!(id = %self.id, cause, "a broken stream is not back yet");
                return Reopened::Failed;
            }
        };
        match Kind::of(&head) {
            Some(kind)
                if head.status == StatusCode::OK && kind.content(&head) == Content::Events =>
            {
                let home = Home::new(&self.pools, &self.upstream, &lease, &head.headers);
                Reopened::Stream {
                    source: lasting::source(reply, home),
                    lease,
                }
            }
            _ if is_passing(head.status) => Reopened::Failed,
            _ => Reopened::Refused(head.status),
        }
    }
}

/// Copies the values out of the buffer that the client's whole head was read into, which would stay for as long as they do.
fn own_values(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let copied = HeaderValue::from_bytes(value.as_bytes());
        let mut own = copied.expect("the bytes of a field's value make one");
        own.set_sensitive(value.is_sensitive());
        *value = own;
    }
}

/// Whether the same request may be answered otherwise a little later.
fn is_passing(status: StatusCode) -> bool {
    let passing = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_server_error() || passing.contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_s_buffer_does_not_stay_for_its_fields() {
        let buffer = Bytes::from(b"x: 1\r\ncookie: a\r\n".to_vec());
        let mut headers = HeaderMap::new();
        let mut cookie = HeaderValue::from_maybe_shared(buffer.slice(14..15)).unwrap();
        cookie.set_sensitive(true);
        headers.insert(http::header::COOKIE, cookie);
        assert!(!buffer.is_unique());
        own_values(&mut headers);
        assert!(buffer.is_unique());
        let cookie = &headers[http::header::COOKIE];
        assert!(cookie == "a" && cookie.is_sensitive());
    }
}
