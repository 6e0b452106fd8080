//! Plaintext that comes in several slices, cut so that it makes as few records as it can.

use std::io::IoSlice;

use super::scratch::RECORD;

/// The most plaintext that is sealed at a time: four records.
pub(super) const BATCH: usize = 4 * RECORD;

/// What is left of a batch.
pub(super) struct Pieces<'a> {
    slices: &'a [IoSlice<'a>],
    /// Bytes of the first slice that are done.
    done: usize,
    /// Bytes that the batch still takes.
    room: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(slices: &'a [IoSlice<'a>]) -> Self {
        Self {
            slices,
            done: 0,
            room: BATCH,
        }
    }

    /// The next bytes: some whole records of one slice, or what makes one record, or the last. Only what does not lie
    /// together is copied, into `gathered`, which has the length of a record.
    pub(super) fn next<'b>(&mut self, gathered: &'b mut [u8]) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        let slice = self.slice()?;
        let whole = slice.len().min(self.room);
        let is_last = self.slices[1..].iter().all(|slice| slice.is_empty());
        let length = if is_last {
            whole
        } else {
            whole - whole % RECORD
        };
        if length > 0 {
            self.advance(length);
            return Some(&slice[..length]);
        }
        let mut filled = 0;
        while let Some(slice) = self.slice() {
            let length = slice.len().min(self.room).min(gathered.len() - filled);
            if length == 0 {
                break;
            }
            gathered[filled..filled + length].copy_from_slice(&slice[..length]);
            filled += length;
            self.advance(length);
        }
        Some(&gathered[..filled])
    }

    /// What is left of the first slice that is not empty, if the batch has room.
    fn slice(&mut self) -> Option<&'a [u8]> {
        while self.room > 0 {
            let (first, rest) = self.slices.split_first()?;
            if self.done < first.len() {
                let slices = self.slices;
                return Some(&slices[0][self.done..]);
            }
            self.slices = rest;
            self.done = 0;
        }
        None
    }

    fn advance(&mut self, length: usize) {
        self.done += length;
        self.room -= length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut pieces = Pieces::new(&slices);
        let mut gathered = vec![0; RECORD];
        let mut found = Vec::new();
        while let Some(piece) = pieces.next(&mut gathered) {
            found.push(piece.to_vec());
        }
        found
    }

    #[test]
    fn slices_make_as_few_records_as_they_can() {
        let cases: &[(&[usize], &[usize])] = &[
            (&[], &[]),
            (&[0, 0], &[]),
            (&[7], &[7]),
            (&[20_000], &[20_000]),
            (&[9, 100, 0], &[109]),
            (&[200, 40_000], &[RECORD, 40_200 - RECORD]),
            (&[2 * RECORD + 5, 10], &[2 * RECORD, 15]),
            (&[BATCH + 1], &[BATCH]),
            (&[1, BATCH], &[RECORD, BATCH - RECORD]),
        ];
        for (lengths, expected) in cases {
            let parts: Vec<_> = lengths.iter().map(|&length| vec![1; length]).collect();
            let found: Vec<_> = cut(&parts).iter().map(Vec::len).collect();
            assert_eq!(&found, expected, "of {lengths:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_the_slices_in_order(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20_000), 0..8),
        ) {
            let mut all = parts.concat();
            all.truncate(BATCH);
            let pieces = cut(&parts);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert_eq!(pieces.concat(), all);
        }
    }
}
