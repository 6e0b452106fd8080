//! `[tls]` and `[[tls.certificate]]`.

use crate::config::model::TlsVersion;
use crate::config::schema::collection::Tables;
use crate::config::schema::scalar::{OneOf, Text, Word};
use crate::config::schema::table::table;

table! {
    /// `[tls]`: what is common to all listeners with `tls = true`.
    Tls, "`[tls]`", "a table, `[tls]`" {
        /// The lowest version that is negotiated, `"1.2"` (the default) or `"1.3"`.
        min_version: OneOf<TlsVersion>,
        /// Whether clients may resume a session by ticket. Default `true`.
        session_tickets: bool,
        /// `[[tls.certificate]]`: chosen by SNI from the names inside the certificate; the first one answers clients
        /// that ask for another name, or for none.
        certificate: Tables<Certificate>,
    }
}

table! {
    /// `[[tls.certificate]]`: a certificate with its key.
    Certificate, "`[[tls.certificate]]`", "a table, `[[tls.certificate]]`" {
        /// The chain as PEM, the server's own certificate first. A path relative to this file. Required.
        cert: Text,
        /// The private key as PEM, without a passphrase. A path relative to this file. Required.
        key: Text,
    }
}

impl Word for TlsVersion {
    const EXPECTED: &'static str = "a TLS version";
    const WORDS: &'static [(&'static str, Self)] =
        &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
}
