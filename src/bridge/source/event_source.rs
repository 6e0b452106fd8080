//! One open connection to a source of server-sent events: an `EventSource` by the book (WHATWG HTML, "Server-sent events").
//!
//! What a browser does, it does too: `Last-Event-ID` of the last whole block, `retry`, 204 as the end, any answer but 200
//! with `text/event-stream` as a fault. What differs: faults are tried again, always, and redirects are not followed.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use crate::bridge::map;
use crate::config::model::Bridge;
use crate::sse::decode::{Decoder, Item};

use super::fault::Fault;
use super::link::{Activity, BATCH, Incoming, Watch};
use super::target::{Answer, Opening, Target};

const EVENT_STREAM: &str = "text/event-stream";
/// Pieces (64 KiB each at most) that are read in one go: comments are no events, and may come without end.
const PIECES: usize = 16;

/// A feed's decoder, over all its connections: at each moment it says where to go on, whatever ends the feed.
pub(super) type Shared = Rc<RefCell<Decoder>>;

/// The decoder of a feed that holds at most `limit` bytes of an event.
pub(super) fn shared(limit: usize) -> Shared {
    Rc::new(RefCell::new(Decoder::new(limit, None)))
}

/// An open connection to a source of events.
pub(super) struct EventSource {
    reply: Answer,
    decoder: Shared,
    /// Whether the source was told where to go on.
    resumed: bool,
    watch: Watch,
    lost: Option<Fault>,
}

impl EventSource {
    /// Asks for the stream behind the decoder's position.
    ///
    /// # Errors
    /// [`Fault::Finished`] for a 204.
    ///
    /// # Cancel safety
    /// Dropping it gives the connection up.
    pub(super) async fn open(
        target: &Target,
        config: &Bridge,
        opening: &Opening,
        decoder: Shared,
    ) -> Result<Self, Fault> {
        decoder.borrow_mut().begin_again();
        let mut fields = HeaderMap::new();
        fields.insert(header::ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        let no_store = HeaderValue::from_static("no-store");
        fields.insert(header::CACHE_CONTROL, no_store);
        let value = |id: &[u8]| HeaderValue::from_bytes(id).ok();
        let id = decoder.borrow().position().last_id().and_then(value);
        let resumed = id.is_some();
        fields.extend(id.map(|id| (header::HeaderName::from_static("last-event-id"), id)));
        let (head, reply) = target.ask(config, opening, &fields).await?;
        match head.status {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => return Err(Fault::Finished),
            other => return Err(Fault::Status(other)),
        }
        if !is_event_stream(&head.headers) {
            return Err(Fault::ContentType);
        }
        Ok(Self {
            reply,
            decoder,
            resumed,
            watch: Watch::new(config.idle.silence),
            lost: None,
        })
    }

    /// Whether it goes on where the one before it ended: nothing was missed.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.watch.due()
    }

    pub(super) fn tick(&self, now: Instant) -> Result<(), Fault> {
        self.watch.check(now)
    }

    /// Gives the events that are there to `deliver`. Pending only if it did nothing.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        deliver: &mut impl FnMut(Incoming<'_>),
    ) -> Poll<Activity> {
        if let Some(fault) = self.lost.take() {
            return Poll::Ready(Activity::Lost(fault));
        }
        let (mut events, mut pieces) = (0, 0);
        while events < BATCH && pieces < PIECES && self.lost.is_none() {
            let Poll::Ready(piece) = self.reply.poll_piece(cx) else {
                break;
            };
            pieces += 1;
            match piece {
                Some(Ok(frame)) => events += self.take(frame.data_ref(), deliver),
                Some(Err(error)) => self.lost = Some(Fault::Reply(error)),
                None => self.lost = Some(Fault::Ended),
            }
        }
        if pieces == 0 {
            return Poll::Pending;
        }
        self.watch.heard();
        if events == 0
            && let Some(fault) = self.lost.take()
        {
            return Poll::Ready(Activity::Lost(fault));
        }
        Poll::Ready(Activity::Messages {
            count: events,
            is_full: events >= BATCH || pieces >= PIECES,
        })
    }

    fn take(
        &mut self,
        piece: Option<&bytes::Bytes>,
        deliver: &mut impl FnMut(Incoming<'_>),
    ) -> usize {
        let mut data = piece.map_or(&[][..], |piece| &piece[..]);
        let mut events = 0;
        loop {
            let next = self.decoder.borrow_mut().next(&mut data);
            let Some(item) = next else {
                return events;
            };
            events += 1;
            match &item {
                Item::Oversize { bytes } => deliver(Incoming::Oversize(*bytes)),
                Item::Event(event) => deliver(Incoming::Message(match &event.name {
                    None => map::Message::Text(&event.data),
                    Some(name) => map::Message::Event {
                        name,
                        text: &event.data,
                    },
                })),
            }
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok());
    text.and_then(|text| text.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(EVENT_STREAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_may_have_parameters_and_nothing_else() {
        for (value, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/event-stream2", false),
            ("text/html", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(is_event_stream(&headers), expected, "{value}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}
