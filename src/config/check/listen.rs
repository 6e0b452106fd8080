//! `[[listen]]`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::check::Context;
use crate::config::diagnostic::Place;
use crate::config::model::{Listener, ListenerProtocol};
use crate::config::schema::Root;
use crate::config::schema::listen::Listen;
use crate::config::schema::table::Table;
use crate::net::ListenAddr;

pub(crate) fn check(
    root: &Root,
    without_certificate: bool,
    context: &mut Context<'_>,
) -> Vec<Listener> {
    let tables = root.listen.value().map_or(&[][..], |tables| &tables.0);
    if tables.is_empty() && (root.listen.is_absent() || root.listen.value().is_some()) {
        let finding = context
            .diagnostics
            .file_error(context.main, "there is no `[[listen]]`");
        finding.hint(
            "`[[listen]]` with `address = \"[::]:443\"` and `tls = true` is where clients come in",
        );
    }
    // That one could not be loaded is another mistake than that there is none, and has been told.
    let none_declared = root.tls.is_absent()
        || root
            .tls
            .value()
            .is_some_and(|tls| tls.certificate.is_absent());
    let mut listeners = Vec::new();
    let mut addresses: Vec<(&ListenAddr, Place)> = Vec::new();
    for table in tables {
        let protocol = protocol(table, context);
        if protocol == ListenerProtocol::Tls && without_certificate && none_declared {
            tell_no_certificate(table, context);
        }
        let Some(address) = table.address.located() else {
            if table.address.is_absent() && !table.has_unknown_key() {
                let finding = context
                    .diagnostics
                    .error(table.place(), "`[[listen]]` has no `address`");
                finding.hint("`address = \"[::]:443\"`");
            }
            continue;
        };
        if let Some((_, first)) = addresses
            .iter()
            .find(|(earlier, _)| collide(earlier, &address.value))
        {
            tell_collision(*first, address.place, context);
        }
        addresses.push((&address.value, address.place));
        listeners.push(Listener {
            address: address.value.clone(),
            protocol,
            websocket_over_h2: websocket_over_h2(table, protocol, context),
            proxy_protocol: proxy_protocol(root, table, context),
        });
    }
    warn_of_unused_certificate(root, &listeners, context);
    listeners
}

fn protocol(table: &Listen, context: &mut Context<'_>) -> ListenerProtocol {
    let tls = table.tls.value().copied().unwrap_or(false);
    let redirect = table.redirect_to_https.value().copied().unwrap_or(false);
    match (tls, redirect) {
        (true, true) => {
            if let Some(key) = table.redirect_to_https.key() {
                let message = "`redirect_to_https` and `tls` exclude each other";
                let hint = "the redirect has a listener of its own, on port 80";
                context.diagnostics.error(key, message).hint(hint);
            }
            ListenerProtocol::Tls
        }
        (true, false) => ListenerProtocol::Tls,
        (false, true) => ListenerProtocol::RedirectToHttps,
        (false, false) => ListenerProtocol::Clear,
    }
}

fn websocket_over_h2(
    table: &Listen,
    protocol: ListenerProtocol,
    context: &mut Context<'_>,
) -> bool {
    let wanted = table.websocket_over_h2.value().copied().unwrap_or(false);
    let key = table.websocket_over_h2.key();
    if let Some(key) = key.filter(|_| wanted && protocol != ListenerProtocol::Tls) {
        let message = "`websocket_over_h2` needs `tls = true`: HTTP/2 is spoken nowhere else";
        context.diagnostics.error(key, message);
    }
    wanted
}

fn proxy_protocol(root: &Root, table: &Listen, context: &mut Context<'_>) -> bool {
    let wanted = table.proxy_protocol.value().copied().unwrap_or(false);
    let nobody = root
        .trust
        .get(|trust| &trust.proxies)
        .is_none_or(|list| list.0.is_empty());
    if let Some(key) = table.proxy_protocol.key().filter(|_| wanted && nobody) {
        let message = "nobody is trusted to send a PROXY header: none is ever read";
        let hint = "`[trust]` with `proxies = [\"ADDRESS/PREFIX\"]` names the load balancers";
        context.diagnostics.warning(key, message).hint(hint);
    }
    wanted
}

fn tell_no_certificate(table: &Listen, context: &mut Context<'_>) {
    let place = table.tls.key().unwrap_or(table.place());
    let finding = context.diagnostics.error(
        place,
        "this listener speaks TLS, and there is no certificate",
    );
    finding.hint("`[[tls.certificate]]` with `cert` and `key` gives one");
}

fn warn_of_unused_certificate(root: &Root, listeners: &[Listener], context: &mut Context<'_>) {
    let certificates = root
        .tls
        .get(|tls| &tls.certificate)
        .and_then(|tables| tables.0.first());
    if let Some(first) = certificates.filter(|_| {
        !listeners
            .iter()
            .any(|l| l.protocol == ListenerProtocol::Tls)
    }) {
        let message = "no listener has `tls = true`: this certificate is never shown";
        context.diagnostics.warning(first.place(), message);
    }
}

pub(super) fn tell_collision(first: Place, second: Place, context: &mut Context<'_>) {
    let position = context.diagnostics.position(first);
    let message = if context.diagnostics.typed(first) == context.diagnostics.typed(second) {
        format!("`{}` is listened on twice", context.typed(second))
    } else {
        format!(
            "`{}` and `{}` take the same connections",
            context.typed(second),
            context.typed(first)
        )
    };
    context
        .diagnostics
        .error(second, message)
        .hint(format!("the first one is at {position}"));
}

/// Whether both addresses take the same connections. Port 0 is a new port each time.
pub(super) fn collide(one: &ListenAddr, other: &ListenAddr) -> bool {
    match (one, other) {
        (ListenAddr::Tcp(one), ListenAddr::Tcp(other)) => {
            one.port() == other.port() && one.port() != 0 && same_or_within(one.ip(), other.ip())
        }
        _ => one == other,
    }
}

/// `[::]` takes IPv4 too, so `0.0.0.0` is part of it. A single address beside `0.0.0.0` is refused by the kernel as well.
fn same_or_within(one: IpAddr, other: IpAddr) -> bool {
    let all = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let all_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let (one, other) = (one.to_canonical(), other.to_canonical());
    one == other
        || one == all
        || other == all
        || (one == all_v4 && other.is_ipv4())
        || (other == all_v4 && one.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_collides_with_what_it_covers() {
        let table = [
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ];
        for (one, other, expected) in table {
            let [a, b] = [one, other].map(|text| ListenAddr::Tcp(text.parse().unwrap()));
            assert_eq!(
                (collide(&a, &b), collide(&b, &a)),
                (expected, expected),
                "{one} {other}"
            );
        }
    }
}
