//! Close codes (RFC 6455 §7.4) and what each means when streamgate sends it.

use tungstenite::protocol::frame::coding::CloseCode as FrameCode;

/// Why streamgate ends a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// All that was to be said was said: the feed ended for good.
    Normal = 1000,
    /// streamgate drains; the client may come back at once, elsewhere or here.
    GoingAway = 1001,
    /// A frame broke RFC 6455.
    Protocol = 1002,
    /// A text message was not UTF-8 (RFC 6455 §8.1).
    InvalidText = 1007,
    /// The peer sends faster than it may, or something it may not.
    Policy = 1008,
    /// A message is longer than the limit.
    TooBig = 1009,
    /// A fault of streamgate.
    Internal = 1011,
    /// streamgate restarts; come back after a random wait.
    Restart = 1012,
    /// The backend is lost, or the client is too slow; try again later.
    TryAgainLater = 1013,
    /// The token with which the client came has expired; come back with a new one.
    TokenExpired = 4401,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// A few words for the Close frame, far below its 123 bytes (RFC 6455 §5.5).
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::GoingAway => "going away",
            Self::Protocol => "protocol error",
            Self::InvalidText => "text is not UTF-8",
            Self::Policy => "policy violation",
            Self::TooBig => "message too big",
            Self::Internal => "internal error",
            Self::Restart => "restart",
            Self::TryAgainLater => "try again later",
            Self::TokenExpired => "token expired",
        }
    }
}

impl From<CloseCode> for FrameCode {
    fn from(code: CloseCode) -> Self {
        Self::from(code.code())
    }
}

/// The reason where the operator has ended a WebSocket, with [`CloseCode::GoingAway`].
pub const BY_OPERATOR: &str = "closed by the operator";

/// What stands for the code of a Close that has none. It is never sent (RFC 6455 §7.1.5).
pub const NO_CODE: u16 = 1005;

/// Whether a code may stand in a Close frame: 1004, 1005, 1006 and 1015 may not, and neither may what nobody has
/// defined (RFC 6455 §7.4).
#[must_use]
pub const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::{CloseCode, FrameCode, may_be_sent};

    #[test]
    fn own_codes_may_be_sent_and_keep_their_number() {
        for code in [
            CloseCode::Normal,
            CloseCode::GoingAway,
            CloseCode::Protocol,
            CloseCode::InvalidText,
            CloseCode::Policy,
            CloseCode::TooBig,
            CloseCode::Internal,
            CloseCode::Restart,
            CloseCode::TryAgainLater,
            CloseCode::TokenExpired,
        ] {
            assert!(may_be_sent(code.code()));
            assert_eq!(u16::from(FrameCode::from(code)), code.code());
            assert!(code.reason().len() <= 123);
        }
    }

    #[test]
    fn reserved_codes_may_not_be_sent() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            assert!(!may_be_sent(code), "{code}");
        }
    }
}
