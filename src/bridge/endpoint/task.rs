//! A subscriber's own task: how a subscription begins, what becomes due, and how it ends.
//!
//! It sees the client leave or hears what it says, sends heartbeats, writes when the sweep cannot, and has the last words.
//! What differs between an event stream and a WebSocket is decided once, by [`Dialect`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, timeout};

use crate::bridge::Bridge;
use crate::bridge::post::Address;
use crate::observe::access::{End, Kind, StreamRecord};
use crate::stream::Taken;
use crate::tls::ClientStream;
use crate::websocket::boundary::{Extensions, Sender};
use crate::websocket::frame;

use super::Plan;
use super::clock::{Clock, Tick};
use super::dialogue::Dialogue;
use super::outlet::Outlet;
use super::outside::Outside;
use super::parting::Parting;
use super::prelude;
use super::sse::Subscriber;
use super::sweep::{Member, Seat};

/// What an end of ours may take: the rest of an event, the last words, the connection's shutdown.
const FAREWELL: Duration = Duration::from_secs(5);
/// The kernel wakes us only when less than this is unsent, so that a slow client's lag stays in the log, where it costs
/// nothing, and not in the kernel, once for each client.
const UNSENT: u32 = 16 * 1024;
/// For the same reason the kernel's buffer does not grow to its usual megabytes. It still holds a burst over a long way
/// (128 KiB each round trip).
const SEND_BUFFER: usize = 128 * 1024;

/// In which way a client is spoken to.
#[derive(Debug)]
pub(super) enum Dialect {
    /// By server-sent events.
    EventStream,
    /// By WebSocket messages.
    WebSocket {
        /// The head of the 101; nothing where hyper has answered.
        greeting: Vec<u8>,
        /// What the handshake agreed on.
        extensions: Extensions,
        /// Where its messages go by `POST`; `None`: they do not.
        address: Option<Arc<Address>>,
    },
}

/// A subscriber's own task.
struct Task {
    shared: Rc<RefCell<Subscriber>>,
    seat: Seat,
    clock: Clock,
}

/// A subscription's whole life on the client's stream, its response's head included. What it begins with is put
/// together before the future is made, so that the future stays small: there is one for each client.
pub(super) fn run(plan: Plan, taken: Taken) -> impl Future<Output = ()> + use<> {
    let Plan {
        subscription,
        bridge,
        cursor,
        form,
        filter,
        dialect,
        client,
        id,
        route,
        version,
        fields,
        losses,
    } = plan;
    let config = bridge.config();
    let channel = subscription.channel();
    tune(&taken.stream);
    let outside = Outside::new(taken.guard.clone(), &bridge, &losses);
    let mut clock = Clock::new(config, outside, subscription.taken_over());
    let (mut head, mut dialogue) = (Vec::new(), None);
    match dialect {
        Dialect::EventStream => {
            head.reserve(512);
            prelude::head(&id, form, &fields, &mut head);
        }
        Dialect::WebSocket {
            greeting,
            extensions,
            address,
        } => {
            head = greeting;
            let outlet = Outlet {
                address,
                ..Outlet::of(&bridge, channel, client, &taken.guard)
            };
            let conversation = Dialogue::new(form, extensions, outlet, taken.early);
            dialogue = Some(Box::new(conversation));
            if !prelude::has_ping_event(config, form) {
                clock = clock.without_heartbeat();
            }
        }
    }
    let record = StreamRecord::open(
        id,
        Kind::Subscription,
        route,
        (client, losses.user()),
        channel.name(),
        version,
    );
    let mut subscriber = Subscriber::new(taken.stream, form, filter, record);
    subscriber.dialogue = dialogue;
    let shared = Rc::new(RefCell::new(subscriber));
    // First the seat, then the position: what is appended in between is seen by the one or the other. No sweep runs
    // before this task is left, so none sees the position that is not there yet.
    let member = Member::Socket(shared.clone());
    let seat = Seat::take(channel, config.slow, member, &taken.guard);
    let opened = prelude::prelude(channel, config, cursor, form);
    {
        let mut subscriber = shared.borrow_mut();
        subscriber.begin(&opened);
        subscriber.unsent_head = head.len();
        head.extend_from_slice(&opened.first);
        subscriber.rest = head.into();
    }
    let stall = config.slow.stall;
    let mut task = Task {
        shared,
        seat,
        clock,
    };
    let guard = taken.guard;
    async move {
        let end = match task.write_prelude(opened.second, stall).await {
            Ok(()) => poll_fn(|cx| task.poll(cx, &bridge)).await,
            Err(end) => end,
        };
        let mut parting = Parting::new(&bridge, subscription.channel(), end);
        parting.going = guard.close_code();
        task.finish(parting).await;
        // The channel and the drain are held until the very end.
        drop((subscription, guard));
    }
}

