//! The two forms of the exposition, and which of them is wanted.
//!
//! Prometheus and its kin ask for OpenMetrics by name. Whoever does not, a person with curl, `promtool check metrics`, an older
//! agent, gets the older text of Prometheus (version 0.0.4), in which a counter is declared by its whole name.

use http::{HeaderMap, header};

/// A form of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
}

/// What asks for OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text";

impl Format {
    /// The one that a request's `Accept` wants (RFC 9110 §12.5.1).
    #[must_use]
    pub fn wanted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter();
        let mut ranges = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        match ranges.any(takes_openmetrics) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

fn takes_openmetrics(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let refused = |part: &str| {
        let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.parse() == Ok(0.0))
    };
    name.eq_ignore_ascii_case(OPENMETRICS) && !parts.any(refused)
}

/// Rewrites OpenMetrics text as that of Prometheus. The samples are the same in both.
pub(super) fn prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        let words = line.strip_prefix("# ").map(|line| line.split_once(' '));
        let (word, rest) = match words {
            None => {
                push(&mut text, &[line]);
                continue;
            }
            // `# EOF`
            Some(None) => continue,
            Some(Some(words)) => words,
        };
        let Some((name, rest)) = rest.split_once(' ') else {
            continue;
        };
        // A metric's type stands behind its help.
        let kind = match word {
            "TYPE" => rest,
            "HELP" => lines
                .peek()
                .and_then(|next| next.rsplit_once(' '))
                .map_or("", |(_, kind)| kind),
            _unit => continue,
        };
        let total = if kind == "counter" { "_total" } else { "" };
        let rest = match (word, rest) {
            ("TYPE", "unknown") => "untyped",
            ("TYPE", "info" | "stateset") => "gauge",
            _ => rest,
        };
        push(&mut text, &["# ", word, " ", name, total, " ", rest]);
    }
    text
}

fn push(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_for_openmetrics_gets_it() {
        for (accept, format) in [
            (None, Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some("text/plain;version=0.0.4"), Format::Prometheus),
            (Some("application/openmetrics-text;q=0"), Format::Prometheus),
            (
                Some("Application/OpenMetrics-Text; version=1.0.0"),
                Format::OpenMetrics,
            ),
            (
                Some(
                    "text/plain;q=0.9, application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
                ),
                Format::OpenMetrics,
            ),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(Format::wanted(&headers), format, "{accept:?}");
        }
    }

    #[test]
    fn counters_are_declared_by_their_whole_names() {
        let openmetrics = "# HELP a_things Things.\n# TYPE a_things counter\na_things_total{x=\"# y\"} 1\n\
            # HELP b_seconds Time.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2.5\n# EOF\n";
        let text = "# HELP a_things_total Things.\n# TYPE a_things_total counter\na_things_total{x=\"# y\"} 1\n\
            # HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 2.5\n";
        assert_eq!(prometheus(openmetrics), text);
    }
}
