//! `streamgate reload`: asks the running process over its admin socket, and says how it went.

use std::path::Path;
use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::ask::Process;

/// The exit code for a configuration that has mistakes (`EX_CONFIG` of sysexits).
const EXIT_CONFIG: u8 = 78;

/// Asks the process that runs with this configuration to reload it, or to say what that would change. Prints the answer.
#[must_use]
pub fn run(config: &Path, plan: bool) -> ExitCode {
    let query = if plan { "?plan" } else { "" };
    let target = format!("/api/reload{query}");
    match Process::of(config).and_then(|process| process.ask(&Method::POST, &target)) {
        Ok(answer) => tell(&answer),
        Err(error) => {
            eprintln!("streamgate: {}", crate::respond::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Prints what the process said, and makes it an exit code.
fn tell(answer: &Value) -> ExitCode {
    if answer["outcome"] == "refused" {
        let error = answer["error"].as_str().unwrap_or_default();
        eprintln!("streamgate: nothing has changed: {}", error.trim_end());
        return code_of(answer).into();
    }
    match answer["outcome"].as_str() {
        Some("done") => println!("reloaded"),
        Some("planned") => println!("a reload would change:"),
        _ => println!("nothing has changed"),
    }
    let changes = answer["changes"].as_array();
    for change in changes.into_iter().flatten() {
        println!("  {}", change["line"].as_str().unwrap_or_default());
    }
    code_of(answer).into()
}

fn code_of(answer: &Value) -> u8 {
    match (answer["outcome"].as_str(), answer["because"].as_str()) {
        (Some("refused"), Some("configuration")) => EXIT_CONFIG,
        (Some("refused"), _) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_exit_code_tells_a_mistake_from_what_the_machine_refuses() {
        let table = [
            (json!({"outcome": "done", "changes": []}), 0),
            (json!({"outcome": "unchanged"}), 0),
            (json!({"outcome": "planned", "changes": []}), 0),
            (
                json!({"outcome": "refused", "because": "configuration"}),
                78,
            ),
            (json!({"outcome": "refused", "because": "system"}), 1),
        ];
        for (answer, code) in table {
            assert_eq!(code_of(&answer), code, "{answer}");
        }
    }
}
