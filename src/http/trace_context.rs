//! Which trace a request belongs to: `traceparent` and `tracestate` (W3C Trace Context, Level 2).
//!
//! Owns the form of the two fields, in both directions, not what is decided by them. Invariant: what is not exactly as the
//! recommendation says is none (§3.2.2.3): two parsers must not read two traces in one field.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::HeaderMap;
use http::header::HeaderName;

/// `traceparent` (§3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// `tracestate` (§3.3).
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The bytes of a version 00 field: `00-`, 32 digits, `-`, 16 digits, `-`, two digits.
const LENGTH: usize = 55;

/// The most members of `tracestate` (§3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// The bit of the flags that says that who calls may have recorded it (§3.2.2.5.1).
const SAMPLED: u8 = 1;

/// The bit that says that at least the last seven bytes of the trace's id are random (§3.2.2.5.2).
const RANDOM: u8 = 2;

/// The id of a trace: 16 bytes that are not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

/// The id of a span: 8 bytes that are not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

/// One place in a trace: what `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span below which what follows hangs.
    pub span: SpanId,
    flags: u8,
}

impl TraceId {
    /// A new, random one.
    #[must_use]
    pub fn random() -> Self {
        Self(NonZeroU128::new(fastrand::u128(..)).unwrap_or(NonZeroU128::MIN))
    }

    /// Its bytes, as they are sent.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }
}

impl SpanId {
    /// A new, random one.
    #[must_use]
    pub fn random() -> Self {
        Self(NonZeroU64::new(fastrand::u64(..)).unwrap_or(NonZeroU64::MIN))
    }

    /// Its bytes, as they are sent.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

impl TraceParent {
    /// The begin of a trace that nobody has begun.
    #[must_use]
    pub fn begin(is_sampled: bool) -> Self {
        Self {
            trace: TraceId::random(),
            span: SpanId::random(),
            flags: RANDOM,
        }
        .sampled(is_sampled)
    }

    /// A new place in the same trace.
    #[must_use]
    pub fn child(self, is_sampled: bool) -> Self {
        Self {
            span: SpanId::random(),
            flags: self.flags & RANDOM,
            ..self
        }
        .sampled(is_sampled)
    }

    /// What a request says of itself; `None`: nothing, or nothing that can be used. Several fields say nothing (§3.2.3).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let field = fields.next().filter(|_| fields.next().is_none())?;
        Self::parse(field.as_bytes())
    }

    /// Whether who calls may have recorded it.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags, as they are sent.
    #[must_use]
    pub fn flags(self) -> u8 {
        self.flags
    }

    fn sampled(self, is_sampled: bool) -> Self {
        let bit = if is_sampled { SAMPLED } else { 0 };
        Self {
            flags: self.flags & !SAMPLED | bit,
            ..self
        }
    }

    /// A later version may have more behind a further dash, and is read as this one (§4.3 of Level 1).
    fn parse(field: &[u8]) -> Option<Self> {
        let (known, more) = field.split_at_checked(LENGTH)?;
        let version = hex(&known[..2])?;
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _later => more.is_empty() || more.starts_with(b"-"),
        };
        if !dashes || !fits {
            return None;
        }
        let span = u64::try_from(hex(&known[36..52])?).ok()?;
        Some(Self {
            trace: TraceId(NonZeroU128::new(hex(&known[3..35])?)?),
            span: SpanId(NonZeroU64::new(span)?),
            // Of bits that have no meaning yet none is passed on (§3.2.2.5.3).
            flags: u8::try_from(hex(&known[53..])?).ok()? & (SAMPLED | RANDOM),
        })
    }
}

/// Lower case only (§3.2.2).
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Whether `tracestate` may be passed on: it is there, and all of its members are sound (§3.3.1).
#[must_use]
pub fn has_sound_state(headers: &HeaderMap) -> bool {
    let mut keys: Vec<&[u8]> = Vec::new();
    for field in headers.get_all(TRACESTATE) {
        for member in field.as_bytes().split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            // Empty members are allowed (§3.3.1.1).
            if member.is_empty() {
                continue;
            }
            let Some(key) = key_of(member) else {
                return false;
            };
            if keys.len() == MAX_MEMBERS || keys.contains(&key) {
                return false;
            }
            keys.push(key);
        }
    }
    !keys.is_empty()
}

