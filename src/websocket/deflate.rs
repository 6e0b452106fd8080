//! `permessage-deflate` (RFC 7692) at the receiving end: what is offered, what may be answered, and inflating.
//!
//! Owns neither frames nor buffers. It is offered without context takeover in both directions, so that a connection
//! needs no inflater between two messages, and a message that is given up need not be inflated to its end. What we send
//! ourselves is never compressed, which the extension allows.

use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header;
use thiserror::Error;

use crate::http::list::members;

/// The value of `Sec-WebSocket-Extensions` in the handshake.
pub const OFFER: &str =
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

/// What a sender takes off each message's end (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// Inflated in one step.
const STEP: usize = 4 * 1024;

/// Why the answer to the offer, or a message, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DeflateFault {
    /// The answer has another extension, a parameter that does not fit the offer, or leaves out
    /// `server_no_context_takeover` (RFC 7692 §7.1).
    #[error("the answer to the offer of `permessage-deflate` does not fit it")]
    Answer,
    /// A message is not what DEFLATE makes (RFC 1951).
    #[error("a compressed message cannot be inflated")]
    Corrupt,
}

/// Whether the answer to [`OFFER`] agrees to it.
///
/// # Errors
/// [`DeflateFault::Answer`]: the connection must be failed (RFC 7692 §5.1).
pub fn agreed(answer: &HeaderMap) -> Result<bool, DeflateFault> {
    let mut extensions = members(answer, &header::SEC_WEBSOCKET_EXTENSIONS);
    let Some(extension) = extensions.next() else {
        return Ok(false);
    };
    let text = std::str::from_utf8(extension).map_err(|_not_text| DeflateFault::Answer)?;
    let mut parts = text.split(';').map(str::trim);
    let is_ours = parts.next() == Some("permessage-deflate");
    let (mut without_context, mut seen) = (false, Vec::new());
    for parameter in parts {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (parameter, None),
        };
        let fits = match name {
            "server_no_context_takeover" => value.is_none(),
            "client_no_context_takeover" => value.is_none(),
            // Any window fits in ours, which is the largest.
            "server_max_window_bits" => value.is_some_and(is_window),
            _ => false,
        };
        if !fits || seen.contains(&name) {
            return Err(DeflateFault::Answer);
        }
        seen.push(name);
        without_context |= name == "server_no_context_takeover";
    }
    if !is_ours || !without_context || extensions.next().is_some() {
        return Err(DeflateFault::Answer);
    }
    Ok(true)
}

/// 8 to 15, without zeros before it (RFC 7692 §7.1.2.1).
fn is_window(value: &str) -> bool {
    matches!(value, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// Inflates messages, one after the other. It holds about 48 KiB.
#[derive(Debug)]
pub struct Inflater(Decompress);

/// The message is larger than the limit: what was inflated of it is no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(false))
    }
}

