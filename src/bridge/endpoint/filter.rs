//! Which events a client asks for: the values of one parameter of its query, as the bridge's `filter` says.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::bridge::log::Filter;
use crate::config::model::FilterRule;
use crate::http::problem::Problem;

/// Values of one filter. Each is compared with each event, so there is a limit.
const VALUES: usize = 64;

/// The filter of a query: `None`, when the bridge has no rule for one, or the query not its parameter. A value without
/// text is a value: nothing is about it.
///
/// # Errors
/// [`Problem::BadRequest`]: too many values. A client that is told something else would believe that it gets all.
pub(super) fn asked(
    rule: Option<&FilterRule>,
    query: Option<&str>,
) -> Result<Option<Arc<Filter>>, Problem> {
    let Some(rule) = rule else {
        return Ok(None);
    };
    let pairs = query.unwrap_or_default().split('&');
    let values: Vec<Cow<'_, str>> = pairs
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| decoded(name) == rule.query)
        .map(|(_, value)| decoded(value))
        .collect();
    if values.len() > VALUES {
        return Err(Problem::BadRequest("the filter has more than 64 values"));
    }
    if values.is_empty() {
        return Ok(None);
    }
    let values = values.iter().map(|value| &**value);
    Ok(Some(Arc::new(Filter::new(values))))
}

/// A name or value of a query as forms write them: `+` is a space. What is no UTF-8 matches nothing.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Pointer;

    #[test]
    fn the_values_of_the_query_are_the_filter() {
        let rule = FilterRule {
            query: "symbol".into(),
            pointer: Pointer::parse("/symbol").unwrap(),
        };
        let table: &[(&str, Option<&[&str]>)] = &[
            ("", None),
            ("symbols=A", None),
            ("symbol", None),
            ("symbol=A", Some(&["A"])),
            (
                "lastEventId=x&symbol=B&symbol=A&symbol=B",
                Some(&["A", "B"]),
            ),
            ("symbol=A%20B+C%26", Some(&["A B C&"])),
            ("s%79mbol=%FF", Some(&["\u{fffd}"])),
            ("symbol=", Some(&[""])),
        ];
        for (query, values) in table {
            let expected = values.map(|values| Arc::new(Filter::new(values.iter().copied())));
            let found = asked(Some(&rule), Some(query)).ok().unwrap();
            assert_eq!(found, expected, "{query}");
        }
        assert!(asked(None, Some("symbol=A")).ok().unwrap().is_none());
        let many = vec!["symbol=A"; 65].join("&");
        assert!(asked(Some(&rule), Some(&many)).is_err());
    }
}
