//! From what went wrong on the way to a server to what the client is told. The log is told the cause.

use std::time::Duration;

use super::crowd;
use crate::forward::{BodyFault, ForwardError};
use crate::http::problem::{GatewayFault, Problem};
use crate::observe::access::RequestId;
use crate::observe::metrics;
use crate::respond;
use crate::snapshot::Route;
use crate::tls;
use crate::tls::client::ServerHandshakeError;
use crate::upstream::Unavailable;
use crate::upstream::connect::ConnectError;
use crate::upstream::http1::ExchangeError;
use crate::websocket::handshake::HandshakeFault;

/// The response to it; the log is told the cause.
pub(super) fn explain(error: &ForwardError, id: &RequestId, route: &Route) -> Problem {
    if let ForwardError::Streams(full) = error {
        metrics::stream_refused(&route.name, (*full).into());
    }
    let problem = problem(error);
    let cause = respond::chain(error);
    if problem.status().is_server_error() {
        tracing::warn!(%id, route = &*route.name, error = problem.label(), cause, "no response from upstream");
        return problem;
    }
    tracing::debug!(%id, route = &*route.name, error = problem.label(), cause, "request refused");
    problem
}

fn problem(error: &ForwardError) -> Problem {
    Problem::Gateway(match error {
        ForwardError::Unavailable(unavailable) => return busy(*unavailable),
        ForwardError::Streams(full) => return crowd::full(*full, Duration::from_secs(5)),
        ForwardError::Connect(ConnectError::Resolve { .. }) => GatewayFault::DnsError,
        ForwardError::Connect(ConnectError::Refused { .. }) => GatewayFault::ConnectionRefused,
        ForwardError::Connect(ConnectError::TimedOut { .. }) => GatewayFault::ConnectionTimeout,
        ForwardError::Connect(ConnectError::Tls { source, .. }) => match source {
            ServerHandshakeError::Certificate(_) => GatewayFault::TlsCertificate,
            ServerHandshakeError::Alert(_) => GatewayFault::TlsAlert,
            ServerHandshakeError::Failed(_) => GatewayFault::TlsProtocol,
        },
        ForwardError::Connect(ConnectError::Http2 { .. }) => GatewayFault::ProtocolError,
        ForwardError::Exchange { source, .. } => match source {
            ExchangeError::Broken { source, .. } if tls::client::alert(source).is_some() => {
                GatewayFault::TlsAlert
            }
            ExchangeError::Broken { answered, .. } | ExchangeError::Closed { answered } => {
                if *answered {
                    GatewayFault::ResponseIncomplete
                } else {
                    GatewayFault::ConnectionTerminated
                }
            }
            ExchangeError::Refused(_) | ExchangeError::Reset(_) => {
                GatewayFault::ConnectionTerminated
            }
            ExchangeError::Http2(_)
            | ExchangeError::Http1Required(_)
            | ExchangeError::BadHead(_)
            | ExchangeError::TooManyInterim => GatewayFault::ProtocolError,
            ExchangeError::HeadTooLarge => GatewayFault::ResponseHeadTooLarge,
            ExchangeError::TimedOut(_) => GatewayFault::ResponseTimeout,
            ExchangeError::NotTaken(_) => GatewayFault::ConnectionWriteTimeout,
            ExchangeError::Stalled(_) => return Problem::RequestTimeout,
            ExchangeError::Client(_) | ExchangeError::BodyTooShort => {
                return Problem::BadRequest("The request's body broke off.");
            }
        },
        ForwardError::Body(BodyFault::BrokeOff) => {
            return Problem::BadRequest("The request's body broke off.");
        }
        ForwardError::Body(BodyFault::TooLarge { limit }) => {
            return Problem::ContentTooLarge { limit: *limit };
        }
        ForwardError::Body(BodyFault::TooSlow { .. }) => return Problem::RequestTimeout,
        ForwardError::Handshake(HandshakeFault::Version) => return Problem::UpgradeRequired,
        ForwardError::Handshake(_) => {
            return Problem::BadRequest("The WebSocket handshake is not a valid one.");
        }
        ForwardError::Upgrade { .. } | ForwardError::UnaskedUpgrade { .. } => {
            GatewayFault::UpgradeFailed
        }
    })
}

fn busy(unavailable: Unavailable) -> Problem {
    match unavailable {
        Unavailable::Unhealthy { retry_after } => Problem::Unavailable {
            retry_after,
            reason: "No server behind this one is healthy.",
        },
        Unavailable::Full { retry_after } => Problem::Unavailable {
            retry_after,
            reason: "The servers behind this one are busy.",
        },
    }
}
