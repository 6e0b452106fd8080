//! `[upstream.NAME]`: who gets a request, and who gets none for a while.

use std::ops::RangeInclusive;

use crate::config::check::{Context, seconds, secret};
use crate::config::model::{Balance, Cookie, Health, Passive, SameSite, Secret};
use crate::config::schema::balance::{self, Policy, is_token};
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::feed;
use crate::config::schema::scalar::Integer;
use crate::config::schema::table::Table;
use crate::config::schema::upstream::Upstream;

/// Bytes of a cookie's secret at least: what 128 random bits take as they are.
const MIN_SECRET: usize = 16;

/// The policy, with what it needs.
pub(crate) fn balance(name: &str, table: &Upstream, context: &mut Context<'_>) -> Balance {
    let policy = table.balance.map_or(Policy::RoundRobin, |word| word.0);
    let cookie = cookie(name, &table.cookie, context);
    let known = !matches!(table.balance, Field::Broken);
    let useless = table.cookie.key();
    if let Some(key) = useless.filter(|_| known && policy != Policy::Cookie) {
        let finding = context
            .diagnostics
            .error(key, "`cookie` is for an upstream that balances by it");
        finding.hint("`balance = \"cookie\"` does");
    }
    match policy {
        Policy::RoundRobin => Balance::RoundRobin,
        Policy::LeastConnections => Balance::LeastConnections,
        Policy::RandomTwo => Balance::RandomTwo,
        Policy::IpHash => Balance::IpHash,
        Policy::Cookie => Balance::Cookie(cookie),
    }
}

fn cookie(upstream: &str, table: &Field<balance::Cookie>, context: &mut Context<'_>) -> Cookie {
    let name = table
        .get(|cookie| &cookie.name)
        .map_or_else(|| default_name(upstream), |name| name.0.clone());
    let secret = table
        .value()
        .and_then(|cookie| cookie.secret.located())
        .and_then(|located| cookie_secret(located, context));
    Cookie {
        name: name.into(),
        secret,
        max_age: table.get(|cookie| &cookie.max_age).and_then(|time| time.0),
        same_site: table
            .get(|cookie| &cookie.same_site)
            .map_or(SameSite::Lax, |word| word.0),
    }
}

/// An upstream may be called anything; a cookie may not.
fn default_name(upstream: &str) -> String {
    let token = |c: char| u8::try_from(c).is_ok_and(is_token);
    let name = upstream.chars().map(|c| if token(c) { c } else { '_' });
    "streamgate_".chars().chain(name).collect()
}

fn cookie_secret(located: &Located<feed::Secret>, context: &mut Context<'_>) -> Option<Secret> {
    let text = secret::resolve(located, context)?;
    if text.len() < MIN_SECRET {
        let message = format!("the secret is shorter than {MIN_SECRET} bytes");
        let finding = context.diagnostics.error(located.place, message);
        finding.hint("`openssl rand -hex 32` makes one");
    }
    Some(Secret::new(&text))
}

/// The active check; `None`: there is none.
pub(crate) fn health(table: &Field<balance::Health>, context: &mut Context<'_>) -> Option<Health> {
    let given = table.value()?;
    if given.path.is_absent() && !given.has_unknown_key() {
        let finding = context
            .diagnostics
            .error(given.place(), "`health` has no `path`");
        finding.hint("`health = { path = \"/healthz\" }`");
    }
    let status = given.status.located();
    if let Some(list) = status.filter(|list| list.value.0.is_empty()) {
        let message = "`status` is empty: no answer would be a success";
        context.diagnostics.error(list.place, message);
    }
    Some(Health {
        path: given.path.value().map_or("/", |path| &path.0).into(),
        interval: given.interval.map_or(seconds(5), |time| time.0),
        timeout: given.timeout.map_or(seconds(2), |time| time.0),
        rise: count(&given.rise, 2),
        fall: count(&given.fall, 3),
        status: status.map_or_else(
            || vec![200..=399],
            |list| merged(list.value.0.iter().map(|range| range.value.0.clone())),
        ),
        host: given.host.value().map(|host| host.0.as_str().into()),
    })
}

/// The same statuses in as few ranges as there can be, in order.
fn merged(ranges: impl Iterator<Item = RangeInclusive<u16>>) -> Vec<RangeInclusive<u16>> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end() + 1 => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// The passive check; `None`: there is none.
pub(crate) fn passive(table: &Field<balance::Passive>) -> Option<Passive> {
    table.value().map(|passive| Passive {
        failures: count(&passive.failures, 5),
        window: passive.window.map_or(seconds(10), |time| time.0),
        eject: passive.eject.map_or(seconds(10), |time| time.0),
    })
}

/// A count that the schema bounds far below 32 bits.
fn count<const MIN: u64, const MAX: u64>(field: &Field<Integer<MIN, MAX>>, default: u32) -> u32 {
    field.map_or(default, |count| u32::try_from(count.0).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_merged() {
        let ranges = [500..=500, 200..=299, 300..=399, 250..=260];
        assert_eq!(merged(ranges.into_iter()), [200..=399, 500..=500]);
    }
}
