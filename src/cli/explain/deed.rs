//! What a route does with a request: where it goes, under which path, or what is answered.

use http::header;

use crate::cli::explain::asked::Asked;
use crate::cli::explain::verdict::Taken;
use crate::config::Explained;
use crate::config::model::{Mode, PathChange, RouteAction, Server, Upstream};
use crate::forward;
use crate::http::origin::Origin;
use crate::net::Scheme;
use crate::observe::access::RequestId;
use crate::respond::action;
use crate::respond::values::Values;
use crate::route::Escape;

/// An action, with what is to be said of it by name.
#[derive(Debug)]
pub(super) struct Deed {
    /// The key that says so, and its name: `upstream "app"`.
    pub(super) what: String,
    /// Where the table stands that is named there.
    pub(super) place: Option<String>,
    /// Name and text.
    pub(super) facts: Vec<(&'static str, String)>,
}

/// What becomes of the request on its route.
pub(super) fn of(explained: &Explained, asked: &Asked, taken: &Taken<'_>) -> Deed {
    match &taken.route.action {
        RouteAction::Upstream {
            name,
            path,
            preserve_host,
        } => {
            let upstream = &explained.config.upstreams[name];
            let host = if *preserve_host {
                format!("{} (the client's)", asked.host.authority())
            } else {
                "the server's own".to_owned()
            };
            let facts = vec![
                ("servers", servers(upstream)),
                ("asks for", target(asked, taken, path)),
                ("host", host),
            ];
            Deed {
                what: format!("upstream \"{name}\""),
                place: place(explained, "upstream", name),
                facts,
            }
        }
        RouteAction::Bridge { name } => bridge(explained, name, taken),
        RouteAction::Redirect(redirect) => {
            let response = with_values(asked, taken, |it| action::redirect(redirect, it));
            let location = response.ok().and_then(|response| {
                let location = response.headers().get(header::LOCATION)?;
                location.to_str().ok().map(str::to_owned)
            });
            let location = location.unwrap_or_else(|| "nowhere: 400".to_owned());
            Deed {
                what: format!("redirect, {}", redirect.status),
                place: None,
                facts: vec![("to", location)],
            }
        }
        RouteAction::Respond(fixed) => {
            let kind = fixed.content_type.as_ref().and_then(|it| it.to_str().ok());
            let body = match kind {
                Some(kind) => format!("{} bytes of {kind}", fixed.body.len()),
                None => "none".to_owned(),
            };
            Deed {
                what: format!("respond, {}", fixed.status),
                place: None,
                facts: vec![("body", body)],
            }
        }
    }
}

fn bridge(explained: &Explained, name: &str, taken: &Taken<'_>) -> Deed {
    let bridge = &explained.config.bridges[name];
    let keys = explained.settings.of_table(&["bridge", name]);
    let source = keys.into_iter().find(|setting| setting.key == "source");
    let mode = match bridge.mode {
        Mode::Shared => "shared: one connection to the feed for all clients of a channel",
        Mode::Session => "session: each client has a connection of its own",
    };
    let mut facts = vec![
        ("source", source.map(|it| it.value).unwrap_or_default()),
        ("mode", mode.to_owned()),
    ];
    if taken.is_ticket {
        facts.push((
            "ticket",
            "this request gets one for the route's streams".to_owned(),
        ));
    }
    Deed {
        what: format!("bridge \"{name}\""),
        place: place(explained, "bridge", name),
        facts,
    }
}

fn place(explained: &Explained, kind: &str, name: &str) -> Option<String> {
    let place = explained.settings.place(&[kind, name]);
    place.map(str::to_owned)
}

fn servers(upstream: &Upstream) -> String {
    let servers: Vec<String> = upstream.servers.iter().map(server).collect();
    servers.join(", ")
}

fn server(server: &Server) -> String {
    let address = server.addr.to_string();
    let address = match server.addr.scheme {
        Scheme::Http if address.starts_with("unix:") => address,
        Scheme::Http => format!("http://{address}"),
        Scheme::Https => format!("https://{address}"),
        Scheme::H2c => format!("h2c://{address}"),
    };
    match server.weight {
        1 => address,
        weight => format!("{address} (weight {weight})"),
    }
}

/// What the server is asked for.
fn target(asked: &Asked, taken: &Taken<'_>, change: &PathChange) -> String {
    let rewritten = match change {
        PathChange::Rewrite(path) => Some(with_values(asked, taken, |values| {
            values.render(path, Escape::PathSegment)
        })),
        PathChange::Keep | PathChange::Strip(_) => None,
    };
    forward::target(&asked.url.uri, change, rewritten.as_deref())
}

/// Uses the values of the request, whose client is an address of nobody (RFC 5737).
fn with_values<T>(asked: &Asked, taken: &Taken<'_>, act: impl FnOnce(&Values<'_>) -> T) -> T {
    let client = std::net::SocketAddr::from(([192, 0, 2, 1], 0));
    let proto = if asked.url.is_tls { "https" } else { "http" };
    let origin = Origin::of_connection(client, proto, asked.url.port());
    let id = RequestId::random();
    act(&Values {
        captures: &taken.captures,
        pattern: &taken.route.path,
        path: asked.path(),
        query: asked.url.uri.query(),
        host: asked.host.name(),
        origin: &origin,
        id: &id,
    })
}
