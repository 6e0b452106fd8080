//! What the dashboard and the alerts in `conf/` say of metrics: each that they name is exposed, with the labels that they name.

use std::collections::BTreeSet;

use super::Metrics;

const FILES: [&str; 4] = [
    "conf/grafana/streamgate.json",
    "conf/prometheus/alerts.yml",
    "conf/prometheus/alerts_test.yml",
    "docs/metrics.md",
];

/// What Prometheus adds to every series, and to those of histograms.
const ADDED: [&str; 3] = ["job", "instance", "le"];

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn leading_word(text: &str) -> &str {
    let end = text.bytes().position(|byte| !is_word(byte));
    &text[..end.unwrap_or(text.len())]
}

/// Our metrics in `text`, each with the labels of its matchers.
fn metrics_in(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    for prefix in ["streamgate_", "process_"] {
        for (at, _prefix) in text.match_indices(prefix) {
            let begins = at == 0 || !is_word(text.as_bytes()[at - 1]);
            let name = leading_word(&text[at..]);
            if !begins || name == prefix {
                continue;
            }
            let behind = &text[at + name.len()..];
            let matchers = behind
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'))
                .map_or("", |(matchers, _)| matchers);
            let matchers = matchers.split(',').map(str::trim_start);
            let labels = matchers.map(leading_word).filter(|label| !label.is_empty());
            found.push((name, labels.collect()));
        }
    }
    found
}

/// The labels of `by (…)` and `without (…)`.
fn grouped_in(text: &str) -> impl Iterator<Item = &str> {
    let clauses = ["by (", "without ("].into_iter();
    clauses.flat_map(|clause| {
        let behind = text.split(clause).skip(1);
        behind.flat_map(|rest| {
            let labels = rest.split_once(')').map_or("", |(labels, _)| labels);
            labels.split(',').map(str::trim)
        })
    })
}

#[test]
fn what_dashboard_and_alerts_name_is_exposed() {
    let known = Metrics::new().catalog.names();
    let all_labels: BTreeSet<_> = known
        .iter()
        .flat_map(|(_name, _kind, labels)| *labels)
        .chain(&ADDED)
        .copied()
        .collect();
    for file in FILES {
        let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap().replace("\\\"", "\"");
        let named = metrics_in(&text);
        assert!(named.len() > 20, "{file}: {named:?}");
        for (name, labels) in named {
            let of_histogram = |base: &str| {
                let parts = ["_bucket", "_sum", "_count"];
                parts
                    .iter()
                    .any(|part| name.strip_suffix(part) == Some(base))
            };
            let metric = known.iter().find(|(base, kind, _)| {
                base == name || (*kind == "histogram" && of_histogram(base))
            });
            let Some((_, _, known_labels)) = metric else {
                panic!("{file}: no metric `{name}`");
            };
            for label in labels {
                let is_known = known_labels.contains(&label) || ADDED.contains(&label);
                assert!(is_known, "{file}: `{name}` has no label `{label}`");
            }
        }
        // Elsewhere such words are prose.
        if file.starts_with("conf/") {
            for label in grouped_in(&text) {
                assert!(all_labels.contains(label), "{file}: no label `{label}`");
            }
        }
    }
}
