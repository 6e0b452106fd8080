//! What a tunnel learns of one direction from its frames, and what of it must not pass: pongs that answer pings of
//! our own, and what is forbidden on the route.
//!
//! No I/O. Invariant: what is let pass ends with a frame or within a payload, never within a head. A head of which a
//! part is missing is held back by the caller, so that at any moment at most one payload stands between us and a frame
//! of our own.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::ops::Range;

use tokio::time::Instant;

use crate::config::model::{MessageRate, WebSocket};
use crate::stream::pace::Pace;
use crate::websocket::boundary::{
    Boundary, Event, Extensions, FrameHead, MAX_HEAD, Opcode, Sender,
};
use crate::websocket::close::{self, CloseCode, NO_CODE};
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
    /// Whether something was forbidden: from there on nothing passes.
    forbids: bool,
    /// Whether the source has pinged the other side, which has not been heard since.
    pinged: bool,
    messages: u64,
}

struct MessageLimits {
    size: Option<u64>,
    pace: Option<Pace>,
    /// How fast frames may come that begin no message.
    others: Option<Pace>,
    /// Bytes that the frames of the running message have announced so far.
    announced: u64,
}

/// For each message so many frames that begin none: pings, pongs, small fragments.
const OTHERS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// So many of them may come in a second at least, and at once.
const OTHERS_AT_LEAST: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// A further fragment of a message that is not shorter than this is what large messages are made of, and is bounded by
/// their size.
const LARGE_FRAGMENT: u64 = 1024;

/// A Close frame that the source sent: its code comes in the payload's first two bytes.
#[derive(Debug, Clone, Copy)]
struct CloseSeen {
    key: [u8; 4],
    code: [u8; 2],
    seen: u8,
    /// Whether the other side gets to see it.
    passes: bool,
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
    /// What was forbidden. What passes ends before it, and nothing that is followed later is to pass; it may hold a Close.
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
                pace: pace(rules.message_rate),
                others: pace(rules.message_rate.map(others)),
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
            forbids: false,
            pinged: false,
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

    /// Whether the other side gets to see a Close of the source: one behind what was forbidden it does not.
    pub(super) fn passes_close(&self) -> bool {
        self.close.is_some_and(|close| close.passes)
    }

    /// Whether the source has pinged the other side, which has not been heard since.
    pub(super) fn has_pinged(&self) -> bool {
        self.pinged
    }

    /// The other side has been heard.
    pub(super) fn forget_ping(&mut self) {
        self.pinged = false;
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
            let before = self.boundary.clone();
            let mut rest = &data[at..];
            let event = self.boundary.next(&mut rest);
            let taken = data.len() - rest.len();
            match event {
                Ok(Some(Event::Head(head))) => {
                    frame_at = at;
                    at = taken;
                    let payload = &data[at..];
                    if payload.len() < self.looks_ahead(&head) {
                        // Too little of it is here to tell.
                        self.boundary = before;
                        followed.hold = frame_at..data.len();
                        at = frame_at;
                        break;
                    }
                    if self.is_ours(&head, payload) {
                        self.awaited = None;
                        swallowed = frame_at..at + PING_PAYLOAD;
                    } else if let Some(code) = self.judge(&head, payload) {
                        // What follows is only looked at for a Close, whether it answers ours or not.
                        (self.limits, self.strict) = (None, false);
                        self.forbids = true;
                        followed.fault = Some(code);
                        forbidden_from = Some(frame_at);
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
                // What cannot be followed cannot be limited either.
                Err(_violation) if self.strict || self.limits.is_some() => {
                    (self.limits, self.strict) = (None, false);
                    self.forbids = true;
                    self.current = Opcode::Continuation;
                    followed.fault = Some(CloseCode::Protocol);
                    break;
                }
                // What the peers make of it is theirs to say. It is nobody's payload.
                Err(_violation) => self.current = Opcode::Continuation,
            }
        }
        let end = forbidden_from.unwrap_or(at);
        followed.pass = end;
        if !swallowed.is_empty() && swallowed.end <= end {
            data.copy_within(swallowed.end..end, swallowed.start);
            followed.pass -= swallowed.len();
        }
        followed.border = followed.border.filter(|border| *border <= followed.pass);
        followed
    }

    /// What a frame is told that is not to pass.
    fn judge(&mut self, head: &FrameHead, payload: &[u8]) -> Option<CloseCode> {
        if self.strict && self.breaks_close(head, payload) {
            return Some(CloseCode::Protocol);
        }
        let limits = self.limits.as_mut()?;
        if head.opcode == Opcode::Close && self.close.is_none() {
            return None;
        }
        let is_data = !head.opcode.is_control();
        let begins = is_data && head.opcode != Opcode::Continuation;
        let pace = match begins {
            true => limits.pace.as_mut(),
            false if is_data && head.payload >= LARGE_FRAGMENT => None,
            false => limits.others.as_mut(),
        };
        if pace.is_some_and(|pace| !pace.take(Instant::now())) {
            return Some(CloseCode::Policy);
        }
        if !is_data {
            return None;
        }
        let before = if begins { 0 } else { limits.announced };
        limits.announced = before.saturating_add(head.payload);
        let is_too_big = limits.size.is_some_and(|size| limits.announced > size);
        is_too_big.then_some(CloseCode::TooBig)
    }

    /// So many bytes of a frame's payload have to be there before it is judged.
    fn looks_ahead(&self, head: &FrameHead) -> usize {
        if self.may_be_ours(head) {
            return PING_PAYLOAD;
        }
        if self.strict && head.opcode == Opcode::Close {
            return head.payload.min(2) as usize;
        }
        0
    }

    /// Whether a Close has half a code, or one that nobody may send, or something follows a Close (RFC 6455 §5.5.1, §7.4).
    fn breaks_close(&self, head: &FrameHead, payload: &[u8]) -> bool {
        if self.close.is_some() {
            return true;
        }
        if head.opcode != Opcode::Close || head.payload == 0 {
            return false;
        }
        let code = payload.first_chunk().map(|code: &[u8; 2]| {
            let mut code = *code;
            frame::mask(&mut code, head.mask.unwrap_or_default());
            u16::from_be_bytes(code)
        });
        head.payload == 1 || !code.is_some_and(close::may_be_sent)
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
        self.pinged |= head.opcode == Opcode::Ping;
        if head.opcode == Opcode::Close && self.close.is_none() {
            self.close = Some(CloseSeen {
                key: head.mask.unwrap_or_default(),
                code: [0; 2],
                seen: 0,
                passes: !self.forbids,
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

fn pace(rate: Option<MessageRate>) -> Option<Pace> {
    rate.map(|rate| Pace::new(rate, Instant::now()))
}

/// How fast frames may come that begin no message, where messages may come as fast as this.
fn others(messages: MessageRate) -> MessageRate {
    let others = |number: NonZeroU32| number.saturating_mul(OTHERS).max(OTHERS_AT_LEAST);
    MessageRate {
        per_second: others(messages.per_second),
        burst: others(messages.burst),
    }
}
