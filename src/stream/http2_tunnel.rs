//! How a tunnel begins within an HTTP/2 connection (RFC 8441).
//!
//! hyper keeps the socket, answers the extended CONNECT, and gives the stream's bytes away. Two things then run beside each
//! other: hyper's task that sends them, which goes through the connection's executor, and the tunnel. Owns the start of the
//! second, and the place where the executor finds what it shares with the first.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;

use super::hand_over::{HandOver, Taken};
use crate::lifecycle::{drain, tasks};
use crate::tls::{ClientStream, Halves, Http2Stream};

/// Where the tunnel that was begun last on a connection is laid for hyper's executor. hyper hands it the task that belongs to
/// a response as soon as that response was given, before it looks at any other.
#[derive(Clone, Default)]
pub struct Tunnels(Rc<RefCell<Option<Rc<Halves>>>>);

impl Tunnels {
    /// Starts `stream` in a task of its own, which waits for hyper to have written the response. To be called when the
    /// response is given, with nothing awaited in between.
    pub fn begin(&self, upgrade: OnUpgrade, stream: HandOver, guard: drain::Guard) {
        let halves = Rc::<Halves>::default();
        self.0.replace(Some(halves.clone()));
        tasks::spawn(async move {
            // It fails when the client has reset the stream meanwhile: the tunnel ends as one whose client has left.
            let upgraded = upgrade.await.ok();
            let taken = Taken {
                stream: ClientStream::Http2(Http2Stream::new(upgraded, halves)),
                early: Bytes::new(),
                guard,
            };
            stream.run(taken).await;
        });
    }

    /// The tunnel that was begun last, until it is taken.
    #[must_use]
    pub fn latest(&self) -> Option<Rc<Halves>> {
        self.0.borrow().clone()
    }

    /// Takes the tunnel that was begun last.
    #[must_use]
    pub fn take(&self) -> Option<Rc<Halves>> {
        self.0.borrow_mut().take()
    }
}
