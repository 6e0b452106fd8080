//! `/api/log`: what is logged, and more of it for a while.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::params::time;
use crate::admin::State;
use crate::admin::answer::{Answer, Answered, Refusal, json};
use crate::lifecycle::tasks;

/// Bytes of a request's body at most.
const LONGEST: usize = 4 * 1024;

/// How long a level holds, unless the request says.
const HOUR: Duration = Duration::from_secs(3600);

/// The longest that it may say.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A level that holds for a time. Dropped, it is not ended any more.
pub(in crate::admin) struct Temporary(#[expect(dead_code, reason = "held")] AbortOnDropHandle<()>);

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    level: String,
    #[serde(rename = "for")]
    length: Option<String>,
}

/// `GET /api/log`
pub(super) fn level(state: &State) -> Answer {
    json(&json!({"level": state.shown.verbosity.word()}))
}

/// `PUT /api/log`
pub(super) async fn set(body: Incoming, state: &State) -> Answered {
    let wanted = read(body).await?;
    let level = wanted.level.parse::<tracing::Level>();
    let words = ["error", "warn", "info", "debug", "trace"];
    let is_known = words.contains(&wanted.level.as_str());
    let level = level.ok().filter(|_| is_known).ok_or_else(|| {
        Refusal::bad_request("`level` is `error`, `warn`, `info`, `debug` or `trace`")
    })?;
    let length = wanted.length.as_deref();
    let length = length.map(|text| time("for", text, DAY)).transpose()?;
    let length = length.unwrap_or(HOUR);
    let verbosity = state.shown.verbosity.clone();
    let turn = verbosity.set(level);
    tracing::info!(%level, ?length, "the operator sets the log's level");
    let ending = tasks::spawn(async move {
        tokio::time::sleep(length).await;
        if verbosity.restore(turn) {
            tracing::info!(level = verbosity.word(), "the log has its own level again");
        }
    });
    // The end of one that was set before is forgotten with it.
    state
        .level
        .replace(Some(Temporary(AbortOnDropHandle::new(ending))));
    let level = state.shown.verbosity.word();
    Ok(json(
        &json!({"level": level, "for_seconds": length.as_secs_f64()}),
    ))
}

async fn read(body: Incoming) -> Result<Wanted, Refusal> {
    let body = Limited::new(body, LONGEST).collect().await;
    let body: Bytes = body
        .map_err(|_too_long_or_broken| {
            let why = format!("a body has at most {LONGEST} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
        })?
        .to_bytes();
    let example = r#"the body is JSON such as {"level": "debug", "for": "10m"}"#;
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad_request(format!("{example}: {error}")))
}
