//! The long streams that live on this worker: a row each, to be listed.
//!
//! A row is made with its stream's record and goes with it. It belongs to its worker: it is read and written there without
//! locks, and whoever wants to see the rows of all workers, or a stream's end, asks each of them. Invariant: a row is small (a
//! test says how small), for there is one for each idle stream.

mod end;
mod select;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use crate::net::ClientAddr;
use crate::observe::access::{Client, Kind, RequestId};
use crate::observe::metrics::{self, StreamTally};

pub use end::{end, end_spread};
pub use select::{ClientPart, Mark, Query, Selection, select};

/// How often a worker calls [`tick`]: how exactly [`Row::silence`] is known.
pub const TICK: Duration = Duration::from_secs(1);

thread_local! {
    /// So often the worker has ticked: a clock that costs nothing to read.
    static TICKS: Cell<u32> = const { Cell::new(0) };
    static ROWS: RefCell<Slab<Rc<Row>>> = const { RefCell::new(Slab::new()) };
}

/// A live stream.
#[derive(Debug)]
pub struct Row {
    /// Its name in the log, and towards the backend.
    pub id: RequestId,
    /// What it is.
    pub kind: Kind,
    /// Its route.
    pub route: Arc<str>,
    /// Its client.
    pub client: ClientAddr,
    /// Who that is, where it is known.
    pub user: Option<Arc<str>>,
    /// The server's address, or the bridge's channel.
    pub backend: Box<str>,
    /// When it was opened.
    pub opened: Instant,
    counts: Counts,
    /// At which tick something passed last.
    active: Cell<u32>,
    /// Whether the operator wants its end.
    is_to_end: Cell<bool>,
    /// Who is woken then: whoever runs it.
    runner: Runner,
    tally: Rc<StreamTally>,
}

/// Whom to wake.
#[derive(Default)]
struct Runner(Cell<Option<Waker>>);

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runner(…)")
    }
}

/// What has passed within a stream.
#[derive(Debug, Default)]
struct Counts {
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    messages_in: Cell<u64>,
    messages_out: Cell<u64>,
}

/// How much has passed within a stream since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client, after the response's head.
    pub bytes_out: u64,
    /// Messages from the client; 0 where they are not counted.
    pub messages_in: u64,
    /// Messages to the client; 0 where they are not counted.
    pub messages_out: u64,
}

impl Row {
    /// How much has passed so far.
    #[must_use]
    pub fn moved(&self) -> Moved {
        Moved {
            bytes_in: self.counts.bytes_in.get(),
            bytes_out: self.counts.bytes_out.get(),
            messages_in: self.counts.messages_in.get(),
            messages_out: self.counts.messages_out.get(),
        }
    }

    /// For how long nothing has passed, give or take a [`TICK`].
    #[must_use]
    pub fn silence(&self) -> Duration {
        TICK * TICKS.get().wrapping_sub(self.active.get())
    }

    /// Ready when the operator wants its end. Whoever has polled it last is woken then.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_to_end.get() {
            return Poll::Ready(());
        }
        let known = self.runner.0.take();
        let known = known.filter(|waker| waker.will_wake(cx.waker()));
        self.runner
            .0
            .set(Some(known.unwrap_or_else(|| cx.waker().clone())));
        Poll::Pending
    }

    /// The operator wants its end.
    fn tell_end(&self) {
        self.is_to_end.set(true);
        if let Some(waker) = self.runner.0.take() {
            waker.wake();
        }
    }

    /// What is counted of streams like this one.
    pub(super) fn tally(&self) -> &StreamTally {
        &self.tally
    }

    /// So much has passed in all: what is new of it is counted.
    pub(super) fn reach(&self, now: Moved) {
        let counts = &self.counts;
        let news = [
            raise(&counts.bytes_in, now.bytes_in, |more| {
                self.tally.received(more)
            }),
            raise(&counts.bytes_out, now.bytes_out, |more| {
                self.tally.sent(more)
            }),
            raise(&counts.messages_in, now.messages_in, |more| {
                self.tally.received_messages(more);
            }),
            raise(&counts.messages_out, now.messages_out, |more| {
                self.tally.sent_messages(more);
            }),
        ];
        if news.contains(&true) {
            self.touch();
        }
    }

    /// So many bytes more have come from the client.
    pub(super) fn receive(&self, bytes: u64) {
        add(&self.counts.bytes_in, bytes);
        self.tally.received(bytes);
        self.touch();
    }

    /// So many bytes more have gone to the client.
    pub(super) fn send(&self, bytes: u64) {
        add(&self.counts.bytes_out, bytes);
        self.tally.sent(bytes);
        self.touch();
    }

    /// So many messages more have gone to the client.
    pub(super) fn receive_messages(&self, count: u64) {
        add(&self.counts.messages_in, count);
        self.tally.received_messages(count);
    }

    pub(super) fn send_messages(&self, count: u64) {
        add(&self.counts.messages_out, count);
        self.tally.sent_messages(count);
    }

    fn touch(&self) {
        self.active.set(TICKS.get());
    }
}

fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

/// Raises `count` to `to` and tells by how much. Whether it was raised.
fn raise(count: &Cell<u64>, to: u64, tell: impl FnOnce(u64)) -> bool {
    let before = count.get();
    if to <= before {
        return false;
    }
    count.set(to);
    tell(to - before);
    true
}

/// A row's place among those of this worker, for as long as it is held.
#[derive(Debug)]
pub(super) struct Listed {
    row: Rc<Row>,
    key: usize,
}

impl Listed {
    /// Lists a stream that is opened now.
    pub(super) fn open(
        id: RequestId,
        kind: Kind,
        route: Arc<str>,
        client: Client,
        backend: &dyn fmt::Display,
    ) -> Self {
        let row = Rc::new(Row {
            tally: metrics::opened(kind, &route),
            id,
            kind,
            route,
            client: client.addr,
            user: client.user,
            backend: backend.to_string().into(),
            opened: Instant::now(),
            counts: Counts::default(),
            active: Cell::new(TICKS.get()),
            is_to_end: Cell::new(false),
            runner: Runner::default(),
        });
        let key = ROWS.with_borrow_mut(|rows| rows.insert(row.clone()));
        Self { row, key }
    }

    /// The row.
    pub(super) fn row(&self) -> &Rc<Row> {
        &self.row
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        // It may be dropped with its thread, when there is no list any more.
        let row = ROWS.try_with(|rows| rows.borrow_mut().try_remove(self.key));
        debug_assert!(row.is_err() || row.is_ok_and(|row| row.is_some()));
    }
}

/// A [`TICK`] has passed on this worker.
pub fn tick() {
    TICKS.set(TICKS.get().wrapping_add(1));
}

/// Shows each stream of this worker to `look`, which must open and close none.
pub fn each(mut look: impl FnMut(&Row)) {
    ROWS.with_borrow(|rows| rows.iter().for_each(|(_key, row)| look(row)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Listed {
        listed_as("a stream", "192.0.2.1:5", "/ws")
    }

    /// A stream with this id, from this client, on this route.
    pub(super) fn listed_as(id: &str, client: &str, route: &str) -> Listed {
        let client = ClientAddr(client.parse().unwrap());
        let id: String = id.replace(' ', "-");
        Listed::open(
            RequestId::told(id.as_bytes()).unwrap(),
            Kind::Tunnel,
            route.into(),
            client.into(),
            &"app:3000",
        )
    }

    fn backends() -> Vec<String> {
        let mut backends = Vec::new();
        each(|row| backends.push(row.backend.to_string()));
        backends
    }

    #[test]
    fn a_row_is_listed_as_long_as_its_stream_lives() {
        let (first, second) = (listed(), listed());
        assert_eq!(backends().len(), 2);
        drop(first);
        assert_eq!(backends(), ["app:3000"]);
        drop(second);
        assert!(backends().is_empty());
    }

    #[test]
    fn totals_that_fall_behind_change_nothing() {
        let stream = listed();
        let reached = Moved {
            bytes_in: 7,
            messages_out: 2,
            ..Moved::default()
        };
        stream.row().reach(reached);
        stream.row().reach(Moved::default());
        assert_eq!(stream.row().moved(), reached);
    }

    #[test]
    fn what_passes_ends_the_silence() {
        let stream = listed();
        tick();
        tick();
        assert_eq!(stream.row().silence(), 2 * TICK);
        stream.row().send(1);
        assert_eq!(stream.row().silence(), Duration::ZERO);
    }

    #[test]
    fn a_row_is_small() {
        // With the two counts of an `Rc` and its place in the list.
        let size = size_of::<Row>() + 2 * size_of::<usize>() + size_of::<(usize, Rc<Row>)>();
        assert!(size <= 232, "{size} bytes");
    }
}
