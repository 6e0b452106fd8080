//! What can be typed: a file for each table, as in the TOML.
//!
//! A value here has the right form and is within its bounds; whether it fits the others is [`check`](super::check)'s part.
//! The doc comments of the keys are the reference of the configuration.

pub(crate) mod action;
pub(crate) mod admin;
pub(crate) mod auth;
pub(crate) mod balance;
pub(crate) mod bridge;
pub(crate) mod collection;
pub(crate) mod decode;
pub(crate) mod dns;
pub(crate) mod errors;
pub(crate) mod feed;
pub(crate) mod fields;
pub(crate) mod form;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod mapping;
pub(crate) mod opening;
pub(crate) mod publish;
pub(crate) mod rate;
pub(crate) mod route;
pub(crate) mod scalar;
pub(crate) mod server;
pub(crate) mod table;
pub(crate) mod tls;
pub(crate) mod trace;
pub(crate) mod trust;
pub(crate) mod upstream;
mod url;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::schema::collection::{List, Named, Tables};
use crate::config::schema::decode::{Decode, DefinedTwice, Located, Reader, mismatch};
use crate::config::schema::form::Form;
use crate::config::schema::scalar::Text;
use crate::config::schema::table::table;

table! {
    /// All files together.
    Root, "the top level of the file", "a table" {
        /// Other files, relative to this one; `*` in a file's name stands for anything. Tables of lists append, a name defined
        /// twice is an error.
        include: Include,
        /// The process.
        server: server::Server,
        /// Where clients come in.
        listen: Tables<listen::Listen>,
        /// Certificates, and what is common to all listeners with TLS.
        tls: tls::Tls,
        /// Who is believed.
        trust: trust::Trust,
        /// How names of servers are resolved.
        dns: dns::Dns,
        /// What one client can take from the others.
        limits: limits::Limits,
        /// Servers that exist already.
        upstream: Named<upstream::Upstream>,
        /// Which requests go where.
        route: Tables<route::Route>,
        /// Feeds that are fanned out.
        bridge: Named<bridge::Bridge>,
        /// Who may ask.
        auth: Named<auth::Auth>,
        /// Pages in the place of streamgate's own errors: `502 = "errors/502.html"`, or `5xx` for all that have none of their own.
        /// HTML, JSON or text by the end of the name; of several, `502 = ["502.html", "502.json"]`, the request's `Accept` chooses.
        /// Each up to 1 MiB; they are read when the configuration is.
        errors: errors::Errors,
        /// What is written to stdout.
        log: server::Log,
        /// Distributed traces. Default: there are none, and `traceparent` passes as it is.
        trace: trace::Trace,
        /// What the operator's own tools see.
        admin: admin::Admin,
    }
}

/// `include`: the patterns of all files, in the order in which they were read.
#[derive(Debug)]
pub(crate) struct Include(pub(crate) Vec<Located<Text>>);

impl Decode for Include {
    const EXPECTED: &'static str = "a list of paths";

    fn form() -> Form {
        Form::List(Box::new(Form::Text("a path, `*` in a file's name")))
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        if !value.get_ref().is_array() {
            mismatch(value, Self::EXPECTED, reader);
            return None;
        }
        List::decode(value, reader).map(|List(patterns)| Self(patterns))
    }

    fn again(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        reader: &mut Reader<'_>,
    ) -> Result<(), DefinedTwice> {
        if let Some(Self(more)) = Self::decode(value, reader) {
            self.0.extend(more);
        }
        Ok(())
    }
}
