//! `[tls]`: certificates are loaded here, so that a mistake in a file is told where the file is named.

use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::check::{Context, client_auth, secret};
use crate::config::model::{Tls, TlsVersion};
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::scalar::Text;
use crate::config::schema::table::Table;
use crate::config::schema::tls::{self, PemFile};
use crate::tls::certificates::{self, Certificate, CertificateError, Part};

pub(crate) fn check(
    table: &Field<tls::Tls>,
    in_memory: Vec<Certificate>,
    context: &mut Context<'_>,
) -> Tls {
    let mut all = in_memory;
    for certificate in table
        .get(|tls| &tls.certificate)
        .into_iter()
        .flat_map(|tables| &tables.0)
    {
        all.extend(load(certificate, context));
    }
    Tls {
        min_version: table
            .get(|tls| &tls.min_version)
            .map_or(TlsVersion::V1_2, |version| version.0),
        session_tickets: table
            .get(|tls| &tls.session_tickets)
            .copied()
            .unwrap_or(true),
        client_auth: client_auth::check(table, context),
        hsts: table.get(|tls| &tls.hsts).and_then(|time| time.0),
        certificates: all,
    }
}

fn load(table: &tls::Certificate, context: &mut Context<'_>) -> Option<Certificate> {
    let cert = required(&table.cert, "cert", table, context);
    let key = required(&table.key, "key", table, context);
    let (cert, key) = (cert?, key?);
    let certificate = stapled(pair(cert, key, context)?, cert, context);
    warn_of_end(&certificate, cert, context);
    if certificate.names.is_empty() {
        let typed = context.typed(cert.value.text().place);
        let message =
            format!("`{typed}` has no DNS names: only as the first certificate is it shown");
        context.diagnostics.warning(cert.place, message);
    }
    Some(certificate)
}

/// With what its authority says of it, where that lies beside it: `site.ocsp` for `site.pem`.
fn stapled(
    certificate: Certificate,
    cert: &Located<PemFile>,
    context: &mut Context<'_>,
) -> Certificate {
    let PemFile::Path(file) = &cert.value else {
        return certificate;
    };
    let path = context.path(file).with_extension("ocsp");
    if !path.exists() {
        return certificate;
    }
    context.note_read(&path);
    let response = certificates::load_response(&path).ok();
    match response.and_then(|response| certificate.clone().stapled(response)) {
        Some(stapled) => stapled,
        None => {
            let message = format!(
                "`{}` is not a successful OCSP response: it is not shown",
                path.display()
            );
            context.diagnostics.warning(cert.place, message);
            certificate
        }
    }
}

fn warn_of_end(certificate: &Certificate, cert: &Located<PemFile>, context: &mut Context<'_>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
    let Some(left) = certificate.runs_out(now) else {
        return;
    };
    let typed = context.typed(cert.value.text().place);
    let message = match left.div_euclid(24 * 3600) {
        ..0 => format!("`{typed}` has expired"),
        0 => format!("`{typed}` expires within a day"),
        1 => format!("`{typed}` expires in a day"),
        days => format!("`{typed}` expires in {days} days"),
    };
    context.diagnostics.warning(cert.place, message);
}

/// A key that others can read is not a secret. systemd sees to its credentials by itself.
fn warn_of_readers(key: &Located<PemFile>, path: &Path, context: &mut Context<'_>) {
    let mode = std::fs::metadata(path).map_or(0, |file| file.permissions().mode());
    if mode & 0o004 != 0 && matches!(key.value, PemFile::Path(_)) {
        let typed = context.typed(key.value.text().place);
        let message = format!("`{typed}` can be read by everybody on this machine");
        let hint = "`chmod o-r` takes that away";
        context.diagnostics.warning(key.place, message).hint(hint);
    }
}

/// A certificate from two files that were named.
pub(super) fn pair(
    cert: &Located<PemFile>,
    key: &Located<PemFile>,
    context: &mut Context<'_>,
) -> Option<Certificate> {
    let (cert_path, key_path) = (path(cert, context), path(key, context));
    let (cert_path, key_path) = (cert_path?, key_path?);
    context.note_read(&cert_path);
    context.note_read(&key_path);
    warn_of_readers(key, &key_path, context);
    let (cert, key) = (cert.value.text(), key.value.text());
    // Both files are looked at before either stops it.
    let chain =
        certificates::load_chain(&cert_path).map_err(|error| tell(&error, cert, key, context));
    let private_key =
        certificates::load_key(&key_path).map_err(|error| tell(&error, cert, key, context));
    let (chain, private_key) = (chain.ok()?, private_key.ok()?);
    Certificate::from_der(cert_path.display().to_string(), chain, private_key)
        .map_err(|error| tell(&error, cert, key, context))
        .ok()
}

/// `None`: there is no such credential, and that has been told.
fn path(file: &Located<PemFile>, context: &mut Context<'_>) -> Option<PathBuf> {
    match &file.value {
        PemFile::Path(path) => Some(context.path(path)),
        PemFile::Credential(name) => secret::credential(name, context),
    }
}

fn required<'a>(
    field: &'a Field<PemFile>,
    name: &str,
    table: &tls::Certificate,
    context: &mut Context<'_>,
) -> Option<&'a Located<PemFile>> {
    if field.is_absent() && !table.has_unknown_key() {
        context.diagnostics.error(
            table.place(),
            format!("`[[tls.certificate]]` has no `{name}`"),
        );
    }
    field.located()
}

pub(super) fn tell(
    error: &CertificateError,
    cert: &Located<Text>,
    key: &Located<Text>,
    context: &mut Context<'_>,
) {
    let place = match error.part() {
        Part::Chain => cert.place,
        Part::Key => key.place,
    };
    let typed = context.typed(place);
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    let hint = hint(error, context.typed(cert.place));
    let finding = context
        .diagnostics
        .error(place, format!("`{typed}` {error}{cause}"))
        .of_pair();
    if let Some(hint) = hint {
        finding.hint(hint);
    }
}

fn hint(error: &CertificateError, cert: String) -> Option<String> {
    match error {
        CertificateError::NoCertificate { holds_key: true } => {
            Some("it holds a private key: are `cert` and `key` swapped?".to_owned())
        }
        CertificateError::NoKey {
            holds_certificate: true,
        } => Some("it holds a certificate: are `cert` and `key` swapped?".to_owned()),
        CertificateError::NoCertificate { .. } => {
            Some("PEM is expected, with `-----BEGIN CERTIFICATE-----`".to_owned())
        }
        CertificateError::NoKey { .. } => {
            Some("PEM is expected, with `-----BEGIN PRIVATE KEY-----`".to_owned())
        }
        CertificateError::EncryptedKey => {
            Some("`openssl pkey -in KEY -out NEW` takes the passphrase off".to_owned())
        }
        CertificateError::KeyMismatch => Some(format!(
            "the first certificate in `{cert}` must be the one that this key signs for"
        )),
        CertificateError::Unreadable { .. } => {
            Some("a path starts from the file that names it".to_owned())
        }
        CertificateError::TooLong { .. }
        | CertificateError::BrokenPem { .. }
        | CertificateError::BadCertificate(_)
        | CertificateError::BadKey(_) => None,
    }
}