/// The key of a member, if both of its parts are sound (§3.3.1.3).
fn key_of(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let begins = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let in_key = |byte: &u8| begins(byte) || b"_-*/@".contains(byte);
    let in_value = |byte: &u8| matches!(byte, 0x20..=0x7e) && *byte != b'=';
    let key_fits = key.first().is_some_and(begins) && key.len() <= 256 && key.iter().all(in_key);
    let value_fits = !value.is_empty() && value.len() <= 256 && value.iter().all(in_value);
    (key_fits && value_fits).then_some(key)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The field, in version 00.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, flags } = self;
        write!(f, "00-{trace}-{span}-{flags:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parsed(field: &str) -> Option<String> {
        TraceParent::parse(field.as_bytes()).map(|parent| parent.to_string())
    }

    #[test]
    fn a_sound_field_is_read_and_written_alike() {
        for field in [
            GOOD,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-03",
        ] {
            assert_eq!(parsed(field).as_deref(), Some(field));
        }
    }

    #[test]
    fn later_versions_are_read_as_this_one_and_unknown_flags_go() {
        let tail = &GOOD[2..];
        for field in [
            format!("cc{tail}"),
            format!("01{tail}-what-the-future-brings"),
            format!("{}ff", &GOOD[..53]).replace("-ff", "-fd"),
        ] {
            assert_eq!(parsed(&field).as_deref(), Some(GOOD), "{field}");
        }
    }

    #[test]
    fn whatever_is_not_as_it_should_be_is_none() {
        let zeroes = "0".repeat(32);
        for field in [
            String::new(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-more"),
            format!("{GOOD} "),
            format!("ff{}", &GOOD[2..]),
            format!("cc{}.more", &GOOD[2..]),
            GOOD.to_uppercase(),
            GOOD.replace("0af7", "0AF7"),
            GOOD.replace("0af7", "0ag7"),
            GOOD.replace('-', "_"),
            GOOD.replacen("0af7651916cd43dd8448eb211c80319c", &zeroes, 1),
            GOOD.replacen("b7ad6b7169203331", &zeroes[..16], 1),
            format!("{}0x", &GOOD[..53]),
            format!("{}.1", &GOOD[..53]),
        ] {
            assert_eq!(parsed(&field), None, "{field}");
        }
    }

    #[test]
    fn several_fields_say_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::of(&headers), None);
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert!(TraceParent::of(&headers).is_some_and(TraceParent::is_sampled));
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert_eq!(TraceParent::of(&headers), None);
    }

    #[test]
    fn a_child_is_in_the_same_trace_and_decides_for_itself() {
        let parent = TraceParent::parse(GOOD.as_bytes()).unwrap();
        let child = parent.child(false);
        assert_eq!(child.trace, parent.trace);
        assert_ne!(child.span, parent.span);
        assert!(!child.is_sampled() && parent.child(true).is_sampled());
        let begun = TraceParent::begin(true).to_string();
        assert_eq!(parsed(&begun).as_deref(), Some(&*begun));
        assert!(begun.ends_with("-03"), "{begun}");
    }

    #[test]
    fn only_a_sound_state_is_passed_on() {
        let many = |count: usize| {
            let members: Vec<_> = (0..count).map(|number| format!("k{number}=v")).collect();
            members.join(",")
        };
        let (at_most, too_many) = (many(32), many(33));
        let cases = [
            (vec!["rojo=00f067aa0ba902b7"], true),
            (vec!["rojo=1,congo=t61rcWkgMzE", "fw529a3039@dt=a b"], true),
            (vec!["a=1, ,b=2,"], true),
            (vec![&*at_most], true),
            (vec![&*too_many], false),
            (vec![""], false),
            (vec!["rojo"], false),
            (vec!["rojo="], false),
            (vec!["=1"], false),
            (vec!["Rojo=1"], false),
            (vec!["ro jo=1"], false),
            (vec!["a=1=2"], false),
            (vec!["a=1", "a=2"], false),
            (vec!["a=1,b=\u{e9}"], false),
            (vec![], false),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for field in &fields {
                headers.append(TRACESTATE, field.parse().unwrap());
            }
            assert_eq!(has_sound_state(&headers), expected, "{fields:?}");
        }
    }
}
