//! `[trace]`: distributed traces.

use http::HeaderName;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::schema::decode::{Decode, Key, Located, Reader};
use crate::config::schema::feed::{self, Headers, Secret};
use crate::config::schema::form::Form;
use crate::config::schema::scalar::{Refusal, Scalar, Share, Text};
use crate::config::schema::table::table;
use crate::config::schema::url::{self, Url};
use crate::config::units::{MINUTE, Period, SECOND};
use crate::net::{Place, Scheme, ServerAddr};

table! {
    /// `[trace]`: where it stands, streamgate is a span of its own in the trace of each request (W3C Trace Context): it takes up a
    /// request's `traceparent`, or begins a trace, and the backend is told that its parent is streamgate. Without it both fields pass
    /// as they are.
    Trace, "`[trace]`", "a table, `[trace]`" {
        /// The share of requests that are sampled, `0.0` to `1.0` (the default). Where a proxy of `trust.proxies` has decided it, that
        /// holds.
        sample: Share,
        /// The address of a collector that takes OTLP over HTTP, such as `"http://127.0.0.1:4318"`; `/v1/traces` is put behind it. Each
        /// request and each stream that is sampled is a span. Default: nothing is exported.
        otlp: Collector,
        /// Fields for the collector: `{ Authorization = "Bearer ${TOKEN}" }`. A value may also be a secret, `{ file = "token.txt" }` or
        /// `{ credential = "name" }`.
        headers: Fields,
        /// What this gate is called there. Default `"streamgate"`.
        service_name: Text,
        /// How long one request to the collector may take. Default `"10s"`, from `"1s"` to `"1m"`.
        timeout: Period<SECOND, MINUTE>,
    }
}

/// `http://host:port/path`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Collector {
    pub(crate) server: ServerAddr,
    /// Without a slash at its end.
    pub(crate) path: String,
}

impl Scalar for Collector {
    const EXPECTED: &'static str = "a collector's URL such as \"http://127.0.0.1:4318\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let Url {
            scheme,
            authority,
            rest,
        } = url::parse(text, &[("http", 80), ("https", 443)])?;
        if rest.contains(['?', '#']) {
            return Err(Refusal::malformed("a query or a fragment is not allowed"));
        }
        feed::check_characters(rest)?;
        let scheme = match scheme {
            "https" => Scheme::Https,
            _ => Scheme::Http,
        };
        Ok(Self {
            server: ServerAddr {
                scheme,
                place: Place::Tcp(authority),
            },
            path: rest.trim_end_matches('/').to_owned(),
        })
    }
}

/// Fields of a request to the collector, by their names.
#[derive(Debug)]
pub(crate) struct Fields(pub(crate) Headers);

impl Decode for Fields {
    const EXPECTED: &'static str = Headers::EXPECTED;
    const KEYS: &'static [Key] = &[];

    fn form() -> Form {
        Headers::form()
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let fields: Vec<(HeaderName, Located<Secret>)> =
            feed::decode_fields(value, reader, field_name)?;
        Some(Self(Headers(fields)))
    }
}

fn field_name(name: &str) -> Result<HeaderName, &'static str> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "that is no field name")?;
    match header.as_str() {
        "host" | "content-type" | "content-length" | "connection" | "transfer-encoding" => {
            Err("each request has its own")
        }
        _ => Ok(header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_told_from_what_is_none() {
        for (text, server, path) in [
            ("http://127.0.0.1:4318", "127.0.0.1:4318", ""),
            ("http://otel/", "otel:80", ""),
            ("https://otel.test/a/b/", "otel.test:443", "/a/b"),
        ] {
            let collector = Collector::parse(text).unwrap();
            assert_eq!(collector.server.to_string(), server);
            assert_eq!(collector.path, path);
        }
        for text in ["otel:4318", "grpc://otel", "http://otel?x", "http://otel/ü"] {
            assert!(Collector::parse(text).is_err(), "{text}");
        }
    }
}
