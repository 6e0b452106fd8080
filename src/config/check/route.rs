//! `[[route]]`: each has one action that exists, and no two take the same requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use crate::config::check::{Context, action, fields, rate, streams};
use crate::config::diagnostic::Place;
use crate::config::model::{Bridge, PageOrigins, Resume, Route, RouteAction, StreamFate};
use crate::config::schema::Root;
use crate::config::schema::collection::Named;
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::route;
use crate::config::schema::scalar::Text;
use crate::config::schema::table::Table;
use crate::config::spelling;
use crate::route::template::is_of_request;
use crate::route::{PathPattern, Router, Rule, Template};

/// What a route matches if it does not say.
pub(crate) const ANY_PATH: &str = "/*";

type Bridges = BTreeMap<Arc<str>, Arc<Bridge>>;

/// `body_size` is that of `[limits]`.
pub(crate) fn check(
    root: &Root,
    bridges: &Bridges,
    body_size: Option<u64>,
    context: &mut Context<'_>,
) -> Vec<Route> {
    let tables = root.route.value().map_or(&[][..], |tables| &tables.0);
    tell_conflicts(tables, context);
    tables
        .iter()
        .filter_map(|table| {
            let route = check_one(table, root, bridges, context)?;
            let own = table.limits.get(|limits| &limits.body_size);
            Some(Route {
                body_size: own.map_or(body_size, |size| size.0),
                ..route
            })
        })
        .collect()
}

fn check_one(
    table: &route::Route,
    root: &Root,
    bridges: &Bridges,
    context: &mut Context<'_>,
) -> Option<Route> {
    let rule = rule(table, context);
    let path = rule.as_ref().map(|rule| &rule.path);
    let action = action(table, path, root, bridges, context);
    let rule = rule?;
    let headers = table.headers.value();
    let request = headers.and_then(|headers| headers.request.value());
    let request_fields = fields::check(request, &rule.path, context);
    let response = headers.and_then(|headers| headers.response.value());
    let response_fields = fields::check(response, &rule.path, context);
    let auth = match table.auth.located() {
        Some(name) => Some(resolve(name, &root.auth, "auth", context)?),
        // A broken one guards the route no less.
        None if !table.auth.is_absent() => return None,
        None => None,
    };
    rate::check_users(table, context);
    let action = action?;
    let origins = origins(table, &action, context);
    let host = rule
        .host
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    Some(Route {
        name: format!("{host}{}", rule.path).into(),
        host: rule.host,
        path: rule.path,
        methods: rule.methods,
        action,
        timeouts: streams::timeouts(&table.timeouts),
        websocket: streams::websocket(table, context),
        event_streams: streams::event_streams(table),
        rate: rate::check(&table.limits, context),
        streams: streams::limits(&table.limits),
        on_unhealthy: table.on_unhealthy.map_or(StreamFate::Keep, |word| word.0),
        on_remove: table.on_remove.map_or(StreamFate::Keep, |word| word.0),
        request_fields,
        response_fields,
        origins,
        body_size: None,
        auth,
    })
}

/// Who may open WebSockets here; told where nobody ever could, or where it means nothing.
fn origins(
    table: &route::Route,
    action: &RouteAction,
    context: &mut Context<'_>,
) -> Option<PageOrigins> {
    let listed = table.origins.value()?;
    let place = table.origins.key().unwrap_or(table.place());
    if matches!(action, RouteAction::Redirect(_) | RouteAction::Respond(_)) {
        let message = "`origins` is for a route with an `upstream` or a `bridge`: nothing else is a WebSocket";
        context.diagnostics.error(place, message);
    }
    if listed.0.is_empty() {
        context
            .diagnostics
            .error(place, "`origins` is empty: no page could connect")
            .hint("leave it out for any page");
    }
    Some(listed.0.iter().map(|origin| origin.value.clone()).collect())
}

/// What the route matches; `None` if a part of it is broken.
fn rule(table: &route::Route, context: &mut Context<'_>) -> Option<Rule> {
    if table
        .methods
        .value()
        .is_some_and(|methods| methods.0.is_empty())
    {
        let place = table.methods.key().unwrap_or(table.place());
        context
            .diagnostics
            .error(place, "`methods` is empty: no request would match")
            .hint("leave it out for any method");
    }
    pure_rule(table)
}

