//! A stream between a server and a client of which one does what it should not.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep};

use super::flow::Flow;
use super::source::Read;
use super::tests::{lease, opening, paused};
use super::*;
use crate::sse::encode::tests::Decoder;
use crate::upstream::http1::{ExchangeError, ReplyError};

type Piece = Result<Frame<Bytes>, ReplyError>;

/// A server's body of such pieces, without a pause between them; it is silent for ever after the last.
struct Told<I>(I);

impl<I: Iterator<Item = Piece>> Pieces for Told<I> {
    fn poll_piece(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0
            .next()
            .map_or(Poll::Pending, |it| Poll::Ready(Some(it)))
    }
}

fn told(pieces: impl IntoIterator<Item = Piece> + 'static) -> Source {
    Source::shared(Told(pieces.into_iter()))
}

fn data(text: &'static str) -> Piece {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// Events without a pause or an end, of whose pieces none ends where an event does, as good as never.
fn flood() -> Source {
    told(std::iter::repeat_with(|| {
        data("x\n\ndata: x\n\nevent: e\ndata: ")
    }))
}

/// A body that sends a piece after each of some times.
struct Slow {
    pieces: std::vec::IntoIter<(Duration, Option<Piece>)>,
    next: Option<(Pin<Box<Sleep>>, Option<Piece>)>,
}

fn slow(pieces: Vec<(u64, Option<Piece>)>) -> Source {
    let pieces = pieces.into_iter();
    let pieces: Vec<_> = pieces
        .map(|(after, piece)| (Duration::from_millis(after), piece))
        .collect();
    Source::shared(Slow {
        pieces: pieces.into_iter(),
        next: None,
    })
}

impl Pieces for Slow {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if self.next.is_none() {
            self.next = self
                .pieces
                .next()
                .map(|(after, piece)| (Box::pin(tokio::time::sleep(after)), piece));
        }
        let Some((moment, _piece)) = &mut self.next else {
            return Poll::Pending;
        };
        ready!(moment.as_mut().poll(cx));
        Poll::Ready(self.next.take().and_then(|(_moment, piece)| piece))
    }
}

async fn step(flow: &mut Flow, whole: &mut Vec<u8>) -> Step {
    let mut out = Vec::new();
    let step = poll_fn(|cx| flow.poll(cx, &mut out)).await;
    whole.append(&mut out);
    if let Step::Bytes(data) = &step {
        whole.extend_from_slice(data);
    }
    step
}

