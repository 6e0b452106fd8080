//! Which certificate a client is shown, by the name that it asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::accept;
use super::certificates::Certificate;

/// Chooses a certificate by the name that the client asks for (SNI, RFC 6066 §3).
///
/// An exact name wins over a wildcard one label up; without a match, or without SNI, the first certificate answers.
/// Of two certificates with the same name the earlier one wins.
#[derive(Debug)]
pub struct ResolveBySni {
    by_name: HashMap<String, Choice>,
    first: Option<Choice>,
}

/// A certificate that may be shown.
#[derive(Debug, Clone)]
struct Choice {
    key: Arc<CertifiedKey>,
    names: Names,
}

/// The names of one certificate, in lower case; `*.example.org` stands for one label.
#[derive(Debug, Clone)]
pub struct Names(Arc<[String]>);

impl Names {
    /// Whether the certificate is for this host, in lower case (RFC 9525 §6.3).
    #[must_use]
    pub fn cover(&self, host: &str) -> bool {
        let wildcard = wildcard(host);
        let fits = |name: &String| name == host || Some(name) == wildcard.as_ref();
        self.0.iter().any(fits)
    }
}

impl ResolveBySni {
    /// Builds the table of names. Without certificates nothing resolves, and every handshake fails.
    pub fn new(certificates: &[Certificate]) -> Self {
        let mut by_name = HashMap::new();
        let mut first = None;
        for certificate in certificates {
            let choice = Choice {
                key: Arc::clone(&certificate.key),
                names: Names(certificate.names.as_slice().into()),
            };
            for name in &certificate.names {
                by_name
                    .entry(name.clone())
                    .or_insert_with(|| choice.clone());
            }
            first.get_or_insert(choice);
        }
        Self { by_name, first }
    }

    /// The certificate for a lower-case server name.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        self.choose(name).map(|choice| &choice.key)
    }

    /// The names of the certificate that has this one among them.
    pub fn named(&self, name: &str) -> Option<&Names> {
        self.by_name(name).map(|choice| &choice.names)
    }

    fn choose(&self, name: Option<&str>) -> Option<&Choice> {
        name.and_then(|name| self.by_name(name))
            .or(self.first.as_ref())
    }

    fn by_name(&self, name: &str) -> Option<&Choice> {
        let exact = self.by_name.get(name);
        exact.or_else(|| self.by_name.get(&wildcard(name)?))
    }
}

/// A wildcard stands for exactly one label, the leftmost (RFC 9525 §6.3).
fn wildcard(name: &str) -> Option<String> {
    let (label, parent) = name.split_once('.')?;
    (!label.is_empty()).then(|| format!("*.{parent}"))
}

impl ResolvesServerCert for ResolveBySni {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls gives the name in lower case and without a trailing dot.
        let asked = client_hello.server_name();
        let choice = self.choose(asked)?;
        if asked.is_some() {
            accept::note_chosen(&choice.names);
        }
        Some(choice.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::certificates::tests::certificate;

    #[test]
    fn sni_chooses_exact_then_wildcard_then_first() {
        let certificates = [
            certificate(&["a.test"]),
            certificate(&["*.b.test", "a.test"]),
            certificate(&["X.b.test"]),
        ];
        let resolver = ResolveBySni::new(&certificates);
        let table = [
            (Some("a.test"), 0),
            (Some("y.b.test"), 1),
            (Some("x.b.test"), 2),
            (Some("b.test"), 0),
            (Some("z.y.b.test"), 0),
            (Some("elsewhere.test"), 0),
            (None, 0),
        ];
        for (name, expected) in table {
            let found = resolver.find(name).unwrap();
            assert!(Arc::ptr_eq(found, &certificates[expected].key), "{name:?}");
        }
        assert!(ResolveBySni::new(&[]).find(Some("a.test")).is_none());
    }

    #[test]
    fn names_cover_what_a_client_may_ask_for_on_the_same_connection() {
        let certificates = [
            certificate(&["a.test", "*.b.test"]),
            certificate(&["c.test"]),
        ];
        let resolver = ResolveBySni::new(&certificates);
        let names = resolver.named("a.test").unwrap();
        for (host, covered, named) in [
            ("a.test", true, true),
            ("x.b.test", true, true),
            ("y.x.b.test", false, false),
            ("b.test", false, false),
            ("c.test", false, true),
            ("elsewhere.test", false, false),
            ("[::1]", false, false),
        ] {
            let found = (names.cover(host), resolver.named(host).is_some());
            assert_eq!(found, (covered, named), "{host}");
        }
    }
}
