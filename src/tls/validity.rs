//! Until when a certificate is valid (RFC 5280 §4.1.2.5), read out of its DER.
//!
//! No judgement: whether a certificate can be used is seen elsewhere. Only the few fields in front of the dates are walked
//! over, and none of them is copied.

use super::der::{GENERALIZED_TIME, SEQUENCE, UTC_TIME, behind_issuer, element, expect};

/// The end of a certificate's validity in seconds since 1970; `None`: this is no certificate.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (_not_before, _, rest) = element(validity(certificate)?)?;
    let (tag, time, _) = element(rest)?;
    moment(tag, time)
}

/// Its begin.
pub(super) fn not_before(certificate: &[u8]) -> Option<i64> {
    let (tag, time, _) = element(validity(certificate)?)?;
    moment(tag, time)
}

fn validity(certificate: &[u8]) -> Option<&[u8]> {
    let fields = behind_issuer(certificate)?;
    let (validity, _) = expect(SEQUENCE, fields)?;
    Some(validity)
}

fn moment(tag: u8, time: &[u8]) -> Option<i64> {
    let (century, time) = match tag {
        // Two digits of the year: 1950 to 2049.
        UTC_TIME => (if *time.first()? >= b'5' { 1900 } else { 2000 }, time),
        GENERALIZED_TIME => (i64::from(digits(time.get(..2)?)?) * 100, time.get(2..)?),
        _ => return None,
    };
    seconds(century, time)
}

/// `YYMMDDHHMMSSZ`, the only form that certificates have.
fn seconds(century: i64, time: &[u8]) -> Option<i64> {
    let (time, zone) = time.split_at_checked(12)?;
    if zone != b"Z" {
        return None;
    }
    let mut pairs = time.chunks(2).map(digits);
    let mut next = || pairs.next()?.map(i64::from);
    let (year, month, day) = (century + next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970 in the Gregorian calendar. Years begin in March here, so that the leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn digits(two: &[u8]) -> Option<u8> {
    let [tens, ones] = two else {
        return None;
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    Some(digit(*tens)? * 10 + digit(*ones)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_is_read_in_both_forms() {
        for (date, expected) in [
            ((1999, 12, 31), 946_598_400),
            ((2024, 2, 29), 1_709_164_800),
            ((2049, 12, 31), 2_524_521_600),
            ((2050, 1, 1), 2_524_608_000),
            ((2400, 3, 1), 13_574_649_600),
        ] {
            let (year, month, day) = date;
            let read = not_after(&certificate(year, month, day));
            assert_eq!(read, Some(expected), "{date:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_certificate_has_no_end() {
        let whole = certificate(2030, 1, 1);
        for end in 0..whole.len() {
            assert_eq!(not_after(&whole[..end]), None);
        }
        assert_eq!(not_after(b"\x30\x84\xff\xff\xff\xff"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = not_after(&bytes);
        }
    }
}
