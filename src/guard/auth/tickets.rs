//! Tickets: what an EventSource, which can send no fields, opens a stream with.
//!
//! A client that is known gets a ticket; the first request that brings it gets in, and gets a pass in a cookie, for a browser
//! comes back to the same address with the same ticket in it. Owns both, and that a ticket counts once. Both are sealed
//! (AES-256-GCM) by a key of the `[auth.NAME]`, which lives as long as that is the same, in this process: whoever has one
//! can neither read it nor make another. Invariants: each is good for one path; none outlives the credential that it was
//! given for; a ticket is good for a minute and once; a pass is good for opening a stream and nothing else.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::{Known, Refusal};

/// The parameter of the query that a ticket is in.
pub(super) const PARAMETER: &str = "ticket";
/// The cookie that a pass is in.
pub(super) const COOKIE: &str = "streamgate_pass";
/// How long a ticket is good for, in seconds.
pub const GOOD_FOR: u64 = 60;
/// The same of a pass for a credential that does not age.
const PASS_GOOD_FOR: u64 = 12 * 3600;
/// Tickets of one `[auth.NAME]` that were brought within the last minute.
const MAX_USED: usize = 65_536;
/// A cookie is at most 4096 bytes with its name and attributes, of which the path may be a part.
const MAX_SEALED: usize = 2800;
/// Passes that are looked at: a browser sends those of paths above this one, too.
pub(super) const MAX_PASSES: usize = 8;

/// What a client was let in by last time, or is to be this time.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stub {
    /// The path that it is for.
    pub(super) path: String,
    /// What is in the query.
    pub(super) ticket: Option<String>,
    /// What is in cookies.
    pub(super) passes: Vec<String>,
}

/// The tickets of one `[auth.NAME]`.
pub(super) struct Tickets {
    key: RandomizedNonceKey,
    /// Those that were brought, by their nonces, with when they would not count any more.
    used: Mutex<HashMap<[u8; NONCE_LEN], u64>>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// Why a ticket cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unticketed {
    /// What the backend is to be told of the client is too long for a cookie.
    #[error("what is known of the client is too long for a ticket")]
    TooLong,
    /// A cookie cannot be bound to the path.
    #[error("the path is not one that a cookie can be for")]
    Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ticket,
    Pass,
}

/// What is in it. Times are seconds since 1970.
#[derive(Serialize, Deserialize)]
struct Content {
    /// Until when it is good.
    until: u64,
    user: Option<String>,
    /// When what the client has shown expires.
    expires: Option<u64>,
    /// Fields for the backend; a value that is no text is left out.
    fields: Vec<(String, Option<String>)>,
}

