//! The words that stand for numbers which others choose: a backend's status, a peer's close code. Bounded, whatever they send.

/// Whatever is not known.
const OTHER: &str = "other";

macro_rules! words {
    ($number:expr, $($known:literal)+) => {
        match $number {
            $($known => stringify!($known),)+
            _ => OTHER,
        }
    };
}

/// A response's status; `none`: there was no response. Those that are registered (RFC 9110 §15 and others) and those in
/// wide use have their own.
pub(super) fn status(status: Option<u16>) -> &'static str {
    let Some(status) = status else {
        return "none";
    };
    words!(status,
        100 101 102 103 200 201 202 203 204 205 206 207 208 226 300 301 302 303 304 305 307 308
        400 401 402 403 404 405 406 407 408 409 410 411 412 413 414 415 416 417 418 421 422 423 424 425 426 428 429 431 451
        499 500 501 502 503 504 505 506 507 508 510 511 520 521 522 523 524 525 526 530)
}

/// A Close's code (RFC 6455 §7.4.1), with those that streamgate itself sends.
pub(super) fn close_code(code: u16) -> &'static str {
    words!(code,
        1000 1001 1002 1003 1005 1006 1007 1008 1009 1010 1011 1012 1013 1014 1015 4401)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_numbers_share_a_word() {
        assert_eq!(status(None), "none");
        assert_eq!(status(Some(204)), "204");
        assert_eq!(status(Some(299)), OTHER);
        assert_eq!(close_code(1013), "1013");
        assert_eq!(close_code(4999), OTHER);
    }
}
