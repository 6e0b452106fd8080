//! What of a server's bytes may go to the client now, and when there is room for a word of our own.
//!
//! No I/O. Bytes pass as they come. Only a stream that may be taken up again holds back what it has of an event until that is
//! whole, so that its client never gets the half of one that the server did not finish.

use super::Content;
use crate::sse::bom::Bom;
use crate::sse::boundary::Boundary;
use crate::sse::position::Position;

/// Bytes of an event that are held back until the rest is there. Of a longer one the client gets the beginning early, and a
/// break within it is a break for the client too.
const HELD_MAX: usize = 1024 * 1024;

/// A stream's bytes on their way.
pub(super) struct Passage {
    content: Content,
    boundary: Boundary,
    /// Strips a mark that would not stand at the beginning of what the client gets, where nothing is done with one.
    bom: Option<Bom>,
    has_begun: bool,
    stop: Stop,
    hold: Option<Box<Hold>>,
}

/// Whether the client gets all that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Never,
    /// No more than to the end of the event under way, and of those that have come whole with it.
    AtBorder,
    /// It has got all that.
    Here,
}

/// What lets a stream be taken up again.
struct Hold {
    event: Vec<u8>,
    position: Position,
    /// Whether the client has a part of the event under way, for it is a long one.
    is_told_early: bool,
}

impl Passage {
    /// Before the first byte.
    pub(super) fn new(content: Content) -> Self {
        Self {
            content,
            boundary: Boundary::default(),
            bom: None,
            has_begun: false,
            stop: Stop::Never,
            hold: None,
        }
    }

    /// The same for events that shall be taken up where they broke off, `last_id` being what the client has seen before.
    pub(super) fn resumable(last_id: Option<&[u8]>) -> Self {
        let hold = Hold {
            event: Vec::new(),
            position: Position::new(last_id.map(<[u8]>::to_vec)),
            is_told_early: false,
        };
        Self {
            hold: Some(Box::new(hold)),
            ..Self::new(Content::Events)
        }
    }

    /// What passes.
    pub(super) fn content(&self) -> Content {
        self.content
    }

    /// Whether bytes pass as they are, so that they need not be copied: [`Passage::note`] will do for them.
    pub(super) fn is_clear(&self) -> bool {
        self.hold.is_none() && self.bom.is_none() && self.stop == Stop::Never
    }

    /// Takes note of `data` that passes as it is.
    pub(super) fn note(&mut self, data: &[u8]) {
        self.has_begun = true;
        if self.content == Content::Events {
            self.boundary.follow(data);
        }
    }

    /// Appends to `out` what may go to the client now that `data` has come.
    pub(super) fn pass(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if self.stop == Stop::Here {
            return;
        }
        self.has_begun |= !data.is_empty();
        let Some(bom) = &mut self.bom else {
            return self.pass_text(data, out);
        };
        let (kept, rest) = bom.strip(data);
        if bom.is_past() {
            self.bom = None;
        }
        for text in [kept, rest] {
            if !text.is_empty() {
                self.pass_text(text, out);
            }
        }
    }

    fn pass_text(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if self.content == Content::Opaque {
            return out.extend_from_slice(data);
        }
        let border = self.boundary.follow(data);
        let Some(hold) = &mut self.hold else {
            let Some(border) = border.filter(|_border| self.stop == Stop::AtBorder) else {
                return out.extend_from_slice(data);
            };
            (self.stop, self.boundary) = (Stop::Here, Boundary::begun());
            return out.extend_from_slice(&data[..border]);
        };
        hold.position.follow(data);
        let (whole, half) = data.split_at(border.unwrap_or(0));
        if border.is_some() {
            out.append(&mut hold.event);
            out.extend_from_slice(whole);
            hold.event = Vec::new();
            hold.is_told_early = false;
        }
        if hold.is_told_early {
            return out.extend_from_slice(half);
        }
        hold.event.extend_from_slice(half);
        if hold.event.len() > HELD_MAX {
            out.append(&mut hold.event);
            hold.event = Vec::new();
            hold.is_told_early = true;
        }
    }

    /// The stream is to end between two events: nothing passes behind the next border that comes. A server that sends without a
    /// pause would hardly ever stand at one with all that it has sent.
    pub(super) fn stop_at_border(&mut self) {
        if self.stop == Stop::Never {
            self.stop = Stop::AtBorder;
        }
    }

    /// The server has ended the stream in order: what it left unfinished is the client's.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(mut bom) = self.bom.take() {
            let kept = bom.finish();
            self.pass_text(kept, out);
        }
        if let Some(hold) = &mut self.hold {
            out.append(&mut hold.event);
        }
    }

    /// Whether the client stands between two events, so that a word of ours may follow.
    pub(super) fn may_speak(&self) -> bool {
        match (&self.hold, self.content) {
            (_, Content::Opaque) => false,
            (Some(hold), _) => !hold.is_told_early,
            (None, _) => self.boundary.is_between_events(),
        }
    }

    /// A word of ours has gone out.
    pub(super) fn spoke(&mut self) {
        if !self.has_begun && self.bom.is_none() {
            self.boundary = Boundary::begun();
            self.bom = Some(Bom::default());
        }
    }

    /// Where the stream is to be taken up when it breaks now; `None`: it cannot be.
    pub(super) fn position(&self) -> Option<&Position> {
        let hold = self.hold.as_deref().filter(|hold| !hold.is_told_early)?;
        let position = &hold.position;
        // Who has got events without a name for the last one could not be spared to get them again, or to lose some.
        let is_named = position.last_id().is_some() || !position.has_dispatched();
        (position.is_known() && is_named).then_some(position)
    }

    /// It has broken, and will begin anew where it broke: the half of an event is forgotten.
    pub(super) fn broke(&mut self) {
        self.boundary = Boundary::begun();
        self.bom = Some(Bom::default());
        if let Some(hold) = &mut self.hold {
            hold.event = Vec::new();
            hold.position.forget_half();
        }
    }
}