/// Failing to set these changes only how much the kernel holds.
fn tune(stream: &ClientStream) {
    let Some(tcp) = stream.tcp() else {
        return;
    };
    let socket = SockRef::from(tcp);
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
}

impl Task {
    /// The first write, and then the second is laid ready.
    async fn write_prelude(&mut self, second: Bytes, limit: Duration) -> Result<(), End> {
        let shared = &self.shared;
        let first = poll_fn(|cx| shared.borrow_mut().poll_rest(cx, Instant::now()));
        // Boxed, as all that is rare: room for a timer is not to be kept in each subscriber's future.
        match Box::pin(timeout(limit, first)).await {
            Ok(Ok(())) => {}
            Ok(Err(_broken)) => return Err(End::Client),
            Err(_elapsed) => {
                self.seat.channel().counts().slow_stalled.add();
                return Err(End::Slow);
            }
        }
        shared.borrow_mut().rest = second;
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>, bridge: &Bridge) -> Poll<End> {
        let mut subscriber = self.shared.borrow_mut();
        let subscriber = &mut *subscriber;
        if let Some(end) = subscriber.end {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = subscriber.record.poll_end(cx) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = subscriber.poll_heard(cx) {
            return Poll::Ready(end);
        }
        let had_answers = subscriber.has_answers();
        loop {
            let is_due = subscriber.stalled.is_some() || !subscriber.rest.is_empty();
            if is_due || subscriber.has_answers() {
                let advanced = self.seat.visit(|visit| subscriber.poll_advance(cx, visit));
                if let Poll::Ready(Err(end)) = advanced {
                    return Poll::Ready(end);
                }
            }
            match self.clock.poll(cx, subscriber.signs()) {
                Poll::Ready(Tick::End(end)) => {
                    if end == End::Slow {
                        bridge.counts().slow_stalled.add();
                    }
                    return Poll::Ready(end);
                }
                Poll::Ready(Tick::Heartbeat) => {
                    let owed = subscriber.position.take_owed();
                    let id = owed.map(|seq| self.seat.channel().id(seq));
                    subscriber.rest = prelude::heartbeat(bridge.config(), subscriber.form, id);
                    subscriber.record.heartbeat();
                }
                Poll::Ready(Tick::Ping) => {
                    if let Some(dialogue) = &mut subscriber.dialogue {
                        dialogue.ping();
                    }
                    subscriber.record.heartbeat();
                }
                Poll::Pending => break,
            }
        }
        // Answers that were in the way of hearing more are gone.
        if had_answers && !subscriber.has_answers() {
            cx.waker().wake_by_ref();
        }
        match &mut subscriber.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ends the subscription. An end of ours comes at an event's border, with the last chunk or a Close. An event stream
    /// whose client is slow gets nothing more, and the client sees that the response was cut.
    async fn finish(self, parting: Parting<'_>) {
        // From here on the sweep does not know it any more.
        drop((self.seat, self.clock));
        let (silence, last) = {
            let mut subscriber = self.shared.borrow_mut();
            (
                subscriber.written.elapsed(),
                subscriber.last_words(&parting),
            )
        };
        if let Some(last) = last {
            let farewell = farewell(&self.shared, last);
            // A client that does not take it in time, or has left, is gone anyway.
            let _: Result<io::Result<()>, _> = Box::pin(timeout(FAREWELL, farewell)).await;
        }
        if let Some(subscriber) = Rc::into_inner(self.shared) {
            subscriber.into_inner().record.close(parting.end, silence);
        }
    }
}

impl Subscriber {
    /// What is said at this end; `None`: nothing more.
    fn last_words(&mut self, parting: &Parting<'_>) -> Option<Bytes> {
        let Some(dialogue) = &self.dialogue else {
            return parting.is_ours().then(|| parting.words(self.form));
        };
        let (code, frame) = match parting.close_code() {
            Some(code) => (code, frame::close(Sender::Server, code, "").into()),
            None => dialogue.close_frame(parting.end, parting.going)?,
        };
        self.record.closed_with(code);
        let mut words = Vec::from(parting.words(self.form));
        words.extend_from_slice(&frame);
        Some(words.into())
    }

    /// Ready at once for an event stream; a WebSocket's client has to close, too.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.dialogue {
            None => Poll::Ready(()),
            Some(dialogue) => dialogue.poll_closed(&mut self.stream, cx),
        }
    }
}

async fn farewell(shared: &RefCell<Subscriber>, last: Bytes) -> io::Result<()> {
    poll_fn(|cx| shared.borrow_mut().poll_rest(cx, Instant::now())).await?;
    shared.borrow_mut().rest = last;
    poll_fn(|cx| shared.borrow_mut().poll_rest(cx, Instant::now())).await?;
    poll_fn(|cx| shared.borrow_mut().poll_closed(cx)).await;
    poll_fn(|cx| Pin::new(&mut shared.borrow_mut().stream).poll_shutdown(cx)).await
}
