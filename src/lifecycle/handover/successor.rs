//! The old process's side: the program that takes over, and what it is given.
//!
//! A thread of its own talks to the successor, so that nothing else waits for it, and ends it when it fails. Invariant: a
//! successor that did not become ready is dead before its failure is told.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use command_fds::CommandFdExt;
use tokio::sync::oneshot;

use super::{
    BUILT, HandoverError, Hello, LIMIT, Named, Outgoing, READY, Socket, Talk, VARIABLE, VERSION,
    YOURS,
};

/// What the environment says to this process alone, and not to its successor (sd_listen_fds(3), sd_watchdog_enabled(3)).
const OWN_VARIABLES: [&str; 5] = [
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "WATCHDOG_PID",
];

/// How long a word may take that nobody waits for.
const LAST_WORD: Duration = Duration::from_millis(500);

/// A program as it was started: where it lies and what it was told.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// This process's own. To be asked for at its start: a program that is replaced later is found under the same path.
    ///
    /// # Errors
    /// The system does not say where it lies.
    pub fn own() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        // A name without a slash was looked for in PATH: the system knows what was found.
        let typed = arguments
            .next()
            .map(PathBuf::from)
            .filter(|path| path.components().count() > 1);
        let path = match typed {
            Some(path) => std::path::absolute(path)?,
            None => std::env::current_exe()?,
        };
        Ok(Self {
            path,
            arguments: arguments.collect(),
        })
    }
}

/// A process that was started to take over.
#[derive(Debug)]
pub struct Successor {
    /// Its number.
    pub process: u32,
    stream: UnixStream,
    outcome: oneshot::Receiver<Result<Child, HandoverError>>,
    /// Once it is ready.
    ready: Option<Child>,
}

impl Successor {
    /// Starts `program` and gives it `sockets`. When it is built, `save` writes the state for it, on another thread.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        program: &Program,
        sockets: Vec<Socket>,
        save: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let hello = hello(&sockets);
        let told = format!("{}:{}", std::process::id(), theirs.as_raw_fd());
        let mut inherited = vec![theirs];
        inherited.extend(sockets.into_iter().map(|socket| socket.descriptor));
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env(VARIABLE, told);
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        let child = command.preserved_fds(inherited).spawn()?;
        // Our copies of what it has inherited: its end of the pair has to be its alone.
        drop(command);
        let process = child.id();
        let mut talk = Talk::new(ours.try_clone()?, LIMIT);
        let (done, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name("handover".into())
            .spawn(move || {
                let said = converse(&mut talk, &hello, save);
                let _ = done.send(match said {
                    Ok(()) => Ok(child),
                    Err(why) => Err(end(child, why)),
                });
            })?;
        Ok(Self {
            process,
            stream: ours,
            outcome,
            ready: None,
        })
    }

    /// Returns when it is ready, or dead.
    ///
    /// # Errors
    /// Why it did not become ready.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again; not after it has returned.
    pub async fn outcome(&mut self) -> Result<(), HandoverError> {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome.map(|child| self.ready = Some(child)),
            Err(_closed) => Err(HandoverError::Gone),
        }
    }

    /// It is ready, and on its own from now on.
    pub fn release(self) {
        // That nobody is there any more it notices just as well.
        let _ = Talk::new(self.stream, LAST_WORD).say(YOURS);
    }

    /// It is not wanted any more. Returns when it is dead.
    pub async fn abandon(mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if self.ready.is_none() {
            let _ = self.outcome().await;
        }
        // It may just have become ready.
        if let Some(child) = &mut self.ready {
            let _ = kill(child);
        }
    }
}

fn hello(sockets: &[Socket]) -> Vec<u8> {
    let sockets = sockets.iter().map(|socket| Named {
        name: socket.name.clone(),
        descriptor: socket.descriptor.as_raw_fd(),
    });
    let hello = Hello {
        version: VERSION,
        sockets: sockets.collect(),
    };
    serde_json::to_vec(&hello).expect("names and numbers are JSON")
}

fn converse(
    talk: &mut Talk,
    hello: &[u8],
    save: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), HandoverError> {
    talk.say(hello)?;
    talk.expect(BUILT)?;
    let mut state = Outgoing(talk);
    {
        let mut buffered = io::BufWriter::with_capacity(super::FRAME, &mut state);
        save(&mut buffered)?;
        buffered.flush()?;
    }
    state.end()?;
    talk.expect(READY)
}

/// Makes sure that it is dead.
fn end(mut child: Child, why: HandoverError) -> HandoverError {
    // One that has gone by itself says why by its status; what is silent or babbles is ended.
    let status = match (&why, child.try_wait()) {
        (_, Ok(Some(status))) => Ok(status),
        (HandoverError::Gone, _) => wait_briefly(&mut child),
        _ => kill(&mut child),
    };
    let status = match status {
        Ok(status) => format!("ended with {status}"),
        Err(error) => format!("cannot be ended: {error}"),
    };
    HandoverError::Ended {
        why: Box::new(why),
        status,
    }
}

/// Its end of the pair is closed, so it ends, or has become something else.
fn wait_briefly(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    const STEPS: u32 = 50;
    for _step in 0..STEPS {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::park_timeout(LAST_WORD / STEPS);
    }
    kill(child)
}

fn kill(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    child.kill()?;
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program {
            path: "/bin/bash".into(),
            arguments: vec!["-c".into(), script.into()],
        }
    }

    async fn failure(script: &str) -> String {
        let mut successor = Successor::start(&shell(script), Vec::new(), |_state| Ok(())).unwrap();
        let failure = successor.outcome().await.unwrap_err();
        let entry = format!("/proc/{}", successor.process);
        assert!(!std::path::Path::new(&entry).exists(), "it lives on");
        failure.to_string()
    }

    #[tokio::test]
    async fn a_program_that_ends_is_told_with_its_status() {
        let told = failure("exit 78").await;
        assert!(told.contains("exit status: 78"), "{told}");
    }

    #[tokio::test]
    async fn a_program_that_babbles_is_ended() {
        // Its end of the talk has the number after the colon.
        let script = r#"printf '\0\0\0\5hullo' >&"${STREAMGATE_HANDOVER#*:}"; exec sleep 60"#;
        let told = failure(script).await;
        assert!(
            told.contains("hullo") && told.contains("signal: 9"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_not_started() {
        let program = Program {
            path: "/nonexistent/streamgate".into(),
            arguments: Vec::new(),
        };
        assert!(Successor::start(&program, Vec::new(), |_state| Ok(())).is_err());
    }

    #[tokio::test]
    async fn one_that_is_not_wanted_any_more_is_dead() {
        let successor =
            Successor::start(&shell("exec sleep 60"), Vec::new(), |_state| Ok(())).unwrap();
        let entry = format!("/proc/{}", successor.process);
        successor.abandon().await;
        assert!(!std::path::Path::new(&entry).exists());
    }
}
