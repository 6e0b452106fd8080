//! What is wrong with a request that is not passed on.

use thiserror::Error;

use crate::http::host::HostError;
use crate::http::problem::Problem;

/// Why a request's head is refused. The answer is 400 or 431, and the connection is closed: where the next request
/// would begin is not known any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// A line that ends with LF alone, or an LF in mid-line (RFC 9112 §2.2 lets a recipient take it; we do not).
    #[error("a line ends without CR")]
    BareLf,
    /// CR that no LF follows (RFC 9112 §2.2).
    #[error("a CR stands in mid-line")]
    BareCr,
    /// NUL or another control character (RFC 9110 §5.5).
    #[error("a line has a control character in it")]
    Control,
    /// Not `METHOD SP TARGET SP HTTP/1.x` (RFC 9112 §3), or more than one empty line before it.
    #[error("the request line is malformed")]
    RequestLine,
    /// Neither `HTTP/1.1` nor `HTTP/1.0`, letter for letter (RFC 9112 §2.3).
    #[error("the protocol version is not one of HTTP/1")]
    Version,
    /// None of the forms of RFC 9112 §3.2 that this server takes, or bytes that no URI has.
    #[error("the request target is malformed")]
    Target,
    /// This is no forward proxy.
    #[error("CONNECT is not supported")]
    Connect,
    /// A line that begins with white space: a folded value, or one for lack of a field before it (RFC 9112 §5.2).
    #[error("a field line begins with white space")]
    Folded,
    /// A field line without a colon.
    #[error("a field line has no colon")]
    NoColon,
    /// White space before the colon (RFC 9112 §5.1).
    #[error("white space stands before a colon")]
    SpaceBeforeColon,
    /// A name that is empty or no token (RFC 9110 §5.1).
    #[error("a field name is not a token")]
    Name,
    /// A field that frames or routes has bytes beyond ASCII.
    #[error("a field that frames or routes the request has unsafe bytes")]
    UnsafeValue,
    /// A second `Content-Length`, or one that is not a plain number (RFC 9110 §8.6).
    #[error("Content-Length is not a single number")]
    ContentLength,
    /// Anything but exactly one `chunked`, or any coding before HTTP/1.1 (RFC 9112 §6.1).
    #[error("Transfer-Encoding is something other than a single `chunked`")]
    TransferEncoding,
    /// Two ways to say how long the body is (RFC 9112 §6.3).
    #[error("the request has both Transfer-Encoding and Content-Length")]
    TwoFramings,
    /// An upgrade to `h2c` (RFC 9113 §3.1 made it obsolete).
    #[error("an upgrade to `h2c` is not supported")]
    UpgradeH2c,
    /// No host, two of them, or one that differs from the target (RFC 9112 §3.2).
    #[error(transparent)]
    Host(#[from] HostError),
    /// More bytes than a head may have.
    #[error("the head is too long")]
    TooLong,
    /// More fields than a head may have.
    #[error("the head has too many fields")]
    TooMany,
}

impl Fault {
    /// What the client is told.
    #[must_use]
    pub fn problem(self) -> Problem {
        let sentence = match self {
            Self::TooLong | Self::TooMany => return Problem::HeaderTooLarge,
            Self::BareLf | Self::BareCr | Self::Control => {
                "The request has a line end or a control character where none may be."
            }
            Self::RequestLine => "The request line is malformed.",
            Self::Version => "The request's protocol version is not HTTP/1.1 or HTTP/1.0.",
            Self::Target => "The request's target is malformed.",
            Self::Connect => "CONNECT is not supported.",
            Self::Folded | Self::NoColon | Self::SpaceBeforeColon | Self::Name => {
                "The request has a malformed header field."
            }
            Self::UnsafeValue => "A header field has bytes that are not allowed in it.",
            Self::ContentLength | Self::TransferEncoding | Self::TwoFramings => {
                "The length of the request's body is ambiguous."
            }
            Self::UpgradeH2c => "An upgrade to h2c is not supported.",
            Self::Host(_) => "The request's host is missing, ambiguous or not a host.",
        };
        Problem::BadRequest(sentence)
    }
}
