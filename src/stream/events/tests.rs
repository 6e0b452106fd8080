//! A stream against a server that breaks as it likes: what the client decodes is every event, once and in order.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Version};
use http_body::Frame;
use proptest::prelude::*;

use super::flow::Flow;
use super::*;
use crate::config::model::StreamLimits;
use crate::limits::{Holder, Streams};
use crate::net::{Authority, ClientAddr};
use crate::observe::access::{Kind, RequestId};
use crate::sse::encode::tests::{Decoded, Decoder};
use crate::upstream::http1::ReplyError;

/// A server's body: pieces, then an end or a break.
struct Script {
    pieces: std::vec::IntoIter<Vec<u8>>,
    breaks: bool,
}

impl Pieces for Script {
    fn poll_piece(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        Poll::Ready(match self.pieces.next() {
            Some(piece) => Some(Ok(Frame::data(piece.into()))),
            None if self.breaks => Some(Err(ReplyError::Incomplete)),
            None => None,
        })
    }
}

/// A source of numbered events that breaks off its streams after so many bytes each.
struct Numbered {
    events: Vec<String>,
    breaks: RefCell<std::vec::IntoIter<(usize, usize)>>,
    asked: RefCell<Vec<Option<String>>>,
}

impl Numbered {
    fn stream(&self, last_id: Option<&[u8]>) -> Script {
        let last_id = last_id.map(|id| String::from_utf8(id.to_vec()).unwrap());
        let from = last_id.as_ref().map_or(0, |id| id.parse().unwrap());
        self.asked.borrow_mut().push(last_id);
        let whole = self.events[from..].concat().into_bytes();
        let (length, step) = self.breaks.borrow_mut().next().unwrap_or((whole.len(), 7));
        let breaks = length < whole.len();
        let told = &whole[..length.min(whole.len())];
        let pieces: Vec<_> = told.chunks(step.max(1)).map(<[u8]>::to_vec).collect();
        Script {
            pieces: pieces.into_iter(),
            breaks,
        }
    }
}

pub(super) struct Again(Rc<Numbered>);

impl Reopen for Again {
    fn reopen(&self, last_id: Option<&[u8]>) -> Pin<Box<dyn Future<Output = Reopened>>> {
        let source = Source::shared(self.0.stream(last_id));
        Box::pin(async move {
            Reopened::Stream {
                source,
                lease: lease(),
            }
        })
    }
}

pub(super) fn lease() -> Lease {
    let addr = Authority {
        host: "127.0.0.1".into(),
        port: 1,
    };
    let endpoint = crate::upstream::Endpoint::new(addr.into(), &Arc::default());
    endpoint.lease(None).expect("it has no limit")
}

pub(super) fn opening(source: Source, again: Option<Again>, trigger: &drain::Trigger) -> Opening {
    let client = ClientAddr(([127, 0, 0, 1], 2).into());
    let streams = Streams::default();
    let permit = streams.acquire(
        StreamLimits::default(),
        Holder {
            client: client.0.ip(),
            user: None,
        },
    );
    Opening {
        source,
        content: Content::Events,
        heartbeat: Some(Duration::from_millis(100)),
        resume: again.map(|again| (Resumption::new(again, Duration::from_secs(600)), None)),
        life: Lifetime::new(None, None),
        record: StreamRecord::open(
            RequestId::random(),
            Kind::EventStream,
            "/*".into(),
            client,
            &"a test",
            Version::HTTP_11,
        ),
        lease: lease(),
        permit: permit.expect("there is no limit"),
        losses: Arc::new(Losses::outlived()),
        guard: trigger.guard(),
    }
}

/// Runs `story` with a drain to begin, on a clock that stands still while something is to be done.
pub(super) fn paused<R>(story: impl AsyncFnOnce(&drain::Trigger) -> R) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(story(&drain::Trigger::new()))
}

/// All that a client gets, and how it ends.
fn run_whole(opening: impl FnOnce(&drain::Trigger) -> Opening) -> (Vec<u8>, Over) {
    paused(async |trigger| {
        let mut flow = Flow::new(opening(trigger));
        let mut whole = Vec::new();
        loop {
            let mut out = Vec::new();
            match poll_fn(|cx| flow.poll(cx, &mut out)).await {
                Step::Written => whole.append(&mut out),
                Step::Bytes(data) => whole.extend_from_slice(&data),
                Step::Trailers(_) => {}
                Step::Over(over) => return (whole, over),
            }
        }
    })
}

