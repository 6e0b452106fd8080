//! A route's rules for header fields, applied to a head.
//!
//! Owns their order: what is removed goes first, then what is set, then what is added. Invariant: a rule never touches a
//! field of the connection or of the framing; the configuration's check sees to it.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::model::{FieldRules, FieldValue};
use crate::respond::values::Values;
use crate::route::Escape;

/// The rules of a route with one request's values put in. Empty for a route without rules, and then free.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl Rendered {
    /// Puts the values of a request into `rules`.
    #[must_use]
    pub fn of(rules: &FieldRules, values: &Values<'_>) -> Self {
        let render = |fields: &[(HeaderName, FieldValue)]| {
            let fields = fields.iter();
            fields
                .filter_map(|(name, value)| Some((name.clone(), render(value, values)?)))
                .collect()
        };
        Self {
            remove: rules.remove.clone(),
            set: render(&rules.set),
            add: render(&rules.add),
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Changes a head.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

/// `None` for what no field may hold. It does not occur: the text was checked, and no value has control characters.
fn render(value: &FieldValue, values: &Values<'_>) -> Option<HeaderValue> {
    match value {
        FieldValue::Fixed(value) => Some(value.clone()),
        FieldValue::Template(template) => {
            HeaderValue::try_from(values.render(template, Escape::Verbatim)).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::tests::with;
    use super::*;
    use crate::route::Template;

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let template = |text: &str| FieldValue::Template(Template::parse(text).unwrap());
        let name = HeaderName::from_static;
        let rules = FieldRules {
            remove: vec![name("x-gone"), name("x-again")],
            set: vec![
                (name("x-one"), template("{name} of {client_ip}")),
                (
                    name("x-secret"),
                    FieldValue::Fixed(HeaderValue::from_static("{name}")),
                ),
            ],
            add: vec![
                (name("x-one"), template("more")),
                (name("x-again"), template("{rest}")),
            ],
        };
        let mut headers = HeaderMap::new();
        for field in ["x-gone", "x-again", "x-one", "x-one", "x-kept"] {
            headers.append(field, HeaderValue::from_static("old"));
        }
        with(|values| Rendered::of(&rules, values)).apply(&mut headers);
        let all = |field: &str| -> Vec<&HeaderValue> { headers.get_all(field).iter().collect() };
        assert!(all("x-gone").is_empty());
        assert_eq!(all("x-again"), ["a%2Fb//c"]);
        assert_eq!(all("x-one"), ["o ld of 192.0.2.1", "more"]);
        assert_eq!(all("x-secret"), ["{name}"]);
        assert_eq!(all("x-kept"), ["old"]);
    }

    #[test]
    fn no_rules_do_nothing() {
        let rendered = with(|values| Rendered::of(&FieldRules::default(), values));
        assert!(rendered.is_empty());
    }
}
