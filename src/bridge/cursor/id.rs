//! How an event is named, and the end of a session: each name has one spelling, short enough for a header of any browser.

use std::fmt;

use crate::config::model::Verdict;

const EPOCH_LEN: usize = 10;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// One continuous life of a log: ten random digits of base 36, new whenever continuity is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; EPOCH_LEN]);

impl Epoch {
    /// A new epoch.
    #[must_use]
    pub fn random() -> Self {
        Self(std::array::from_fn(|_| DIGITS[fastrand::usize(..36)]))
    }

    /// The epoch that these bytes make, of which the first eight count.
    pub(in crate::bridge) fn of_bytes(bytes: &[u8]) -> Self {
        let take = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let mut number = bytes.iter().take(8).fold(0, take);
        Self(std::array::from_fn(|_| {
            let digit = DIGITS[(number % 36) as usize];
            number /= 36;
            digit
        }))
    }

    /// Reads an epoch as it is displayed.
    pub(in crate::bridge) fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; EPOCH_LEN] = text.try_into().ok()?;
        let is_digit = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        digits.iter().all(is_digit).then_some(Self(digits))
    }
}

/// `<epoch>-<seq>`: an event, or the place right behind it. The number 0 is the place before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// The log's life.
    pub epoch: Epoch,
    /// The event's number in it.
    pub seq: u64,
}

impl EventId {
    /// Reads an id as it was written by [`EventId::write`]; no other spelling of it is taken.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_at_checked(EPOCH_LEN)?;
        let digits = seq.strip_prefix('-')?;
        let canonical = digits == "0" || !digits.starts_with(['0', '+']);
        let seq = digits.parse().ok().filter(|_| canonical)?;
        let epoch = Epoch::parse(epoch.as_bytes())?;
        Some(Self { epoch, seq })
    }

    /// Appends the `id` field with this id.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(&self.epoch.0);
        out.push(b'-');
        out.extend_from_slice(digits.format(self.seq).as_bytes());
        out.push(b'\n');
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| {
            use fmt::Write as _;
            f.write_char(char::from(*digit))
        })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// An id that ends a client's stream for good: whoever brings it is told the verdict, on any node and at any time, for
/// it stands in the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalId {
    /// Where the log ended.
    pub id: EventId,
    /// What is told.
    pub verdict: Verdict,
}

impl FinalId {
    /// Reads an id as it is displayed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, word) = text.rsplit_once('-')?;
        let verdict = match word {
            "end" => Verdict::Done,
            status => Verdict::ALL.into_iter().find(|verdict| {
                *verdict != Verdict::Done && verdict.status().to_string() == status
            })?,
        };
        let id = EventId::parse(id)?;
        Some(Self { id, verdict })
    }
}

/// `<epoch>-<seq>-end`, or with the status in place of the `end`.
impl fmt::Display for FinalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Done => write!(f, "{}-end", self.id),
            verdict => write!(f, "{}-{}", self.id, verdict.status()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch::of(*b"0123456789");

    impl Epoch {
        /// An epoch of these digits.
        pub(in crate::bridge) const fn of(digits: [u8; EPOCH_LEN]) -> Self {
            Self(digits)
        }
    }

    #[test]
    fn ids_have_one_spelling() {
        for text in ["0123456789-0", "abcdefghij-18446744073709551615"] {
            assert_eq!(EventId::parse(text).unwrap().to_string(), text);
        }
        let refused = [
            "",
            "0123456789",
            "0123456789-",
            "0123456789-01",
            "0123456789-+1",
            "0123456789--1",
            "012345678-1",
            "01234567é-1",
            "ABCDEFGHIJ-1",
            "0123456789-18446744073709551616",
            "0123456789-1 ",
        ];
        for text in refused {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
        let mut out = Vec::new();
        EventId {
            epoch: EPOCH,
            seq: 7,
        }
        .write(&mut out);
        assert_eq!(out, b"id: 0123456789-7\n");
    }
}
