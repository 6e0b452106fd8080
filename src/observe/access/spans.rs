//! The spans of requests and streams: told by their records, when these end.

use std::time::Duration;

use super::{End, RequestRecord, StreamRecord};
use crate::observe::metrics::Resumption;
use crate::observe::streams::{Moved, Row};
use crate::observe::trace::span::{Ended, number, text};
use crate::observe::trace::{self, Events};

impl RequestRecord {
    /// Tells of a request that has ended, where it is sampled.
    pub(super) fn tell_span(&self) {
        let Some(trace) = self.id.trace() else { return };
        if self.head.is_some() {
            trace.answered(self.status);
        }
        let backend = self.server.as_ref().map(ToString::to_string);
        let span = trace.span(Ended {
            route: self.route.as_deref(),
            client: self.client,
            version: Some(self.version),
            backend: backend.as_deref(),
            error: self.error,
            life: self.begun.elapsed(),
        });
        let Some(mut span) = span else { return };
        span.number("http.response.body.size", self.bytes_out);
        span.text("streamgate.end", self.end.label());
        span.is_error |= is_fault(self.end);
        trace::finish(span);
    }
}

impl StreamRecord {
    /// A stream has begun: `None` where no span will be told of it.
    pub(super) fn events(row: &Row) -> Option<Box<Events>> {
        row.id.trace().filter(|trace| trace.is_told())?;
        let mut events = Box::<Events>::default();
        events.add(
            "stream.open",
            vec![text("streamgate.backend", &row.backend)],
        );
        Some(events)
    }

    /// Its client is told that it has missed something.
    pub fn gap(&mut self, reason: &'static str) {
        if let Some(events) = &mut self.events {
            let reason = text("streamgate.gap.reason", reason);
            events.add("stream.gap", vec![reason]);
        }
    }

    /// What became of it when its backend broke off. `at`: where it goes on, and how long that took.
    pub(super) fn tell_resumption(&mut self, outcome: Resumption, at: Option<(String, Duration)>) {
        let Some(events) = &mut self.events else {
            return;
        };
        let mut attributes = vec![text("streamgate.resume.outcome", outcome.label())];
        if let Some((backend, down)) = at {
            let down = u64::try_from(down.as_millis()).unwrap_or(u64::MAX);
            attributes.push(text("streamgate.backend", backend));
            attributes.push(number("streamgate.resume.down_ms", down));
        }
        events.add("stream.resume", attributes);
    }

    /// Tells of a stream that has ended.
    pub(super) fn tell_span(&mut self, life: Duration) {
        let Some(mut events) = self.events.take() else {
            return;
        };
        let row = self.listed.row();
        // A stream begins when its head is due, its span when it was asked for.
        let span = row.id.trace().and_then(|trace| {
            trace.span(Ended {
                route: Some(&row.route),
                client: row.client,
                version: Some(self.version),
                backend: Some(&row.backend),
                error: None,
                life: trace.age().max(life),
            })
        });
        let Some(mut span) = span else { return };
        let silent = u64::try_from(self.silence.as_millis()).unwrap_or(u64::MAX);
        if let End::ClientDead | End::BackendDead = self.end {
            let side = if self.end == End::ClientDead {
                "client"
            } else {
                "backend"
            };
            events.end(
                "stream.ping_unanswered",
                vec![text("streamgate.side", side)],
            );
        }
        let mut close = vec![
            text("streamgate.end", self.end.label()),
            number("streamgate.idle_ms", silent),
        ];
        close.extend(
            self.close_code
                .map(|code| number("streamgate.websocket.close_code", code.into())),
        );
        events.end("stream.close", close);
        let Moved {
            bytes_in,
            bytes_out,
            messages_in,
            messages_out,
        } = row.moved();
        span.text("streamgate.stream.kind", row.kind);
        span.text("streamgate.end", self.end.label());
        span.number("streamgate.stream.received_bytes", bytes_in);
        span.number("streamgate.stream.sent_bytes", bytes_out);
        span.number("streamgate.stream.received_messages", messages_in);
        span.number("streamgate.stream.sent_messages", messages_out);
        span.events = *events;
        if is_fault(self.end) {
            span.is_error = true;
            span.text("error.type", self.end.label());
        }
        trace::finish(span);
    }
}

/// Whether it was cut off by nothing that its client has done or was told of.
fn is_fault(end: End) -> bool {
    matches!(
        end,
        End::BackendFailed | End::BackendUnhealthy | End::BackendDead | End::Cut
    )
}
