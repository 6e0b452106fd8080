//! `streamgate streams`: shows the live streams of the process that runs, and closes some, over its admin socket.
//!
//! An id may be shortened, as it is in the table on a terminal, as long as only one stream's begins so.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::{Args, Subcommand};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::ask::{AskError, Process};
use super::table::{Column, Room, Side, table};
use crate::config::{Env, ProcessEnv};

/// Streams that are asked for at once.
const PAGE: usize = 1_000;

/// Pages at most: more streams than that are not for reading.
const PAGES: usize = 100;

/// Characters of a short id at least.
const SHORT: usize = 8;

/// Which streams are shown, and how.
#[derive(Debug, Args, PartialEq, Default)]
pub struct Shown {
    /// Only those on this route, by its name.
    #[arg(long, value_name = "ROUTE")]
    pub route: Option<String>,
    /// Only those of this kind: tunnel, event_stream or subscription.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only those of this client: an address, with a port or without, or a network.
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<String>,
    /// As JSON, with all that is known of them.
    #[arg(long)]
    pub json: bool,
    /// The configuration that the process runs with: where its admin socket is stands there.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/streamgate/streamgate.toml"
    )]
    pub config: PathBuf,
}

/// What is done with streams.
#[derive(Debug, Subcommand, PartialEq)]
pub enum Action {
    /// Close streams as a drain does: their clients may come back at once.
    Close {
        /// Their ids, or how these begin.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// The configuration that the process runs with: where its admin socket is stands there.
        #[arg(
            long,
            value_name = "FILE",
            default_value = "/etc/streamgate/streamgate.toml"
        )]
        config: PathBuf,
    },
}

/// Why a stream is not closed.
#[derive(Debug, thiserror::Error)]
enum CloseError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("no live stream's id begins with `{0}`")]
    None(String),
    #[error("the ids of several live streams begin with `{0}`: write more of it")]
    Several(String),
    #[error(
        "not all live streams are known, so that more of them than one may begin with `{0}`: try again, or write the whole id"
    )]
    Unsure(String),
}

impl Shown {
    /// All streams of the process with this configuration.
    #[cfg(test)]
    pub(super) fn of(config: &str) -> Self {
        Self {
            config: config.into(),
            ..Self::default()
        }
    }

    fn query(&self) -> String {
        let filters = [
            ("route", &self.route),
            ("kind", &self.kind),
            ("client", &self.client),
        ];
        let set = filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        set.map(|(name, value)| format!("&{name}={}", encoded(value)))
            .collect()
    }
}

/// Shows streams, or does `action`.
#[must_use]
pub fn run(action: Option<&Action>, shown: &Shown) -> ExitCode {
    let done = match action {
        Some(Action::Close { ids, config }) => Process::of(config).map(|it| close_all(&it, ids)),
        None => Process::of(&shown.config).and_then(|process| show(&process, shown)),
    };
    done.unwrap_or_else(|error| tell(&error))
}

fn tell(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("streamgate: {}", crate::respond::chain(error));
    ExitCode::FAILURE
}

