//! The old process's side: the program that takes over, and what it is given.
//!
//! It is started by a step between the two ([`step`](super::step)), so that it is no child of this process when it is ready. A thread
//! of its own talks to it, so that nothing else waits for it, and ends it when it fails. Invariant: a successor that did not become
//! ready is dead before its failure is told.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use super::step::{self, Step};
use super::{
    BUILT, HandoverError, Hello, LIMIT, MINE, Named, Outgoing, READY, Socket, Talk, VERSION, YOURS,
};

/// How long a word may take that nobody waits for.
const LAST_WORD: Duration = Duration::from_millis(500);

/// A program as it was started: where it lies and what it was told.
#[derive(Debug, Clone)]
pub struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// What this process's own program is told to be the step.
    pub(super) step: Vec<OsString>,
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
            step: vec![step::NAME.into()],
        })
    }
}

/// A process that was started to take over.
#[derive(Debug)]
pub struct Successor {
    /// Its number.
    pub process: u32,
    stream: UnixStream,
    outcome: oneshot::Receiver<Result<Step, HandoverError>>,
    /// Once it is ready.
    ready: Option<Step>,
}

impl Successor {
    /// Starts `program` and gives it `sockets`. When it is built, `save` writes the state for it, on another thread. Returns when its
    /// process is there.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        program: &Program,
        sockets: Vec<Socket>,
        save: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_within(LIMIT, program, sockets, save)
    }

    /// The same where it has to be ready within `limit`.
    fn start_within(
        limit: Duration,
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
        let (step, process) = Step::start(program, &told, inherited)?;
        let mut talk = Talk::new(ours.try_clone()?, limit);
        let (done, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name("handover".into())
            .spawn(move || {
                let said = converse(&mut talk, &hello, save);
                let _ = done.send(match said {
                    Ok(()) => Ok(step),
                    Err(why) => Err(end(step, why)),
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
            Ok(outcome) => outcome.map(|step| self.ready = Some(step)),
            Err(_closed) => Err(HandoverError::Gone),
        }
    }

    /// It is ready: from now on it is a child of process 1. It says nothing to systemd before [`Successor::release`].
    pub fn let_go(&mut self) {
        if let Some(step) = self.ready.take() {
            step.end();
        }
    }

    /// It is on its own from now on.
    pub fn release(mut self) {
        self.let_go();
        // That nobody is there any more it notices just as well.
        let _ = Talk::new(self.stream, LAST_WORD).say(YOURS);
    }

    /// It is not wanted any more. Returns when it is dead.
    pub async fn abandon(mut self) {
        // One that is ready waits for a last word, and takes the end of the talk for the end of this process. Without this word
        // both would serve until it is dead. To one that is not so far yet it is a word that does not belong there.
        if let Ok(stream) = self.stream.try_clone() {
            let _ = Talk::new(stream, LAST_WORD).say(MINE);
        }
        let _ = self.stream.shutdown(Shutdown::Both);
        if self.ready.is_none() {
            let _ = self.outcome().await;
        }
        // It may just have become ready.
        if let Some(step) = self.ready.take() {
            let _ = step.kill();
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
fn end(step: Step, why: HandoverError) -> HandoverError {
    // One that has gone by itself says why by its status; what is silent or babbles is ended.
    let status = match why {
        HandoverError::Gone => step.wait_briefly(LAST_WORD),
        _ => step.kill(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program {
            path: "/bin/bash".into(),
            arguments: vec!["-c".into(), script.into()],
            step: step::tests::of_tests(),
        }
    }

    fn start(limit: Duration, script: &str) -> Successor {
        Successor::start_within(limit, &shell(script), Vec::new(), |_state| Ok(())).unwrap()
    }

    fn lives(process: u32) -> bool {
        std::path::Path::new(&format!("/proc/{process}")).exists()
    }

    async fn failure_within(limit: Duration, script: &str) -> String {
        let mut successor = start(limit, script);
        let failure = successor.outcome().await.unwrap_err();
        assert!(!lives(successor.process), "it lives on");
        failure.to_string()
    }

    async fn failure(script: &str) -> String {
        failure_within(LIMIT, script).await
    }

    #[test]
    fn a_hello_with_a_socket_for_each_of_many_workers_and_listeners_comes_through() {
        let one = hello(&[Socket {
            name: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:443".into(),
            descriptor: std::fs::File::open("/dev/null").unwrap().into(),
        }]);
        let sockets = vec![std::str::from_utf8(&one).unwrap(); 128 * 50].join(",");
        let (here, there) = UnixStream::pair().unwrap();
        let said = sockets.clone();
        let writer = std::thread::spawn(move || Talk::new(here, LIMIT).say(said.as_bytes()));
        assert_eq!(Talk::new(there, LIMIT).hear().unwrap(), sockets.as_bytes());
        writer.join().unwrap().unwrap();
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
            ..shell("")
        };
        let error = Successor::start(&program, Vec::new(), |_state| Ok(())).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_when_its_time_is_over() {
        // One that says nothing, and one that stops in the middle.
        for script in [
            "exec sleep 600",
            r#"printf '\0\0\0\5built' >&"${STREAMGATE_HANDOVER#*:}"; exec sleep 600"#,
        ] {
            let told = failure_within(Duration::from_millis(500), script).await;
            assert!(
                told.contains("did not answer") && told.contains("signal: 9"),
                "{told}"
            );
        }
    }

    #[tokio::test]
    async fn one_that_is_not_wanted_any_more_is_dead() {
        for script in [
            "exec sleep 600",
            r#"printf '\0\0\0\5built\0\0\0\5ready' >&"${STREAMGATE_HANDOVER#*:}"; exec sleep 600"#,
        ] {
            let successor = start(LIMIT, script);
            let process = successor.process;
            successor.abandon().await;
            assert!(!lives(process), "{script}");
        }
    }

    #[tokio::test]
    async fn one_that_is_ready_is_no_child_of_ours_once_it_is_let_go() {
        let ready = r#"printf '\0\0\0\5built\0\0\0\5ready' >&"${STREAMGATE_HANDOVER#*:}""#;
        // It ends when it is told to, by the end of the talk.
        let script = format!(r#"{ready}; cat <&"${{STREAMGATE_HANDOVER#*:}}" >/dev/null"#);
        let mut successor = start(LIMIT, &script);
        successor.outcome().await.unwrap();
        successor.let_go();
        let status = std::fs::read_to_string(format!("/proc/{}/status", successor.process));
        let status = status.expect("it lives");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        let parent: u32 = parent.unwrap().trim().parse().unwrap();
        assert_ne!(parent, std::process::id());
        let entry = format!("/proc/{parent}/cmdline");
        let parent = std::fs::read_to_string(entry).unwrap_or_default();
        assert!(!parent.contains("the_step_itself"), "{parent}");
        successor.release();
    }
}
