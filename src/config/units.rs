//! Durations, sizes and rates as they are written: `"250ms"`, `"10s"`, `"1m30s"`, `"64KiB"`, `"50/s"`.
//!
//! A unit is never guessed: a bare number is refused, but for `"0"`. Sizes have binary units only, so that no one has to
//! ask whether a `KB` has 1000 bytes. The bounds of a key are part of its type and are checked here.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::schema::scalar::{Refusal, Scalar};

/// A duration between `MIN` and `MAX` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period<const MIN: u64, const MAX: u64>(pub(crate) Duration);

/// A time limit: `"0"` for none, else between `MIN` and `MAX` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeLimit<const MIN: u64, const MAX: u64>(pub(crate) Option<Duration>);

/// A size between `MIN` and `MAX` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size<const MIN: u64, const MAX: u64>(pub(crate) u64);

/// A limit of a size: `"0"` for none, else up to `MAX` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SizeLimit<const MAX: u64>(pub(crate) Option<u64>);

/// A limit of a rate: `"0"` for none, else `"N/s"`, up to `MAX` a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimit<const MAX: u32>(pub(crate) Option<NonZeroU32>);

/// Milliseconds in a second, minute, hour and day, for the bounds in the schema.
pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// Bytes in the units of a size, for the bounds in the schema.
pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
pub(crate) const GIB: u64 = 1024 * MIB;
pub(crate) const TIB: u64 = 1024 * GIB;

/// A unit's name and how many of the smallest unit it has.
type Unit = (&'static str, u64);

const DURATIONS: &[Unit] = &[
    ("d", DAY),
    ("h", HOUR),
    ("m", MINUTE),
    ("s", SECOND),
    ("ms", 1),
];
const SIZES: &[Unit] = &[
    ("TiB", TIB),
    ("GiB", GIB),
    ("MiB", MIB),
    ("KiB", KIB),
    ("B", 1),
];

const EXPECTED_DURATION: &str = "a duration such as \"10s\"";
const EXPECTED_SIZE: &str = "a size such as \"64KiB\"";

const NOT_GROUPS: &str = "it must be whole numbers with units, without signs, points and spaces";
const TOO_LARGE: &str = "it is too large";

impl<const MIN: u64, const MAX: u64> Scalar for Period<MIN, MAX> {
    const EXPECTED: &'static str = EXPECTED_DURATION;

    fn parse(text: &str) -> Result<Self, Refusal> {
        let found = milliseconds(text)?;
        if (MIN..=MAX).contains(&found) {
            return Ok(Self(Duration::from_millis(found)));
        }
        Err(Refusal::bounds(format!(
            "{} to {}",
            Shown(MIN, DURATIONS),
            Shown(MAX, DURATIONS)
        )))
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for TimeLimit<MIN, MAX> {
    const EXPECTED: &'static str = EXPECTED_DURATION;

    fn parse(text: &str) -> Result<Self, Refusal> {
        let found = milliseconds(text)?;
        if found == 0 {
            return Ok(Self(None));
        }
        if (MIN..=MAX).contains(&found) {
            return Ok(Self(Some(Duration::from_millis(found))));
        }
        let (min, max) = (Shown(MIN, DURATIONS), Shown(MAX, DURATIONS));
        Err(Refusal::bounds(format!("0 (none), or {min} to {max}")))
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Size<MIN, MAX> {
    const EXPECTED: &'static str = EXPECTED_SIZE;

    fn parse(text: &str) -> Result<Self, Refusal> {
        let found = bytes(text)?;
        if (MIN..=MAX).contains(&found) {
            return Ok(Self(found));
        }
        Err(Refusal::bounds(format!(
            "{} to {}",
            Shown(MIN, SIZES),
            Shown(MAX, SIZES)
        )))
    }
}

impl<const MAX: u64> Scalar for SizeLimit<MAX> {
    const EXPECTED: &'static str = EXPECTED_SIZE;

    fn parse(text: &str) -> Result<Self, Refusal> {
        match bytes(text)? {
            0 => Ok(Self(None)),
            found if found <= MAX => Ok(Self(Some(found))),
            _ => Err(Refusal::bounds(format!(
                "0 (none) to {}",
                Shown(MAX, SIZES)
            ))),
        }
    }
}

impl<const MAX: u32> Scalar for RateLimit<MAX> {
    const EXPECTED: &'static str = "a rate such as \"50/s\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let number = match text {
            "0" => text,
            _ => text
                .strip_suffix("/s")
                .ok_or_else(|| Refusal::malformed("it must be a whole number a second, \"N/s\""))?,
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::malformed(
                "it must be a whole number a second, \"N/s\"",
            ));
        }
        match number.parse() {
            Ok(found) if found <= MAX => Ok(Self(NonZeroU32::new(found))),
            _ => Err(Refusal::bounds(format!("0 (none) to {MAX}/s"))),
        }
    }
}

/// A duration as it is written everywhere: `250ms`, `1m30s`, `0`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    milliseconds(text).ok().map(Duration::from_millis)
}

fn milliseconds(text: &str) -> Result<u64, Refusal> {
    sum(text, DURATIONS, "s")
}

fn bytes(text: &str) -> Result<u64, Refusal> {
    sum(text, SIZES, "KiB")
}

/// Adds up groups of a number and a unit: `1m30s`.
fn sum(text: &str, units: &[Unit], example: &str) -> Result<u64, Refusal> {
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let number = number.parse::<u64>().map_err(|_| not_a_number(number))?;
        let scale = scale(number, unit, after, units, example)?;
        let part = number
            .checked_mul(scale)
            .ok_or_else(|| Refusal::malformed(TOO_LARGE))?;
        total = total
            .checked_add(part)
            .ok_or_else(|| Refusal::malformed(TOO_LARGE))?;
        rest = after;
    }
    if text.is_empty() {
        return Err(Refusal::malformed("it is empty"));
    }
    Ok(total)
}

