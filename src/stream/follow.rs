//! What a tunnel learns of one direction from its frames, and what of it must not pass: pongs that answer pings of
//! our own, and what is forbidden on the route.
//!
//! No I/O. Invariant: what is let pass ends with a frame or within a payload, never within a head. A head of which a
//! part is missing is held back by the caller, so that at any moment at most one payload stands between us and a frame
//! of our own.

use std::ops::Range;

use tokio::time::Instant;

use super::pace::Pace;
use crate::config::model::WebSocket;
use crate::websocket::boundary::{
    Boundary, Event, Extensions, FrameHead, MAX_HEAD, Opcode, Sender,
};
use crate::websocket::close::{CloseCode, NO_CODE};
use crate::websocket::frame::{self, PING_PAYLOAD, PingPayload};

/// The longest piece of a frame that is held back: a masked pong of ours without its last byte, or a head.
pub(super) const MAX_HELD: usize = MAX_HEAD;

/// What the frames of one direction say.
pub(super) struct Follower {
    boundary: Boundary,
    strict: bool,
    limits: Option<Box<MessageLimits>>,
    /// What a ping of ours carried that the source has not answered.
    awaited: Option<PingPayload>,
    /// The opcode of the frame that is passing.
    current: Opcode,
    close: Option<CloseSeen>,
    messages: u64,
}

struct MessageLimits {
    size: Option<u64>,
    pace: Option<Pace>,
    /// Bytes that the frames of the running message have announced so far.
    announced: u64,
}

/// A Close frame that the source sent: its code comes in the payload's first two bytes.
#[derive(Debug, Clone, Copy)]
struct CloseSeen {
    key: [u8; 4],
    code: [u8; 2],
    seen: u8,
}

/// What is to be done with a piece of the source's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Followed {
    /// So many bytes pass, the first ones after [`Follower::follow`] has taken out what must not.
    pub(super) pass: usize,
    /// What is to be given again, in front of what comes next: at most [`MAX_HELD`] bytes.
    pub(super) hold: Range<usize>,
    /// The first place in `pass` that stands between two frames.
    pub(super) border: Option<usize>,
    /// Whether there was more than pings and pongs.
    pub(super) active: bool,
    /// What was forbidden. What passes ends before it, and the source is not to be followed any further.
    pub(super) fault: Option<CloseCode>,
}

impl Follower {
    /// Follows what `sender` sends. Limits are for what clients send.
    pub(super) fn new(sender: Sender, extensions: Extensions, rules: &WebSocket) -> Self {
        let limited = sender == Sender::Client
            && (rules.message_size.is_some() || rules.message_rate.is_some());
        let limits = limited.then(|| {
            Box::new(MessageLimits {
                size: rules.message_size,
                pace: rules
                    .message_rate
                    .map(|rate| Pace::new(rate, Instant::now())),
                announced: 0,
            })
        });
        Self {
            boundary: Boundary::new(sender, extensions),
            strict: rules.strict,
            limits,
            awaited: None,
            current: Opcode::Continuation,
            close: None,
            messages: 0,
        }
    }

    /// Whether what has passed ends with a frame, so that a frame of our own may follow.
    pub(super) fn is_between_frames(&self) -> bool {
        self.boundary.is_between_frames()
    }

    /// Whether these are no frames: nothing of our own may ever follow.
    pub(super) fn is_lost(&self) -> bool {
        self.boundary.is_lost()
    }

    /// Messages that have ended.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// The code of the Close that the source has sent; [`NO_CODE`] where it has none.
    pub(super) fn close_code(&self) -> Option<u16> {
        self.close.map(|close| match close.seen {
            2 => u16::from_be_bytes(close.code),
            _ => NO_CODE,
        })
    }

    /// The payload of a ping that goes to the source: its pong will not pass. A new one, unless one is still
    /// unanswered.
    pub(super) fn await_pong(&mut self) -> PingPayload {
        *self
            .awaited
            .get_or_insert_with(|| fastrand::u64(..).to_ne_bytes())
    }

