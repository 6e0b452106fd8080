//! `[trace]`: where spans go.

use std::error::Error;
use std::sync::Arc;

use http::Uri;

use crate::config::check::{Context, seconds, secret};
use crate::config::model::{Export, Trace};
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::trace::{self, Collector};
use crate::net::Scheme;
use crate::tls::client::{Roots, ServerTls};

/// The path of traces below a collector's own (OTLP/HTTP).
const TRACES: &str = "/v1/traces";

pub(crate) fn check(table: &Field<trace::Trace>, context: &mut Context<'_>) -> Option<Trace> {
    let trace = table.value()?;
    let export = match trace.otlp.located() {
        Some(collector) => export(trace, collector, context).map(Arc::new),
        None => {
            warn_of_unused(trace, context);
            None
        }
    };
    Some(Trace {
        sample: trace.sample.map_or(1.0, |share| share.0),
        export,
    })
}

fn export(
    trace: &trace::Trace,
    collector: &Located<Collector>,
    context: &mut Context<'_>,
) -> Option<Export> {
    if cfg!(not(feature = "otlp")) {
        let message = "this program was built without the feature `otlp`, which exports spans";
        let hint = "without `otlp` the rest of `[trace]` works; `cargo build --features otlp` makes a program that exports";
        let finding = context.diagnostics.error(collector.place, message);
        finding.hint(hint);
        return None;
    }
    let headers = trace.headers.value();
    let Collector { server, path } = &collector.value;
    Some(Export {
        tls: match server.scheme {
            Scheme::Https => Some(tls(collector, context)?),
            Scheme::Http | Scheme::H2c => None,
        },
        server: server.clone(),
        path: target(path),
        headers: headers
            .map(|headers| secret::headers(&headers.0, context))
            .unwrap_or_default(),
        service_name: trace
            .service_name
            .map_or("streamgate".to_owned(), |name| name.value.clone()),
        timeout: trace.timeout.map_or(seconds(10), |time| time.0),
    })
}

fn target(path: &str) -> Uri {
    // Its characters were checked; if a path is none all the same, the collector says so.
    format!("{path}{TRACES}")
        .parse()
        .unwrap_or_else(|_no_path| Uri::from_static(TRACES))
}

fn tls(collector: &Located<Collector>, context: &mut Context<'_>) -> Option<ServerTls> {
    match ServerTls::new(Roots::System, None, None) {
        Ok(tls) => Some(tls),
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}"));
            let message = format!("{error}{}", cause.unwrap_or_default());
            context.diagnostics.error(collector.place, message);
            None
        }
    }
}

/// Keys that say how spans are exported, where none are.
fn warn_of_unused(trace: &trace::Trace, context: &mut Context<'_>) {
    if !trace.otlp.is_absent() {
        return;
    }
    let keys = [
        ("headers", trace.headers.key()),
        ("service_name", trace.service_name.key()),
        ("timeout", trace.timeout.key()),
    ];
    for (name, key) in keys {
        if let Some(place) = key {
            let message = format!("`{name}` has no effect: without `otlp` nothing is exported");
            context.diagnostics.warning(place, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use crate::config::model::Config;
    use crate::config::{Diagnostics, load_str};

    fn config(trace: &str) -> Result<Config, Diagnostics> {
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:80\"\n[[route]]\nrespond = 204\n[trace]\n{trace}\n"
        );
        let env = BTreeMap::<String, String>::new();
        load_str("test.toml", &text, Path::new("."), &env)
    }

    #[test]
    fn a_context_alone_needs_no_collector() {
        let trace = config("sample = 0.5").unwrap().trace.unwrap();
        assert_eq!((trace.sample, trace.export), (0.5, None));
    }

    #[cfg(feature = "otlp")]
    #[test]
    fn a_collector_s_path_is_put_before_that_of_traces() {
        for (url, path) in [
            ("http://127.0.0.1:4318", "/v1/traces"),
            ("http://tempo/otlp/", "/otlp/v1/traces"),
        ] {
            let config = config(&format!("otlp = \"{url}\"")).unwrap();
            let export = config.trace.unwrap().export.unwrap();
            assert_eq!(export.path, path);
            assert_eq!(export.service_name, "streamgate");
            assert_eq!(export.timeout.as_secs(), 10);
        }
    }

    #[cfg(not(feature = "otlp"))]
    #[test]
    fn a_program_that_cannot_export_says_which_one_can() {
        let refusal = config("otlp = \"http://127.0.0.1:4318\"").unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains("--features otlp"), "{text}");
    }
}