fn not_a_number(found: &str) -> Refusal {
    if found.is_empty() {
        return Refusal::malformed(NOT_GROUPS);
    }
    Refusal::malformed(TOO_LARGE)
}

fn scale(
    number: u64,
    unit: &str,
    rest: &str,
    units: &[Unit],
    example: &str,
) -> Result<u64, Refusal> {
    if let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) {
        return Ok(*scale);
    }
    let names: Vec<&str> = units.iter().rev().map(|(name, _)| *name).collect();
    let all = names.join(", ");
    if unit.is_empty() && rest.is_empty() {
        let hint = format!("write \"{number}{example}\"; the units are {all}");
        return Err(Refusal::malformed("it has no unit").with_hint(hint));
    }
    let why = if unit.is_empty() {
        NOT_GROUPS
    } else {
        "its unit is not known"
    };
    Err(Refusal::malformed(why).with_hint(format!("the units are {all}")))
}

/// A bound in the largest units that give whole numbers.
struct Shown(u64, &'static [Unit]);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self
            .1
            .iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale))
        {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => f.write_str("0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_summed() {
        let table = [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2d", 2 * DAY),
        ];
        for (text, expected) in table {
            assert_eq!(milliseconds(text).ok(), Some(expected), "{text}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, expected) in [
            ("0", 0),
            ("512B", 512),
            ("64KiB", 65536),
            ("8MiB", 8 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(bytes(text).ok(), Some(expected), "{text}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        let wrong = [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "10 s",
            "10s ",
            "10sec",
            "1KB",
            "10S",
            "99999999999999999999s",
            "é",
        ];
        for text in wrong {
            assert!(milliseconds(text).is_err(), "{text}");
            assert!(bytes(text).is_err(), "{text}");
        }
        assert!(milliseconds("18446744073709551615d").is_err());
    }

    #[test]
    fn bounds_belong_to_the_type() {
        type Short = Period<100, { 5 * MINUTE }>;
        assert_eq!(Short::parse("5m"), Ok(Period(Duration::from_secs(300))));
        assert_eq!(Short::parse("6m"), Err(Refusal::bounds("100ms to 5m")));
        assert_eq!(Short::parse("0"), Err(Refusal::bounds("100ms to 5m")));
        type Idle = TimeLimit<SECOND, DAY>;
        assert_eq!(Idle::parse("0"), Ok(TimeLimit(None)));
        assert_eq!(
            Idle::parse("5ms"),
            Err(Refusal::bounds("0 (none), or 1s to 1d"))
        );
        assert_eq!(
            SizeLimit::<MIB>::parse("2MiB"),
            Err(Refusal::bounds("0 (none) to 1MiB"))
        );
        assert_eq!(
            Size::<1, GIB>::parse("0"),
            Err(Refusal::bounds("1B to 1GiB"))
        );
    }

    #[test]
    fn rates_are_a_second() {
        type Rate = RateLimit<1000>;
        assert_eq!(Rate::parse("0"), Ok(RateLimit(None)));
        assert_eq!(Rate::parse("0/s"), Ok(RateLimit(None)));
        assert_eq!(Rate::parse("50/s"), Ok(RateLimit(NonZeroU32::new(50))));
        assert_eq!(
            Rate::parse("1001/s"),
            Err(Refusal::bounds("0 (none) to 1000/s"))
        );
        for text in ["", "50", "/s", "50/m", "-1/s", "1.5/s", "+5/s", "5 /s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = (milliseconds(&text), bytes(&text));
        }

        #[test]
        fn what_is_shown_is_read_back(value in 0..10 * DAY) {
            proptest::prop_assert_eq!(milliseconds(&Shown(value, DURATIONS).to_string()).ok(), Some(value));
        }
    }
}
