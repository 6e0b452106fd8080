//! Event streams for other people's clients: one with everything in it that the book allows, cut where it hurts, and a
//! source whose events are numbered.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Backend, Exchange, PATIENCE, Wire};

/// What a client makes of an event: its name, its data, and the last event id at that time.
pub type Meant = (&'static str, String, &'static str);

/// The length of the largest event's data: a MiB.
const LARGE: usize = 1 << 20;

/// A stream in the pieces that a backend writes: borders fall into characters, between CR and LF, and into an event.
pub fn every_kind_of_event() -> Vec<Vec<u8>> {
    let begin: [&[u8]; 23] = [
        // A mark of the byte order stands before the first line only.
        b"\xef\xbb",
        b"\xbfdata: after a mark\n\n",
        b": a comment\n\n:\n\n",
        b"retry: 50\n\n",
        b"event: named\nid: 1\ndata: two",
        b" lines\ndata:and\ndata:  a third\n",
        b"\n",
        b"data: cr\r\r",
        b"data: crlf\r",
        b"\n\r",
        b"\ndata: mixed\r\n\n",
        b"data: gr\xc3",
        b"\xbc\xc3\x9fe \xf0\x9f",
        b"\x9a\x80\n\n",
        b"data:\n\ndata\n\n",
        // Neither of these is an event: one has a name alone, the other an id alone.
        b"event: named\n\n",
        b"id: 2\n\n",
        b"data: by its id\n\n",
        b"id: not\0this\nunknown: field\ndata: unmoved\n\n",
        b"id\ndata: no id\n\n",
        b"data",
        b": in ",
        b"pieces\n\nid: 3\ndata: ",
    ];
    let mut pieces: Vec<_> = begin.iter().map(|piece| piece.to_vec()).collect();
    pieces.extend(large().as_bytes().chunks(100_000).map(<[u8]>::to_vec));
    pieces.push(b"\n\nevent: last\ndata: last\n\n".to_vec());
    pieces
}

/// What a client has to make of [`every_kind_of_event`].
pub fn meant() -> Vec<Meant> {
    let small = [
        ("message", "after a mark", ""),
        ("named", "two lines\nand\n a third", "1"),
        ("message", "cr", "1"),
        ("message", "crlf", "1"),
        ("message", "mixed", "1"),
        ("message", "grüße 🚀", "1"),
        ("message", "", "1"),
        ("message", "", "1"),
        ("message", "by its id", "2"),
        ("message", "unmoved", "2"),
        ("message", "no id", ""),
        ("message", "in pieces", ""),
    ];
    let small = small.map(|(name, data, id)| (name, data.to_owned(), id));
    let last = ("last", "last".to_owned(), "3");
    [&small[..], &[("message", large(), "3"), last]].concat()
}

fn large() -> String {
    let mut text = String::with_capacity(LARGE + 8);
    for number in 0.. {
        write!(text, "{number} ").unwrap();
        if text.len() >= LARGE {
            break;
        }
    }
    text.truncate(LARGE);
    text
}

/// Events that are numbered from one on, a number each [`NumberedSource::PACE`] since the source began. Whoever comes
/// gets those after the id that it brings.
pub struct NumberedSource {
    /// Where it is.
    pub backend: Backend,
}

impl NumberedSource {
    /// How far apart the numbers are.
    pub const PACE: Duration = Duration::from_millis(10);

    /// Starts one.
    pub async fn start() -> Self {
        let begun = Arc::new(Instant::now());
        let backend = Backend::that(move |exchange| numbers(exchange, *begun)).await;
        Self { backend }
    }

    /// The data of a number's event, long enough that a border of writes may fall into it.
    pub fn data(number: u64) -> String {
        format!("{number} {}", "-".repeat(200))
    }
}

async fn numbers(mut exchange: Exchange, begun: Instant) -> Option<Wire<tokio::net::TcpStream>> {
    let seen = exchange.request.get("last-event-id");
    let mut number: u64 = seen.map_or(0, |id| id.parse().expect("an id of ours"));
    exchange.answer_in_chunks("text/event-stream").await;
    let mut tick = tokio::time::interval(NumberedSource::PACE);
    // A source that nobody listens to ends with its connection; one that is forgotten ends here.
    while begun.elapsed() < PATIENCE * 8 {
        tick.tick().await;
        while NumberedSource::PACE.saturating_mul(u32::try_from(number + 1).ok()?)
            <= begun.elapsed()
        {
            number += 1;
            let event = format!("id: {number}\ndata: {}\n\n", NumberedSource::data(number));
            // Two writes, so that there is something to fall between.
            let (first, second) = event.split_at(event.len() / 2);
            for half in [first, second] {
                let chunk = format!("{:x}\r\n{half}\r\n", half.len());
                exchange.wire.try_send(chunk.as_bytes()).await.ok()?;
            }
        }
    }
    None
}
