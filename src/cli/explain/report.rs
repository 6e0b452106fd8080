//! The answer for programs: all of it, as JSON.

use serde_json::{Value, json};

use crate::cli::explain::verdict::{Taken, Verdict};
use crate::cli::explain::{Answer, deed, entry, guards, sections};

/// One object. `outcome` is `route`, `redirected` (a WebSocket, which browsers leave there), `method_not_allowed`, `not_found`, `bad_request` or `no_listener`.
pub(super) fn report(answer: &Answer<'_>) -> Value {
    let asked = &answer.asked;
    let outcome = match (&answer.entry, &answer.verdict) {
        _ if answer.is_lost() => "redirected",
        (None, _) => "no_listener",
        (_, Verdict::Taken(_)) => "route",
        (_, Verdict::NotAllowed(_)) => "method_not_allowed",
        (_, Verdict::NotFound) => "not_found",
        (_, Verdict::Refused(_)) => "bad_request",
    };
    let mut report = json!({
        "url": asked.url.text,
        "method": asked.method.as_str(),
        "host": asked.host.name(),
        "websocket": asked.is_websocket(),
        "outcome": outcome,
        "redirected_from": answer.redirected.as_ref().map(|from| &from.url),
        "listener": answer.entry.map(|entry| json!({
            "address": entry.listener.address.to_string(),
            "place": answer.place(&["listen", &entry.index.to_string()]),
            "note": entry.fit.note(),
        })),
        "others": others(answer),
    });
    if asked.url.is_tls {
        let shown = entry::certificate(&answer.explained.config, asked.host.name());
        report["certificate"] = shown.map_or(Value::Null, |(certificate, fits)| {
            json!({"names": certificate.names, "origin": certificate.origin, "fits": fits})
        });
    }
    match &answer.verdict {
        Verdict::Taken(taken) => {
            report["route"] = route(answer, taken);
            report["settings"] = settings(answer, taken);
        }
        Verdict::NotAllowed(methods) => {
            let methods: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
            report["allowed"] = json!(methods);
        }
        Verdict::Refused(why) => report["why"] = json!(why),
        Verdict::NotFound => {}
    }
    report
}

fn route(answer: &Answer<'_>, taken: &Taken<'_>) -> Value {
    let deed = deed::of(answer.explained, &answer.asked, taken);
    let facts = deed.facts.into_iter();
    let facts: serde_json::Map<String, Value> = facts
        .map(|(name, text)| (name.replace(' ', "_"), text.into()))
        .collect();
    let guards = guards::of(answer.explained, &answer.asked, taken);
    let guards = guards
        .iter()
        .map(|guard| json!({"guard": guard.name, "says": guard.says, "passes": guard.passes}));
    let captures = taken.captures.iter();
    let captures: serde_json::Map<String, Value> = captures
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "name": &*taken.route.key(),
        "place": answer.place(&["route", &taken.index.to_string()]),
        "names": captures,
        "rest": taken.route.path.rest(answer.asked.path()),
        "action": deed.what,
        "action_place": deed.place,
        "facts": facts,
        "guards": guards.collect::<Vec<_>>(),
    })
}

fn others(answer: &Answer<'_>) -> Vec<Value> {
    let routes = &answer.explained.config.routes;
    let others = answer.others.iter().map(|other| {
        let route = &routes[other.index];
        json!({
            "name": &*route.key(),
            "place": answer.place(&["route", &other.index.to_string()]),
            "why": other.why.says(route),
        })
    });
    others.collect()
}

fn settings(answer: &Answer<'_>, taken: &Taken<'_>) -> Value {
    let Some(entry) = &answer.entry else {
        return Value::Null;
    };
    let sections = sections::of(answer.explained, entry, taken);
    let rows = sections.iter().flat_map(|section| {
        section.settings.iter().map(|setting| {
            json!({
                "table": section.table,
                "key": setting.key,
                "value": setting.value,
                "from": setting.place.as_deref().unwrap_or("default"),
            })
        })
    });
    rows.collect()
}
