//! The program run to its end: `check`, wrong flags, configurations it must refuse.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::within;

/// How a run ended.
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// All of stdout and stderr, in this order.
    pub said: String,
}

/// Runs the program with these arguments in `directory`, so that paths in its messages are short.
pub async fn run_program(directory: &Path, arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_streamgate"))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within("the program's end", output).await.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    Outcome {
        code: output.status.code().expect("an exit and no signal"),
        said: format!("{stdout}{stderr}"),
    }
}
