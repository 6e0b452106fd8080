//! Hashes of passwords: argon2id, bcrypt and SHA-crypt.
//!
//! Invariants: a hash that would be cheap to guess from is not taken, nor one that costs more than its bound, for a client
//! chooses how often it is worked on; and nothing here prints a hash.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Argon2, PasswordVerifier};
use sha_crypt::ShaCrypt;

/// The longest password, in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// The most memory of an argon2id hash, in KiB.
const MAX_MEMORY: u32 = 256 * 1024;
/// The most passes of an argon2id hash.
const MAX_PASSES: u32 = 16;
/// The most lanes of an argon2id hash.
const MAX_LANES: u32 = 16;
/// The highest cost of a bcrypt hash: about a second.
const MAX_COST: u32 = 14;
/// The rounds of a SHA-crypt hash.
const ROUNDS: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;

/// Why a text is not taken as a password's hash. The text is not in here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HashError {
    /// One that is quickly guessed: MD5, SHA-1, DES.
    #[error("{0} hashes are too weak")]
    Weak(&'static str),
    /// No hash at all.
    #[error("that is no hash of a password")]
    Unknown,
    /// It begins like one.
    #[error("the {0} hash is broken")]
    Broken(&'static str),
    /// It takes too much memory or time.
    #[error("the {kind} hash is too costly: {bound}")]
    Costly {
        /// Which kind.
        kind: &'static str,
        /// What is allowed.
        bound: &'static str,
    },
}

/// A password's hash.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Argon2,
    Bcrypt,
    ShaCrypt,
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({:?})", self.kind)
    }
}

impl PasswordHash {
    /// Reads a hash as `htpasswd`, `mkpasswd` and `argon2` write it.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let kind = match text.strip_prefix('$').and_then(|it| it.split_once('$')) {
            Some(("argon2id", _)) => argon2(text)?,
            Some(("2y" | "2b" | "2a", _)) => bcrypt(text)?,
            Some(("5" | "6", rest)) => sha_crypt(text, rest)?,
            Some(("apr1" | "1", _)) => return Err(HashError::Weak("MD5")),
            _ if text.starts_with("{SHA}") => return Err(HashError::Weak("SHA-1")),
            _ => return Err(HashError::Unknown),
        };
        let text = text.to_owned();
        Ok(Self { text, kind })
    }

    /// Whether it is the hash of `password`. It takes a while (up to a second), and its result no less if it is not.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.len() > MAX_PASSWORD {
            return false;
        }
        match self.kind {
            Kind::Argon2 => phc::PasswordHash::new(&self.text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::ShaCrypt => ShaCrypt::default()
                .verify_password(password, self.text.as_str())
                .is_ok(),
        }
    }

    /// The text, to tell it from others. It must not get into a log.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

fn argon2(text: &str) -> Result<Kind, HashError> {
    let broken = HashError::Broken("argon2id");
    let Ok(hash) = phc::PasswordHash::new(text) else {
        return Err(broken);
    };
    let Ok(params) = argon2::Params::try_from(&hash) else {
        return Err(broken);
    };
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(broken);
    }
    let within = params.m_cost() <= MAX_MEMORY
        && params.t_cost() <= MAX_PASSES
        && params.p_cost() <= MAX_LANES;
    within.then_some(Kind::Argon2).ok_or(HashError::Costly {
        kind: "argon2id",
        bound: "256 MiB, 16 passes and 16 lanes are allowed",
    })
}

fn bcrypt(text: &str) -> Result<Kind, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_error| HashError::Broken("bcrypt"))?;
    match parts.get_cost() {
        4..=MAX_COST => Ok(Kind::Bcrypt),
        0..4 => Err(HashError::Broken("bcrypt")),
        _ => Err(HashError::Costly {
            kind: "bcrypt",
            bound: "a cost of 14 is allowed",
        }),
    }
}

/// `rest` is what follows the name of the algorithm.
fn sha_crypt(text: &str, rest: &str) -> Result<Kind, HashError> {
    let broken = || HashError::Broken("SHA-crypt");
    let salted = match rest.strip_prefix("rounds=") {
        None => rest,
        Some(rest) => {
            let (rounds, salted) = rest.split_once('$').ok_or_else(broken)?;
            let rounds: u32 = rounds.parse().map_err(|_error| broken())?;
            if rounds > *ROUNDS.end() {
                return Err(HashError::Costly {
                    kind: "SHA-crypt",
                    bound: "a million rounds are allowed",
                });
            }
            if !ROUNDS.contains(&rounds) {
                return Err(broken());
            }
            salted
        }
    };
    let (salt, hash) = salted.split_once('$').ok_or_else(broken)?;
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    let is_whole = hash.len() == length && hash.bytes().all(plain);
    if !is_whole || salt.len() > 16 || !salt.bytes().all(plain) {
        return Err(broken());
    }
    Ok(Kind::ShaCrypt)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the reference implementations.
    const KNOWN: [(&str, &str); 5] = [
        (
            "password",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ),
        (
            "U*U",
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        ),
        (
            "Hello world!",
            "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        ),
        (
            "Hello world!",
            "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        ),
        (
            "secret",
            "$6$rounds=5000$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
        ),
    ];

    #[test]
    fn hashes_of_all_kinds_are_verified() {
        for (password, text) in KNOWN {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.verify(password.as_bytes()), "{text}");
            for wrong in ["", "wrong", &format!("{password} "), &"x".repeat(2000)] {
                assert!(!hash.verify(wrong.as_bytes()), "{text}");
            }
            assert!(!format!("{hash:?}").contains(&text[10..]));
        }
    }

    #[test]
    fn weak_broken_and_costly_hashes_are_refused() {
        let argon2 = KNOWN[0].1;
        for (text, error) in [
            ("$apr1$x$y", HashError::Weak("MD5")),
            ("$1$x$y", HashError::Weak("MD5")),
            ("{SHA}x", HashError::Weak("SHA-1")),
            ("secret", HashError::Unknown),
            ("", HashError::Unknown),
            ("rqXexS6ZhobKA", HashError::Unknown),
            ("$argon2id$v=19$m=65536", HashError::Broken("argon2id")),
            (&argon2[..argon2.len() - 44], HashError::Broken("argon2id")),
            ("$2y$12$short", HashError::Broken("bcrypt")),
            ("$5$rounds=999$salt$hash", HashError::Broken("SHA-crypt")),
            ("$6$salt$short", HashError::Broken("SHA-crypt")),
        ] {
            assert_eq!(PasswordHash::parse(text).err(), Some(error), "{text}");
        }
        for text in [
            argon2.replace("m=65536", "m=1048576"),
            argon2.replace("t=2", "t=100"),
            KNOWN[1].1.replace("$05$", "$15$"),
            KNOWN[3].1.replace("10000", "100000000"),
        ] {
            let error = PasswordHash::parse(&text);
            assert!(matches!(error, Err(HashError::Costly { .. })), "{text}");
        }
    }
}
