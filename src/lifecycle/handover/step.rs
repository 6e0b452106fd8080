//! The step between the two processes: it starts the new one, watches it until the old one knows what becomes of it, and ends.
//!
//! When it has ended, the new process is a child of process 1, or of whoever else takes up orphans (a service manager), as if that had
//! started it: systemd waits for a main process only if it is its own child. The step is this very program once more
//! (`/proc/self/exe`, also where its file has been replaced), so that it does not matter which program is started. Invariant: it
//! never outlives the old process's interest, which it notices as the end of its standard input.
//!
//! Both talk over that standard input, a pair of sockets, in lines. The step says `started PID`, or `failed REASON` and ends; then
//! `ended STATUS` if the new process has, and ends. The old process says `kill`, or goes.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use command_fds::CommandFdExt;
use tokio::time::Instant;

use super::{Program, VARIABLE};

/// The hidden subcommand of the program that is this step.
pub const NAME: &str = "start-successor";

/// This program, whatever lies at its path now.
const OURSELVES: &str = "/proc/self/exe";

/// What the environment says to this process alone, and not to its successor (sd_listen_fds(3), sd_watchdog_enabled(3)).
const OWN_VARIABLES: [&str; 5] = [
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "WATCHDOG_PID",
];

/// How often the new process is looked at while nothing is said.
const LOOK: Duration = Duration::from_millis(20);

/// How long the step may take to do what it is told: it has nothing else to do.
const OBEYS: Duration = Duration::from_secs(5);

/// Bytes of what says which program to start.
const LONGEST: u64 = 256 * 1024;

const KILL: &str = "kill";

/// The step, seen from the old process.
#[derive(Debug)]
pub(super) struct Step {
    child: Child,
    lines: BufReader<UnixStream>,
}

