//! `[[route]]`: each has one action that exists, and no two take the same requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use crate::config::check::{Context, seconds};
use crate::config::diagnostic::Place;
use crate::config::model::{Bridge, OnUnhealthy, Route, RouteAction, Timeouts};
use crate::config::schema::Root;
use crate::config::schema::collection::Named;
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::route;
use crate::config::schema::scalar::Text;
use crate::config::schema::table::Table;
use crate::config::spelling;
use crate::route::{PathPattern, Router, Rule, Template};

/// What a route matches if it does not say.
const ANY_PATH: &str = "/*";

type Bridges = BTreeMap<Arc<str>, Arc<Bridge>>;

pub(crate) fn check(root: &Root, bridges: &Bridges, context: &mut Context<'_>) -> Vec<Route> {
    let tables = root.route.value().map_or(&[][..], |tables| &tables.0);
    tell_conflicts(tables, context);
    tables
        .iter()
        .filter_map(|table| check_one(table, root, bridges, context))
        .collect()
}

fn check_one(
    table: &route::Route,
    root: &Root,
    bridges: &Bridges,
    context: &mut Context<'_>,
) -> Option<Route> {
    let rule = rule(table, context);
    let action = action(table, root, bridges, context);
    let (rule, action) = (rule?, action?);
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
        timeouts: timeouts(&table.timeouts),
        on_unhealthy: table.on_unhealthy.map_or(OnUnhealthy::Keep, |word| word.0),
    })
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
    root: &Root,
    bridges: &Bridges,
    context: &mut Context<'_>,
) -> Option<RouteAction> {
    match (&table.upstream, &table.bridge) {
        (Field::Absent, Field::Absent) if table.has_unknown_key() => None,
        (Field::Absent, Field::Absent) => {
            let finding = context
                .diagnostics
                .error(table.place(), "`[[route]]` has no action");
            finding.hint("`upstream = \"NAME\"` or `bridge = \"NAME\"` says where requests go");
            None
        }
        (Field::Absent | Field::Broken, Field::Broken) | (Field::Broken, Field::Absent) => None,
        (Field::Given { .. } | Field::Broken, Field::Given { key, .. }) => {
            context.diagnostics.error(
                *key,
                "a route has one action: either `upstream` or `bridge`",
            );
            None
        }
        (Field::Given { value, .. }, Field::Absent | Field::Broken) => {
            let strip_prefix = strip_prefix(table, context);
            let name = resolve(value, &root.upstream, "upstream", context)?;
            Some(RouteAction::Upstream { name, strip_prefix })
        }
        (Field::Absent, Field::Given { value, .. }) => {
            tell_useless(table.strip_prefix.key(), "strip_prefix", context);
            tell_useless(table.timeouts.key(), "timeouts", context);
            tell_useless(table.on_unhealthy.key(), "on_unhealthy", context);
            let name = resolve(value, &root.bridge, "bridge", context)?;
            if let Some(bridge) = bridges.get(&name) {
                check_names(table, value.place, bridge, context);
            }
            Some(RouteAction::Bridge { name })
        }
    }
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

fn tell_useless(key: Option<Place>, name: &str, context: &mut Context<'_>) {
    if let Some(key) = key {
        let message =
            format!("`{name}` is for a route with an `upstream`: a bridge has no use for it");
        context.diagnostics.error(key, message);
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
        .map(|text| ("connect.send", text));
    let texts = sources
        .chain(send)
        .chain([("share_key", &bridge.share_key)]);
    let mut told: Vec<&str> = Vec::new();
    for (key, template) in texts {
        for name in Template::names(template) {
            let known = path.names().iter().any(|segment| segment.as_ref() == name);
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

fn strip_prefix(table: &route::Route, context: &mut Context<'_>) -> Option<String> {
    let given = table.strip_prefix.located()?;
    let prefix = given.value.value.as_str();
    let typed = context.typed(given.place);
    let mut refuse = |message: String| {
        context.diagnostics.error(given.place, message);
        None
    };
    if !prefix.starts_with('/') {
        return refuse(format!("`{typed}` does not begin with `/`"));
    }
    if prefix.ends_with('/') {
        return refuse(format!("`{typed}` ends with `/`, which stays on the path"));
    }
    if matches!(table.path, Field::Broken) {
        return None;
    }
    let path = table
        .path
        .value()
        .map_or_else(|| ANY_PATH.to_owned(), ToString::to_string);
    let literal = path.split(['{', '*']).next().unwrap_or_default();
    let at_border = literal
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !at_border {
        return refuse(format!(
            "`{typed}` is not how every path of this route begins: `{path}`"
        ));
    }
    Some(prefix.to_owned())
}

fn timeouts(table: &Field<route::Timeouts>) -> Timeouts {
    Timeouts {
        response: table
            .get(|timeouts| &timeouts.response)
            .map_or(Some(seconds(60)), |time| time.0),
        upgrade: table
            .get(|timeouts| &timeouts.upgrade)
            .map_or(Some(seconds(15)), |time| time.0),
        idle: table
            .get(|timeouts| &timeouts.idle)
            .map_or(Some(seconds(60)), |time| time.0),
        stream_idle: table
            .get(|timeouts| &timeouts.stream_idle)
            .map_or(Some(seconds(3600)), |time| time.0),
        stream_max: table
            .get(|timeouts| &timeouts.stream_max)
            .and_then(|time| time.0),
    }
}
