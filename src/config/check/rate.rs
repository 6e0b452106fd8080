//! `rate`, `burst` and `by` of a route's `limits`, and what they need.

use std::num::NonZeroU32;

use crate::config::check::Context;
use crate::config::model::{RequestRate, Sender};
use crate::config::schema::decode::Field;
use crate::config::schema::route::{Route, RouteLimits};

pub(crate) fn check(table: &Field<RouteLimits>, context: &mut Context<'_>) -> Option<RequestRate> {
    let limits = table.value()?;
    let Some((count, window)) = limits.rate.value().and_then(|rate| rate.0) else {
        if !matches!(limits.rate, Field::Broken) {
            tell_useless(limits, context);
        }
        return None;
    };
    let burst = limits.burst.value();
    let burst = burst.and_then(|burst| u32::try_from(burst.0).ok());
    Some(RequestRate {
        count,
        window,
        burst: burst.and_then(NonZeroU32::new).unwrap_or(count),
        by: limits.by.value().cloned().unwrap_or(Sender::Client),
    })
}

/// Users are counted where it is found out who asks.
pub(crate) fn check_users(table: &Route, context: &mut Context<'_>) {
    let (true, Some(limits)) = (table.auth.is_absent(), table.limits.value()) else {
        return;
    };
    let by = limits.by.value().is_some_and(|by| *by == Sender::User);
    let streams = limits.streams_per_user.value();
    let streams = streams.is_some_and(|number| number.0 > 0);
    let keys = [
        (limits.by.key().filter(|_key| by), "by = \"user\""),
        (
            limits.streams_per_user.key().filter(|_key| streams),
            "streams_per_user",
        ),
    ];
    for (key, name) in keys {
        if let Some(key) = key {
            context
                .diagnostics
                .error(key, format!("`{name}` needs an `auth`"))
                .hint("without one nobody on this route has a name");
        }
    }
}

/// A default that is written out means nothing, and does not hurt.
fn tell_useless(limits: &RouteLimits, context: &mut Context<'_>) {
    let burst = limits.burst.value().is_some_and(|burst| burst.0 > 0);
    let by = limits.by.value().is_some_and(|by| *by != Sender::Client);
    let keys = [
        (limits.burst.key().filter(|_key| burst), "burst"),
        (limits.by.key().filter(|_key| by), "by"),
    ];
    for (key, name) in keys {
        if let Some(key) = key {
            context
                .diagnostics
                .error(key, format!("`{name}` needs a `rate`"))
                .hint("`rate = \"20/s\"` says how fast requests may come in the long run");
        }
    }
}
