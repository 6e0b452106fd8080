//! A route's rules for header fields, applied to a head.
//!
//! Owns their order: what is removed goes first, then what is set, then what is added. Invariant: a rule never touches a
//! field of the connection or of the framing; the configuration's check sees to it.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::model::{FieldRules, FieldValue};
use crate::http::provenance::reads_as;
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
        let mut rendered = Self::default();
        rendered.remove.clone_from(&rules.remove);
        for (name, value) in &rules.set {
            match render(value, values) {
                Some(value) => rendered.set.push((name.clone(), value)),
                // What stands there was said by somebody else: it must not pass for ours.
                None => rendered.remove.push(name.clone()),
            }
        }
        for (name, value) in &rules.add {
            rendered
                .add
                .extend(render(value, values).map(|value| (name.clone(), value)));
        }
        rendered
    }

    /// Sets one more field, after what the rules set.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.set.push((name, value));
    }

    /// Adds one more field, whatever there is of it.
    pub fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.add.push((name, value));
    }

    /// Removes one more field, unless it is set or added.
    pub fn remove(&mut self, name: HeaderName) {
        self.remove.push(name);
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Changes a request's head. With the fields that are removed or set go those whose names differ only in an underscore:
    /// a CGI or WSGI backend reads both as one, and would take a client's for ours.
    pub fn apply_to_request(&self, headers: &mut HeaderMap) {
        remove_alike(headers, self.ruled());
        self.apply(headers);
    }

    /// The fields of which nothing is left that a client says: those that are removed or set.
    pub fn ruled(&self) -> impl Iterator<Item = &HeaderName> + Clone {
        let set = self.set.iter().map(|(name, _)| name);
        self.remove.iter().chain(set)
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

/// Removes the fields of these names, and those that a CGI or WSGI backend reads as the same.
pub fn remove_alike<'a>(
    headers: &mut HeaderMap,
    ruled: impl Iterator<Item = &'a HeaderName> + Clone,
) {
    let is_alike = |name: &&HeaderName| {
        let mut ruled = ruled.clone();
        ruled.any(|ruled| reads_as(name.as_str(), ruled.as_str()))
    };
    let alike: Vec<HeaderName> = headers.keys().filter(is_alike).cloned().collect();
    for name in alike {
        headers.remove(name);
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
    fn look_alikes_of_what_a_rule_sets_do_not_reach_a_server() {
        let name = HeaderName::from_static;
        let fixed = || FieldValue::Fixed(HeaderValue::from_static("ours"));
        let rules = FieldRules {
            remove: vec![name("x-gone")],
            set: vec![(name("x-user-id"), fixed()), (name("x_group"), fixed())],
            add: vec![(name("x-more-of"), fixed())],
        };
        let mut headers = HeaderMap::new();
        for field in [
            "x_gone",
            "x_user-id",
            "x-user_id",
            "x-group",
            "x_more_of",
            "x-user-ids",
        ] {
            headers.append(field, HeaderValue::from_static("theirs"));
        }
        with(|values| Rendered::of(&rules, values)).apply_to_request(&mut headers);
        let mut left: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("x-more-of", "ours"),
                ("x-user-id", "ours"),
                ("x-user-ids", "theirs"),
                ("x_group", "ours"),
                ("x_more_of", "theirs"),
            ]
        );
    }

    #[test]
    fn a_value_that_no_field_can_hold_leaves_nobody_elses() {
        let template = FieldValue::Template(Template::parse("{name}").unwrap());
        let rules = FieldRules {
            set: vec![(HeaderName::from_static("x-name"), template)],
            ..FieldRules::default()
        };
        let captures = [("name", "a\nb")].into_iter().collect();
        let rendered = with(|values| {
            Rendered::of(
                &rules,
                &Values {
                    captures: &captures,
                    ..*values
                },
            )
        });
        let mut headers = HeaderMap::new();
        headers.append("x-name", HeaderValue::from_static("theirs"));
        rendered.apply(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn no_rules_do_nothing() {
        let rendered = with(|values| Rendered::of(&FieldRules::default(), values));
        assert!(rendered.is_empty());
    }
}