impl Inflater {
    /// Inflates a part of a message behind `message`, which does not grow beyond `limit`. `Ok(Err(Overflow))`: it would.
    ///
    /// # Errors
    /// [`DeflateFault::Corrupt`].
    pub fn part(
        &mut self,
        mut input: &[u8],
        message: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Result<(), Overflow>, DeflateFault> {
        let mut step = [0; STEP];
        loop {
            let (taken, written) = (self.0.total_in(), self.0.total_out());
            let status = self
                .0
                .decompress(input, &mut step, FlushDecompress::Sync)
                .map_err(|_corrupt| DeflateFault::Corrupt)?;
            let taken = (self.0.total_in() - taken) as usize;
            let written = (self.0.total_out() - written) as usize;
            if written > limit.saturating_sub(message.len()) {
                return Ok(Err(Overflow));
            }
            message.extend_from_slice(&step[..written]);
            input = &input[taken..];
            if status == Status::StreamEnd {
                // A block that says it is the last one does not end the message (RFC 7692 §7.2.3.4).
                self.0.reset(false);
            }
            if input.is_empty() && written < STEP {
                return Ok(Ok(()));
            }
            if taken == 0 && written == 0 {
                return Err(DeflateFault::Corrupt);
            }
        }
    }

    /// Inflates what is left when a message has ended, and makes ready for the next one.
    ///
    /// # Errors
    /// [`DeflateFault::Corrupt`].
    pub fn end(
        &mut self,
        message: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Result<(), Overflow>, DeflateFault> {
        let ended = self.part(&TAIL, message, limit);
        self.give_up();
        ended
    }

    /// Makes ready for the next message in the middle of one.
    pub fn give_up(&mut self) {
        self.0.reset(false);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// A message as a sender without context takeover compresses it.
    pub(crate) fn deflated(message: &[u8]) -> Vec<u8> {
        let mut compress = Compress::new(Compression::default(), false);
        let mut out = Vec::with_capacity(message.len() / 2 + 1024);
        loop {
            let taken = compress.total_in() as usize;
            compress
                .compress_vec(&message[taken..], &mut out, FlushCompress::Sync)
                .unwrap();
            if compress.total_in() as usize == message.len() && out.len() < out.capacity() {
                break;
            }
            out.reserve(1024);
        }
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    fn inflated(parts: &[&[u8]], limit: usize) -> Result<Result<Vec<u8>, Overflow>, DeflateFault> {
        let (mut inflater, mut message) = (Inflater::default(), Vec::new());
        for part in parts {
            if let Err(overflow) = inflater.part(part, &mut message, limit)? {
                return Ok(Err(overflow));
            }
        }
        let ended = inflater.end(&mut message, limit)?;
        Ok(ended.map(|()| message))
    }

    #[test]
    fn what_fits_the_offer_is_agreed_and_all_else_is_refused() {
        const SERVER: &str = "permessage-deflate; server_no_context_takeover";
        let with = |more: &str| format!("{SERVER}{more}");
        let table = [
            (None, Ok(false)),
            (Some(SERVER.to_owned()), Ok(true)),
            (Some(OFFER.to_owned()), Ok(true)),
            (Some(with(";server_max_window_bits=10")), Ok(true)),
            (Some(with("; server_max_window_bits=\"15\"")), Ok(true)),
            (
                Some("permessage-deflate".to_owned()),
                Err(DeflateFault::Answer),
            ),
            (
                Some("x-webkit-deflate-frame".to_owned()),
                Err(DeflateFault::Answer),
            ),
            (
                Some(with("; server_max_window_bits")),
                Err(DeflateFault::Answer),
            ),
            (
                Some(with("; server_max_window_bits=16")),
                Err(DeflateFault::Answer),
            ),
            (
                Some(with("; client_max_window_bits=15")),
                Err(DeflateFault::Answer),
            ),
            (
                Some(with("; server_no_context_takeover")),
                Err(DeflateFault::Answer),
            ),
            (Some(with("=1")), Err(DeflateFault::Answer)),
            (
                Some(with(", permessage-deflate")),
                Err(DeflateFault::Answer),
            ),
        ];
        for (value, expected) in table {
            let mut headers = HeaderMap::new();
            if let Some(value) = &value {
                let name = header::SEC_WEBSOCKET_EXTENSIONS;
                headers.insert(name, value.parse().unwrap());
            }
            assert_eq!(agreed(&headers), expected, "{value:?}");
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_inflated() {
        // RFC 7692 §7.2.3: one block, no compression, BFINAL, two blocks; §7.2.3.6: an empty message.
        let table: [(&[u8], &[u8]); 5] = [
            (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
            (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"),
            (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
            (
                b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
                b"Hello",
            ),
            (b"\x00", b""),
        ];
        for (compressed, message) in table {
            let bytes: Vec<&[u8]> = compressed.chunks(1).collect();
            assert_eq!(inflated(&[compressed], 100), Ok(Ok(message.to_vec())));
            assert_eq!(inflated(&bytes, 100), Ok(Ok(message.to_vec())));
        }
    }

    #[test]
    fn a_message_is_never_larger_than_the_limit() {
        let message = vec![b'a'; 100_000];
        let bomb = deflated(&message);
        assert!(bomb.len() < 1_000);
        assert_eq!(inflated(&[&bomb], 100_000), Ok(Ok(message)));
        assert_eq!(inflated(&[&bomb], 99_999), Ok(Err(Overflow)));
        let (mut inflater, mut held) = (Inflater::default(), Vec::new());
        assert_eq!(inflater.part(&bomb, &mut held, 10), Ok(Err(Overflow)));
        assert!(held.len() <= 10);
    }

    #[test]
    fn what_is_no_deflate_is_told() {
        assert_eq!(inflated(&[b"\xff\xff"], 100), Err(DeflateFault::Corrupt));
    }

    proptest::proptest! {
        #[test]
        fn any_message_in_any_parts_comes_back(
            message in proptest::collection::vec(0..4u8, 0..20_000),
            length in 1..500usize,
        ) {
            let compressed = deflated(&message);
            let parts: Vec<&[u8]> = compressed.chunks(length).collect();
            proptest::prop_assert_eq!(inflated(&parts, 20_000), Ok(Ok(message)));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = inflated(&[&bytes], 1_000);
        }
    }
}
