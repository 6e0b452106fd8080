//! Verifying names and passwords, which is slow on purpose.
//!
//! Owns that it does not hold a worker up: hashes are worked on by other threads, few at a time and few of one client, and what
//! was right is remembered for ten minutes. Invariants: no password and no hash is remembered, only a keyed hash
//! of both; a name that nobody has takes as long as a wrong password of the first user's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Known, Refusal};
use crate::credentials::User;
use crate::credentials::password::PasswordHash;
use crate::credentials::users::Users;
use crate::limits::{Crowd, Key};

/// Hashes that are worked on at the same time, in the process: each takes a core for a while, and memory.
static AT_WORK: Semaphore = Semaphore::const_new(2);
/// The same for those whose streams live: a crowd that signs in must not keep anybody in who is not let in any more.
static AT_WORK_AGAIN: Semaphore = Semaphore::const_new(1);
/// Who waits for a turn or has one. First come, first served: without this one client would have all turns.
static WAITING: LazyLock<Crowd> = LazyLock::new(Crowd::default);
/// How many of one client. A browser that comes back asks by six connections at once.
const MAX_OF_CLIENT: Option<NonZeroUsize> = NonZeroUsize::new(8);
/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(5);
/// How long a right password is remembered, from its last use. A user who is gone, or has another one, is not waited for:
/// what is remembered is of the hash that stands in the configuration.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How many of them.
const MAX_REMEMBERED: usize = 4096;
/// The longest credentials, in bytes, as they are sent.
const MAX_SENT: usize = 2048;

/// A keyed hash of a name, a password and the hash that it was verified by: with another hash it is another one.
type Mark = [u8; 32];

/// What was right, until when that is remembered. Of all workers: who is known to one must not wait behind a crowd at another.
static RIGHT: LazyLock<Mutex<HashMap<Mark, Instant>>> = LazyLock::new(Mutex::default);

/// Whom a password is verified for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A request from there.
    Request(IpAddr),
    /// A stream that lives, and whose user's name is no secret.
    Stream,
}

/// Who `sent`, the credentials of `Authorization: Basic` (RFC 7617 §2), is.
///
/// # Errors
/// [`Refusal::Password`], [`Refusal::Busy`].
pub(super) async fn verify(users: &Users, sent: &str, asker: Asker) -> Result<Known, Refusal> {
    let (name, password) = read(sent).ok_or(Refusal::Password)?;
    let (hash, is_known) = match users.find(&name) {
        Some(hash) => (hash, true),
        None if asker == Asker::Stream => return Err(Refusal::Password),
        None => (users.any().ok_or(Refusal::Password)?, false),
    };
    let mark = mark(&name, &password, hash);
    let now = Instant::now();
    let is_remembered = right().get(&mark).is_some_and(|until| now < *until);
    let is_right = is_remembered || work(asker, hash.clone(), password).await?;
    if !is_right || !is_known {
        return Err(Refusal::Password);
    }
    remember(mark, now);
    let user = User::new(&name, None).ok_or(Refusal::Password)?;
    Ok(Known {
        user: Some(user.name),
        expires: None,
        fields: Vec::new(),
        pass: None,
    })
}

fn read(sent: &str) -> Option<(String, String)> {
    if sent.len() > MAX_SENT {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(sent).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Verifies on another thread.
async fn work(asker: Asker, hash: PasswordHash, password: String) -> Result<bool, Refusal> {
    let (turns, place) = match asker {
        Asker::Request(client) => {
            let place = WAITING.enter(Key::of_client(client), MAX_OF_CLIENT);
            (&AT_WORK, Some(place.ok_or(Refusal::Busy)?))
        }
        Asker::Stream => (&AT_WORK_AGAIN, None),
    };
    let turn = tokio::time::timeout(WAIT, turns.acquire()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Refusal::Busy);
    };
    // Should the client leave, the turn is over with the work all the same.
    let verified = tokio::task::spawn_blocking(move || {
        let (_turn, _place) = (turn, place);
        hash.verify(password.as_bytes())
    });
    Ok(verified.await.unwrap_or(false))
}

fn right() -> MutexGuard<'static, HashMap<Mark, Instant>> {
    RIGHT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mark(name: &str, password: &str, hash: &PasswordHash) -> Mark {
    static KEY: OnceLock<hmac::Key> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut bits = [0; 32];
        aws_lc_rs::rand::fill(&mut bits)
            .expect("aws-lc ends the process when there is no randomness");
        hmac::Key::new(hmac::HMAC_SHA256, &bits)
    });
    let mut context = hmac::Context::with_key(key);
    for part in [name.as_bytes(), password.as_bytes(), hash.as_bytes()] {
        // With its length: the border between two parts is a part of what is hashed.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let tag = context.sign();
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn remember(mark: Mark, now: Instant) {
    let mut right = right();
    if right.len() >= MAX_REMEMBERED {
        right.retain(|_mark, until| now < *until);
    }
    if right.len() >= MAX_REMEMBERED {
        right.clear();
    }
    right.insert(mark, now + REMEMBERED);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Users {
        let mut users = Users::default();
        let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        users.add("ann", hash).unwrap();
        users
    }

    #[tokio::test]
    async fn a_crowd_that_signs_in_does_not_keep_in_who_is_not_let_in_any_more() {
        let _crowd = AT_WORK.acquire_many(2).await.unwrap();
        for (who, is_in) in [
            ("ann:Hello world!", true),
            ("ann:the one before", false),
            ("gone:Hello world!", false),
        ] {
            let again = verify(&ann(), &STANDARD.encode(who), Asker::Stream).await;
            match again {
                Ok(_) => assert!(is_in, "{who}"),
                Err(refusal) => {
                    assert!(!is_in && !refusal.is_passing(), "{who}: {refusal}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_does_not_fill_the_queue() {
        let _crowd = AT_WORK.acquire_many(2).await.unwrap();
        let client = |last| IpAddr::from([192, 0, 2, last]);
        let key = Key::of_client(client(1));
        let _places: Vec<_> = (0..8)
            .map(|_| WAITING.enter(key, MAX_OF_CLIENT).unwrap())
            .collect();
        let begun = Instant::now();
        let sent = STANDARD.encode("ann:wrong");
        for (last, waits) in [(1, false), (2, true)] {
            let refused = verify(&ann(), &sent, Asker::Request(client(last))).await;
            assert!(matches!(refused, Err(Refusal::Busy)));
            assert_eq!(begun.elapsed() >= WAIT, waits);
        }
        assert_eq!(WAITING.holders(), 1, "who gives up leaves nothing behind");
    }
}
