//! `/api/certificates`: those in force, and for how long they are good.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::moment::of_seconds;
use crate::admin::State;
use crate::admin::answer::{Answer, json};
use crate::tls::certificates::Certificate;

const DAY: f64 = 86_400.0;

pub(super) fn certificates(state: &State) -> Answer {
    let snapshot = state.shown.shared.load();
    let certificates = snapshot.config.tls.certificates.iter();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs_f64();
    let all: Vec<_> = certificates
        .map(|it| certificate_as_json(it, now))
        .collect();
    json(&json!({ "certificates": all }))
}

fn certificate_as_json(certificate: &Certificate, now: f64) -> Value {
    let expiry = certificate.expiry();
    // One that was made in memory has a description in the place of its file.
    let file = Some(&certificate.origin).filter(|origin| origin.contains('/'));
    json!({
        "names": certificate.names,
        "file": file,
        "not_before": certificate.begin().map(of_seconds),
        "not_after": expiry.map(of_seconds),
        "days_left": expiry.map(|expiry| (expiry as f64 - now) / DAY),
        "ocsp": certificate.key.ocsp.is_some(),
    })
}
