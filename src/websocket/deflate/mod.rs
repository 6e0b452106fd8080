//! `permessage-deflate` (RFC 7692): what is agreed on, and one message compressed or inflated by itself.
//!
//! Both sides always give up their context (`…_no_context_takeover`): a message stands for itself, so that it is compressed
//! once for all who get it, and no connection holds a window. What compresses is large (some 300 KiB) and is kept once a
//! thread. Invariant: what is inflated never takes more memory than its limit, whatever was sent.

#[cfg(test)]
mod tests;

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};
use thiserror::Error;

use crate::http::list::members;

const NAME: &[u8] = b"permessage-deflate";

/// The only agreement there is here; as a client's offer and as a server's answer it reads the same.
pub const AGREEMENT: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// A payload below this is sent as it is: there is nothing to gain.
pub const SHORTEST: usize = 64;

/// What each compressed message ends with, and is left out on the wire (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Room that the output grows by.
const STEP: usize = 16 * 1024;

/// Why a compressed message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InflateFault {
    /// It is longer than it may be.
    #[error("the inflated message is longer than `{limit}` bytes")]
    TooLong {
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// It is not what deflate makes.
    #[error("the compressed message is not sound")]
    Corrupt,
}

/// A server's answer names what was not offered (RFC 7692 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the answer's extensions are not those that were offered")]
pub struct Unagreed;

/// The answer to a client's offers: [`AGREEMENT`] where one of them allows it, else nothing.
///
/// An offer that wants a smaller window of us is passed over: it could not be kept while a message is compressed once for
/// all (RFC 7692 §7.1.2.1).
#[must_use]
pub fn negotiate(request: &HeaderMap) -> Option<&'static str> {
    members(request, &SEC_WEBSOCKET_EXTENSIONS)
        .any(|offer| is_acceptable(offer, Side::Offer))
        .then_some(AGREEMENT)
}

/// Whether a server agreed to [`AGREEMENT`], which was all that was offered to it.
///
/// # Errors
/// [`Unagreed`]: the connection is to be failed.
pub fn agreed(response: &HeaderMap) -> Result<bool, Unagreed> {
    let mut extensions = members(response, &SEC_WEBSOCKET_EXTENSIONS);
    match (extensions.next(), extensions.next()) {
        (None, _) => Ok(false),
        (Some(one), None) if is_acceptable(one, Side::Answer) => Ok(true),
        _ => Err(Unagreed),
    }
}

/// `payload` compressed, if that is shorter than it is.
#[must_use]
pub fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    }
    if payload.len() < SHORTEST {
        return None;
    }
    COMPRESS.with_borrow_mut(|deflate| {
        deflate.reset();
        // More is no gain: four bytes go at the end.
        let mut out = Vec::with_capacity(payload.len() + TAIL.len());
        deflate
            .compress_vec(payload, &mut out, FlushCompress::Sync)
            .ok()?;
        // Where it did not fit, the tail is missing.
        let is_whole = deflate.total_in() == payload.len() as u64 && out.ends_with(&TAIL);
        out.truncate(out.len().saturating_sub(TAIL.len()));
        (is_whole && out.len() < payload.len()).then_some(out)
    })
}

/// What was compressed as one message.
///
/// # Errors
/// It is not sound, or longer than `limit` bytes; then no more than that was made of it.
pub fn inflate(payload: &[u8], limit: usize) -> Result<Vec<u8>, InflateFault> {
    thread_local! {
        static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    }
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(false);
        let mut out = Vec::new();
        for part in [payload, &TAIL] {
            inflate_part(inflate, part, limit, &mut out)?;
        }
        Ok(out)
    })
}

fn inflate_part(
    inflate: &mut Decompress,
    mut input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), InflateFault> {
    loop {
        if out.len() == out.capacity() {
            // One byte beyond the limit, to see whether there is one.
            out.reserve(STEP.min((limit - out.len()).saturating_add(1)));
        }
        let (taken, made) = (inflate.total_in(), out.len());
        let status = inflate
            .decompress_vec(input, out, FlushDecompress::Sync)
            .map_err(|_corrupt| InflateFault::Corrupt)?;
        if out.len() > limit {
            return Err(InflateFault::TooLong { limit });
        }
        let taken = (inflate.total_in() - taken) as usize;
        input = &input[taken..];
        // A message may have a block that says it is the last, and go on (RFC 7692 §7.2.3.4).
        if status == Status::StreamEnd {
            inflate.reset(false);
        }
        let is_full = out.len() == out.capacity();
        if input.is_empty() && !is_full {
            return Ok(());
        }
        if taken == 0 && out.len() == made && !is_full {
            return Err(InflateFault::Corrupt);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Offer,
    Answer,
}

/// Whether one member of the list is the extension with parameters that fit [`AGREEMENT`] (RFC 7692 §7.1).
fn is_acceptable(member: &[u8], side: Side) -> bool {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    {
        return false;
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    for parameter in parts {
        let mut halves = parameter
            .splitn(2, |byte| *byte == b'=')
            .map(<[u8]>::trim_ascii);
        let (name, value) = (halves.next().unwrap_or_default(), halves.next());
        let fits = match (name, value, side) {
            (b"server_no_context_takeover" | b"client_no_context_takeover", None, _) => true,
            // Without a value it says that the client could; with one, that it will. A full window reads both.
            (b"client_max_window_bits", None, Side::Offer) => true,
            (b"client_max_window_bits", Some(bits), Side::Offer)
            | (b"server_max_window_bits", Some(bits), Side::Answer) => is_window(bits),
            _ => false,
        };
        if !fits || seen.contains(&name) {
            return false;
        }
        seen.push(name);
    }
    side == Side::Offer || seen.contains(&&b"server_no_context_takeover"[..])
}

/// A number from 8 to 15 without a leading zero, quoted or not (RFC 7692 §7.1.2).
fn is_window(bits: &[u8]) -> bool {
    let bits = bits
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(bits);
    matches!(bits, [b'8' | b'9'] | [b'1', b'0'..=b'5'])
}