impl Tickets {
    pub(super) fn new() -> Self {
        let mut bits = [0; 32];
        aws_lc_rs::rand::fill(&mut bits)
            .expect("aws-lc ends the process when there is no randomness");
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bits);
        Self {
            key: key.expect("AES-256 has keys of 32 bytes"),
            used: Mutex::default(),
        }
    }

    /// A ticket for `path` to who is `known`.
    ///
    /// # Errors
    /// [`Unticketed`].
    pub(super) fn give(
        &self,
        known: &Known,
        path: &str,
        now: SystemTime,
    ) -> Result<String, Unticketed> {
        // It stands in an attribute of a cookie (RFC 6265 §4.1.1).
        if path.len() > 1024
            || path
                .bytes()
                .any(|byte| byte == b';' || !byte.is_ascii_graphic())
        {
            return Err(Unticketed::Path);
        }
        let until = seconds(now) + GOOD_FOR;
        let sealed = self.seal(Kind::Ticket, path, &content(known, until));
        sealed
            .filter(|it| it.len() <= MAX_SEALED)
            .ok_or(Unticketed::TooLong)
    }

    /// Who has this stub. Who comes with a ticket has a pass with it. The ticket says who it is: a pass counts beside it only
    /// if it is the same user's, for a cookie may be another one's who was here before, or that another site has planted.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn take(&self, stub: &Stub, now: SystemTime) -> Result<Known, Refusal> {
        let now = seconds(now);
        let ticket = stub.ticket.as_deref();
        let ticket = ticket.and_then(|ticket| self.unseal(Kind::Ticket, &stub.path, ticket));
        let owner = ticket
            .as_ref()
            .map(|(content, _nonce)| content.user.clone());
        let mut refusal = match stub.ticket.is_none() && stub.passes.is_empty() {
            true => Refusal::Missing,
            false => Refusal::Ticket,
        };
        if let Some((mut content, nonce)) = ticket.filter(|(content, _nonce)| content.until > now) {
            match self.use_up(nonce, content.until, now) {
                Ok(()) => {
                    content.until = content.expires.unwrap_or(now + PASS_GOOD_FOR);
                    let pass = self.seal(Kind::Pass, &stub.path, &content);
                    return known(content, pass);
                }
                Err(used) => refusal = used,
            }
        }
        let is_good = |content: &Content| {
            let same = owner.as_ref().is_none_or(|owner| *owner == content.user);
            content.until > now && same
        };
        let passes = stub.passes.iter().take(MAX_PASSES);
        let opened = passes.filter_map(|pass| self.unseal(Kind::Pass, &stub.path, pass));
        let mut opened = opened.map(|(content, _nonce)| content);
        let content = opened.find(is_good).ok_or(refusal)?;
        known(content, None)
    }

    /// Notes that a ticket was brought, if it is the first time.
    fn use_up(&self, nonce: [u8; NONCE_LEN], until: u64, now: u64) -> Result<(), Refusal> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MAX_USED {
            used.retain(|_nonce, until| *until > now);
        }
        if used.len() >= MAX_USED {
            return Err(Refusal::Busy);
        }
        match used.insert(nonce, until) {
            None => Ok(()),
            Some(_until) => Err(Refusal::Ticket),
        }
    }

    fn seal(&self, kind: Kind, path: &str, content: &Content) -> Option<String> {
        let mut bytes = serde_json::to_vec(content).ok()?;
        let bound = Aad::from(bound_to(kind, path));
        let nonce = self.key.seal_in_place_append_tag(bound, &mut bytes).ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&bytes);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// What is sealed, if it is one of ours and for this. Whether it is still good is not looked at.
    fn unseal(&self, kind: Kind, path: &str, sealed: &str) -> Option<(Content, [u8; NONCE_LEN])> {
        if sealed.len() > MAX_SEALED + 64 {
            return None;
        }
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, bytes) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let unique = Nonce::assume_unique_for_key(*nonce);
        let bound = Aad::from(bound_to(kind, path));
        let content = self.key.open_in_place(unique, bound, bytes).ok()?;
        let content: Content = serde_json::from_slice(content).ok()?;
        Some((content, *nonce))
    }
}

/// What it is good for is not in it: it opens with nothing else.
fn bound_to(kind: Kind, path: &str) -> Vec<u8> {
    let kind = match kind {
        Kind::Ticket => "ticket",
        Kind::Pass => "pass",
    };
    format!("{kind}\n{path}").into_bytes()
}

fn content(known: &Known, until: u64) -> Content {
    let expires = known.expires.map(seconds);
    let fields = known.fields.iter().map(|(name, value)| {
        let value = value.as_ref().and_then(|it| it.to_str().ok());
        (name.as_str().to_owned(), value.map(ToOwned::to_owned))
    });
    Content {
        until: until.min(expires.unwrap_or(until)),
        user: known.user.as_deref().map(ToOwned::to_owned),
        expires,
        fields: fields.collect(),
    }
}

/// Who it was, when it was sealed.
fn known(content: Content, pass: Option<String>) -> Result<Known, Refusal> {
    let field = |(name, value): (String, Option<String>)| {
        let name = HeaderName::try_from(name).ok()?;
        let value = value.and_then(|value| HeaderValue::try_from(value).ok());
        Some((name, value))
    };
    let fields: Option<Vec<_>> = content.fields.into_iter().map(field).collect();
    Ok(Known {
        user: content.user.map(Arc::from),
        expires: content
            .expires
            .and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at))),
        fields: fields.ok_or(Refusal::Ticket)?,
        pass,
    })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The cookie that has this pass: no script reads it, no other site's page sends it, and it goes to this path only.
pub(super) fn cookie(pass: &str, path: &str, expires: Option<SystemTime>) -> Option<HeaderValue> {
    let left = expires.map_or(PASS_GOOD_FOR, |at| {
        seconds(at).saturating_sub(seconds(SystemTime::now()))
    });
    let text =
        format!("{COOKIE}={pass}; Path={path}; Max-Age={left}; HttpOnly; Secure; SameSite=Strict");
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests;
