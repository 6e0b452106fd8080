//! Public keys that are somewhere else: fetched, kept, and fetched again.
//!
//! Owns when that is: from time to time, and soon when a token names a key that is not there, as it is after its maker has
//! changed keys. Invariants: keys that were there stay until others are; nothing that clients send makes it ask more than
//! once a minute; the answer has a bound, and a request that waits for it has one, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::Auth;
use crate::config::model::Remote;
use crate::credentials::jwt::{KeyError, KeySet};
use crate::http::list;
use crate::lifecycle::tasks;
use crate::respond;
use crate::upstream::fetch::{Fetch, FetchError};

/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one answer.
const MAX_BODY: usize = 256 * 1024;
/// How long a request waits for keys that may come just now.
const WAIT: Duration = Duration::from_secs(3);
/// Between two answers, whoever wants another one.
const APART: Duration = Duration::from_secs(60);
/// After a failure, while there are no keys at all; doubled each time, up to half of [`APART`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How long keys are kept where their server does not say it (`max-age`), and the bounds of what it may say.
const KEPT: Duration = Duration::from_secs(15 * 60);
const LEAST_KEPT: Duration = Duration::from_secs(5 * 60);
const MOST_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The keys at one address.
#[derive(Debug)]
pub struct Keyring {
    at: Remote,
    keys: ArcSwapOption<KeySet>,
    /// Told at each answer, also at none.
    renewed: Notify,
    /// Told by who misses a key.
    wanted: Notify,
    /// Whether it was asked for a while ago.
    may_ask: AtomicBool,
}

/// Keys, and how long they are good for.
type Answer = Result<(KeySet, Duration), KeysError>;

#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer's status is {0}")]
    Status(StatusCode),
    #[error("the answer {0}")]
    Keys(#[from] KeyError),
}

impl Keyring {
    pub(super) fn new(at: Remote) -> Self {
        Self {
            at,
            keys: ArcSwapOption::empty(),
            renewed: Notify::new(),
            wanted: Notify::new(),
            may_ask: AtomicBool::new(false),
        }
    }

    pub(super) fn is_at(&self, at: &Remote) -> bool {
        self.at == *at
    }

    /// The keys, for which it waits briefly where there are none yet. `None`: there are none.
    pub(super) async fn keys(&self) -> Option<Arc<KeySet>> {
        if let Some(keys) = self.keys.load_full() {
            return Some(keys);
        }
        self.next(|| self.keys.load_full()).await
    }

    /// Other keys than `known`, for which it waits briefly where they may be had; `None`: there are none.
    pub(super) async fn others(&self, known: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        let others = || self.keys.load_full().filter(|now| !Arc::ptr_eq(now, known));
        if let Some(keys) = others() {
            return Some(keys);
        }
        if !self.may_ask.load(Ordering::SeqCst) {
            return None;
        }
        self.next(others).await
    }

    /// What `find` finds after the next answer.
    async fn next(&self, find: impl Fn() -> Option<Arc<KeySet>>) -> Option<Arc<KeySet>> {
        let renewed = self.renewed.notified();
        tokio::pin!(renewed);
        // From here on no answer is missed.
        renewed.as_mut().enable();
        if let Some(keys) = find() {
            return Some(keys);
        }
        if self.may_ask.swap(false, Ordering::SeqCst) {
            self.wanted.notify_one();
        }
        let _late = tokio::time::timeout(WAIT, renewed).await;
        find()
    }

    /// Takes an answer. Returns how long it is good for; `None`: there was none.
    fn answered(&self, outcome: Answer, auth: &str) -> Option<Duration> {
        let good_for = match outcome {
            Ok((keys, good_for)) => {
                self.take(keys, auth);
                Some(good_for)
            }
            Err(error) => {
                let (server, cause) = (&self.at.server, respond::chain(&error));
                let has_keys = self.keys.load().is_some();
                tracing::warn!(auth, %server, has_keys, cause, "no keys for tokens were fetched");
                None
            }
        };
        self.renewed.notify_waiters();
        good_for
    }

    async fn fetch(&self) -> Answer {
        let mut fields = HeaderMap::new();
        let accepted = "application/jwk-set+json, application/json";
        fields.insert(header::ACCEPT, HeaderValue::from_static(accepted));
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let answer = Fetch {
            server: &self.at.server,
            tls: self.at.tls.as_ref(),
            path: &self.at.path,
            fields,
            timeout: TIMEOUT,
            max_body: MAX_BODY,
        };
        let answer = answer.alone().await?;
        if answer.status != StatusCode::OK {
            return Err(KeysError::Status(answer.status));
        }
        let keys = KeySet::of_jwks(&answer.body)?;
        let said = max_age(&answer.headers).unwrap_or(KEPT);
        Ok((keys, said.clamp(LEAST_KEPT, MOST_KEPT)))
    }

    /// The same keys stay the same object.
    fn take(&self, keys: KeySet, auth: &str) {
        let before = self.keys.load_full();
        if before.is_some_and(|before| *before == keys) {
            return;
        }
        tracing::info!(auth, server = %self.at.server, ?keys, "keys for tokens were fetched");
        self.keys.store(Some(Arc::new(keys)));
    }
}

