//! What people and programs prove by who they are: signed tokens and passwords. No I/O, and no clock of its own.
//!
//! Owns how a credential is judged. Where it is looked for in a request, and what becomes of who has none, is
//! `guard::auth`'s affair. Invariants: a credential is refused by anything that is not known about it; none of the types
//! here prints a secret; and no input costs more than its bound.

pub mod jwt;
pub mod password;
pub mod users;

use std::sync::Arc;
use std::time::SystemTime;

/// Who asks, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// A name that is the same each time and nobody else's: printable, at most [`MAX_NAME`] bytes.
    pub name: Arc<str>,
    /// From when on the proof is worth nothing; `None`: it does not age.
    pub expires: Option<SystemTime>,
}

/// The longest name of a user, in bytes.
pub const MAX_NAME: usize = 256;

impl User {
    /// A user of this name. `None`: it is not fit for a log, or for a field of a request.
    #[must_use]
    pub fn new(name: &str, expires: Option<SystemTime>) -> Option<Self> {
        let fits = (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
        fits.then(|| Self {
            name: name.into(),
            expires,
        })
    }
}
