//! How fast a sender's requests may come on a route.
//!
//! Owns who is one sender, and what a client is told that is too fast. The buckets are in [`crate::limits`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use crate::config::model::{RequestRate, Sender};
use crate::http::problem::Quota;
use crate::limits::{Key, Pace, Rates};

/// The rule of one route, with what its senders have done so far.
#[derive(Debug)]
pub struct Rule {
    pace: Pace,
    by: Sender,
    quota: Quota,
    rates: Arc<Rates>,
}

/// A request that comes too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFast {
    /// How long until one would be taken.
    pub retry_after: Duration,
    /// What may be done in which time.
    pub quota: Quota,
}

impl Rule {
    /// What `rate` says, with the buckets that the route has had before.
    #[must_use]
    pub fn new(rate: &RequestRate, rates: Arc<Rates>) -> Self {
        let pace = Pace::new(rate.count, rate.window, rate.burst);
        Self {
            pace,
            by: rate.by.clone(),
            quota: quota(rate, pace),
            rates,
        }
    }

    /// Whether it has to be known who asks before a request is counted.
    #[must_use]
    pub fn is_by_user(&self) -> bool {
        self.by == Sender::User
    }

    /// Takes a request of `client`, or of `user` where one is known, with these fields.
    ///
    /// # Errors
    /// [`TooFast`]
    pub fn check(
        &self,
        client: IpAddr,
        user: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), TooFast> {
        let named = match &self.by {
            Sender::Client => None,
            Sender::User => user.map(|user| Key::of_name(user.as_bytes())),
            Sender::Header(name) => named(name, headers),
        };
        let sender = named.unwrap_or_else(|| Key::of_client(client));
        let taken = self.rates.take(sender, self.pace, Instant::now());
        taken.map_err(|retry_after| TooFast {
            retry_after,
            quota: self.quota,
        })
    }
}

/// What a field's lines say together, in the form of a list (RFC 9110 §5.2); `None`: there is none.
fn named(name: &HeaderName, headers: &HeaderMap) -> Option<Key> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.as_bytes();
    let Some(second) = lines.next() else {
        return Some(Key::of_name(first));
    };
    let mut whole = [first, second.as_bytes()].join(&b',');
    for line in lines {
        whole.push(b',');
        whole.extend_from_slice(line.as_bytes());
    }
    Some(Key::of_name(&whole))
}

/// What is true in the long run and at once: a burst that is larger than a window's requests is itself the quota, of the time in
/// which it is earned.
fn quota(rate: &RequestRate, pace: Pace) -> Quota {
    let seconds =
        |time: Duration| u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
    if rate.burst > rate.count {
        return Quota {
            requests: rate.burst.get(),
            seconds: seconds(pace.window()).max(1),
        };
    }
    Quota {
        requests: rate.count.get(),
        seconds: seconds(rate.window),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use http::HeaderValue;

    use super::*;

    fn rule(count: u32, seconds: u64, burst: u32, by: Sender) -> Rule {
        let [count, burst] = [count, burst].map(|number| NonZeroU32::new(number).unwrap());
        let rate = RequestRate {
            count,
            window: Duration::from_secs(seconds),
            burst,
            by,
        };
        Rule::new(&rate, Arc::default())
    }

    fn with(lines: &[&'static str]) -> HeaderMap {
        let lines = lines.iter().map(|line| {
            let name = HeaderName::from_static("x-key");
            (name, HeaderValue::from_static(line))
        });
        lines.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn senders_are_told_apart_by_what_the_route_says() {
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse().unwrap());
        let by_client = rule(1, 60, 1, Sender::Client);
        assert!(by_client.check(one, None, &with(&["a"])).is_ok());
        assert!(by_client.check(one, None, &with(&["b"])).is_err());
        assert!(by_client.check(other, None, &with(&[])).is_ok());
        let by_key = rule(1, 60, 1, Sender::Header(HeaderName::from_static("x-key")));
        for (client, key, passes) in [
            (one, &["a"][..], true),
            (other, &["a"], false),
            (one, &["b"], true),
            (one, &["a", "b"], true),
            (one, &["a,b"], false),
            (one, &["a", "b", "c"], true),
            (one, &[], true),
            (one, &[], false),
            (other, &[], true),
        ] {
            assert_eq!(
                by_key.check(client, None, &with(key)).is_ok(),
                passes,
                "{client} {key:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_is_one_sender_from_wherever_it_comes() {
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse().unwrap());
        let by_user = rule(1, 60, 1, Sender::User);
        for (client, user, passes) in [
            (one, Some("ann"), true),
            (other, Some("ann"), false),
            (one, Some("bob"), true),
            (one, None, true),
            (one, None, false),
            (other, None, true),
        ] {
            let checked = by_user.check(client, user, &with(&[]));
            assert_eq!(checked.is_ok(), passes, "{client} {user:?}");
        }
    }

    #[test]
    fn the_quota_is_what_may_be_done_in_whole_seconds() {
        for (count, seconds, burst, expected) in [
            (20, 1, 20, (20, 1)),
            (20, 1, 40, (40, 2)),
            (20, 1, 50, (50, 3)),
            (20, 1, 5, (20, 1)),
            (5, 60, 5, (5, 60)),
        ] {
            let Quota { requests, seconds } = rule(count, seconds, burst, Sender::Client).quota;
            assert_eq!((requests, seconds), expected);
        }
    }
}
