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

    /// Who has this stub. Who comes with a ticket has a pass with it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn take(&self, stub: &Stub, now: SystemTime) -> Result<Known, Refusal> {
        let now = seconds(now);
        let passes = stub.passes.iter().take(MAX_PASSES);
        let opened = passes.filter_map(|pass| self.open(Kind::Pass, &stub.path, pass, now));
        if let Some((content, _nonce)) = opened.into_iter().next() {
            return known(content, None);
        }
        let Some(ticket) = &stub.ticket else {
            return Err(match stub.passes.is_empty() {
                true => Refusal::Missing,
                false => Refusal::Ticket,
            });
        };
        let opened = self.open(Kind::Ticket, &stub.path, ticket, now);
        let (mut content, nonce) = opened.ok_or(Refusal::Ticket)?;
        self.use_up(nonce, content.until, now)?;
        content.until = content.expires.unwrap_or(now + PASS_GOOD_FOR);
        let pass = self.seal(Kind::Pass, &stub.path, &content);
        known(content, pass)
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

    /// What is sealed, if it is one of ours, for this, and still good.
    fn open(
        &self,
        kind: Kind,
        path: &str,
        sealed: &str,
        now: u64,
    ) -> Option<(Content, [u8; NONCE_LEN])> {
        if sealed.len() > MAX_SEALED + 64 {
            return None;
        }
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, bytes) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let unique = Nonce::assume_unique_for_key(*nonce);
        let bound = Aad::from(bound_to(kind, path));
        let content = self.key.open_in_place(unique, bound, bytes).ok()?;
        let content: Content = serde_json::from_slice(content).ok()?;
        (content.until > now).then_some((content, *nonce))
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
mod tests {
    use super::*;

    fn ann(expires: Option<u64>) -> Known {
        Known {
            user: Some("ann".into()),
            expires: expires.map(|at| UNIX_EPOCH + Duration::from_secs(at)),
            fields: vec![
                (
                    HeaderName::from_static("x-user"),
                    Some(HeaderValue::from_static("ann")),
                ),
                (HeaderName::from_static("x-roles"), None),
            ],
            pass: None,
        }
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn stub(path: &str, ticket: Option<&str>, passes: &[&str]) -> Stub {
        Stub {
            path: path.to_owned(),
            ticket: ticket.map(ToOwned::to_owned),
            passes: passes.iter().map(|&it| it.to_owned()).collect(),
        }
    }

    #[test]
    fn a_ticket_lets_in_once_and_its_pass_again() {
        let tickets = Tickets::new();
        let ticket = tickets.give(&ann(Some(1000)), "/a", at(100)).unwrap();
        assert!(!ticket.contains("ann"));
        let first = stub("/a", Some(&ticket), &[]);
        let known = tickets.take(&first, at(110)).unwrap();
        assert_eq!(
            (known.user.as_deref(), known.fields.len()),
            (Some("ann"), 2)
        );
        assert_eq!(known.expires, Some(at(1000)));
        assert!(matches!(
            tickets.take(&first, at(110)),
            Err(Refusal::Ticket)
        ));
        let pass = known.pass.unwrap();
        for ticket in [None, Some(ticket.as_str()), Some("x")] {
            let again = stub("/a", ticket, &["nonsense", &pass]);
            let known = tickets.take(&again, at(999)).unwrap();
            assert_eq!((known.user.as_deref(), known.pass), (Some("ann"), None));
            let refused = tickets.take(&again, at(1000));
            assert!(matches!(refused, Err(Refusal::Ticket)), "it has expired");
        }
    }

    #[test]
    fn neither_is_good_for_anything_else() {
        let tickets = Tickets::new();
        let ticket = tickets.give(&ann(None), "/a", at(100)).unwrap();
        let pass = tickets.take(&stub("/a", Some(&ticket), &[]), at(100));
        let pass = pass.unwrap().pass.unwrap();
        let fresh = tickets.give(&ann(None), "/a", at(100)).unwrap();
        let changed = format!("{}A", &fresh[..fresh.len() - 1]);
        let elsewhere = Tickets::new().give(&ann(None), "/a", at(100)).unwrap();
        for (what, stub, time) in [
            ("another path", stub("/b", Some(&fresh), &[]), 100),
            ("a pass of another path", stub("/a/b", None, &[&pass]), 100),
            ("too late", stub("/a", Some(&fresh), &[]), 160),
            (
                "a pass too late",
                stub("/a", None, &[&pass]),
                100 + PASS_GOOD_FOR,
            ),
            ("a pass for a ticket", stub("/a", Some(&pass), &[]), 100),
            ("a ticket for a pass", stub("/a", None, &[&fresh]), 100),
            ("another key's", stub("/a", Some(&elsewhere), &[]), 100),
            ("not base64", stub("/a", Some("%%%"), &[]), 100),
            ("nothing", stub("/a", Some(""), &[]), 100),
            ("huge", stub("/a", Some(&"a".repeat(9000)), &[]), 100),
        ] {
            let refused = tickets.take(&stub, at(time));
            assert!(matches!(refused, Err(Refusal::Ticket)), "{what}");
        }
        if changed != fresh {
            let changed = stub("/a", Some(&changed), &[]);
            assert!(tickets.take(&changed, at(100)).is_err());
        }
        let refused = tickets.take(&stub("/a", None, &[]), at(100));
        assert!(matches!(refused, Err(Refusal::Missing)));
        assert!(
            tickets
                .take(&stub("/a", Some(&fresh), &[]), at(100))
                .is_ok()
        );
    }

    #[test]
    fn a_ticket_ends_with_the_token_that_it_was_given_for() {
        let tickets = Tickets::new();
        let ticket = tickets.give(&ann(Some(120)), "/a", at(100)).unwrap();
        let late = tickets.take(&stub("/a", Some(&ticket), &[]), at(120));
        assert!(matches!(late, Err(Refusal::Ticket)));
    }

    #[test]
    fn what_no_cookie_can_hold_gets_no_ticket() {
        let tickets = Tickets::new();
        let give = |path: &str, known: &Known| tickets.give(known, path, at(100)).err();
        let mut known = ann(None);
        for path in ["/a;b", "/a b", "/é", &"/a".repeat(600)] {
            assert_eq!(give(path, &known), Some(Unticketed::Path), "{path}");
        }
        let long = HeaderValue::try_from("x".repeat(4000)).unwrap();
        known.fields[0].1 = Some(long);
        assert_eq!(give("/a", &known), Some(Unticketed::TooLong));
    }

    #[test]
    fn the_cookie_is_for_one_path_and_no_script() {
        let cookie = cookie("p", "/live/a", None).unwrap();
        assert_eq!(
            cookie,
            "streamgate_pass=p; Path=/live/a; Max-Age=43200; HttpOnly; Secure; SameSite=Strict"
        );
    }
}
