//! The byte order mark that may lead an event stream.
//!
//! A client skips one mark at the very beginning. When something else has gone out before (a heartbeat, or an earlier
//! connection's events), the mark is not at the beginning any more and would be a part of the first line: it must go.

/// U+FEFF in UTF-8.
pub(crate) const BOM: &[u8; 3] = b"\xef\xbb\xbf";

/// Takes one leading mark off a stream, however its bytes are split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bom {
    /// Bytes of the mark that have come and are held back.
    held: u8,
    is_past: bool,
}

impl Bom {
    /// What goes out in the place of `data`: first the bytes that were held back and turn out to be no mark, then the
    /// rest of `data`. A mark, and a beginning that may still become one, is in neither.
    #[must_use = "the bytes of both parts are the stream"]
    pub fn strip<'d>(&mut self, data: &'d [u8]) -> (&'static [u8], &'d [u8]) {
        if self.is_past {
            return (&[], data);
        }
        let before = usize::from(self.held);
        let wanted = &BOM[before..];
        let same = data.iter().zip(wanted).take_while(|(a, b)| a == b).count();
        if same == wanted.len() {
            *self = Self::past();
            return (&[], &data[same..]);
        }
        if same == data.len() {
            self.held += u8::try_from(same).expect("a mark has three bytes");
            return (&[], &[]);
        }
        *self = Self::past();
        (&BOM[..before], data)
    }

    /// The bytes that are still held back when the stream ends within what looked like a mark.
    #[must_use = "the bytes are the end of the stream"]
    pub fn finish(&mut self) -> &'static [u8] {
        let held = usize::from(self.held);
        *self = Self::past();
        &BOM[..held]
    }

    /// Whether the beginning is over, so that all that follows passes as it is.
    #[must_use]
    pub const fn is_past(&self) -> bool {
        self.is_past
    }

    const fn past() -> Self {
        Self {
            held: 0,
            is_past: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stripped(stream: &[u8], step: usize) -> Vec<u8> {
        let (mut bom, mut out) = (Bom::default(), Vec::new());
        for piece in stream.chunks(step) {
            let (held, rest) = bom.strip(piece);
            out.extend_from_slice(held);
            out.extend_from_slice(rest);
        }
        out.extend_from_slice(bom.finish());
        out
    }

    #[test]
    fn only_a_whole_leading_mark_goes() {
        let table: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"\xef\xbb\xbf", b""),
            (b"\xef\xbb\xbf\xef\xbb\xbfa", b"\xef\xbb\xbfa"),
            (b"a\xef\xbb\xbf", b"a\xef\xbb\xbf"),
            (b"\xef\xbba", b"\xef\xbba"),
            (b"\xef\xef\xbb\xbf", b"\xef\xef\xbb\xbf"),
            (b"\xef", b"\xef"),
            (b"\xef\xbb", b"\xef\xbb"),
        ];
        for (stream, expected) in table {
            for step in 1..=4 {
                assert_eq!(stripped(stream, step), *expected, "{stream:?} by {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_leaves_the_same(
            stream in prop::collection::vec(prop::sample::select(b"\xef\xbb\xbfa\n".to_vec()), 0..8),
            step in 1_usize..5,
        ) {
            let expected = stream.strip_prefix(BOM).unwrap_or(&stream);
            prop_assert_eq!(stripped(&stream, step), expected);
        }
    }
}