fn pure_rule(table: &route::Route) -> Option<Rule> {
    let broken = matches!(table.host, Field::Broken) || matches!(table.methods, Field::Broken);
    let path = match &table.path {
        Field::Absent => any_path(),
        Field::Broken => return None,
        Field::Given { value, .. } => value.value.clone(),
    };
    let listed = table.methods.value().map_or(&[][..], |methods| &methods.0);
    let mut methods: Vec<Method> = Vec::new();
    for method in listed {
        if !methods.contains(&method.value.0) {
            methods.push(method.value.0.clone());
        }
    }
    (!broken).then(|| Rule {
        host: table.host.value().cloned(),
        path,
        methods,
    })
}

fn any_path() -> PathPattern {
    PathPattern::parse(ANY_PATH).expect("`/*` is a prefix pattern without names")
}

fn tell_conflicts(tables: &[route::Route], context: &mut Context<'_>) {
    let rules = tables
        .iter()
        .filter_map(|table| pure_rule(table).map(|rule| (rule, table)));
    let (rules, tables): (Vec<Rule>, Vec<&route::Route>) = rules.unzip();
    let Err(conflicts) = Router::new(rules.into_iter().map(|rule| (rule, ()))) else {
        return;
    };
    let place = |index: usize| {
        tables[index]
            .path
            .located()
            .map_or(tables[index].place(), |path| path.place)
    };
    for conflict in conflicts {
        let first = context.diagnostics.position(place(conflict.first));
        let finding = context
            .diagnostics
            .error(place(conflict.second), "two routes take the same requests");
        finding.hint(format!("the other one is at {first}"));
    }
}

/// The one action; `None` if there is not exactly one, or it is wrong.
fn action(
    table: &route::Route,
    path: Option<&PathPattern>,
    root: &Root,
    bridges: &Bridges,
    context: &mut Context<'_>,
) -> Option<RouteAction> {
    let kind = only_action(table, context)?;
    if kind != Kind::Upstream {
        tell_useless(table, kind, context);
    }
    match kind {
        Kind::Upstream => {
            let path = action::path_change(table, path, context);
            let name = resolve(
                table.upstream.located()?,
                &root.upstream,
                "upstream",
                context,
            )?;
            Some(RouteAction::Upstream {
                name,
                path: path?,
                preserve_host: table.preserve_host.value().copied().unwrap_or(true),
            })
        }
        Kind::Bridge => {
            let value = table.bridge.located()?;
            let name = resolve(value, &root.bridge, "bridge", context)?;
            if let Some(bridge) = bridges.get(&name) {
                check_names(table, value.place, bridge, context);
            }
            Some(RouteAction::Bridge { name })
        }
        Kind::Redirect => {
            let redirect = action::redirect(table.redirect.located()?, path?, context);
            Some(RouteAction::Redirect(redirect))
        }
        Kind::Respond => {
            let fixed = action::respond(table.respond.located()?, context);
            Some(RouteAction::Respond(fixed))
        }
    }
}

/// What a route does, by the key that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Upstream,
    Bridge,
    Redirect,
    Respond,
}

/// The only action that is there. One that is wrong counts for as much: it has been told.
fn only_action(table: &route::Route, context: &mut Context<'_>) -> Option<Kind> {
    let given = |absent: bool, key: Option<Place>, kind: Kind| (!absent).then_some((key, kind));
    let all = [
        given(
            table.upstream.is_absent(),
            table.upstream.key(),
            Kind::Upstream,
        ),
        given(table.bridge.is_absent(), table.bridge.key(), Kind::Bridge),
        given(
            table.redirect.is_absent(),
            table.redirect.key(),
            Kind::Redirect,
        ),
        given(
            table.respond.is_absent(),
            table.respond.key(),
            Kind::Respond,
        ),
    ];
    let mut there = all.into_iter().flatten();
    let Some((key, kind)) = there.next() else {
        if !table.has_unknown_key() {
            let finding = context
                .diagnostics
                .error(table.place(), "`[[route]]` has no action");
            finding.hint(
                "`upstream = \"NAME\"`, `bridge = \"NAME\"`, `redirect = …` or `respond = …` says what is done",
            );
        }
        return None;
    };
    let mut several = false;
    for (second, _kind) in there {
        several = true;
        if let Some(second) = second {
            let message = "a route has one action: `upstream`, `bridge`, `redirect` or `respond`";
            context.diagnostics.error(second, message);
        }
    }
    (!several && key.is_some()).then_some(kind)
}

