//! `redirect`, `respond` and `rewrite` of a route.

use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::config::check::route::ANY_PATH;
use crate::config::check::{Context, file, names};
use crate::config::model::{Fixed, PathChange, Redirect};
use crate::config::schema::action::{self, NewPath, Respond, RespondTable};
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::route;
use crate::config::schema::scalar::Text;
use crate::route::{PathPattern, Template};

pub(crate) fn redirect(
    given: &Located<action::Redirect>,
    path: &PathPattern,
    context: &mut Context<'_>,
) -> Redirect {
    let action::Redirect { to, status } = &given.value;
    names::check(
        &to.value.template,
        path,
        names::Known::OfRequest,
        to.place,
        context,
    );
    if let Some(status) = status
        && !matches!(status.value, 301..=303 | 307 | 308)
    {
        let message = format!("`{}` is not the status of a redirect", status.value);
        let hint = "301, 302, 303, 307 and 308 are";
        context.diagnostics.error(status.place, message).hint(hint);
    }
    Redirect {
        to: to.value.template.clone(),
        status: to_status(status.as_ref().map_or(308, |status| status.value)),
        is_local: to.value.is_local,
        has_query: to.value.has_query,
    }
}

pub(crate) fn respond(given: &Located<Respond>, context: &mut Context<'_>) -> Fixed {
    match &given.value {
        Respond::Status(status) => Fixed {
            status: to_status(*status),
            content_type: None,
            body: Bytes::new(),
        },
        Respond::Table(table) => fixed(table, context),
    }
}

/// `strip_prefix` or `rewrite`; `None`: it is wrong.
pub(crate) fn path_change(
    table: &route::Route,
    path: Option<&PathPattern>,
    context: &mut Context<'_>,
) -> Option<PathChange> {
    if let (false, Field::Given { key, .. }) = (table.strip_prefix.is_absent(), &table.rewrite) {
        let message = "`rewrite` says the whole path: `strip_prefix` cannot stand beside it";
        context.diagnostics.error(*key, message);
    }
    match (&table.rewrite, &table.strip_prefix) {
        (Field::Given { value, .. }, _) => {
            Some(PathChange::Rewrite(rewrite(value, path?, context)))
        }
        (Field::Broken, _) | (Field::Absent, Field::Broken) => None,
        (Field::Absent, Field::Given { .. }) => strip_prefix(table, context).map(PathChange::Strip),
        (Field::Absent, Field::Absent) => Some(PathChange::Keep),
    }
}

/// `rewrite`: names of the path alone, since the query is no part of it.
fn rewrite(given: &Located<NewPath>, path: &PathPattern, context: &mut Context<'_>) -> Template {
    let template = &given.value.0;
    names::check(template, path, names::Known::OfPath, given.place, context);
    template.clone()
}

fn fixed(table: &RespondTable, context: &mut Context<'_>) -> Fixed {
    let status = to_status(table.status.map_or(200, |status| status.0));
    if let (Some(_), Field::Given { key, .. }) = (table.body.key(), &table.file) {
        let message = "`respond` has one body: either `body` or `file`";
        context.diagnostics.error(*key, message);
    }
    let (body, content_type) = match (table.file.located(), table.body.value()) {
        (Some(name), _) => (
            file::read(name, context).unwrap_or_default(),
            type_of_file(name),
        ),
        (None, Some(text)) => (Bytes::from(text.value.clone()), "text/plain; charset=utf-8"),
        (None, None) => (Bytes::new(), ""),
    };
    let bodiless = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    if bodiless && let Some(key) = table.body.key().or(table.file.key()) {
        // RFC 9110 §15.3.5, §15.3.6, §15.4.5
        let message = format!("a response with status {} has no body", status.as_u16());
        context.diagnostics.error(key, message);
    }
    let given = table.content_type.value().map(|text| text.0.clone());
    let usual = (!content_type.is_empty()).then(|| HeaderValue::from_static(content_type));
    Fixed {
        status,
        content_type: given.or(usual),
        body,
    }
}

fn type_of_file(name: &Located<Text>) -> &'static str {
    let extension = Path::new(&name.value.value).extension();
    match extension.and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The schema's bounds are those of statuses.
fn to_status(status: u64) -> StatusCode {
    u16::try_from(status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
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
