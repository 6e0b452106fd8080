//! The way to the server, judged.

use serde_json::json;

use crate::doctor::connect::Tls;
use crate::doctor::tick::milliseconds;
use crate::tls::accept::Protocol;
use crate::tls::described::Described;

use super::{Area, Case, Finding, Verdict, seconds, shown};

/// Days before its end from which on a certificate should have been renewed.
const SHORT: i64 = 14;

const DAY: i64 = 86_400;

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut all = vec![reached(case)];
    match &case.measured.way.tls {
        Some(tls) => {
            all.push(handshake(tls));
            all.push(certificate(case, tls));
            all.extend(http(case, tls));
        }
        None => all.push(finding(
            "tls",
            Verdict::Note,
            "no TLS: proxies of strangers may read along, and hold events back",
        )),
    }
    if case.measured.probe.is_some() {
        all.push(chain(case));
        all.push(source(case));
    }
    all
}

fn finding(name: &'static str, verdict: Verdict, says: impl Into<String>) -> Finding {
    Finding::new(Area::Connection, name, verdict, says)
}

fn reached(case: &Case<'_>) -> Finding {
    let way = &case.measured.way;
    let name = &case.measured.target.authority.host;
    let others = match way.addresses.len() {
        0 | 1 => String::new(),
        count => format!(" (one of {count} addresses)"),
    };
    let lookup = way
        .lookup
        .map(|took| format!(", looked up in {}", shown(took)))
        .unwrap_or_default();
    let says = format!(
        "{name} is {}{others}{lookup}; TCP took {}",
        way.address,
        shown(way.tcp)
    );
    let figure = json!({
        "address": way.address.to_string(),
        "addresses": way.addresses.len(),
        "lookup_seconds": way.lookup.map(seconds),
        "tcp_seconds": seconds(way.tcp),
    });
    finding("reached", Verdict::Ok, says).with(figure)
}

fn handshake(tls: &Tls) -> Finding {
    let protocol = match tls.protocol {
        Protocol::Http2 => "HTTP/2",
        Protocol::Http1 => "HTTP/1.1",
    };
    let says = format!("{} in {}, {protocol}", tls.version, shown(tls.took));
    let figure = json!({
        "version": tls.version,
        "http": protocol,
        "seconds": seconds(tls.took),
    });
    finding("tls", Verdict::Ok, says).with(figure)
}

fn certificate(case: &Case<'_>, tls: &Tls) -> Finding {
    let name = "certificate";
    let now = i64::try_from(milliseconds() / 1000).unwrap_or(i64::MAX);
    let described = tls.certificate.as_ref();
    let days = described.and_then(|found| Some((found.not_after? - now).div_euclid(DAY)));
    let words = described.map(in_words).unwrap_or_default();
    if let Some(fault) = &tls.untrusted {
        let rest = match case.measured.probe {
            Some(_) => "`--insecure` went on all the same",
            None => {
                "a browser stops here; `--insecure` goes on, `--ca FILE` trusts another authority"
            }
        };
        let says = format!("{words} is not trusted: {fault}; {rest}");
        return finding(name, Verdict::Problem, says).with(days);
    }
    let verdict = match days {
        Some(days) if days < SHORT => Verdict::Warning,
        _ => Verdict::Ok,
    };
    let left = days
        .map(|days| format!(", valid for {days} days"))
        .unwrap_or_default();
    finding(name, verdict, format!("{words}{left}")).with(days)
}

fn in_words(certificate: &Described) -> String {
    let names = match certificate.names.is_empty() {
        true => "no name".to_owned(),
        false => certificate.names.join(", "),
    };
    format!("the certificate for {names} by {}", certificate.issuer)
}

fn http(case: &Case<'_>, tls: &Tls) -> Option<Finding> {
    let name = "http2";
    let extended = case.measured.probe.as_ref()?.extended_connect;
    Some(match (tls.protocol, extended) {
        (Protocol::Http1, _) => finding(
            name,
            Verdict::Warning,
            "no HTTP/2: a browser opens at most six connections to a host, and each event stream takes one",
        ),
        (Protocol::Http2, Some(true)) => finding(
            name,
            Verdict::Note,
            "WebSocket over HTTP/2 is offered (RFC 8441): browsers use it; measured here is HTTP/1.1",
        ),
        (Protocol::Http2, _) => finding(
            name,
            Verdict::Ok,
            "WebSocket over HTTP/2 is not offered: browsers open a connection of HTTP/1.1 for it",
        ),
    })
}

fn chain(case: &Case<'_>) -> Finding {
    let hops: Vec<String> = case
        .hops
        .iter()
        .map(|hop| format!("{} (by {})", hop.proxy.name(), hop.by))
        .collect();
    let says = match hops.is_empty() {
        true => "nobody on the way says who they are".to_owned(),
        false => format!("on the way: {}", hops.join(", ")),
    };
    let names: Vec<_> = case.hops.iter().map(|hop| hop.proxy.name()).collect();
    finding("proxies", Verdict::Note, says).with(names)
}

fn source(case: &Case<'_>) -> Finding {
    match case.is_certain() {
        true => finding(
            "source",
            Verdict::Note,
            "the app is `doctor --serve`: what is found is certain",
        )
        .with("doctor"),
        false => finding(
            "source",
            Verdict::Note,
            "the app is one of your own: with `streamgate doctor --serve` in its place delays would be exact",
        )
        .with("app"),
    }
}
