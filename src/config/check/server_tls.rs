//! `tls` of an upstream or a bridge: files are read here, so that a mistake in one is told where it is named.

use std::error::Error;

use crate::config::check::{Context, tls};
use crate::config::diagnostic::Place;
use crate::config::model::{Certificate, Server};
use crate::config::schema::decode::Field;
use crate::config::schema::table::Table;
use crate::config::schema::upstream::{Upstream, UpstreamTls};
use crate::net::Scheme;
use crate::tls::certificates;
use crate::tls::client::{Roots, ServerTls, ServerTlsError};

/// Who is spoken to by the settings.
pub(super) struct Peers {
    /// Whether one of them speaks TLS.
    pub(super) speak_tls: bool,
    /// Where they are listed.
    pub(super) place: Place,
    /// What is said where `tls` stands without need; `None`: nothing, for there are none yet.
    pub(super) without: Option<&'static str>,
}

impl Peers {
    /// The servers of an upstream.
    pub(super) fn of_upstream(upstream: &Upstream, servers: &[Server]) -> Self {
        let without = "`tls` has no effect: none of the `servers` is `https://`";
        Self {
            speak_tls: servers
                .iter()
                .any(|server| server.addr.scheme == Scheme::Https),
            place: upstream.servers.key().unwrap_or(upstream.place()),
            without: (!servers.is_empty()).then_some(without),
        }
    }
}

/// The settings for `peers`, as soon as one of them speaks TLS or `tls` says how it would.
pub(super) fn check(
    tls: &Field<UpstreamTls>,
    peers: &Peers,
    context: &mut Context<'_>,
) -> Option<ServerTls> {
    let Some(table) = tls.value() else {
        // A broken table has been told.
        if !peers.speak_tls || !tls.is_absent() {
            return None;
        }
        return build(Roots::System, None, None, peers.place, context);
    };
    if let Some(message) = peers.without.filter(|_| !peers.speak_tls) {
        context.diagnostics.warning(table.place(), message);
    }
    let (roots, identity) = (roots(table, context), identity(table, context));
    let name = table.server_name.value().map(|name| name.0.clone());
    let place = table.ca.located().map_or(table.place(), |text| text.place);
    build(roots?, name, identity?, place, context)
}

fn build(
    roots: Roots,
    name: Option<rustls_pki_types::ServerName<'static>>,
    identity: Option<Certificate>,
    place: Place,
    context: &mut Context<'_>,
) -> Option<ServerTls> {
    let error = match ServerTls::new(roots, name, identity) {
        Ok(settings) => return Some(settings),
        Err(error) => error,
    };
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    let typed = context.typed(place);
    let message = match error {
        ServerTlsError::BadRoot(_) => format!("`{typed}` {error}{cause}"),
        ServerTlsError::NoSystemRoots | ServerTlsError::Refused(_) => format!("{error}{cause}"),
    };
    let finding = context.diagnostics.error(place, message);
    if matches!(error, ServerTlsError::NoSystemRoots) {
        finding
            .hint("install `ca-certificates`, or name a file: `tls = { ca = \"internal.pem\" }`");
    }
    None
}

/// `None` when what is said of them is wrong.
fn roots(table: &UpstreamTls, context: &mut Context<'_>) -> Option<Roots> {
    let verify = table.verify.value().copied().unwrap_or(true);
    if !verify {
        let place = table.verify.key().unwrap_or(table.place());
        let message = "`verify = false` takes any certificate: anybody in between can read along";
        let finding = context.diagnostics.warning(place, message);
        finding.hint("`ca` names the one certificate that is to be trusted");
        if let Some(ca) = table.ca.key() {
            let message = "`ca` has no effect: nothing is verified";
            context.diagnostics.warning(ca, message);
        }
        return Some(Roots::Unverified);
    }
    let Some(ca) = table.ca.located() else {
        return table.ca.is_absent().then_some(Roots::System);
    };
    let path = context.path(ca);
    context.note_read(&path);
    match certificates::load_chain(&path) {
        Ok(roots) => Some(Roots::Given(roots)),
        Err(error) => {
            tls::tell(&error, ca, ca, context);
            None
        }
    }
}

/// The outer `None` when what is said of it is wrong.
fn identity(table: &UpstreamTls, context: &mut Context<'_>) -> Option<Option<Certificate>> {
    let (cert, key) = (&table.client_cert, &table.client_key);
    match (cert.located(), key.located()) {
        (Some(cert), Some(key)) => tls::pair(cert, key, context).map(Some),
        (None, None) => (cert.is_absent() && key.is_absent()).then_some(None),
        (Some(given), None) => half(given.place, key.is_absent(), "client_key", context),
        (None, Some(given)) => half(given.place, cert.is_absent(), "client_cert", context),
    }
}

fn half(
    given: Place,
    absent: bool,
    missing: &str,
    context: &mut Context<'_>,
) -> Option<Option<Certificate>> {
    if absent {
        let message = format!("`{missing}` is missing: a certificate is shown with its key");
        context.diagnostics.error(given, message);
    }
    None
}