/// `max-age` of a response that may be kept (RFC 9111 §5.2.2).
pub(super) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut age = None;
    for directive in list::members(headers, &header::CACHE_CONTROL) {
        let directive = std::str::from_utf8(directive).ok()?.to_ascii_lowercase();
        if matches!(directive.as_str(), "no-store" | "no-cache") {
            return None;
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            age = seconds.trim_matches('"').parse().ok();
        }
    }
    age.map(Duration::from_secs)
}

/// The keyrings that are kept up, by the thread that also reloads.
#[derive(Default)]
pub struct Keyrings(Vec<Kept>);

struct Kept {
    keyring: Arc<Keyring>,
    /// Ends with this.
    _task: AbortOnDropHandle<()>,
}

impl Keyrings {
    /// Begins and ends to ask until it is done for the keyrings of `auths`, which are all that are in force.
    ///
    /// # Panics
    /// Outside of a `LocalSet`, as [`tasks::spawn`].
    pub fn follow<'a>(&mut self, auths: impl Iterator<Item = &'a Arc<Auth>>) {
        let mut before = std::mem::take(&mut self.0);
        for auth in auths {
            let Some(keyring) = auth.keyring() else {
                continue;
            };
            let is_same = |kept: &Kept| Arc::ptr_eq(&kept.keyring, keyring);
            let kept = before.iter().position(is_same);
            self.0.push(match kept {
                Some(at) => before.swap_remove(at),
                None => {
                    let (keyring, name) = (keyring.clone(), auth.name().clone());
                    let kept = keyring.clone();
                    let task = tasks::spawn(async move {
                        keep(&kept, &name, async || kept.fetch().await).await;
                    });
                    let _task = AbortOnDropHandle::new(task);
                    Kept { keyring, _task }
                }
            });
        }
    }
}

/// Asks for ever.
async fn keep(keyring: &Keyring, auth: &str, fetch: impl AsyncFn() -> Answer) {
    let mut retry = FIRST_RETRY;
    loop {
        let good_for = keyring.answered(fetch().await, auth);
        if good_for.is_none() && keyring.keys.load().is_none() {
            tokio::time::sleep(jittered(retry)).await;
            retry = (retry * 2).min(APART / 2);
            continue;
        }
        retry = FIRST_RETRY;
        tokio::time::sleep(APART).await;
        keyring.may_ask.store(true, Ordering::SeqCst);
        let rest = good_for.unwrap_or_default().saturating_sub(APART);
        let _in_time = tokio::time::timeout(jittered(rest), keyring.wanted.notified()).await;
        keyring.may_ask.store(false, Ordering::SeqCst);
    }
}

/// Up to a tenth sooner, so that many nodes do not ask at the same time.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.9 + 0.1 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;
    use crate::net::Authority;

    fn keyring() -> Keyring {
        let server = Authority {
            host: "id".into(),
            port: 80,
        };
        Keyring::new(Remote {
            server: server.into(),
            path: "/".to_owned(),
            tls: None,
        })
    }

    /// One set for each letter.
    fn set(letter: u8) -> KeySet {
        KeySet::of_secret(&[letter; 32]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_clients_send_it_is_asked_for_once_a_minute() {
        let (keyring, asked) = (keyring(), Cell::new(0_u8));
        let fetch = async || {
            asked.set(asked.get() + 1);
            Ok((set(b'a' + asked.get()), MOST_KEPT))
        };
        let clients = async {
            let first = keyring.keys().await.unwrap();
            let begun = Instant::now();
            let mut known = first;
            while begun.elapsed() < Duration::from_secs(600) {
                if let Some(others) = keyring.others(&known).await {
                    assert!(!Arc::ptr_eq(&others, &known));
                    known = others;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = keep(&keyring, "users", fetch) => {}
            () = clients => {}
        }
        assert!((9..=11).contains(&asked.get()), "{}", asked.get());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_stay_until_there_are_others() {
        let (keyring, asked) = (keyring(), Cell::new(0_u8));
        let fetch = async || {
            asked.set(asked.get() + 1);
            match asked.get() {
                3 => Ok((set(b'x'), LEAST_KEPT)),
                7 => Ok((set(b'y'), LEAST_KEPT)),
                _ => Err(KeysError::Status(StatusCode::BAD_GATEWAY)),
            }
        };
        let client = async {
            // One second, and two more: nobody waits as long as that.
            assert!(keyring.keys().await.is_none() || asked.get() == 3);
            let first = loop {
                if let Some(keys) = keyring.keys().await {
                    break keys;
                }
            };
            assert_eq!(*first, set(b'x'));
            while asked.get() < 7 {
                assert_eq!(*keyring.keys().await.unwrap(), set(b'x'));
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            assert_eq!(*keyring.keys().await.unwrap(), set(b'y'));
        };
        tokio::select! {
            () = keep(&keyring, "users", fetch) => {}
            () = client => {}
        }
    }

    #[test]
    fn an_age_is_what_may_be_kept() {
        for (line, seconds) in [
            ("max-age=300", Some(300)),
            ("public, Max-Age=\"7\", must-revalidate", Some(7)),
            ("no-store, max-age=300", None),
            ("no-cache", None),
            ("max-age=-1", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, line.parse().unwrap());
            assert_eq!(
                max_age(&headers),
                seconds.map(Duration::from_secs),
                "{line}"
            );
        }
    }
}