/// All that a client gets while a step takes ten milliseconds, and how it ends within a thousand of them.
async fn within_a_thousand_steps(flow: &mut Flow) -> (Vec<u8>, Option<Over>) {
    let mut whole = Vec::new();
    for _ in 0..1_000 {
        if let Step::Over(over) = step(flow, &mut whole).await {
            return (whole, Some(over));
        }
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    (whole, None)
}

fn ends_between_events(received: &[u8]) -> bool {
    let mut decoder = Decoder::default();
    let events = decoder.decode(std::str::from_utf8(received).unwrap());
    let tail = received.rsplitn(2, |byte| *byte == b'e').next().unwrap();
    let is_whole = events.iter().all(|event| event.data == "x");
    decoder.retry.is_some() && is_whole && tail.ends_with(b"\n\n") && received.len() > 100
}

#[test]
fn a_flood_ends_between_two_events_in_a_drain() {
    paused(async |trigger| {
        let mut flow = Flow::new(opening(flood(), None, trigger));
        trigger.begin(Instant::now() + Duration::from_secs(8));
        let (received, over) = within_a_thousand_steps(&mut flow).await;
        assert_eq!(over, Some(Over::Whole));
        assert!(ends_between_events(&received));
    });
}

#[test]
fn a_flood_is_not_older_than_it_may_be() {
    paused(async |trigger| {
        let mut flow = Flow::new(Opening {
            life: Lifetime::new(None, Some(Duration::from_secs(2))),
            ..opening(flood(), None, trigger)
        });
        let (received, over) = within_a_thousand_steps(&mut flow).await;
        assert_eq!(over, Some(Over::Whole));
        assert!(ends_between_events(&received));
    });
}

#[test]
fn a_client_that_takes_nothing_is_waited_for_without_turning() {
    paused(async |trigger| {
        let begun = Instant::now();
        let mut flow = Flow::new(Opening {
            life: Lifetime::new(Some(Duration::from_secs(2)), None),
            ..opening(told([data("data: ha")]), None, trigger)
        });
        step(&mut flow, &mut Vec::new()).await;
        let turns = Cell::new(0);
        poll_fn(|cx| {
            turns.set(turns.get() + 1);
            assert!(turns.get() < 20, "it turns round and round");
            flow.poll_blocked(cx)
        })
        .await;
        assert!(begun.elapsed() >= Duration::from_secs(7), "{begun:?}");
    });
}

#[test]
fn trailers_stand_behind_what_was_held_back() {
    paused(async |trigger| {
        let mut fields = HeaderMap::new();
        fields.insert("x-end", "1".parse().unwrap());
        let source = told([data("data: ha"), Ok(Frame::trailers(fields))]);
        let mut flow = Flow::new(Opening {
            resume: Some((Resumption::new(Never, Duration::from_secs(1)), None)),
            ..opening(source, None, trigger)
        });
        let mut received = Vec::new();
        assert!(matches!(
            step(&mut flow, &mut received).await,
            Step::Written
        ));
        assert_eq!(received, b"data: ha");
        let Step::Trailers(fields) = step(&mut flow, &mut received).await else {
            panic!("no trailers");
        };
        assert_eq!(fields["x-end"], "1");
        let over = step(&mut flow, &mut received).await;
        assert!(matches!(over, Step::Over(Over::Whole)));
    });
}

struct Never;

impl Reopen for Never {
    fn reopen(&self, _last_id: Option<&[u8]>) -> Pin<Box<dyn Future<Output = Reopened>>> {
        Box::pin(std::future::pending())
    }
}

/// Gives its streams one after the other.
struct Next(std::cell::RefCell<std::vec::IntoIter<Source>>);

impl Reopen for Next {
    fn reopen(&self, _last_id: Option<&[u8]>) -> Pin<Box<dyn Future<Output = Reopened>>> {
        let source = self.0.borrow_mut().next();
        Box::pin(async {
            source.map_or(Reopened::Failed, |source| Reopened::Stream {
                source,
                lease: lease(),
            })
        })
    }
}

#[test]
fn a_quiet_stream_that_breaks_again_much_later_is_taken_up_again() {
    paused(async |trigger| {
        let broken = || Some(Err(ReplyError::Incomplete));
        let quiet = || slow(vec![(3_600_000, broken())]);
        let last = slow(vec![(10, Some(data("id: 2\ndata: two\n\n"))), (10, None)]);
        let sources = vec![quiet(), quiet(), last].into_iter();
        let first = slow(vec![(0, Some(data("id: 1\ndata: one\n\n"))), (0, broken())]);
        let again = Resumption::new(Next(sources.into()), Duration::from_secs(30));
        let mut flow = Flow::new(Opening {
            heartbeat: None,
            resume: Some((again, None)),
            ..opening(first, None, trigger)
        });
        let mut received = Vec::new();
        let over = loop {
            if let Step::Over(over) = step(&mut flow, &mut received).await {
                break over;
            }
        };
        let received = String::from_utf8(received).unwrap();
        assert_eq!(over, Over::Whole, "{received}");
        assert_eq!(received, "id: 1\ndata: one\n\nid: 2\ndata: two\n\n");
    });
}

#[test]
fn pieces_of_nothing_neither_stop_heartbeats_nor_count_as_activity() {
    paused(async |trigger| {
        let nothing = (0..10_000).map(|_| (10, Some(data(""))));
        let begun = Instant::now();
        let mut flow = Flow::new(Opening {
            life: Lifetime::new(Some(Duration::from_secs(1)), None),
            ..opening(slow(nothing.collect()), None, trigger)
        });
        let mut received = Vec::new();
        while !matches!(
            step(&mut flow, &mut received).await,
            Step::Over(Over::Whole)
        ) {}
        let received = String::from_utf8(received).unwrap();
        assert!(received.matches(":\n\n").count() > 5, "{received:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{begun:?}");
    });
}

#[test]
fn a_mark_behind_nothing_and_a_heartbeat_is_taken_off() {
    let mut passage = passage::Passage::new(Content::Events);
    let mut received = Vec::new();
    passage.pass(b"", &mut received);
    assert!(passage.may_speak());
    passage.spoke();
    passage.pass(b"\xef\xbb\xbfdata: x\n\n", &mut received);
    assert_eq!(received, b"data: x\n\n");
}

#[test]
fn a_request_that_breaks_off_is_its_clients_matter() {
    let fault = ReplyError::Request(ExchangeError::BodyTooShort);
    let mut source = told([Err(fault)]);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let read = source.poll(&mut cx, |_data| {});
    assert!(matches!(read, Poll::Ready(Read::RequestBroken)), "{read:?}");
}

/// What a stream takes while it waits, besides its sockets' own.
#[test]
fn an_idle_stream_is_small() {
    fn size_of_future<F>(
        _run: impl FnOnce(crate::stream::Taken, Bytes, Framing, Opening) -> F,
    ) -> usize {
        size_of::<F>()
    }
    let sizes = (
        size_of::<Flow>(),
        size_of::<EventBody>(),
        size_of_future(run),
    );
    assert!(
        sizes.0 <= 360 && sizes.1 <= 368 && sizes.2 <= 512,
        "{sizes:?}"
    );
}
