//! What a channel and an event look like in a record: the fields one after the other, without a clock and without I/O.
//!
//! A text or a list of bytes has its length in front, four bytes; what may be absent has one byte in front that says
//! whether it is there. Times are milliseconds of the wall clock since 1970, for no other clock goes on over a stop.

use crate::bridge::cursor::Epoch;
use crate::bridge::log::Kind;
use crate::sse::position::MAX_ID;

use super::record::Fault;

/// A channel begins.
pub(super) const CHANNEL: u8 = 1;
/// An event that is the newest for its key, and has left the log.
pub(super) const NEWEST: u8 = 2;
/// An event of the log.
pub(super) const EVENT: u8 = 3;
/// The state has ended; the payload is empty.
pub(super) const END: u8 = 4;

/// No log comes to such a number of events; one that claims to is not believed, so that counting on never overflows.
const MOST_EVENTS: u64 = 1 << 62;

/// A digest by SHA-256.
pub(super) type Digest = [u8; 32];

/// What is written of a channel, before its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Its bridge's name.
    pub(super) bridge: String,
    /// Of what feeds the bridge.
    pub(super) fingerprint: Digest,
    /// Of the values that set the channel apart: some may be secrets.
    pub(super) key: Digest,
    pub(super) epoch: Epoch,
    /// The log's bounds: so many events follow.
    pub(super) floor: u64,
    pub(super) head: u64,
    /// How many of [`NEWEST`] come before them.
    pub(super) newest: u64,
    /// The newest event that was forgotten though nothing had replaced it; 0: none was.
    pub(super) forgotten: u64,
    /// Since when the feed has been down.
    pub(super) down: u64,
    /// Which of the bridge's sources is to be asked first.
    pub(super) source: u32,
    /// Where a source of events stands, and how long it wants to be left alone, in milliseconds.
    pub(super) last_id: Option<Vec<u8>>,
    pub(super) retry: Option<u64>,
    /// Where a WebSocket feed stands that can go on.
    pub(super) place: Option<String>,
}

/// What is written of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) seq: u64,
    /// When it was appended.
    pub(super) at: u64,
    pub(super) kind: Kind,
    pub(super) key: Option<&'a str>,
    pub(super) tag: Option<&'a str>,
    pub(super) verbatim: Option<&'a str>,
    /// The event as SSE, without framing.
    pub(super) block: &'a [u8],
}

impl Head {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put(out, self.bridge.as_bytes());
        out.extend_from_slice(&self.fingerprint);
        out.extend_from_slice(&self.key);
        put(out, self.epoch.to_string().as_bytes());
        for number in [
            self.floor,
            self.head,
            self.newest,
            self.forgotten,
            self.down,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.source.to_be_bytes());
        put_if(out, self.last_id.as_deref());
        put_if(
            out,
            self.retry
                .map(u64::to_be_bytes)
                .as_ref()
                .map(|bytes| &bytes[..]),
        );
        put_if(out, self.place.as_ref().map(String::as_bytes));
    }

    pub(super) fn read(payload: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields(payload);
        let head = Self {
            bridge: fields.text()?.to_owned(),
            fingerprint: fields.array()?,
            key: fields.array()?,
            epoch: Epoch::parse(fields.bytes()?).ok_or(Fault::Malformed)?,
            floor: fields.number()?,
            head: fields.number()?,
            newest: fields.number()?,
            forgotten: fields.number()?,
            down: fields.number()?,
            source: u32::from_be_bytes(fields.array()?),
            last_id: fields.maybe()?.map(<[u8]>::to_vec),
            retry: match fields.maybe()? {
                Some(bytes) => Some(u64::from_be_bytes(whole(bytes)?)),
                None => None,
            },
            place: fields.maybe_text()?.map(str::to_owned),
        };
        let is_sound = (1..=head.head).contains(&head.floor)
            && head.head < MOST_EVENTS
            && head.newest < head.floor
            && head.forgotten < head.head
            // They are held as long as the log: no feed leaves a longer one.
            && head.last_id.as_ref().is_none_or(|id| id.len() <= MAX_ID)
            && head.place.as_ref().is_none_or(|place| place.len() <= MAX_ID);
        (is_sound && fields.0.is_empty())
            .then_some(head)
            .ok_or(Fault::Malformed)
    }
}

impl<'a> Item<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.at.to_be_bytes());
        out.push(match self.kind {
            Kind::Message => 0,
            Kind::Binary => 1,
            Kind::Gap => 2,
            Kind::Marker => 3,
        });
        for text in [self.key, self.tag, self.verbatim] {
            put_if(out, text.map(str::as_bytes));
        }
        put(out, self.block);
    }

    pub(super) fn read(payload: &'a [u8]) -> Result<Self, Fault> {
        let mut fields = Fields(payload);
        let item = Self {
            seq: fields.number()?,
            at: fields.number()?,
            kind: match fields.array()? {
                [0] => Kind::Message,
                [1] => Kind::Binary,
                [2] => Kind::Gap,
                [3] => Kind::Marker,
                _ => return Err(Fault::Malformed),
            },
            key: fields.maybe_text()?,
            tag: fields.maybe_text()?,
            verbatim: fields.maybe_text()?,
            block: fields.bytes()?,
        };
        (fields.0.is_empty() && is_one_block(item.block))
            .then_some(item)
            .ok_or(Fault::Malformed)
    }
}

