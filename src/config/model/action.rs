//! What a route does with a request and its fields.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::route::Template;

/// What the `*` at the end of a route's path is called in its texts.
pub const REST: &str = "rest";

/// The names in a route's texts that every request has a value for. A named segment of the path goes before one of the
/// same name.
pub const NAMES_OF_REQUEST: [&str; 6] =
    ["client_ip", "host", "path", "proto", "query", "request_id"];

/// What becomes of a path on its way to an upstream.
#[derive(Debug, Clone, PartialEq)]
pub enum PathChange {
    /// Nothing.
    Keep,
    /// `strip_prefix`: removed from the front of the path when it stands there at a segment's border.
    Strip(String),
    /// `rewrite`: the new path; a name's value is percent-encoded as one segment, `{rest}` stays as it came.
    Rewrite(Template),
}

/// `redirect = …` of a route.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    /// The new address.
    pub to: Template,
    /// 301, 302, 303, 307 or 308. Default 308, which keeps method and body.
    pub status: StatusCode,
    /// Whether it is a path, so that it must never lead to another site.
    pub is_local: bool,
    /// Whether it has a query of its own; else the request's is kept.
    pub has_query: bool,
}

/// `respond = …` of a route.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    /// The status.
    pub status: StatusCode,
    /// `None` where there is no body.
    pub content_type: Option<HeaderValue>,
    /// The body, from the text or from a file.
    pub body: Bytes,
}

/// `request = { … }` or `response = { … }` of a route's `headers`, in the order in which they are done.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FieldRules {
    /// Removed first.
    pub remove: Vec<HeaderName>,
    /// Then set, in the place of all of the same name.
    pub set: Vec<(HeaderName, FieldValue)>,
    /// Then added behind those of the same name.
    pub add: Vec<(HeaderName, FieldValue)>,
}

/// The value of a field that a rule sets.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// Always the same. A secret is marked as sensitive and never printed.
    Fixed(HeaderValue),
    /// With `{names}` of the path and of the request.
    Template(Template),
}