    /// Follows `data`, in which what was held back stands first, and takes out of it what must not pass.
    pub(super) fn follow(&mut self, data: &mut [u8]) -> Followed {
        let mut followed = Followed::default();
        let mut swallowed = 0..0;
        let (mut at, mut frame_at) = (0, 0);
        let mut forbidden_from = None;
        loop {
            let before = self.awaited.map(|_payload| self.boundary.clone());
            let mut rest = &data[at..];
            let event = self.boundary.next(&mut rest);
            let taken = data.len() - rest.len();
            match event {
                Ok(Some(Event::Head(head))) => {
                    frame_at = at;
                    at = taken;
                    if let Some(code) = self.judge(&head) {
                        // What follows is only looked at for the Close that answers ours.
                        self.limits = None;
                        followed.fault = Some(code);
                        forbidden_from = Some(frame_at);
                    }
                    if self.may_be_ours(&head) && data.len() - at < PING_PAYLOAD {
                        // Too little of it is here to tell.
                        self.boundary = before.expect("only a pong that is awaited may be ours");
                        followed.hold = frame_at..data.len();
                        at = frame_at;
                        break;
                    }
                    if self.is_ours(&head, &data[at..]) {
                        self.awaited = None;
                        swallowed = frame_at..at + PING_PAYLOAD;
                    }
                    self.head(&head);
                    followed.active |= self.is_activity();
                }
                Ok(Some(Event::End { message, .. })) => {
                    self.payload(&data[at..taken]);
                    at = taken;
                    self.messages += u64::from(message);
                    // An end that is swallowed leaves the border where the frame began.
                    let is_swallowed = !swallowed.is_empty() && swallowed.end == at;
                    let border = if is_swallowed { frame_at } else { at };
                    followed.border.get_or_insert(border);
                }
                Ok(None) => {
                    self.payload(&data[at..taken]);
                    followed.active |= taken > at && (self.is_lost() || self.is_activity());
                    at = taken;
                    followed.hold = at..data.len();
                    break;
                }
                Err(_violation) if self.strict => {
                    followed.fault = Some(CloseCode::Protocol);
                    break;
                }
                // What the peers make of it is theirs to say.
                Err(_violation) => {}
            }
        }
        let end = forbidden_from.unwrap_or(at);
        followed.pass = end;
        if swallowed.end <= end {
            data.copy_within(swallowed.end..end, swallowed.start);
            followed.pass -= swallowed.len();
        }
        followed.border = followed.border.filter(|border| *border <= followed.pass);
        followed
    }

    /// What a frame is told that is not to pass.
    fn judge(&mut self, head: &FrameHead) -> Option<CloseCode> {
        let limits = self.limits.as_mut()?;
        if head.opcode.is_control() {
            return None;
        }
        if head.opcode != Opcode::Continuation {
            limits.announced = 0;
            let pace = limits.pace.as_mut();
            if pace.is_some_and(|pace| !pace.take(Instant::now())) {
                return Some(CloseCode::Policy);
            }
        }
        limits.announced = limits.announced.saturating_add(head.payload);
        let is_too_big = limits.size.is_some_and(|size| limits.announced > size);
        is_too_big.then_some(CloseCode::TooBig)
    }

    fn may_be_ours(&self, head: &FrameHead) -> bool {
        self.awaited.is_some() && head.opcode == Opcode::Pong && head.payload == PING_PAYLOAD as u64
    }

    fn is_ours(&self, head: &FrameHead, payload: &[u8]) -> bool {
        let Some(awaited) = self.awaited.filter(|_payload| self.may_be_ours(head)) else {
            return false;
        };
        payload.first_chunk().is_some_and(|payload| {
            let mut payload: PingPayload = *payload;
            frame::mask(&mut payload, head.mask.unwrap_or_default());
            payload == awaited
        })
    }

    fn head(&mut self, head: &FrameHead) {
        self.current = head.opcode;
        if head.opcode == Opcode::Close && self.close.is_none() {
            self.close = Some(CloseSeen {
                key: head.mask.unwrap_or_default(),
                code: [0; 2],
                seen: 0,
            });
        }
    }

    fn payload(&mut self, bytes: &[u8]) {
        let (Opcode::Close, Some(close)) = (self.current, &mut self.close) else {
            return;
        };
        for byte in bytes.iter().take(2 - usize::from(close.seen)) {
            let at = usize::from(close.seen);
            close.code[at] = byte ^ close.key[at];
            close.seen += 1;
        }
    }

    fn is_activity(&self) -> bool {
        !matches!(self.current, Opcode::Ping | Opcode::Pong)
    }
}
