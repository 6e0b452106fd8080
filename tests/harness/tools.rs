//! Other people's programs: curl, Node, Python, Chromium's driver. A test that needs one fails without it, and says how to
//! get it; it never passes by not running.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::within;

/// A program from the system.
pub fn tool(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    assert!(
        found,
        "`{name}` is not installed: run `tests/run`, which sees to it"
    );
    command(Path::new(name))
}

/// Python with the packages that `tests/run` installs.
pub fn python(script: &str) -> Command {
    let mut command = command(&prepared("python/bin/python"));
    command.arg(scripts("python").join(script));
    command
}

/// Node with the packages that `tests/run` installs.
pub fn node(script: &str) -> Command {
    let modules = prepared("node/node_modules");
    let mut command = tool("node");
    command
        .arg(scripts("node").join(script))
        .env("NODE_PATH", modules);
    command
}

/// A file of one of the packages for Node that `tests/run` installs.
pub fn node_file(path: &str) -> String {
    let path = prepared("node/node_modules").join(path);
    let read = std::fs::read_to_string(&path);
    read.unwrap_or_else(|error| panic!("`{}`: {error}: run `tests/run`", path.display()))
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

fn scripts(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(language)
}

fn prepared(what: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("test-clients").join(what);
    let missing = "is missing: run `tests/run`, which prepares it";
    assert!(path.exists(), "`{}` {missing}", path.display());
    path
}

/// Runs a program to its end, which must be a success, and returns what it wrote to stdout.
pub async fn output(mut command: Command) -> String {
    let output = within("another program's end", command.output())
        .await
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout
}

/// A program that serves on a port of its own choice, which stands at the end of a line it prints.
pub struct Server {
    /// The port on loopback.
    pub port: u16,
    _child: Child,
}

impl Server {
    /// Starts a program and waits for the line that has `said` in it.
    pub async fn start(mut command: Command, said: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("a server's first words", async {
            loop {
                match lines.next_line().await.unwrap() {
                    Some(line) if line.contains(said) => return line,
                    Some(_) => {}
                    None => panic!("the server ended at once: {command:?}"),
                }
            }
        });
        let line = line.await;
        let digits = line
            .trim_end_matches('.')
            .rsplit([' ', ':'])
            .next()
            .unwrap();
        let port = digits
            .parse()
            .unwrap_or_else(|_| panic!("no port in `{line}`"));
        Self {
            port,
            _child: child,
        }
    }

    /// A Node script from `tests/clients/node`.
    pub async fn node(script: &str) -> Self {
        let mut command = node(script);
        command.env("PORT", "0");
        Self::start(command, "listening").await
    }

    /// An upstream and a route for every request to it.
    pub fn for_everything(&self) -> String {
        let port = self.port;
        format!(
            "[upstream.app]\nservers = [\"http://127.0.0.1:{port}\"]\n\
             [[route]]\npath = \"/*\"\nupstream = \"app\"\n"
        )
    }
}

/// Chromium's driver, on a port of its own choice.
pub async fn browser_driver() -> Server {
    let mut command = tool("chromedriver");
    command.arg("--port=0");
    Server::start(command, "started successfully on port").await
}
