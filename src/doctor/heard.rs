//! What came of an event stream, read as far as a judgement needs it.
//!
//! Invariants: what is kept does not grow with what is sent; of the bytes only the times, the sizes, the last few ids and the
//! delays of the served app's own ticks are kept.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzDecoder;

use crate::sse::boundary::Boundary;
use crate::sse::decode::{Decoder, Item};

use super::arrivals::{Arrival, Arrivals, Pace};
use super::ask::Head;
use super::probe::Clock;
use super::tick::{Tick, milliseconds};

/// Bytes of an event at most.
const LONGEST_EVENT: usize = 256 << 10;

/// Bytes that one arrival may be decoded to.
const MOST_PLAIN: usize = 4 << 20;

/// Ids that are remembered.
const IDS: usize = 8;

/// What is enough, where nobody asked for more.
const ENOUGH_ARRIVALS: usize = 5;
const ENOUGH_TIME: Duration = Duration::from_secs(5);

/// What came.
#[derive(Debug)]
pub(super) struct Heard {
    /// When.
    pub(super) arrivals: Arrivals,
    /// Events as a browser would have dispatched.
    pub(super) events: u64,
    /// Arrivals that were comments alone.
    pub(super) comments: u64,
    /// Bytes on the wire.
    pub(super) bytes: u64,
    /// Whether its content coding can be read; else the events are not known.
    pub(super) is_readable: bool,
    /// The reconnection time that it gave.
    pub(super) retry: Option<Duration>,
    /// The last few ids.
    pub(super) ids: VecDeque<String>,
    /// How long each of the served app's ticks was on the way.
    pub(super) delays: Vec<Duration>,
    coding: Coding,
    decoder: Decoder,
    boundary: Boundary,
    clock: Option<Clock>,
}

#[derive(Debug)]
enum Coding {
    None,
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Other,
}

impl Heard {
    /// Nothing yet, of a stream with this head.
    pub(super) fn new(head: Option<&Head>, clock: Option<Clock>) -> Self {
        let coding = match head.and_then(|head| head.text("content-encoding")) {
            None | Some("identity") => Coding::None,
            Some("gzip" | "x-gzip") => Coding::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            Some(_) => Coding::Other,
        };
        Self {
            arrivals: Arrivals::default(),
            events: 0,
            comments: 0,
            bytes: 0,
            is_readable: !matches!(coding, Coding::Other),
            retry: None,
            ids: VecDeque::new(),
            delays: Vec::new(),
            coding,
            decoder: Decoder::new(LONGEST_EVENT, None),
            boundary: Boundary::default(),
            clock,
        }
    }

    /// Takes in what came `at` this time after the head.
    pub(super) fn take(&mut self, wire: &Bytes, at: Duration) {
        let came = milliseconds();
        let plain = self.decoded(wire);
        let before = self.events;
        let is_comment = plain.first() == Some(&b':');
        self.decode(&plain, came);
        self.boundary.follow(&plain);
        let events = self.events - before;
        if is_comment && events == 0 {
            self.comments += 1;
        }
        self.bytes += wire.len() as u64;
        // What cannot be read is taken for what it most likely is.
        let (events, is_whole) = match self.is_readable {
            true => (events, self.boundary.is_between_events()),
            false => (1, true),
        };
        self.arrivals.push(Arrival {
            at,
            bytes: wire.len() as u64,
            events,
            is_whole,
        });
    }

    fn decoded(&mut self, wire: &Bytes) -> Vec<u8> {
        match &mut self.coding {
            Coding::None => wire.to_vec(),
            Coding::Other => Vec::new(),
            Coding::Gzip(decoder) => {
                let mut plain = Vec::new();
                // In small pieces: a few bytes may become a thousand times as many.
                for piece in wire.chunks(1024) {
                    let read = decoder.write_all(piece).and_then(|()| decoder.flush());
                    if read.is_err() || plain.len() > MOST_PLAIN {
                        self.is_readable = false;
                        self.coding = Coding::Other;
                        return plain;
                    }
                    plain.append(decoder.get_mut());
                }
                plain
            }
        }
    }

    fn decode(&mut self, mut plain: &[u8], came: u64) {
        while let Some(item) = self.decoder.next(&mut plain) {
            self.events += 1;
            let Item::Event(event) = item else {
                continue;
            };
            if let (Some(tick), Some(clock)) = (Tick::read(event.data.as_bytes()), self.clock)
                && self.delays.len() < ENOUGH_ARRIVALS * 1000
            {
                self.delays.push(clock.delay(tick.sent, came));
            }
            if let Some(id) = event.id.filter(|id| self.ids.back() != Some(id)) {
                self.ids.push_back(id);
                if self.ids.len() > IDS {
                    self.ids.pop_front();
                }
            }
        }
        self.retry = self.decoder.position().retry().or(self.retry);
    }

    /// Whether enough came to judge, where nobody asked for more.
    pub(super) fn is_enough(&self, now: Duration) -> bool {
        self.arrivals.count() >= ENOUGH_ARRIVALS
            && self.arrivals.span() >= ENOUGH_TIME
            && self.arrivals.pace(now) == Pace::Prompt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn heard(pieces: &[&[u8]], coding: Coding) -> Heard {
        let mut heard = Heard::new(None, Some(Clock::of(0, 0, Duration::ZERO)));
        heard.coding = coding;
        for (second, piece) in pieces.iter().enumerate() {
            let at = Duration::from_secs(second as u64);
            heard.take(&Bytes::copy_from_slice(piece), at);
        }
        heard
    }

    #[test]
    fn events_comments_ids_and_ticks_are_counted() {
        let tick = format!("id: 2\ndata: {}\n\n", Tick::now(2).text());
        let pieces: [&[u8]; 4] = [
            b"retry: 9000\nid: 1\ndata: a\n",
            b"\n",
            b": beat\n\n",
            tick.as_bytes(),
        ];
        let heard = heard(&pieces, Coding::None);
        assert_eq!(
            (heard.events, heard.comments, heard.delays.len()),
            (2, 1, 1)
        );
        assert_eq!(heard.retry, Some(Duration::from_secs(9)));
        assert_eq!(heard.ids, ["1", "2"]);
    }

    #[test]
    fn what_is_compressed_is_read_and_what_is_no_gzip_is_told() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"data: a\n\n").unwrap();
        encoder.flush().unwrap();
        let gzip = || Coding::Gzip(Box::new(GzDecoder::new(Vec::new())));
        let read = heard(&[encoder.get_ref()], gzip());
        assert_eq!((read.events, read.is_readable), (1, true));
        // A head of gzip has ten bytes: before them nothing can be said.
        let bad = heard(&[b"data: more than ten bytes\n\n"], gzip());
        assert_eq!((bad.events, bad.is_readable), (0, false));
    }

    #[test]
    fn ids_and_what_is_kept_are_bounded() {
        let stream: String = (0..100).map(|n| format!("id: {n}\ndata:\n\n")).collect();
        let heard = heard(&[stream.as_bytes()], Coding::None);
        assert_eq!((heard.ids.len(), heard.events), (IDS, 100));
    }
}
