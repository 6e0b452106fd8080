//! Verifying names and passwords, which is slow on purpose.
//!
//! Owns that it does not hold a worker up: hashes are worked on by other threads, few at a time, and what was right is
//! remembered for ten minutes, by each worker for itself. Invariants: no password and no hash is remembered, only a keyed hash
//! of both; a name that nobody has takes as long as a wrong password.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;
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

/// Hashes that are worked on at the same time, in the process: each takes a core for a while, and memory.
static AT_WORK: Semaphore = Semaphore::const_new(2);
/// The same for those whose streams live: a crowd that signs in must not keep anybody in who is not let in any more.
static AT_WORK_AGAIN: Semaphore = Semaphore::const_new(1);
/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(5);
/// How long a right password is remembered, from its last use. A user who is gone, or has another one, is not waited for:
/// what is remembered is of the hash that stands in the configuration.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How many of them, by each worker.
const MAX_REMEMBERED: usize = 1024;
/// The longest credentials, in bytes, as they are sent.
const MAX_SENT: usize = 2048;

/// A keyed hash of a name, a password and the hash that it was verified by: with another hash it is another one.
type Mark = [u8; 32];

thread_local! {
    static RIGHT: RefCell<HashMap<Mark, Instant>> = RefCell::new(HashMap::new());
}

/// Who `sent`, the credentials of `Authorization: Basic` (RFC 7617 §2), is. `again`: somebody who has a stream, and whose name
/// is no secret.
///
/// # Errors
/// [`Refusal::Password`], [`Refusal::Busy`].
pub(super) async fn verify(users: &Users, sent: &str, again: bool) -> Result<Known, Refusal> {
    let (name, password) = read(sent).ok_or(Refusal::Password)?;
    let (hash, is_known) = match users.find(&name) {
        Some(hash) => (hash, true),
        None if again => return Err(Refusal::Password),
        None => (users.any().ok_or(Refusal::Password)?, false),
    };
    let mark = mark(&name, &password, hash);
    let now = Instant::now();
    let is_remembered =
        RIGHT.with_borrow(|right| right.get(&mark).is_some_and(|until| now < *until));
    let turns = if again { &AT_WORK_AGAIN } else { &AT_WORK };
    let is_right = is_remembered || work(turns, hash.clone(), password).await?;
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
async fn work(
    turns: &'static Semaphore,
    hash: PasswordHash,
    password: String,
) -> Result<bool, Refusal> {
    let turn = tokio::time::timeout(WAIT, turns.acquire()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Refusal::Busy);
    };
    // Should the client leave, the turn is over with the work all the same.
    let verified = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        hash.verify(password.as_bytes())
    });
    Ok(verified.await.unwrap_or(false))
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
    RIGHT.with_borrow_mut(|right| {
        if right.len() >= MAX_REMEMBERED {
            right.retain(|_mark, until| now < *until);
        }
        if right.len() >= MAX_REMEMBERED {
            right.clear();
        }
        right.insert(mark, now + REMEMBERED);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_crowd_that_signs_in_does_not_keep_in_who_is_not_let_in_any_more() {
        let mut users = Users::default();
        let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        users.add("ann", hash).unwrap();
        let _crowd = AT_WORK.acquire_many(2).await.unwrap();
        for (who, is_in) in [
            ("ann:Hello world!", true),
            ("ann:the one before", false),
            ("gone:Hello world!", false),
        ] {
            let again = verify(&users, &STANDARD.encode(who), true).await;
            match again {
                Ok(_) => assert!(is_in, "{who}"),
                Err(refusal) => {
                    assert!(!is_in && !refusal.is_passing(), "{who}: {refusal}");
                }
            }
        }
    }
}
