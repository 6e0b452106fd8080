//! `headers` of a route: values with names that exist, and secrets.

use http::{HeaderName, HeaderValue};

use crate::config::check::{Context, names, secret};
use crate::config::model::{FieldRules, FieldValue};
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::feed::Secret;
use crate::config::schema::fields::{self, Fields};
use crate::config::schema::scalar::Text;
use crate::route::{PathPattern, Template};

pub(crate) fn check(
    rules: Option<&fields::FieldRules>,
    path: &PathPattern,
    context: &mut Context<'_>,
) -> FieldRules {
    let Some(rules) = rules else {
        return FieldRules::default();
    };
    let mut remove = Vec::new();
    for name in rules.remove.value().into_iter().flat_map(|list| &list.0) {
        if !remove.contains(&name.value.0) {
            remove.push(name.value.0.clone());
        }
    }
    FieldRules {
        remove,
        set: values(&rules.set, path, context),
        add: values(&rules.add, path, context),
    }
}

fn values(
    fields: &Field<Fields>,
    path: &PathPattern,
    context: &mut Context<'_>,
) -> Vec<(HeaderName, FieldValue)> {
    let fields = fields.value().into_iter().flat_map(|fields| &fields.0);
    fields
        .filter_map(|(name, source)| {
            let value = match &source.value {
                Secret::Inline(text) => template(name, text, source, path, context),
                Secret::File(_) | Secret::Credential(_) => {
                    secret::field(name, source, context).map(FieldValue::Fixed)
                }
            };
            Some((name.clone(), value?))
        })
        .collect()
}

/// A text without names is the same for every request.
fn template(
    name: &HeaderName,
    text: &Text,
    source: &Located<Secret>,
    path: &PathPattern,
    context: &mut Context<'_>,
) -> Option<FieldValue> {
    let fixed = secret::field(name, source, context)?;
    let template = match Template::parse(&text.value) {
        Ok(template) => template,
        // What a variable holds must not be shown, and its braces are not meant.
        Err(_) if text.substituted => return Some(FieldValue::Fixed(fixed)),
        Err(error) => {
            let message = format!("the value of `{name}` is no text with `{{names}}`: {error}");
            context.diagnostics.error(source.place, message);
            return None;
        }
    };
    if template.names().next().is_none() {
        let mut value = HeaderValue::from_str(&text.value).ok()?;
        value.set_sensitive(text.substituted);
        return Some(FieldValue::Fixed(value));
    }
    if text.substituted && !names::are_known(&template, path, names::Known::OfRequest) {
        let message = format!("a name in the value of `{name}` has no value in the path `{path}`");
        context.diagnostics.error(source.place, message);
        return None;
    }
    names::check(
        &template,
        path,
        names::Known::OfRequest,
        source.place,
        context,
    );
    Some(FieldValue::Template(template))
}
