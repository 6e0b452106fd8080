//! A live stream's record: what its `close` line says, its row, and its part in the metrics.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Version;

use super::{End, Kind, RequestId, TARGET};
use crate::net::ClientAddr;
use crate::observe::metrics::{self, Resumption};
use crate::observe::streams::{Listed, Moved, Row};
use crate::observe::trace::Events;

/// Who has a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub addr: ClientAddr,
    /// Who it is, where that is known.
    pub user: Option<Arc<str>>,
}

impl From<ClientAddr> for Client {
    fn from(addr: ClientAddr) -> Self {
        Self { addr, user: None }
    }
}

impl From<(ClientAddr, Option<&Arc<str>>)> for Client {
    fn from((addr, user): (ClientAddr, Option<&Arc<str>>)) -> Self {
        let user = user.cloned();
        Self { addr, user }
    }
}

/// A live stream's record. Opened when its head is due, closed with [`StreamRecord::close`]; one that is dropped
/// unclosed was cut.
///
/// Whoever runs the stream tells it what passes, as it passes: [`StreamRecord::sent`] and the like are an addition or two.
#[derive(Debug)]
pub struct StreamRecord {
    pub(super) listed: Listed,
    pub(super) end: End,
    pub(super) silence: Duration,
    pub(super) close_code: Option<u16>,
    pub(super) version: Version,
    /// For its span; `None`: there will be none.
    pub(super) events: Option<Box<Events>>,
}

impl StreamRecord {
    /// Writes the `open` record. `backend` is the server's address, or the bridge's channel; `version` is the
    /// client's.
    #[must_use]
    pub fn open(
        id: RequestId,
        kind: Kind,
        route: Arc<str>,
        client: impl Into<Client>,
        backend: &dyn fmt::Display,
        version: Version,
    ) -> Self {
        let Client { addr: client, user } = client.into();
        let name = user.as_deref();
        let trace_id = id.trace_id();
        tracing::info!(target: TARGET, %id, trace_id, %kind, %route, %client, user = name, ?version, %backend, "stream open");
        let listed = Listed::open(id, kind, route, Client { addr: client, user }, backend);
        Self {
            events: Self::events(listed.row()),
            listed,
            version,
            end: End::Cut,
            silence: Duration::ZERO,
            close_code: None,
        }
    }

    /// So many bytes have gone to the client, behind the response's head.
    pub fn sent(&mut self, bytes: usize) {
        self.listed.row().send(bytes as u64);
    }

    /// So many bytes have come from the client.
    pub fn received(&mut self, bytes: usize) {
        self.listed.row().receive(bytes as u64);
    }

    /// So many messages have come from the client.
    pub fn received_messages(&mut self, count: u64) {
        self.listed.row().receive_messages(count);
    }

    /// So many messages, or events, have gone to the client.
    pub fn sent_messages(&mut self, count: u64) {
        self.listed.row().send_messages(count);
    }

    /// So much has passed since it was opened, for a stream that counts by itself. What is less than before changes nothing.
    pub fn reached(&mut self, moved: Moved) {
        self.listed.row().reach(moved);
    }

    /// How much has passed so far.
    #[must_use]
    pub fn moved(&self) -> Moved {
        self.listed.row().moved()
    }

    /// A heartbeat has gone to one side.
    pub fn heartbeat(&mut self) {
        self.listed.row().tally().heartbeat();
    }

    /// The client's socket had taken what the backend sent so long after it was read.
    pub fn delayed(&mut self, added: Duration) {
        self.listed.row().tally().delayed(added);
    }

    /// The backend had broken off `down` ago, and the stream goes on at `backend`.
    pub fn taken_up(&mut self, backend: &dyn fmt::Display, down: Duration) {
        let outcome = Resumption::Resumed;
        self.listed.row().tally().resumed(outcome);
        self.tell_resumption(outcome, Some((backend.to_string(), down)));
        let row = self.listed.row();
        let (id, kind, route) = (&row.id, row.kind, &row.route);
        let down_ms = down.as_millis() as u64;
        tracing::info!(target: TARGET, %id, %kind, %route, %backend, down_ms, "stream resumed");
    }

    /// The backend broke off, and this became of it.
    pub fn resumed(&mut self, outcome: Resumption) {
        self.listed.row().tally().resumed(outcome);
        self.tell_resumption(outcome, None);
    }

    /// The code of a WebSocket's first Close; 1005 for one without, 1006 where there was no Close.
    pub fn closed_with(&mut self, code: u16) {
        self.close_code = Some(code);
    }

    /// Ready when the operator wants the stream to end, with that reason. Whoever runs a stream asks this whenever it looks at
    /// anything else, and is woken for it.
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<End> {
        self.listed.row().poll_end(cx).map(|()| End::Operator)
    }

    /// Its row.
    #[must_use]
    pub fn row(&self) -> &Rc<Row> {
        self.listed.row()
    }

    /// Says why the stream is about to end, should it be cut before it has.
    pub fn ending(&mut self, end: End) {
        self.end = end;
    }

    /// Says why the stream ended and how long it had been silent then; the `close` record follows.
    pub fn close(mut self, end: End, silence: Duration) {
        self.end = end;
        self.silence = silence;
    }
}

/// A WebSocket that ended without any Close (RFC 6455 §7.1.5).
const ABNORMAL: u16 = 1006;

impl Drop for StreamRecord {
    fn drop(&mut self) {
        let life = self.listed.row().opened.elapsed();
        self.tell_span(life);
        let row = self.listed.row();
        row.tally().closed(self.end, life);
        let is_websocket = row.kind == Kind::Tunnel;
        if is_websocket {
            metrics::close_code(&row.route, self.close_code.unwrap_or(ABNORMAL));
        }
        let (id, kind, route, client) = (&row.id, row.kind, &row.route, row.client);
        let user = row.user.as_deref();
        let (reason, close_code, trace_id) = (self.end.label(), self.close_code, id.trace_id());
        let (life_ms, idle_ms) = (life.as_millis() as u64, self.silence.as_millis() as u64);
        let Moved {
            bytes_in,
            bytes_out,
            messages_in,
            messages_out,
        } = row.moved();
        // Of other streams they are not known, or not all of them; a bridge's client that says something is a WebSocket.
        let messages_in = (is_websocket || messages_in > 0).then_some(messages_in);
        let messages_out = is_websocket.then_some(messages_out);
        tracing::info!(target: TARGET, %id, trace_id, %kind, %route, %client, user, reason, life_ms, idle_ms, bytes_in, bytes_out, messages_in, messages_out, close_code, "stream close");
    }
}