fn any_event() -> impl Strategy<Value = (&'static str, String, bool)> {
    let end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
    (end, "[a-z é:]{0,9}", any::<bool>())
}

/// Events with the ids 1, 2, …
fn numbered(events: &[(&str, String, bool)]) -> Vec<String> {
    let one = |(index, (end, text, commented)): (usize, &(&str, String, bool))| {
        let comment = if *commented { ":c" } else { "" };
        let comment = format!("{comment}{}", if *commented { end } else { &"" });
        format!("{comment}id: {}{end}data: {text}{end}{end}", index + 1)
    };
    events.iter().enumerate().map(one).collect()
}

fn decoded(stream: &[u8]) -> Vec<Decoded> {
    Decoder::default().decode(std::str::from_utf8(stream).unwrap())
}

proptest! {
    #[test]
    fn every_event_comes_once_and_in_order_however_often_its_server_breaks(
        events in prop::collection::vec(any_event(), 1..12),
        breaks in prop::collection::vec((0_usize..80, 1_usize..40), 0..8),
        last_step in 1_usize..40,
    ) {
        let events = numbered(&events);
        let expected = decoded(events.concat().as_bytes());
        let server = Rc::new(Numbered {
            events,
            breaks: RefCell::new(breaks.into_iter()),
            asked: RefCell::default(),
        });
        let (received, over) = run_whole(|trigger| {
            let source = Source::shared(server.stream(None));
            opening(source, Some(Again(server.clone())), trigger)
        });
        prop_assert_eq!(over, Over::Whole);
        prop_assert_eq!(decoded(&received), expected, "{:?} {}", server.asked.borrow(), last_step);
    }

    #[test]
    fn a_word_of_ours_changes_no_event(
        text in "(\u{feff})?([\n\r]|\r\n|\n\n|data:|id: [0-9]|retry: 7|: |[a-z])*",
        step in 1_usize..7,
        early in any::<bool>(),
    ) {
        let mut passage = passage::Passage::new(Content::Events);
        let mut received = Vec::new();
        let speak = |passage: &mut passage::Passage, received: &mut Vec<u8>| {
            if passage.may_speak() {
                received.extend_from_slice(b":\n\n");
                passage.spoke();
            }
        };
        if early {
            speak(&mut passage, &mut received);
        }
        for piece in text.as_bytes().chunks(step) {
            passage.pass(piece, &mut received);
            speak(&mut passage, &mut received);
        }
        passage.finish(&mut received);
        prop_assert_eq!(decoded(&received), decoded(text.as_bytes()));
    }
}

#[test]
fn a_stream_that_breaks_without_an_event_each_time_is_given_up() {
    let server = Rc::new(Numbered {
        events: vec!["id: 1\ndata: x\n\n".into()],
        breaks: RefCell::new(vec![(3, 7); 10_000].into_iter()),
        asked: RefCell::default(),
    });
    let (received, over) = run_whole(|trigger| {
        let source = Source::shared(server.stream(None));
        opening(source, Some(Again(server.clone())), trigger)
    });
    assert_eq!(over, Over::Broken);
    assert_eq!(decoded(&received), []);
    let asked = server.asked.borrow().len();
    assert!(
        (60..600).contains(&asked),
        "asked {asked} times in ten minutes"
    );
}

struct Refusing;

impl Reopen for Refusing {
    fn reopen(&self, _last_id: Option<&[u8]>) -> Pin<Box<dyn Future<Output = Reopened>>> {
        Box::pin(async { Reopened::Refused(StatusCode::NO_CONTENT) })
    }
}

#[test]
fn a_server_that_ends_a_broken_stream_ends_it_in_order() {
    let script = Script {
        pieces: vec![b"id: 1\ndata: x\n\nhalf".to_vec()].into_iter(),
        breaks: true,
    };
    let (received, over) = run_whole(|trigger| Opening {
        resume: Some((Resumption::new(Refusing, Duration::from_secs(5)), None)),
        ..opening(Source::shared(script), None, trigger)
    });
    assert_eq!(over, Over::Whole);
    assert!(received.starts_with(b"id: 1\ndata: x\n\n"));
    assert!(!received.ends_with(b"half"));
}
