//! What the named segments of a route stood for in one request.

use std::sync::Arc;

/// Name and value of each named segment, the values percent-decoded.
///
/// A value is UTF-8, never empty, holds neither control characters nor a slash, and is no dot segment: a path
/// whose segment is anything else does not match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures(Vec<(Arc<str>, Box<str>)>);

impl Captures {
    /// Those of a route without named segments. Does not allocate.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| &**value)
    }

    /// Names and values, in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// From values that are known to hold what the type promises.
impl<N: Into<Arc<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Captures {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(values: I) -> Self {
        Self(
            values
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}
