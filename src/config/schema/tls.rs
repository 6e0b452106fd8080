//! `[tls]` and `[[tls.certificate]]`.

use toml::Spanned;
use toml::de::DeValue;

use crate::config::model::{Demand, TlsVersion};
use crate::config::schema::collection::Tables;
use crate::config::schema::decode::{Decode, Located, Reader, mismatch};
use crate::config::schema::feed::{Secret, SecretSource};
use crate::config::schema::form::Form;
use crate::config::schema::scalar::{OneOf, Text, Word};
use crate::config::schema::table::table;
use crate::config::units::{DAY, SECOND, TimeLimit};

table! {
    /// `[tls]`: what is common to all listeners with `tls = true`.
    Tls, "`[tls]`", "a table, `[tls]`" {
        /// The lowest version that is negotiated, `"1.2"` (the default) or `"1.3"`.
        min_version: OneOf<TlsVersion>,
        /// Whether clients may resume a session by ticket. Default `true`; with `client_auth` none does, since who resumes is not asked for a
        /// certificate again.
        session_tickets: bool,
        /// Clients' certificates: `{ mode = "required", ca = "clients.pem" }`. Backends are told whose was shown, in `X-Client-Cert-Subject`,
        /// `X-Client-Cert-San` and `X-Client-Cert-Fingerprint` (SHA-256); what clients say of the kind is removed.
        client_auth: ClientAuth,
        /// How long browsers are to come by https only (RFC 6797): `Strict-Transport-Security` in every response over TLS that has none,
        /// but for WebSockets and long event streams over HTTP/1.1. Default `"0"`: it is not sent. `"180d"` is usual; begin with less.
        hsts: TimeLimit<SECOND, { 3650 * DAY }>,
        /// `[[tls.certificate]]`: chosen by SNI from the names inside the certificate; the first one answers clients
        /// that ask for another name, or for none.
        certificate: Tables<Certificate>,
    }
}

table! {
    /// `[[tls.certificate]]`: a certificate with its key.
    Certificate, "`[[tls.certificate]]`", "a table, `[[tls.certificate]]`" {
        /// The chain as PEM, the server's own certificate first. A path relative to this file, or like `key`. Required.
        cert: PemFile,
        /// The private key as PEM, without a passphrase. A path relative to this file, also as `{ file = "…" }`, or
        /// `{ credential = "name" }`. Required.
        key: PemFile,
    }
}

table! {
    /// `client_auth = { … }` of `[tls]`.
    ClientAuth, "`client_auth` of `[tls]`", "a table, `client_auth = { … }`" {
        /// `"off"` (the default), `"optional"`: a client may show a certificate, or `"required"`: without one there is no connection. One
        /// that is not good ends the handshake in any case.
        mode: OneOf<ClientAuthMode>,
        /// Certificates as PEM, one of which must have signed the client's. A path relative to this file. Required but with `"off"`.
        ca: Text,
    }
}

/// `mode` of `client_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuthMode {
    /// Nobody is asked.
    Off,
    /// All are asked.
    Asked(Demand),
}

impl ClientAuthMode {
    /// What is demanded of clients; `None`: nothing.
    pub(crate) fn demand(self) -> Option<Demand> {
        match self {
            Self::Off => None,
            Self::Asked(demand) => Some(demand),
        }
    }
}

impl Word for ClientAuthMode {
    const EXPECTED: &'static str = "whether clients show certificates";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("optional", Self::Asked(Demand::Optional)),
        ("required", Self::Asked(Demand::Required)),
    ];
}

/// How a section of PEM begins (RFC 7468 §2).
const PEM: &str = "-----BEGIN";

/// Where a certificate or a key lies.
#[derive(Debug)]
pub(crate) enum PemFile {
    /// At this path.
    Path(Located<Text>),
    /// Passed on by systemd, under this name.
    Credential(Located<Text>),
}

impl Decode for PemFile {
    const EXPECTED: &'static str = "a path, `{ file = \"…\" }` or `{ credential = \"…\" }`";

    fn form() -> Form {
        Form::Either(vec![Form::Text("a path"), SecretSource::form()])
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        if !matches!(value.get_ref(), DeValue::String(_) | DeValue::Table(_)) {
            mismatch(value, Self::EXPECTED, reader);
            return None;
        }
        let place = reader.place(value.span());
        match Secret::decode(value, reader)? {
            Secret::Inline(text) if text.value.contains(PEM) => {
                // Nobody is to read a key in a log.
                reader.diagnostics.cover(place);
                let message = "expected a path, found the PEM itself";
                reader.diagnostics.error(place, message);
                None
            }
            Secret::Inline(value) => Some(Self::Path(Located { value, place })),
            Secret::File(path) => Some(Self::Path(path)),
            Secret::Credential(name) => Some(Self::Credential(name)),
        }
    }
}

impl PemFile {
    /// What was typed.
    pub(crate) fn text(&self) -> &Located<Text> {
        match self {
            Self::Path(text) | Self::Credential(text) => text,
        }
    }
}

impl Word for TlsVersion {
    const EXPECTED: &'static str = "a TLS version";
    const WORDS: &'static [(&'static str, Self)] =
        &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
}
