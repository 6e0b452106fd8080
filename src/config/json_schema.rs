//! The JSON schema of the configuration, for editors that complete and explain keys.
//!
//! Made from the tables of the schema, as the reader itself uses them: names, doc comments, types, words and bounds. It
//! refuses what the reader refuses by its type or its name; that values fit each other is `check`'s part. Draft 7, which
//! taplo and what is built on it understand, without references.

use serde_json::{Map, Value, json};

use crate::config::schema::Root;
use crate::config::schema::decode::{Decode, Key};
use crate::config::schema::form::Form;
use crate::config::usual::{Usual, is_required};

/// A variable may stand in any string, so a pattern must let it pass.
const VARIABLE: &str = r"\$\{";

/// Names of upstreams, bridges and auths.
const NAME: &str = "^[A-Za-z0-9._-]{1,64}$";

/// The schema of a whole file.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = of_keys("All of the configuration.", Root::KEYS);
    let Value::Object(root) = &mut schema else {
        return schema;
    };
    root.insert(
        "$schema".into(),
        "http://json-schema.org/draft-07/schema#".into(),
    );
    root.insert("title".into(), "streamgate.toml".into());
    schema
}

fn of_keys(docs: &str, keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), of_key(key)))
        .collect();
    let mut schema = json!({
        "type": "object",
        "description": joined(docs),
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| is_required(key.docs))
        .map(|key| key.name)
        .collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn of_key(key: &Key) -> Value {
    let form = (key.form)();
    let mut schema = of(&form);
    let mut description = joined(key.docs);
    if matches!(form, Form::Duration(_) | Form::Size(_) | Form::Rate { .. }) {
        // A pattern cannot say it.
        description.push_str(&format!(" ({form})"));
    }
    schema["description"] = description.into();
    // A default with a name in it is none that could be typed.
    let usual = Usual::of(key.docs).value.filter(|it| !it.contains("NAME"));
    if let Some(default) = usual.and_then(|literal| value_of(&literal, &form)) {
        schema["default"] = default;
    }
    schema
}

/// A default as JSON: what is written in a comment has the same form in both languages, but for bare words.
fn value_of(literal: &str, form: &Form) -> Option<Value> {
    match (serde_json::from_str(literal), form) {
        (Ok(value), _) => Some(value),
        (Err(_), Form::Words(words)) => words.contains(&literal).then(|| literal.into()),
        (Err(_), _) => None,
    }
}

fn of(form: &Form) -> Value {
    match form {
        Form::Boolean => json!({"type": "boolean"}),
        Form::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Form::Share => json!({"type": "number", "minimum": 0, "maximum": 1}),
        Form::Duration(_) => text_like(r"^(0|([0-9]+(d|h|m|s|ms))+)$"),
        Form::Size(_) => text_like(r"^(0|([0-9]+(TiB|GiB|MiB|KiB|B))+)$"),
        Form::Rate { windows, .. } => text_like(&format!("^(0|[0-9]+({}))$", windows.join("|"))),
        Form::Words(words) => json!({"anyOf": [
            {"type": "string", "enum": words},
            {"type": "string", "pattern": VARIABLE},
        ]}),
        Form::Text(_) | Form::Secret(_) => json!({"type": "string"}),
        Form::List(of_one) => json!({"type": "array", "items": of(of_one)}),
        Form::OneOrMany(of_one) => {
            let one = of(of_one);
            json!({"anyOf": [one, {"type": "array", "items": one}]})
        }
        Form::Table { docs, keys } => of_keys(docs, keys),
        Form::Named(table) => json!({
            "type": "object",
            "patternProperties": {NAME: of(table)},
            "additionalProperties": false,
        }),
        Form::Map { names, values } => json!({
            "type": "object",
            "patternProperties": {*names: of(values)},
            "additionalProperties": false,
        }),
        Form::Either(forms) => json!({"anyOf": forms.iter().map(of).collect::<Vec<_>>()}),
    }
}

fn text_like(pattern: &str) -> Value {
    json!({"type": "string", "pattern": format!("{pattern}|{VARIABLE}")})
}

/// A doc comment as one line.
fn joined(docs: &str) -> String {
    docs.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_types_words_bounds_and_defaults() {
        let schema = json_schema();
        let at = |path: &str| schema.pointer(path).unwrap_or_else(|| panic!("{path}"));
        let route = "/properties/route/items/properties";
        assert_eq!(
            at(&format!("{route}/timeouts/properties/idle/default")),
            "60s"
        );
        assert_eq!(
            at(&format!("{route}/on_remove/anyOf/0/enum")),
            &json!(["keep", "drain", "close"])
        );
        assert_eq!(
            at("/properties/limits/properties/header_count/maximum"),
            1000
        );
        assert_eq!(at("/properties/listen/items/required"), &json!(["address"]));
        assert_eq!(at("/properties/log/properties/level/default"), "info");
        let idle = at(&format!("{route}/timeouts/properties/idle/description"));
        assert!(
            idle.as_str()
                .is_some_and(|text| text.contains("10ms to 1d")),
            "{idle}"
        );
    }
}
