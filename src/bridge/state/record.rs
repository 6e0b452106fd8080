//! The records that a state is written in: each with its length and a sum over all that was written before it.
//!
//! ```text
//! state  = magic version sum record*
//! record = tag(1) length(4) payload sum(4)
//! ```
//!
//! Numbers are big-endian. A sum is the CRC-32 of everything from the state's first byte on but the sums themselves: so a
//! changed byte is seen, and so is a record that is missing, doubled or in another place. It says nothing against who
//! means to deceive, and so whatever is read is checked as if it came from a stranger. Invariant: reading never holds
//! more than one record, and never takes more memory for it than bytes have come.

use std::io::{self, Read, Write};

use flate2::Crc;

/// What a state begins with.
const MAGIC: &[u8; 8] = b"sgbridge";
/// The version of what follows. Another one is not read.
const VERSION: u32 = 1;
/// Bytes of one record at most: an event of the longest message, encoded, with its verbatim text.
const LONGEST: u32 = 1 << 30;

/// Why a state cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The system refuses.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It begins with something else.
    #[error("it is not a state of bridges")]
    Foreign,
    /// It was written by another version of the program.
    #[error("it has the format `{0}`, and here `{VERSION}` is read")]
    Version(u32),
    /// It has no end.
    #[error("it ends too early")]
    Torn,
    /// A sum is not that of what stands before it.
    #[error("its bytes have changed")]
    Changed,
    /// A record is not as it should be though its sum is.
    #[error("one of its records is malformed")]
    Malformed,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Torn,
            _ => Self::Read(error),
        }
    }
}

/// Writes records.
pub(super) struct Out<'w, W> {
    to: &'w mut W,
    sum: Crc,
    bytes: u64,
}

impl<'w, W: Write> Out<'w, W> {
    /// Begins a state.
    pub(super) fn begin(to: &'w mut W) -> io::Result<Self> {
        let sum = Crc::new();
        let mut out = Self { to, sum, bytes: 0 };
        out.put(MAGIC)?;
        out.put(&VERSION.to_be_bytes())?;
        out.seal()?;
        Ok(out)
    }

    /// Writes one record.
    pub(super) fn record(&mut self, tag: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).ok();
        let length = length.filter(|length| *length <= LONGEST);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        self.put(&[tag])?;
        self.put(&length.to_be_bytes())?;
        self.put(payload)?;
        self.seal()
    }

    /// Bytes written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    fn seal(&mut self) -> io::Result<()> {
        self.bytes += 4;
        self.to.write_all(&self.sum.sum().to_be_bytes())
    }
}

/// Reads records.
pub(super) struct In<'r, R> {
    from: &'r mut R,
    sum: Crc,
    bytes: u64,
    payload: Vec<u8>,
}

impl<'r, R: Read> In<'r, R> {
    /// Begins to read a state.
    pub(super) fn begin(from: &'r mut R) -> Result<Self, Fault> {
        let mut read = Self {
            from,
            sum: Crc::new(),
            bytes: 0,
            payload: Vec::new(),
        };
        if read.array()? != *MAGIC {
            return Err(Fault::Foreign);
        }
        let version = u32::from_be_bytes(read.array()?);
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        read.check()?;
        Ok(read)
    }

    /// The next record's tag and payload.
    pub(super) fn record(&mut self) -> Result<(u8, &[u8]), Fault> {
        let [tag] = self.array()?;
        let length = u32::from_be_bytes(self.array()?);
        if length > LONGEST {
            return Err(Fault::Changed);
        }
        self.payload.clear();
        // The buffer grows with what comes, and not by what the length promises.
        let mut part = self.from.by_ref().take(length.into());
        if part.read_to_end(&mut self.payload)? < length as usize {
            return Err(Fault::Torn);
        }
        self.bytes += u64::from(length);
        self.sum.update(&self.payload);
        self.check()?;
        Ok((tag, &self.payload))
    }

    /// Says that the state has ended as it should: nothing follows.
    pub(super) fn end(self) -> Result<u64, Fault> {
        match self.from.read(&mut [0])? {
            0 => Ok(self.bytes),
            _ => Err(Fault::Malformed),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        self.bytes += N as u64;
        self.sum.update(&bytes);
        Ok(bytes)
    }

    fn check(&mut self) -> Result<(), Fault> {
        let mut sum = [0; 4];
        self.from.read_exact(&mut sum)?;
        self.bytes += 4;
        let is_same = u32::from_be_bytes(sum) == self.sum.sum();
        is_same.then_some(()).ok_or(Fault::Changed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = Out::begin(&mut bytes).unwrap();
        for (tag, payload) in records {
            out.record(*tag, payload).unwrap();
        }
        assert_eq!(out.bytes(), bytes.len() as u64);
        bytes
    }

    /// As many records as `count`, and then the end.
    fn read(mut bytes: &[u8], count: usize) -> Result<Vec<(u8, Vec<u8>)>, Fault> {
        let length = bytes.len() as u64;
        let mut read = In::begin(&mut bytes)?;
        let mut records = Vec::new();
        for _ in 0..count {
            let (tag, payload) = read.record()?;
            records.push((tag, payload.to_vec()));
        }
        assert_eq!(read.end()?, length);
        Ok(records)
    }

    #[test]
    fn a_length_that_promises_too_much_allocates_nothing() {
        let mut bytes = written(&[]);
        bytes.push(1);
        bytes.extend_from_slice(&LONGEST.to_be_bytes());
        bytes.extend_from_slice(b"short");
        let mut from = &bytes[..];
        let mut read = In::begin(&mut from).unwrap();
        assert!(matches!(read.record(), Err(Fault::Torn)));
        assert!(
            read.payload.capacity() < 1024,
            "{}",
            read.payload.capacity()
        );
    }

    #[test]
    fn another_format_is_told_from_damage() {
        assert!(matches!(read(b"", 0), Err(Fault::Torn)));
        assert!(matches!(read(b"#!/bin/sh -e\n...", 0), Err(Fault::Foreign)));
        let mut bytes = written(&[]);
        bytes[11] = 9;
        assert!(matches!(read(&bytes, 0), Err(Fault::Version(9))));
    }

    fn records() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..80)),
            0..8,
        )
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(records in records()) {
            prop_assert_eq!(read(&written(&records), records.len()).unwrap(), records);
        }

        #[test]
        fn no_changed_bit_and_no_cut_goes_unseen(
            records in records(),
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let bytes = written(&records);
            let place = place.index(bytes.len());
            prop_assert!(read(&bytes[..place], records.len()).is_err());
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            prop_assert!(read(&changed, records.len()).is_err());
        }

        #[test]
        fn a_record_cannot_be_left_out_doubled_or_moved(
            records in records().prop_filter("two that differ", |records| {
                records.len() > 1 && records[0] != records[1]
            }),
        ) {
            let whole = written(&records);
            let first = written(&records[..1]).len();
            let both = written(&records[..2]).len();
            let head = written(&[]).len();
            let moved = [&whole[..head], &whole[first..both], &whole[head..first], &whole[both..]];
            prop_assert!(read(&moved.concat(), records.len()).is_err());
            let left_out = [&whole[..head], &whole[first..]].concat();
            prop_assert!(read(&left_out, records.len() - 1).is_err());
            let doubled = [&whole[..first], &whole[head..]].concat();
            prop_assert!(read(&doubled, records.len() + 1).is_err());
        }
    }
}
