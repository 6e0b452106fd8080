//! The program's log, line by line as it comes.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::PATIENCE;

/// One line of the log.
#[derive(Clone)]
pub struct Line {
    raw: String,
    value: Value,
}

impl Line {
    fn parse(raw: String) -> Self {
        let object = raw.find('{').map_or("", |at| &raw[at..]);
        let value = serde_json::from_str(object).unwrap_or(Value::Null);
        Self { raw, value }
    }

    /// What stands before the JSON: nothing, or the priority that the journal wants.
    pub fn prefix(&self) -> &str {
        self.raw.split('{').next().unwrap_or_default()
    }

    /// The constant message.
    pub fn message(&self) -> &str {
        self.get("message").and_then(Value::as_str).unwrap_or("")
    }

    /// A field's value, wherever the line has it: among the event's fields, on top, or in a span.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let fields = self.value.get("fields").and_then(|fields| fields.get(name));
        let span = || self.value.get("span").and_then(|span| span.get(name));
        fields.or_else(|| self.value.get(name)).or_else(span)
    }

    /// A field's value as text, whatever its type.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// A field's value as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// Whether a field has this value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.text(name).as_deref() == Some(value)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

#[derive(Default)]
struct Seen {
    lines: Vec<Line>,
    stderr: String,
    status: Option<ExitStatus>,
}

/// What a running program has said so far, and how it ended.
pub struct Log {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<u64>,
    ended: Mutex<Receiver<()>>,
}

impl Log {
    /// Follows a child whose output is piped, and reaps it when it ends.
    pub fn follow(mut child: Child) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (change, changed) = watch::channel(0);
        let (end, ended) = sync_channel(1);
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let complaints = follow_stderr(stderr, Arc::clone(&seen));
        let reader = Reader {
            seen: Arc::clone(&seen),
            change,
            end,
        };
        thread::spawn(move || reader.run(stdout, child, complaints));
        Self {
            seen,
            changed,
            ended: Mutex::new(ended),
        }
    }

    /// How many lines there are: what a later wait can start from.
    pub fn mark(&self) -> usize {
        self.seen.lock().unwrap().lines.len()
    }

    /// All lines from a mark on.
    pub fn since(&self, mark: usize) -> Vec<Line> {
        self.seen.lock().unwrap().lines[mark..].to_vec()
    }

    /// The first line from a mark on that `matches`, waited for within the limit that all waits have.
    pub async fn wait(&self, mark: usize, what: &str, matches: impl Fn(&Line) -> bool) -> Line {
        let mut changed = self.changed.clone();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                changed.borrow_and_update();
                let (found, ended) = {
                    let seen = self.seen.lock().unwrap();
                    let found = seen.lines[mark..].iter().find(|line| matches(line));
                    (found.cloned(), seen.status.is_some())
                };
                match found {
                    Some(line) => return Some(line),
                    None if ended || changed.changed().await.is_err() => return None,
                    None => {}
                }
            }
        });
        match found.await {
            Ok(Some(line)) => line,
            Ok(None) => panic!("the program ended without {what}:\n{self}"),
            Err(_) => panic!("waited {PATIENCE:?} in vain for {what} in the log:\n{self}"),
        }
    }

    /// Waits until the program has ended.
    pub async fn end(&self) -> ExitStatus {
        let mut changed = self.changed.clone();
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            // An error says that the reader is gone, which leaves the status behind.
            let _ = changed.changed().await;
        }
    }

    /// Waits for the end where nothing can be awaited. False: it did not come.
    pub fn end_blocking(&self, limit: Duration) -> bool {
        self.status().is_some() || self.ended.lock().unwrap().recv_timeout(limit).is_ok()
    }

    /// How the program ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        self.seen.lock().unwrap().status
    }

    /// What it wrote to stderr.
    pub fn stderr(&self) -> String {
        self.seen.lock().unwrap().stderr.clone()
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self
            .seen
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        for line in &seen.lines {
            writeln!(f, "    {line:?}")?;
        }
        write!(f, "{}", seen.stderr)
    }
}

struct Reader {
    seen: Arc<Mutex<Seen>>,
    change: watch::Sender<u64>,
    end: SyncSender<()>,
}

impl Reader {
    fn run(self, stdout: impl Read, mut child: Child, complaints: thread::JoinHandle<()>) {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            self.seen.lock().unwrap().lines.push(Line::parse(line));
            self.change.send_modify(|count| *count += 1);
        }
        let _ = complaints.join();
        let status = child.wait().expect("a child can be waited for");
        self.seen.lock().unwrap().status = Some(status);
        self.change.send_modify(|count| *count += 1);
        let _ = self.end.try_send(());
    }
}

fn follow_stderr(
    stderr: impl Read + Send + 'static,
    seen: Arc<Mutex<Seen>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut seen = seen.lock().unwrap();
            seen.stderr.push_str(&line);
            seen.stderr.push('\n');
        }
    })
}
