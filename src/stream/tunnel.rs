//! A tunnel: bytes both ways between a client and a backend that have agreed on a protocol of their own.
//!
//! Each direction ends by itself (half-close, in either order). What was read before the tunnel began, on either
//! side, goes out first.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::lifetime::{Expired, Lifetime};
use super::pump::{Broken, Pipe};
use super::{AfterFall, Taken, cut_short};
use crate::observe::access::{End, StreamRecord};
use crate::tls::{ClientStream, ServerStream};
use crate::upstream::Lease;

/// What a tunnel needs besides its client.
pub struct Opening {
    /// The backend's socket.
    pub backend: ServerStream,
    /// What the client gets first: the head of the 101, then what the backend sent behind it.
    pub greeting: Bytes,
    /// Its clocks.
    pub life: Lifetime,
    /// Its record, open.
    pub record: StreamRecord,
    /// Its place at the backend, held to its end.
    pub lease: Lease,
    /// What becomes of it when the backend fails its health check.
    pub after_fall: AfterFall,
}

/// Runs a tunnel to its end.
pub async fn run(taken: Taken, opening: Opening) {
    let Taken {
        stream,
        early,
        guard,
    } = taken;
    let Opening {
        backend,
        greeting,
        life,
        mut record,
        lease,
        after_fall,
    } = opening;
    let (up, down) = (Pipe::new(early), Pipe::new(greeting));
    let mut tunnel = Tunnel {
        client: stream,
        backend,
        up,
        down,
        life,
        first: None,
    };
    let end = tokio::select! {
        end = poll_fn(|cx| tunnel.poll(cx)) => end,
        end = cut_short(&guard, lease.fell(), after_fall) => end,
    };
    record.bytes_in = tunnel.up.moved();
    record.bytes_out = tunnel.down.moved();
    record.close(end, tunnel.life.silence());
}

struct Tunnel {
    client: ClientStream,
    backend: ServerStream,
    up: Pipe,
    down: Pipe,
    life: Lifetime,
    /// Who ended its direction first.
    first: Option<End>,
}

impl Tunnel {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.client.poll_reset(cx).is_ready() {
            return Poll::Ready(End::Client);
        }
        let before = self.up.moved() + self.down.moved();
        let up = self.up.poll(cx, &mut self.client, &mut self.backend);
        let down = self.down.poll(cx, &mut self.backend, &mut self.client);
        if self.up.moved() + self.down.moved() != before {
            self.life.touch();
        }
        match (up, down) {
            (Poll::Ready(Err(Broken::Source)), _) | (_, Poll::Ready(Err(Broken::Sink))) => {
                return Poll::Ready(End::Client);
            }
            (Poll::Ready(Err(Broken::Sink)), _) | (_, Poll::Ready(Err(Broken::Source))) => {
                return Poll::Ready(End::BackendFailed);
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                return Poll::Ready(self.first.unwrap_or(End::Backend));
            }
            (Poll::Ready(Ok(())), Poll::Pending) => self.first = self.first.or(Some(End::Client)),
            (Poll::Pending, Poll::Ready(Ok(()))) => self.first = self.first.or(Some(End::Backend)),
            (Poll::Pending, Poll::Pending) => {}
        }
        self.life.poll_expired(cx).map(|expired| match expired {
            Expired::Idle => End::Idle,
            Expired::Age => End::Age,
        })
    }
}
