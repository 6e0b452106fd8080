//! Every setting that holds for a request, table by table, with where it was set.

use crate::cli::explain::entry::Entry;
use crate::cli::explain::verdict::Taken;
use crate::config::model::{ListenerProtocol, RouteAction};
use crate::config::{Explained, Setting};

/// The settings of one table.
#[derive(Debug)]
pub(super) struct Section {
    /// The table as it is written: `[upstream.app]`.
    pub(super) table: String,
    /// Where it stands, if it does.
    pub(super) place: Option<String>,
    pub(super) settings: Vec<Setting>,
}

/// What is said of a route before its settings are.
const TOLD_BEFORE: [&str; 7] = [
    "host", "path", "methods", "upstream", "bridge", "redirect", "respond",
];

/// Keys of a route, or tables of them, that only mean something towards an upstream.
const OF_UPSTREAMS: [&str; 13] = [
    "strip_prefix",
    "rewrite",
    "preserve_host",
    "headers.request",
    "limits.body_size",
    "limits.message_size",
    "limits.messages",
    "limits.message_burst",
    "timeouts",
    "heartbeat",
    "resume",
    "strict",
    "on_unhealthy",
];

/// The same towards an upstream or a bridge.
const OF_STREAMS: [&str; 5] = [
    "origins",
    "limits.streams",
    "limits.streams_per_ip",
    "limits.streams_per_user",
    "on_remove",
];

/// Keys of tables for all routes that are said elsewhere, or say nothing of a request.
const ELSEWHERE: [&str; 8] = [
    "limits.body_size",
    "server.workers",
    "server.state_dir",
    "server.watch",
    "tls.certificate",
    "upstream.servers",
    "bridge.source",
    "bridge.mode",
];

/// The settings of the route, of what it leads to, of the listener, and of all that holds for every route.
pub(super) fn of(explained: &Explained, entry: &Entry<'_>, taken: &Taken<'_>) -> Vec<Section> {
    let mut sections = vec![route(explained, taken)];
    match &taken.route.action {
        RouteAction::Upstream { name, .. } => sections.push(named(explained, "upstream", name)),
        RouteAction::Bridge { name } => sections.push(bridge(explained, name)),
        RouteAction::Redirect(_) | RouteAction::Respond(_) => {}
    }
    if let Some(name) = &taken.route.auth {
        sections.push(named(explained, "auth", name));
    }
    let index = entry.index.to_string();
    let listener = section(explained, "[[listen]]", &["listen", &index]);
    sections.push(listener);
    let is_tls = entry.listener.protocol == ListenerProtocol::Tls;
    let is_bridge = matches!(taken.route.action, RouteAction::Bridge { .. });
    for table in ["limits", "server", "trust", "tls"] {
        if table == "tls" && !is_tls {
            continue;
        }
        let mut section = section(explained, &format!("[{table}]"), &[table]);
        inherit_drain(&mut section.settings);
        section.settings.retain(|setting| {
            let path = format!("{table}.{}", setting.key);
            !ELSEWHERE.contains(&path.as_str())
                && (is_tls || !is_at("http2", &setting.key))
                && (is_bridge || setting.key != "bridge_memory")
        });
        sections.push(section);
    }
    sections
}

fn route(explained: &Explained, taken: &Taken<'_>) -> Section {
    let index = taken.index.to_string();
    let mut section = section(explained, "[[route]]", &["route", &index]);
    let (to_upstream, has_streams) = match taken.route.action {
        RouteAction::Upstream { .. } => (true, true),
        RouteAction::Bridge { .. } => (false, true),
        RouteAction::Redirect(_) | RouteAction::Respond(_) => (false, false),
    };
    section.settings.retain(|setting| {
        let is_one_of = |keys: &[&str]| keys.iter().any(|key| is_at(key, &setting.key));
        !is_one_of(&TOLD_BEFORE)
            && (to_upstream || !is_one_of(&OF_UPSTREAMS))
            && (has_streams || !is_one_of(&OF_STREAMS))
    });
    inherit_body_size(explained, &mut section.settings);
    section
}

/// What the route does not say of a body, `[limits]` does.
fn inherit_body_size(explained: &Explained, settings: &mut [Setting]) {
    let own = |setting: &&mut Setting| setting.key == "limits.body_size" && setting.place.is_none();
    let Some(own) = settings.iter_mut().find(own) else {
        return;
    };
    let of_all = explained.settings.of_table(&["limits"]);
    if let Some(of_all) = of_all.into_iter().find(|it| it.key == "body_size") {
        own.value = of_all.value;
        own.place = of_all.place;
    }
}

/// A kind of what is live has all of `drain_timeout` where nothing else is said.
fn inherit_drain(settings: &mut [Setting]) {
    let whole = settings
        .iter()
        .find(|setting| setting.key == "drain_timeout");
    let Some(whole) = whole.cloned() else {
        return;
    };
    for setting in settings {
        if is_at("drain", &setting.key) && setting.place.is_none() {
            setting.value.clone_from(&whole.value);
            setting.place.clone_from(&whole.place);
        }
    }
}

fn named(explained: &Explained, kind: &str, name: &str) -> Section {
    let mut section = section(explained, &format!("[{kind}.{name}]"), &[kind, name]);
    let is_elsewhere = |key: &str| ELSEWHERE.contains(&format!("{kind}.{key}").as_str());
    section
        .settings
        .retain(|setting| !is_elsewhere(&setting.key));
    section
}

/// Whether messages may be sent to the feed depends on the mode where it is not said.
fn bridge(explained: &Explained, name: &str) -> Section {
    let mut section = named(explained, "bridge", name);
    let is_enabled = explained.config.bridges[name].publish.is_some();
    for setting in &mut section.settings {
        if setting.key == "publish.enabled" {
            setting.value = is_enabled.to_string();
        }
    }
    section
}

fn section(explained: &Explained, table: &str, path: &[&str]) -> Section {
    Section {
        table: table.to_owned(),
        place: explained.settings.place(path).map(str::to_owned),
        settings: explained.settings.of_table(path),
    }
}

/// Whether a key is this one, or in the table of this name.
fn is_at(name: &str, key: &str) -> bool {
    key.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use crate::config::load_str;

    use super::*;

    /// The check lets it pass there, where it means nothing.
    const TOLD_OTHERWISE: [&str; 1] = ["on_unhealthy"];

    #[test]
    fn what_is_left_out_for_a_bridge_is_what_the_check_refuses_there() {
        for key in OF_UPSTREAMS {
            if TOLD_OTHERWISE.contains(&key) {
                continue;
            }
            let value = match key {
                "strip_prefix" | "rewrite" => "\"/x\"",
                "preserve_host" | "resume" | "strict" => "true",
                "headers.request" => "{ remove = [\"X-A\"] }",
                "timeouts" => "{ idle = \"5s\" }",
                "limits.message_burst" => "1",
                "limits.messages" => "\"5/s\"",
                "heartbeat" => "\"5s\"",
                _ => "\"5KiB\"",
            };
            let text = format!(
                "[[listen]]\naddress = \"127.0.0.1:80\"\n[bridge.b]\nsource = \"ws://b/\"\n\
                 [[route]]\nbridge = \"b\"\n{key} = {value}\n"
            );
            let env = BTreeMap::<String, String>::new();
            let answer = load_str("a.toml", &text, Path::new("."), &env);
            let said = answer.map(|_config| ()).unwrap_err().to_string();
            assert!(said.contains("a bridge has no use for it"), "{key}: {said}");
        }
    }
}
