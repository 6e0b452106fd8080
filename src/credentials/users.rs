//! Who has which password: a table of names and hashes, as `htpasswd` writes it.

use std::collections::BTreeMap;

use super::User;
use super::password::{HashError, PasswordHash};

/// Names with the hashes of their passwords.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users(BTreeMap<String, PasswordHash>);

/// What is wrong with a line of a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {fault}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: UserError,
}

/// Why somebody is not added. What was read is not in here: it may be a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// No colon between name and hash.
    #[error("`name:hash` is expected")]
    NoColon,
    /// A name that nobody could send or that no log can show (RFC 7617 §2).
    #[error("that is no name: 1 to 256 printable characters, without a colon")]
    BadName,
    /// The name stands there twice.
    #[error("the name is there twice")]
    Twice,
    /// What follows is no hash that is taken.
    #[error(transparent)]
    Hash(#[from] HashError),
}

impl Users {
    /// Reads an `htpasswd` file: a `name:hash` a line; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn of_file(text: &str) -> Result<Self, LineError> {
        let mut users = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let added = match line.split_once(':') {
                Some((name, hash)) => users.add(name, hash),
                None => Err(UserError::NoColon),
            };
            added.map_err(|fault| LineError {
                line: index + 1,
                fault,
            })?;
        }
        Ok(users)
    }

    /// Adds somebody.
    ///
    /// # Errors
    /// [`UserError`].
    pub fn add(&mut self, name: &str, hash: &str) -> Result<(), UserError> {
        if name.contains(':') || User::new(name, None).is_none() {
            return Err(UserError::BadName);
        }
        let hash = PasswordHash::parse(hash)?;
        match self.0.insert(name.to_owned(), hash) {
            Some(_earlier) => Err(UserError::Twice),
            None => Ok(()),
        }
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash of this name's password.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&PasswordHash> {
        self.0.get(name)
    }

    /// A hash to work on where the name is not known, so that it takes as long.
    #[must_use]
    pub fn any(&self) -> Option<&PasswordHash> {
        self.0.values().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";

    #[test]
    fn a_file_is_read_line_by_line() {
        let users = Users::of_file(&format!("# staff\n\nann:{HASH}\r\nbob:{HASH}\n")).unwrap();
        assert!(users.find("ann").is_some() && users.find("bob").is_some());
        assert!(users.find("eve").is_none() && users.any().is_some());
        for (text, line, fault) in [
            ("ann", 1, UserError::NoColon),
            ("\n:x", 2, UserError::BadName),
            ("a\tb:x", 1, UserError::BadName),
            ("ann:secret", 1, UserError::Hash(HashError::Unknown)),
            (&format!("a:{HASH}\na:{HASH}"), 2, UserError::Twice),
        ] {
            let error = Users::of_file(text).unwrap_err();
            assert_eq!(error, LineError { line, fault });
            assert!(!error.to_string().contains("secret"));
        }
    }
}
