//! The answer for people: what comes first matters most, and every value has the line it comes from.

use std::fmt::{self, Write};

use crate::cli::explain::guards::Guard;
use crate::cli::explain::sections::Section;
use crate::cli::explain::verdict::{Taken, Verdict};
use crate::cli::explain::{Answer, deed, entry, guards, sections};
use crate::config::Setting;

/// Other routes that are listed; of more, those that share the host or the path's begin.
const LISTED: usize = 12;

/// The longest value that is lined up with others.
const WIDEST: usize = 36;

/// Writes all of it.
pub(super) fn write(answer: &Answer<'_>, page: &mut String) -> fmt::Result {
    let asked = &answer.asked;
    let websocket = if asked.is_websocket() {
        ", WebSocket"
    } else {
        ""
    };
    writeln!(page, "{}  ({}{websocket})\n", asked.url.text, asked.method)?;
    if let Some(from) = &answer.redirected {
        let place = answer.place(&["listen", &from.listener.to_string()]);
        let warning = if answer.is_lost() {
            ": browsers do not follow it for a WebSocket, they have to be given wss://"
        } else {
            ""
        };
        writeln!(
            page,
            "http         redirected from {} with 308  ({place}){warning}",
            from.url
        )?;
    }
    let Some(entry) = &answer.entry else {
        let what = if asked.url.is_tls {
            "TLS"
        } else {
            "clear HTTP"
        };
        return writeln!(page, "listener     none speaks {what}: nobody takes it");
    };
    let place = answer.place(&["listen", &entry.index.to_string()]);
    write!(page, "listener     {}  ({place})", entry.listener.address)?;
    match entry.fit.note() {
        Some(note) => writeln!(page, ": {note}")?,
        None => writeln!(page)?,
    }
    if asked.url.is_tls {
        let shown = entry::certificate(&answer.explained.config, asked.host.name());
        if let Some((certificate, fits)) = shown {
            let warning = if fits {
                ""
            } else {
                ": browsers refuse it, it is for other names"
            };
            let names = certificate.names.join(", ");
            writeln!(
                page,
                "certificate  {names}  ({}){warning}",
                certificate.origin
            )?;
        }
    }
    match &answer.verdict {
        Verdict::Taken(taken) => {
            write_taken(answer, taken, page)?;
            write_others(answer, page)?;
            for section in sections::of(answer.explained, entry, taken) {
                write_section(&section, page)?;
            }
            Ok(())
        }
        Verdict::NotAllowed(methods) => {
            let methods: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
            writeln!(
                page,
                "route        none takes {}: 405, allowed are {}",
                asked.method,
                methods.join(", ")
            )?;
            write_others(answer, page)
        }
        Verdict::NotFound => {
            writeln!(page, "route        none: 404")?;
            write_others(answer, page)
        }
        Verdict::Refused(why) => writeln!(page, "route        none is looked for: {why}, 400"),
    }
}

fn write_taken(answer: &Answer<'_>, taken: &Taken<'_>, page: &mut String) -> fmt::Result {
    let place = answer.place(&["route", &taken.index.to_string()]);
    writeln!(page, "route        {}  ({place})", taken.route.key())?;
    for (name, value) in taken.captures.iter() {
        writeln!(page, "  {{{name}}} = {value}")?;
    }
    if let Some(rest) = taken.route.path.rest(answer.asked.path()) {
        writeln!(page, "  {{rest}} = {rest}")?;
    }
    for guard in guards::of(answer.explained, &answer.asked, taken) {
        write_guard(&guard, page)?;
    }
    let deed = deed::of(answer.explained, &answer.asked, taken);
    let place = deed.place.map(|place| format!("  ({place})"));
    writeln!(
        page,
        "action       {}{}",
        deed.what,
        place.unwrap_or_default()
    )?;
    for (name, text) in &deed.facts {
        writeln!(page, "  {name:<10} {text}")?;
    }
    Ok(())
}

fn write_guard(guard: &Guard, page: &mut String) -> fmt::Result {
    let passes = match guard.passes {
        Some(true) => ": passes",
        Some(false) => ": REFUSED",
        None => "",
    };
    writeln!(page, "guard        {}: {}{passes}", guard.name, guard.says)
}

fn write_others(answer: &Answer<'_>, page: &mut String) -> fmt::Result {
    if answer.others.is_empty() {
        return Ok(());
    }
    writeln!(page, "\nnot these, the nearest first")?;
    let is_long = answer.others.len() > LISTED;
    let listed = answer
        .others
        .iter()
        .filter(|other| !is_long || other.is_near);
    let mut rows = Vec::new();
    for other in listed.take(LISTED) {
        let route = &answer.explained.config.routes[other.index];
        let place = answer.place(&["route", &other.index.to_string()]);
        rows.push((route.key().to_string(), other.why.says(route), place));
    }
    let wide = widest(rows.iter().map(|row| row.0.as_str()));
    for (name, why, place) in &rows {
        writeln!(page, "  {name:<wide$}  {why}  ({place})")?;
    }
    match answer.others.len() - rows.len() {
        0 => Ok(()),
        rest => writeln!(page, "  and {rest} more, further away"),
    }
}

fn write_section(section: &Section, page: &mut String) -> fmt::Result {
    let set = |setting: &&Setting| setting.value != "not set" || setting.place.is_some();
    let settings: Vec<&Setting> = section.settings.iter().filter(set).collect();
    if settings.is_empty() {
        return Ok(());
    }
    let place = section.place.as_ref().map(|place| format!("  ({place})"));
    writeln!(page, "\n{}{}", section.table, place.unwrap_or_default())?;
    let key = widest(settings.iter().map(|setting| setting.key.as_str()));
    let value = widest(settings.iter().map(|setting| setting.value.as_str()));
    for setting in settings {
        let place = setting.place.as_deref().unwrap_or("default");
        writeln!(
            page,
            "  {:<key$}  {:<value$}  {place}",
            setting.key, setting.value
        )?;
    }
    Ok(())
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts
        .map(|text| text.chars().count())
        .max()
        .unwrap_or_default()
        .min(WIDEST)
}
