//! `connect.headers`: values from the text, from files and from systemd. No message holds a value.

use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::check::Context;
use crate::config::env::{self, SecretError};
use crate::config::schema::decode::Located;
use crate::config::schema::feed::{Headers, Secret};
use crate::config::schema::scalar::Text;

/// Resolves the values. Each is marked sensitive, so that nothing prints it.
pub(crate) fn headers(table: &Headers, context: &mut Context<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, secret) in &table.0 {
        if let Some(value) = field(name, secret, context) {
            headers.insert(name.clone(), value);
        }
    }
    headers
}

/// Resolves one value and marks it as sensitive.
pub(crate) fn field(
    name: &HeaderName,
    secret: &Located<Secret>,
    context: &mut Context<'_>,
) -> Option<HeaderValue> {
    let value = resolve(secret, context)?;
    let Ok(mut value) = HeaderValue::from_str(&value) else {
        let message =
            format!("the value of `{name}` has a character that no header field may have");
        context.diagnostics.error(secret.place, message);
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

/// Reads a secret. `None`: it cannot be read, and that has been told.
pub(crate) fn resolve(secret: &Located<Secret>, context: &mut Context<'_>) -> Option<String> {
    let (text, path) = match &secret.value {
        Secret::Inline(text) => return Some(text.value.clone()),
        Secret::File(file) => (file, Ok(context.path(file))),
        Secret::Credential(name) => (name, env::credential_path(&name.value.value, context.env)),
    };
    let found = path.and_then(|path| {
        context.note_read(&path);
        env::read_secret(&path)
    });
    match found {
        Ok(value) => Some(value),
        Err(error) => {
            tell(&error, text, context);
            None
        }
    }
}

/// The file of a credential. `None`: there can be none, and that has been told.
pub(super) fn credential(name: &Located<Text>, context: &mut Context<'_>) -> Option<PathBuf> {
    env::credential_path(&name.value.value, context.env)
        .map_err(|error| tell(&error, name, context))
        .ok()
}

fn tell(error: &SecretError, text: &Located<Text>, context: &mut Context<'_>) {
    let cause = match error {
        SecretError::Unreadable(source) => format!(": {source}"),
        _ => String::new(),
    };
    let message = format!("`{}` {error}{cause}", context.typed(text.place));
    context.diagnostics.error(text.place, message);
}
