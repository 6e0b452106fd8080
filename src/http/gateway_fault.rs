//! What can go wrong on the way to a backend and back, in the words of RFC 9209.
//!
//! Owns the table from a fault to its status and error type; who meets a fault decides which it is.

use http::StatusCode;

/// Why no backend gave a usable response. Each has its error type in `Proxy-Status` (RFC 9209 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GatewayFault {
    /// The backend's name was not resolved in time.
    DnsTimeout,
    /// The backend's name does not resolve.
    DnsError,
    /// There is no way to the backend's address.
    Unroutable,
    /// The backend refused the connection.
    ConnectionRefused,
    /// The connection was not made in time.
    ConnectionTimeout,
    /// The backend closed or reset the connection before its response began.
    ConnectionTerminated,
    /// The connection was silent for too long within a message.
    ConnectionReadTimeout,
    /// The backend did not take the request's bytes for too long.
    ConnectionWriteTimeout,
    /// The response did not begin in time.
    ResponseTimeout,
    /// What came is not HTTP.
    ProtocolError,
    /// The response's head or body broke off.
    ResponseIncomplete,
    /// The response's head is larger than the limit.
    ResponseHeadTooLarge,
    /// The response's transfer coding cannot be decoded.
    TransferCoding,
    /// TLS with the backend did not come about.
    TlsProtocol,
    /// The backend's certificate is not trusted.
    TlsCertificate,
    /// The backend ended TLS with an alert, as when it misses a certificate of ours.
    TlsAlert,
    /// The backend agreed to an upgrade in a way that breaks its protocol.
    UpgradeFailed,
    /// A question of ours came back to us.
    Loop,
}

/// A row of the table: status, error type, and what a client may know.
struct Row(StatusCode, &'static str, &'static str);

impl GatewayFault {
    /// 504 for what took too long, else 502 (RFC 9110 §15.6.3, §15.6.5).
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The error type of RFC 9209 §2.3, which is also the label in logs.
    #[must_use]
    pub fn error_type(self) -> &'static str {
        self.row().1
    }

    /// One sentence for the client, without names and addresses.
    #[must_use]
    pub fn detail(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> Row {
        const BAD: StatusCode = StatusCode::BAD_GATEWAY;
        const LATE: StatusCode = StatusCode::GATEWAY_TIMEOUT;
        let unreachable = "The server behind this one cannot be reached.";
        let slow = "The server behind this one did not answer in time.";
        let broken = "The server behind this one gave an invalid response.";
        match self {
            Self::DnsTimeout => Row(LATE, "dns_timeout", unreachable),
            Self::DnsError => Row(BAD, "dns_error", unreachable),
            Self::Unroutable => Row(BAD, "destination_ip_unroutable", unreachable),
            Self::ConnectionRefused => Row(BAD, "connection_refused", unreachable),
            Self::ConnectionTimeout => Row(LATE, "connection_timeout", unreachable),
            Self::ConnectionTerminated => Row(BAD, "connection_terminated", broken),
            Self::ConnectionReadTimeout => Row(LATE, "connection_read_timeout", slow),
            Self::ConnectionWriteTimeout => Row(LATE, "connection_write_timeout", slow),
            Self::ResponseTimeout => Row(LATE, "http_response_timeout", slow),
            Self::ProtocolError => Row(BAD, "http_protocol_error", broken),
            Self::ResponseIncomplete => Row(BAD, "http_response_incomplete", broken),
            Self::ResponseHeadTooLarge => Row(BAD, "http_response_header_section_size", broken),
            Self::TransferCoding => Row(BAD, "http_response_transfer_coding", broken),
            Self::TlsProtocol => Row(BAD, "tls_protocol_error", unreachable),
            Self::TlsCertificate => Row(BAD, "tls_certificate_error", unreachable),
            Self::TlsAlert => Row(BAD, "tls_alert_received", unreachable),
            Self::UpgradeFailed => Row(BAD, "http_upgrade_failed", broken),
            Self::Loop => Row(BAD, "proxy_loop_detected", broken),
        }
    }
}
