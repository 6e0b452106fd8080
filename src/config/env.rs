//! What a configuration takes from outside its text: `${NAME}` and secrets.
//!
//! Variables are put into parsed strings, never into the text: positions stay true, and a value cannot inject TOML.
//! A value from outside never appears in an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Environment variables, as a process has them or as a test says.
pub trait Env {
    /// The variable's value, if it is set.
    fn var(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

impl Env for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<OsString> {
        self.get(name).map(OsString::from)
    }
}

/// What is wrong with a `${…}`. The names are as typed; no value is ever in here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpandError {
    #[error("the environment variable `{0}` is not set")]
    Missing(String),
    #[error("the environment variable `{0}` is not UTF-8")]
    NotUtf8(String),
    #[error("`${{{0}}}` does not name a variable")]
    BadName(String),
    #[error("`${{` without `}}`")]
    Unclosed,
}

impl ExpandError {
    /// How the mistake begins in the text, to point at it.
    pub(crate) fn needle(&self) -> String {
        match self {
            Self::Missing(name) | Self::NotUtf8(name) | Self::BadName(name) => format!("${{{name}"),
            Self::Unclosed => "${".to_owned(),
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(name) => Some(format!("`${{{name}:-default}}` gives it a default")),
            Self::BadName(_) | Self::Unclosed => Some(
                "`${NAME}` takes a variable, `${NAME:-default}` has a default, `$$` is a `$`"
                    .to_owned(),
            ),
            Self::NotUtf8(_) => None,
        }
    }
}

/// Puts variables into a string: `${NAME}`, `${NAME:-default}` (also for an empty value, as in a shell), `$$` for `$`.
/// Any other `$` is itself. What is put in is not looked at again.
pub(crate) fn expand<'a>(text: &'a str, env: &dyn Env) -> Result<Cow<'a, str>, ExpandError> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('{') {
            let (inside, after) = after.split_once('}').ok_or(ExpandError::Unclosed)?;
            expanded.push_str(&lookup(inside, env)?);
            rest = after;
            continue;
        }
        expanded.push('$');
        rest = rest.strip_prefix('$').unwrap_or(rest);
    }
    expanded.push_str(rest);
    Ok(Cow::Owned(expanded))
}

fn lookup(inside: &str, env: &dyn Env) -> Result<String, ExpandError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !named {
        return Err(ExpandError::BadName(inside.to_owned()));
    }
    let value = env.var(name).map(|value| {
        value
            .into_string()
            .map_err(|_| ExpandError::NotUtf8(name.to_owned()))
    });
    match (value.transpose()?, default) {
        (None, None) => Err(ExpandError::Missing(name.to_owned())),
        (None, Some(default)) => Ok(default.to_owned()),
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
    }
}

/// Where systemd puts the credentials of a service.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The longest secret, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("is longer than 64KiB")]
    TooLong,
    #[error("is not UTF-8")]
    NotUtf8,
    #[error("is empty")]
    Empty,
    #[error("is not the name of a credential")]
    BadCredential,
    #[error("cannot be found: `$CREDENTIALS_DIRECTORY` is not set")]
    NoCredentials,
}

/// The file of a credential that systemd passed on (`LoadCredential=`).
pub(crate) fn credential_path(name: &str, env: &dyn Env) -> Result<PathBuf, SecretError> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(SecretError::BadCredential);
    }
    let directory = env
        .var(CREDENTIALS_DIRECTORY)
        .ok_or(SecretError::NoCredentials)?;
    Ok(Path::new(&directory).join(name))
}

/// Reads a secret; one line end at its end is not part of it.
pub(crate) fn read_secret(path: &Path) -> Result<String, SecretError> {
    let mut secret = Vec::new();
    let file = File::open(path).map_err(SecretError::Unreadable)?;
    file.take(MAX_SECRET + 1)
        .read_to_end(&mut secret)
        .map_err(SecretError::Unreadable)?;
    if secret.len() as u64 > MAX_SECRET {
        return Err(SecretError::TooLong);
    }
    let mut secret = String::from_utf8(secret).map_err(|_| SecretError::NotUtf8)?;
    if secret.ends_with('\n') {
        secret.pop();
    }
    if secret.ends_with('\r') {
        secret.pop();
    }
    if secret.is_empty() {
        return Err(SecretError::Empty);
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> BTreeMap<String, String> {
        [("A", "1"), ("EMPTY", ""), ("NESTED", "${A}")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    #[test]
    fn variables_are_put_in() {
        let table = [
            ("plain", "plain"),
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("${B:-two}", "two"),
            ("${EMPTY:-two}", "two"),
            ("${EMPTY}", ""),
            ("${A:-two}", "1"),
            ("${NESTED}", "${A}"),
            ("$${A}", "${A}"),
            ("$5 and $", "$5 and $"),
            ("{room}", "{room}"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, &env()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let table = [
            ("${B}", ExpandError::Missing("B".into())),
            ("${", ExpandError::Unclosed),
            ("${}", ExpandError::BadName(String::new())),
            ("${1}", ExpandError::BadName("1".into())),
            ("${A-x}", ExpandError::BadName("A-x".into())),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, &env()), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_credential_stays_in_its_directory() {
        let env: BTreeMap<_, _> =
            [("CREDENTIALS_DIRECTORY".to_owned(), "/run/cred".to_owned())].into();
        assert_eq!(
            credential_path("token", &env).ok(),
            Some(PathBuf::from("/run/cred/token"))
        );
        for name in ["", ".", "..", "../x", "a/b"] {
            assert!(
                matches!(credential_path(name, &env), Err(SecretError::BadCredential)),
                "{name}"
            );
        }
        assert!(matches!(
            credential_path("token", &BTreeMap::new()),
            Err(SecretError::NoCredentials)
        ));
    }
}
