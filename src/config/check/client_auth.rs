//! `client_auth` of `[tls]`: the authorities are read here, so that a mistake in their file is told where it is named.

use std::error::Error;

use crate::config::check::{Context, tls};
use crate::config::model::ClientAuth;
use crate::config::schema::decode::Field;
use crate::config::schema::table::Table;
use crate::config::schema::tls::{ClientAuthMode, Tls};
use crate::tls::certificates;

/// `None`: clients show no certificates, or what is said of them is wrong and has been told.
pub(super) fn check(table: &Field<Tls>, context: &mut Context<'_>) -> Option<ClientAuth> {
    let auth = table.get(|tls| &tls.client_auth)?;
    let mode = auth.mode.map_or(ClientAuthMode::Off, |word| word.0);
    let Some(demand) = mode.demand() else {
        if let Some(key) = auth.ca.key().filter(|_| auth.mode.is_absent()) {
            let message =
                "`client_auth` has a `ca` and no `mode`: nobody is asked for a certificate";
            let hint = "`mode = \"required\"` refuses clients without one, \"optional\" does not";
            context.diagnostics.error(key, message).hint(hint);
        }
        return None;
    };
    let Some(ca) = auth.ca.located() else {
        if auth.ca.is_absent() && !auth.has_unknown_key() {
            let message = "`client_auth` has no `ca`: nobody's certificates can be verified";
            let hint = "`ca = \"clients.pem\"` is who must have signed them";
            context.diagnostics.error(auth.place(), message).hint(hint);
        }
        return None;
    };
    let path = context.path(ca);
    context.note_read(&path);
    let roots = match certificates::load_chain(&path) {
        Ok(roots) => roots,
        Err(error) => {
            tls::tell(&error, ca, ca, context);
            return None;
        }
    };
    let auth = ClientAuth { demand, roots };
    if let Err(error) = auth.verifier() {
        let cause = error.source().map(|cause| format!(": {cause}"));
        let typed = context.typed(ca.place);
        let message = format!("`{typed}` {error}{}", cause.unwrap_or_default());
        context.diagnostics.error(ca.place, message);
        return None;
    }
    Some(auth)
}
