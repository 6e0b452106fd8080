//! Names in a route's texts: each is one of its path, or one that every request has.

use crate::config::check::Context;
use crate::config::diagnostic::Place;
use crate::config::model::{NAMES_OF_REQUEST, REST};
use crate::config::spelling;
use crate::route::{PathPattern, Template};

/// Which names a text may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Those of the path alone.
    OfPath,
    /// Those of the path and those of every request.
    OfRequest,
}

/// Tells of each name that has no value.
pub(crate) fn check(
    template: &Template,
    path: &PathPattern,
    known: Known,
    place: Place,
    context: &mut Context<'_>,
) {
    let names = known_names(path, known);
    for name in template.names().filter(|name| !names.contains(name)) {
        let message = format!("`{{{name}}}` has no value in the path `{path}`");
        let hint = match name {
            REST => "`{rest}` is what stands for a `*` at the path's end".to_owned(),
            _ if names.is_empty() => format!("a segment `{{{name}}}` in the path gives it one"),
            _ => spelling::hint(name, "there are", names.iter().copied()),
        };
        context.diagnostics.error(place, message).hint(hint);
    }
}

/// Whether every name has a value, for a text whose names must not be shown.
pub(crate) fn are_known(template: &Template, path: &PathPattern, known: Known) -> bool {
    let names = known_names(path, known);
    template.names().all(|name| names.contains(&name))
}

fn known_names(path: &PathPattern, known: Known) -> Vec<&str> {
    let mut names: Vec<&str> = path.names().iter().map(|name| &**name).collect();
    names.extend(path.has_rest().then_some(REST));
    if known == Known::OfRequest {
        names.extend(NAMES_OF_REQUEST);
    }
    names
}
