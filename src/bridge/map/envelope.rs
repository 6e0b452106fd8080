//! A message with its kind and its time around it (`envelope`).

use std::time::SystemTime;

use serde::Serialize;

/// `envelope = true`
#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    data: &'a str,
    /// Milliseconds since 1970.
    time: u64,
}

/// `data` in its envelope, as JSON.
pub(super) fn envelope(kind: &'static str, data: &str) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let envelope = Envelope {
        r#type: kind,
        data,
        // A clock before 1970 is no reason to send nothing.
        time: since.map_or(0, |since| since.as_millis() as u64),
    };
    serde_json::to_string(&envelope).expect("strings and numbers are JSON")
}