impl Step {
    /// Has `program` started, with `inherited` and what the environment says of them. Returns with the number of its process.
    pub(super) fn start(
        program: &Program,
        told: &str,
        inherited: Vec<OwnedFd>,
    ) -> io::Result<(Self, u32)> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(OURSELVES);
        command
            .args(&program.step)
            .env(VARIABLE, told)
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        let child = command.preserved_fds(inherited).spawn()?;
        // Our copies of what it has inherited: the new process's end of its talk has to be its alone.
        drop(command);
        ours.set_write_timeout(Some(OBEYS))?;
        let mut step = Self {
            child,
            lines: BufReader::new(ours.try_clone()?),
        };
        let started = ours
            .write_all(&spell(program))
            .and_then(|()| step.started());
        match started {
            Ok(process) => Ok((step, process)),
            Err(error) => {
                step.end();
                Err(error)
            }
        }
    }

    /// Lets go of the new process, which is nobody's child from now on but that of process 1.
    pub(super) fn end(mut self) {
        let _ = self.lines.get_ref().shutdown(std::net::Shutdown::Both);
        let late = Instant::now() + OBEYS;
        // It ends as soon as it sees that: within a millisecond.
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > late {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Has the new process killed, unless it has ended already. Returns how it ended.
    pub(super) fn kill(mut self) -> io::Result<String> {
        let said = writeln!(self.lines.get_ref(), "{KILL}");
        let status = self.ended(OBEYS);
        self.end();
        status.or_else(|error| said.and(Err(error)))
    }

    /// Waits a little for the end of the new process, which is about to end by itself, and has it killed if it does not.
    pub(super) fn wait_briefly(mut self, limit: Duration) -> io::Result<String> {
        match self.ended(limit) {
            Ok(status) => {
                self.end();
                Ok(status)
            }
            Err(_late) => self.kill(),
        }
    }

    fn started(&mut self) -> io::Result<u32> {
        let line = self.line(OBEYS)?;
        if let Some(reason) = line.strip_prefix("failed ") {
            return Err(io::Error::other(reason.to_owned()));
        }
        let process = line.strip_prefix("started ").map(str::parse);
        process.and_then(Result::ok).ok_or_else(|| strange(&line))
    }

    fn ended(&mut self, limit: Duration) -> io::Result<String> {
        let line = self.line(limit)?;
        let status = line.strip_prefix("ended ").map(str::to_owned);
        status.ok_or_else(|| strange(&line))
    }

    fn line(&mut self, limit: Duration) -> io::Result<String> {
        self.lines.get_ref().set_read_timeout(Some(limit))?;
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn strange(line: &str) -> io::Error {
    io::Error::other(format!("the step said `{line}`"))
}

/// The program and its arguments in bytes that cannot be in them: each ends with a zero, the last with two.
fn spell(program: &Program) -> Vec<u8> {
    let mut words = vec![program.path.as_os_str()];
    words.extend(program.arguments.iter().map(OsString::as_os_str));
    // An argument may be empty: each is marked by a byte of its own.
    let mut spelled = Vec::new();
    for word in words {
        spelled.push(b'+');
        spelled.extend_from_slice(word.as_bytes());
        spelled.push(0);
    }
    spelled.push(0);
    spelled
}

/// Reads what [`spell`] has written, and no more.
fn read_spelled(from: &mut impl BufRead) -> io::Result<Vec<OsString>> {
    let mut words = Vec::new();
    let mut from = from.take(LONGEST);
    loop {
        let mut word = Vec::new();
        from.read_until(0, &mut word)?;
        match word.as_slice() {
            [0] => return Ok(words),
            [b'+', word @ .., 0] => words.push(OsString::from_vec(word.to_vec())),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The step itself: what the subcommand [`NAME`] does.
#[must_use]
pub fn run() -> ExitCode {
    match step() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("streamgate: {NAME} is for a restart only: {error}");
            ExitCode::FAILURE
        }
    }
}

fn step() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr()?;
    socket.set_read_timeout(Some(OBEYS))?;
    let mut orders = BufReader::new(socket.try_clone()?);
    let words = read_spelled(&mut orders)?;
    let (path, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidData)?;
    // What this process has inherited, it inherits too.
    let mut command = Command::new::<&OsStr>(path);
    let started = command.args(arguments).stdin(Stdio::null()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return writeln!(&socket, "failed {error}: {}", path.display()),
    };
    writeln!(&socket, "started {}", child.id())?;
    socket.set_read_timeout(Some(LOOK))?;
    let status = watch(&mut child, &mut orders)?;
    match status {
        Some(status) => writeln!(&socket, "ended {status}"),
        None => Ok(()),
    }
}

/// Looks after the new process. `None`: the old one does not want that any more.
fn watch(
    child: &mut Child,
    orders: &mut BufReader<UnixStream>,
) -> io::Result<Option<std::process::ExitStatus>> {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    let mut order = String::new();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        match orders.read_line(&mut order) {
            Ok(_) if order.trim_end() == KILL => {
                child.kill()?;
                return child.wait().map(Some);
            }
            Ok(_gone) => return Ok(None),
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The step for unit tests: this program is not the one that has the subcommand, but it has the next test.
    pub(in super::super) fn of_tests() -> Vec<OsString> {
        let name = concat!(module_path!(), "::the_step_itself");
        let name = name.split_once("::").unwrap().1;
        [name, "--exact", "--ignored", "--nocapture", "--quiet"]
            .map(Into::into)
            .to_vec()
    }

    #[test]
    #[ignore = "not a test: the step of other tests"]
    fn the_step_itself() {
        let input = io::stdin().as_fd().try_clone_to_owned().unwrap();
        // Whoever runs all tests that are ignored gives it no orders.
        if UnixStream::from(input).peer_addr().is_ok() {
            step().unwrap();
        }
    }

    #[test]
    fn a_program_and_its_arguments_come_through_whatever_is_in_them() {
        for arguments in [
            vec![],
            vec![""],
            vec!["run", "--config", "/etc/a file"],
            vec!["", "\n", "+", "started 1\n", "ü"],
        ] {
            let program = Program {
                path: "/usr/bin/streamgate".into(),
                arguments: arguments.iter().map(Into::into).collect(),
                step: Vec::new(),
            };
            let spelled = [&spell(&program)[..], b"kill\n"].concat();
            let mut from = BufReader::new(&spelled[..]);
            let words = read_spelled(&mut from).unwrap();
            assert_eq!(words[0], program.path);
            assert_eq!(words[1..], program.arguments);
            let mut rest = String::new();
            from.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "kill\n");
        }
        for broken in [&b""[..], b"+a", b"a\0\0", b"+a\0", b"+a\0+"] {
            assert!(read_spelled(&mut BufReader::new(broken)).is_err());
        }
    }
}