/// Whether it is what the one encoder writes: whole lines that end with LF, and the only empty one at the end. Anything
/// else would tell clients more events than were appended.
fn is_one_block(block: &[u8]) -> bool {
    block.ends_with(b"\n\n")
        && memchr::memmem::find(&block[..block.len() - 1], b"\n\n").is_none()
        && block[0] != b'\n'
        && memchr::memchr(b'\r', block).is_none()
        && std::str::from_utf8(block).is_ok()
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // A record is far below 4 GiB, which is seen to where it is written.
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_if(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(bytes.is_some().into());
    if let Some(bytes) = bytes {
        put(out, bytes);
    }
}

fn whole<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_length| Fault::Malformed)
}

/// A payload's fields that are still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Fault::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        whole(self.take(N)?)
    }

    fn number(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_be_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(length as usize)
    }

    fn text(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_invalid| Fault::Malformed)
    }

    fn maybe(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        match self.array()? {
            [0] => Ok(None),
            [1] => self.bytes().map(Some),
            _ => Err(Fault::Malformed),
        }
    }

    fn maybe_text(&mut self) -> Result<Option<&'a str>, Fault> {
        match self.array()? {
            [0] => Ok(None),
            [1] => self.text().map(Some),
            _ => Err(Fault::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head() -> Head {
        Head {
            bridge: "prices".into(),
            fingerprint: [1; 32],
            key: [2; 32],
            epoch: Epoch::random(),
            floor: 7,
            head: 12,
            newest: 3,
            forgotten: 2,
            down: 1_700_000_000_000,
            source: 1,
            last_id: Some(b"x-1".to_vec()),
            retry: Some(250),
            place: Some("\"a\"".into()),
        }
    }

    fn written(head: &Head) -> Vec<u8> {
        let mut bytes = Vec::new();
        head.write(&mut bytes);
        bytes
    }

    #[test]
    fn a_channel_is_read_as_it_was_written_and_not_with_impossible_bounds() {
        let bare = Head {
            last_id: None,
            retry: None,
            place: None,
            ..head()
        };
        for head in [head(), bare] {
            assert_eq!(Head::read(&written(&head)).unwrap(), head);
        }
        let bounds = [(0, 5), (6, 5), (1, MOST_EVENTS), (2, u64::MAX)];
        for (floor, end) in bounds {
            let head = Head {
                floor,
                head: end,
                newest: 0,
                ..head()
            };
            assert!(Head::read(&written(&head)).is_err(), "{floor}..{end}");
        }
        let long = "x".repeat(MAX_ID + 1);
        let endless = [
            Head {
                last_id: Some(long.clone().into()),
                ..head()
            },
            Head {
                place: Some(long),
                ..head()
            },
        ];
        for head in endless {
            assert!(Head::read(&written(&head)).is_err(), "held for ever");
        }
        let all_and_more = [&written(&head())[..], b"x"].concat();
        assert!(Head::read(&all_and_more).is_err());
    }

    #[test]
    fn an_event_is_one_block_and_no_more() {
        let sound: [&[u8]; 3] = [b"data: x\n\n", b"id: a\ndata: x\ndata:\n\n", b":\n\n"];
        assert!(sound.into_iter().all(is_one_block));
        let others: [&[u8]; 9] = [
            b"",
            b"\n\n",
            b"\n",
            b"data: x\n",
            b"data: x\n\n\n",
            b"data: x\n\ndata: y\n\n",
            b"data: x\r\rdata: y\n\n",
            b"\ndata: x\n\n",
            b"data: \xff\n\n",
        ];
        for block in others {
            assert!(!is_one_block(block), "{block:?}");
        }
    }

    proptest! {
        #[test]
        fn an_event_is_read_as_it_was_written(
            (seq, at, kind) in (any::<u64>(), any::<u64>(), 0_usize..4),
            texts in prop::collection::vec(prop::option::of(".{0,20}"), 3),
            data in "[^\r\n]{0,40}",
        ) {
            let block = format!("data: {data}\n\n");
            let item = Item {
                seq,
                at,
                kind: [Kind::Message, Kind::Binary, Kind::Gap, Kind::Marker][kind],
                key: texts[0].as_deref(),
                tag: texts[1].as_deref(),
                verbatim: texts[2].as_deref(),
                block: block.as_bytes(),
            };
            let mut bytes = Vec::new();
            item.write(&mut bytes);
            prop_assert_eq!(Item::read(&bytes).unwrap(), item);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Item::read(&bytes);
            let _ = Head::read(&bytes);
        }
    }
}