fn show(process: &Process, shown: &Shown) -> Result<ExitCode, AskError> {
    let found = all(ask_of(process), &shown.query())?;
    if shown.json {
        super::say(&format!("{found}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let streams = found["streams"].as_array().map_or(&[][..], Vec::as_slice);
    if streams.is_empty() {
        super::say("no stream lives\n");
    } else {
        let is_terminal = io::stdout().is_terminal();
        let has_colour = is_terminal && ProcessEnv.var("NO_COLOR").is_none_or(|set| set.is_empty());
        let text = table_of(streams, is_terminal.then(terminal_width));
        super::say(&if has_colour { bold_head(&text) } else { text });
    }
    let (matched, shown) = (found["matched"].as_u64(), streams.len() as u64);
    if let Some(more) = matched
        .and_then(|all| all.checked_sub(shown))
        // Of a whole list, what is missing has ended meanwhile.
        .filter(|more| *more > 0 && !is_whole(&found))
    {
        eprintln!("streamgate: {more} more are not shown");
    }
    let absent = found["workers_absent"].as_array().map_or(0, Vec::len);
    if absent > 0 {
        eprintln!("streamgate: {absent} of the workers did not answer in time: theirs are missing");
    }
    Ok(ExitCode::SUCCESS)
}

fn ask_of(process: &Process) -> impl FnMut(&str) -> Result<Value, AskError> {
    |target| process.ask(&Method::GET, target)
}

/// All pages of the streams that `query` means, as one: the first of them, with the streams of all, and with all workers that
/// were absent from one. What has a `next` still is not all there is.
fn all(
    mut ask: impl FnMut(&str) -> Result<Value, AskError>,
    query: &str,
) -> Result<Value, AskError> {
    let mut found = ask(&format!("/api/streams?limit={PAGE}{query}"))?;
    for _page in 1..PAGES {
        let Some(next) = found["next"].as_str() else {
            break;
        };
        let target = format!("/api/streams?limit={PAGE}&after={}{query}", encoded(next));
        let mut page = ask(&target)?;
        found["next"] = page["next"].take();
        for member in ["streams", "workers_absent"] {
            if let (Some(known), Some(more)) =
                (found[member].as_array_mut(), page[member].as_array_mut())
            {
                known.append(more);
            }
        }
    }
    // A worker may be absent from several pages.
    if let Some(absent) = found["workers_absent"].as_array_mut() {
        absent.sort_by_key(Value::as_u64);
        absent.dedup();
    }
    Ok(found)
}

/// Whether no worker was absent and no page is left.
fn is_whole(found: &Value) -> bool {
    let absent = found["workers_absent"].as_array();
    absent.is_none_or(Vec::is_empty) && found["next"].is_null()
}

fn close_all(process: &Process, ids: &[String]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        match close(process, id) {
            Ok(id) => super::say(&format!("closed {id}\n")),
            Err(error) => code = tell(&error),
        }
    }
    code
}

fn close(process: &Process, begin: &str) -> Result<String, CloseError> {
    let found = all(ask_of(process), &format!("&q={}", encoded(begin)))?;
    let id = whole_id(&found, begin)?;
    let target = format!("/api/streams/{}", encoded(&id));
    process.ask(&Method::DELETE, &target)?;
    Ok(id)
}

/// The id that is meant, of a stream that was found.
fn whole_id(found: &Value, begin: &str) -> Result<String, CloseError> {
    let streams = found["streams"].as_array().map_or(&[][..], Vec::as_slice);
    let ids = streams.iter().filter_map(|stream| stream["id"].as_str());
    let mut ids: Vec<_> = ids.filter(|id| id.starts_with(begin)).collect();
    ids.dedup();
    match ids[..] {
        // A whole id that others begin with is one all the same.
        _ if ids.contains(&begin) => Ok(begin.to_owned()),
        _ if !is_whole(found) => Err(CloseError::Unsure(begin.to_owned())),
        [] => Err(CloseError::None(begin.to_owned())),
        [id] => Ok(id.to_owned()),
        _ => Err(CloseError::Several(begin.to_owned())),
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// What the shell says, or else the terminal itself by way of `stty`, which is on every system.
fn terminal_width() -> usize {
    let set = ProcessEnv.var("COLUMNS");
    let set = set.and_then(|set| set.to_str()?.parse().ok());
    let asked = || {
        let mut stty = Command::new("stty");
        let told = stty.arg("size").stdin(Stdio::inherit()).output().ok()?;
        let told = String::from_utf8(told.stdout).ok()?;
        told.split_whitespace().nth(1)?.parse().ok()
    };
    set.or_else(asked).filter(|width| *width > 0).unwrap_or(80)
}

fn bold_head(table: &str) -> String {
    let (head, rest) = table.split_once('\n').unwrap_or((table, ""));
    format!("\u{1b}[1m{head}\u{1b}[0m\n{rest}")
}

const fn column(head: &'static str, side: Side, room: Room) -> Column {
    Column { head, side, room }
}

const COLUMNS: [Column; 9] = [
    column("ID", Side::Left, Room::Whole),
    column("KIND", Side::Left, Room::Whole),
    column("ROUTE", Side::Left, Room::AtLeast(8)),
    column("CLIENT", Side::Left, Room::AtLeast(9)),
    column("BACKEND", Side::Left, Room::AtLeast(8)),
    column("AGE", Side::Right, Room::Whole),
    column("IDLE", Side::Right, Room::Whole),
    column("IN", Side::Right, Room::Whole),
    column("OUT", Side::Right, Room::Whole),
];

fn table_of(streams: &[Value], width: Option<usize>) -> String {
    let text = |stream: &Value, name: &str| stream[name].as_str().unwrap_or_default().to_owned();
    let seconds = |stream: &Value, name: &str| span(stream[name].as_f64().unwrap_or_default());
    let bytes = |stream: &Value, name: &str| size(stream[name].as_u64().unwrap_or_default());
    let ids: Vec<_> = streams.iter().map(|stream| text(stream, "id")).collect();
    let length = width.map_or(usize::MAX, |_| unique_length(&ids));
    let row = |stream: &Value| {
        let client = match stream["user"].as_str() {
            Some(user) => format!("{user} {}", text(stream, "client")),
            None => text(stream, "client"),
        };
        vec![
            text(stream, "id").chars().take(length).collect(),
            text(stream, "kind"),
            text(stream, "route"),
            client,
            text(stream, "backend"),
            seconds(stream, "age_seconds"),
            seconds(stream, "idle_seconds"),
            bytes(stream, "bytes_in"),
            bytes(stream, "bytes_out"),
        ]
    };
    let rows: Vec<_> = streams.iter().map(row).collect();
    table(&COLUMNS, &rows, width)
}

/// So many characters tell the ids from each other.
fn unique_length(ids: &[String]) -> usize {
    let mut sorted: Vec<_> = ids.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let common = |pair: &[&str]| {
        let both = pair[0].chars().zip(pair[1].chars());
        both.take_while(|(one, other)| one == other).count()
    };
    let longest = sorted.windows(2).map(common).max().unwrap_or_default();
    SHORT.max(longest + 1)
}

/// A time in its largest two units' place: `5s`, `12m`, `3h`, `9d`.
fn span(seconds: f64) -> String {
    let units = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "m")];
    let unit = units.into_iter().find(|(length, _)| seconds >= *length);
    let (length, name) = unit.unwrap_or((1.0, "s"));
    format!("{:.0}{name}", (seconds / length).floor())
}

/// A size: `512`, `1.5K`, `20M`.
fn size(bytes: u64) -> String {
    let units = [(1_u64 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return bytes.to_string();
    };
    let count = bytes as f64 / unit as f64;
    if count < 10.0 {
        return format!("{count:.1}{name}");
    }
    format!("{count:.0}{name}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        let spans = [0.4, 59.9, 60.0, 3_599.0, 86_399.0, 1_000_000.0].map(span);
        assert_eq!(spans, ["0s", "59s", "1m", "59m", "23h", "11d"]);
        let sizes = [0, 1_023, 1_024, 1_536, 20_480, 5 << 20, 3 << 30].map(size);
        assert_eq!(sizes, ["0", "1023", "1.0K", "1.5K", "20K", "5.0M", "3.0G"]);
    }

    #[test]
    fn of_pages_none_is_forgotten_and_a_short_id_needs_all_of_them() {
        let stream = |id: &str| json!({ "id": id });
        let mut pages = vec![
            json!({"matched": 2, "streams": [stream("1b")], "next": null, "workers_absent": [1]}),
            json!({"matched": 3, "streams": [stream("1a")], "next": "5.1a", "workers_absent": [2, 1]}),
        ];
        let found = all(|_target| Ok(pages.pop().unwrap()), "").unwrap();
        assert_eq!(found["matched"], 3);
        assert_eq!(found["streams"], json!([stream("1a"), stream("1b")]));
        assert_eq!(found["workers_absent"], json!([1, 2]));

        let one = |absent: Value, next: Value| json!({"streams": [stream("1a")], "next": next, "workers_absent": absent});
        let whole = one(json!([]), Value::Null);
        assert_eq!(whole_id(&whole, "1").unwrap(), "1a");
        for part in [one(json!([1]), Value::Null), one(json!([]), json!("5.1a"))] {
            assert_eq!(whole_id(&part, "1a").unwrap(), "1a");
            for short in ["1", "2"] {
                assert!(matches!(whole_id(&part, short), Err(CloseError::Unsure(_))));
            }
        }
    }

    #[test]
    fn ids_are_as_short_as_tells_them_apart() {
        let ids =
            |ids: &[&str]| unique_length(&ids.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(ids(&[]), SHORT);
        assert_eq!(ids(&["0a1b2c3d4e5f", "1a1b2c3d4e5f"]), SHORT);
        assert_eq!(ids(&["0a1b2c3d4e5f", "0a1b2c3d4eff"]), 11);
    }

    #[test]
    fn a_table_fits_eighty_characters() {
        let stream = json!({
            "id": "0123456789abcdef0123456789abcdef", "kind": "subscription",
            "route": "gate.example.org/live/{room}/events", "client": "[2001:db8::1]:54321",
            "user": "ann", "backend": "prices/a-very-long-room", "age_seconds": 4000.0,
            "idle_seconds": 2.0, "bytes_in": 0, "bytes_out": 123_456_789,
        });
        let narrow = table_of(std::slice::from_ref(&stream), Some(80));
        assert!(
            narrow.lines().all(|line| line.chars().count() <= 80),
            "{narrow}"
        );
        assert!(narrow.contains("01234567  subscription"), "{narrow}");
        let wide = table_of(&[stream], None);
        assert!(wide.contains("0123456789abcdef0123456789abcdef"), "{wide}");
        assert!(wide.contains("ann [2001:db8::1]:54321"), "{wide}");
    }
}
