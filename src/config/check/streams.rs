//! What holds for the long streams of a route.

use std::num::{NonZeroU32, NonZeroUsize};

use crate::config::check::{Context, seconds};
use crate::config::model::{EventStreams, MessageRate, StreamLimits, Timeouts, WebSocket};
use crate::config::schema::decode::Field;
use crate::config::schema::route;

/// `heartbeat`, `strict`, `timeouts.pong` and the limits of messages.
pub(crate) fn websocket(table: &route::Route, context: &mut Context<'_>) -> WebSocket {
    let usual = WebSocket::default();
    WebSocket {
        heartbeat: table.heartbeat.value().and_then(|time| time.0),
        pong: table
            .timeouts
            .get(|timeouts| &timeouts.pong)
            .map_or(usual.pong, |time| time.0),
        strict: table.strict.value().copied().unwrap_or(usual.strict),
        message_size: table
            .limits
            .get(|limits| &limits.message_size)
            .and_then(|size| size.0),
        message_rate: message_rate(table, context),
    }
}

/// `heartbeat`, `resume` and `timeouts.resume`.
pub(crate) fn event_streams(table: &route::Route) -> EventStreams {
    let resumes = table.resume.value().copied().unwrap_or_default();
    let limit = table.timeouts.get(|timeouts| &timeouts.resume);
    EventStreams {
        heartbeat: table.heartbeat.value().and_then(|time| time.0),
        resume: resumes.then(|| limit.map_or(EventStreams::RESUME, |time| time.0)),
    }
}

/// `timeouts`, but for those of a heartbeat and of a stream that is resumed.
pub(crate) fn timeouts(table: &Field<route::Timeouts>) -> Timeouts {
    Timeouts {
        response: table
            .get(|timeouts| &timeouts.response)
            .map_or(Some(seconds(60)), |time| time.0),
        upgrade: table
            .get(|timeouts| &timeouts.upgrade)
            .map_or(Some(seconds(15)), |time| time.0),
        idle: table
            .get(|timeouts| &timeouts.idle)
            .map_or(Some(seconds(60)), |time| time.0),
        stream_idle: table
            .get(|timeouts| &timeouts.stream_idle)
            .map_or(Some(seconds(3600)), |time| time.0),
        stream_max: table
            .get(|timeouts| &timeouts.stream_max)
            .and_then(|time| time.0),
    }
}

fn message_rate(table: &route::Route, context: &mut Context<'_>) -> Option<MessageRate> {
    let limits = table.limits.value()?;
    let burst = limits
        .message_burst
        .value()
        .and_then(|burst| u32::try_from(burst.0).ok())
        .and_then(NonZeroU32::new);
    let rate = limits.messages.value().and_then(|rate| rate.0);
    if rate.is_none()
        && burst.is_some()
        && !matches!(limits.messages, Field::Broken)
        && let Some(key) = limits.message_burst.key()
    {
        context
            .diagnostics
            .error(key, "`message_burst` needs a rate")
            .hint("`messages = \"50/s\"` says how fast they may come in the long run");
    }
    rate.map(|per_second| MessageRate {
        per_second,
        burst: burst.unwrap_or(per_second),
    })
}

/// `streams`, `streams_per_ip` and `streams_per_user` of `limits`.
pub(crate) fn limits(table: &Field<route::RouteLimits>) -> StreamLimits {
    let limit = |number: u64| usize::try_from(number).ok().and_then(NonZeroUsize::new);
    StreamLimits {
        total: table
            .get(|limits| &limits.streams)
            .and_then(|number| limit(number.0)),
        per_ip: table
            .get(|limits| &limits.streams_per_ip)
            .and_then(|number| limit(number.0)),
        per_user: table
            .get(|limits| &limits.streams_per_user)
            .and_then(|number| limit(number.0)),
    }
}