/// The name of a table that exists.
fn resolve<T>(
    name: &Located<Text>,
    tables: &Field<Named<T>>,
    kind: &str,
    context: &mut Context<'_>,
) -> Option<Arc<str>> {
    let wanted = name.value.value.as_str();
    if tables.value().is_some_and(|named| named.contains(wanted)) {
        return Some(wanted.into());
    }
    if matches!(tables, Field::Broken) {
        return None;
    }
    let known = tables
        .value()
        .into_iter()
        .flat_map(|named| named.tables.keys())
        .map(String::as_str);
    let mut hint = spelling::hint(wanted, "there are", known);
    if tables.is_absent() {
        hint = format!("`[{kind}.NAME]` declares one");
    }
    let message = format!("there is no {kind} `{}`", context.typed(name.place));
    context.diagnostics.error(name.place, message).hint(hint);
    None
}

/// Tells of the keys that only mean something towards an upstream.
fn tell_useless(table: &route::Route, kind: Kind, context: &mut Context<'_>) {
    let what = match kind {
        Kind::Upstream | Kind::Bridge => "a bridge",
        Kind::Redirect => "a redirect",
        Kind::Respond => "a fixed response",
    };
    let request = table.headers.value().map(|headers| &headers.request);
    let limits = table.limits.value();
    let body_size = limits.map(|limits| &limits.body_size);
    let keys = [
        (table.heartbeat.key(), "heartbeat"),
        (table.resume.key(), "resume"),
        (table.strict.key(), "strict"),
        (
            limits.and_then(|l| l.message_size.key()),
            "limits.message_size",
        ),
        (limits.and_then(|l| l.messages.key()), "limits.messages"),
        (
            limits.and_then(|l| l.message_burst.key()),
            "limits.message_burst",
        ),
        (table.strip_prefix.key(), "strip_prefix"),
        (table.rewrite.key(), "rewrite"),
        (table.preserve_host.key(), "preserve_host"),
        (table.timeouts.key(), "timeouts"),
        (request.and_then(Field::key), "headers.request"),
        (body_size.and_then(Field::key), "limits.body_size"),
    ];
    for (key, name) in keys {
        if let Some(key) = key {
            let message =
                format!("`{name}` is for a route with an `upstream`: {what} has no use for it");
            context.diagnostics.error(key, message);
        }
    }
    let streams = [
        (limits.and_then(|l| l.streams.key()), "limits.streams"),
        (
            limits.and_then(|l| l.streams_per_ip.key()),
            "limits.streams_per_ip",
        ),
    ];
    for (key, name) in streams {
        if let Some(key) = key.filter(|_key| kind != Kind::Bridge) {
            let message = format!(
                "`{name}` is for a route with an `upstream` or a `bridge`: {what} has no streams"
            );
            context.diagnostics.error(key, message);
        }
    }
}

/// Every name that the bridge's texts use must be a segment of the route's path.
fn check_names(table: &route::Route, place: Place, bridge: &Bridge, context: &mut Context<'_>) {
    if matches!(table.path, Field::Broken) {
        return;
    }
    let path = table.path.value().cloned().unwrap_or_else(any_path);
    let sources = bridge.source.iter().map(|source| ("source", &source.path));
    let send = bridge
        .connect
        .send
        .iter()
        .map(|greeting| ("connect.send", &greeting.text));
    let resume = bridge.resume.iter().map(|resume| ("resume", &resume.send));
    let url = bridge.publish.iter().flat_map(|publish| &publish.url);
    let texts = sources
        .chain(url.map(|url| ("publish.url", &url.path)))
        .chain(send)
        .chain(resume)
        .chain([("share_key", &bridge.share_key)]);
    let mut told: Vec<&str> = Vec::new();
    for (key, template) in texts {
        for name in Template::names(template) {
            let known = path.names().iter().any(|segment| segment.as_ref() == name);
            let known = known || is_of_request(name) || (key == "resume" && name == Resume::LAST);
            if known || told.contains(&name) {
                continue;
            }
            told.push(name);
            let message =
                format!("the path `{path}` has no `{{{name}}}`, which `{key}` of this bridge uses");
            let hint = format!("a segment `{{{name}}}` in the path gives it its value");
            context.diagnostics.error(place, message).hint(hint);
        }
    }
}
