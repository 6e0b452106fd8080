//! A process hands its listening sockets and its state over to another one, which it has started.
//!
//! ```text
//! old -> new  hello    the version of this talk, and the sockets by name (their descriptors are inherited)
//! new -> old  built    its configuration is good, all is made, nothing is served yet
//! old -> new  state    frames of at most 64 KiB, an empty one is the end
//! new -> old  ready    it accepts connections
//! old -> new  yours    systemd knows who is the main process; the old one drains
//! ```
//!
//! They talk over a pair of sockets in frames: four bytes of length, then as many bytes. Owns the talk, the descriptors and
//! the successor's process. Not: what a state is, who accepts when. Invariants: whoever of the two goes before `ready` is noticed by the
//! other as the end of the pair, and the new one then ends, the old one goes on; every wait has a limit.

mod predecessor;
pub mod step;
mod successor;

pub use predecessor::Predecessor;
pub use successor::{Program, Successor};

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The version of the talk. It changes with everything that an older or a newer program would not understand.
const VERSION: u32 = 1;

/// The environment variable that tells a process that it takes over: `PID:DESCRIPTOR`, the number of the process that runs, and the
/// talk's.
const VARIABLE: &str = "STREAMGATE_HANDOVER";

/// How long the new process may take until it is ready, and either of them to say what is awaited.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Bytes of a frame of a state at most.
const FRAME: usize = 64 * 1024;

/// Bytes of any frame at most: the hello names every socket, and there are as many as workers, for each listener.
const LONGEST: usize = 4 * 1024 * 1024;

const BUILT: &[u8] = b"built";
const READY: &[u8] = b"ready";
const YOURS: &[u8] = b"yours";
/// Instead of it: the one that serves goes on.
const MINE: &[u8] = b"mine";

/// A listening socket that goes from one process to the next.
#[derive(Debug)]
pub struct Socket {
    /// What the configuration calls its address.
    pub name: String,
    /// The socket.
    pub descriptor: OwnedFd,
}

impl Socket {
    /// A copy: the same socket, held twice.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            name: self.name.clone(),
            descriptor: self.descriptor.try_clone()?,
        })
    }
}

/// Why a handover failed.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The other one has gone.
    #[error("the other process has ended")]
    Gone,
    /// The other one says nothing.
    #[error("the other process did not answer within {LIMIT:?}")]
    Silent,
    /// What it says is not understood.
    #[error("the other process speaks another language: `{found}` instead of `{expected}`")]
    Misunderstood {
        /// What was to be said.
        expected: &'static str,
        /// The beginning of what was said.
        found: String,
    },
    /// It says it in another version.
    #[error(
        "the running process speaks version {found} of the handover, this one version {VERSION}"
    )]
    Version {
        /// The running process's version.
        found: u64,
    },
    /// The environment speaks of a handover that there is not.
    #[error("`{VARIABLE}` is set, but names nothing that was handed over")]
    NothingThere(#[source] Option<io::Error>),
    /// The successor has ended, or was ended.
    #[error("{why}, and the successor {status}")]
    Ended {
        /// What was noticed first.
        why: Box<HandoverError>,
        /// How it ended.
        status: String,
    },
    /// The system refuses.
    #[error("the system refuses")]
    System(#[source] io::Error),
}

impl From<io::Error> for HandoverError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
        match error.kind() {
            UnexpectedEof | BrokenPipe | ConnectionReset => Self::Gone,
            WouldBlock | TimedOut => Self::Silent,
            _ => Self::System(error),
        }
    }
}

/// The first word.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    version: u32,
    sockets: Vec<Named>,
}

/// A socket by its number, which is the same in both processes.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    name: String,
    descriptor: i32,
}

/// One end of the talk. It blocks, up to its deadline.
#[derive(Debug)]
struct Talk {
    stream: UnixStream,
    deadline: Instant,
}

impl Talk {
    fn new(stream: UnixStream, limit: Duration) -> Self {
        Self {
            stream,
            deadline: Instant::now() + limit,
        }
    }

    fn say(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        let length = u32::try_from(frame.len())
            .ok()
            .filter(|length| *length as usize <= LONGEST)
            .ok_or(io::ErrorKind::InvalidInput)?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(frame)
    }

    fn hear(&mut self) -> io::Result<Vec<u8>> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    fn expect(&mut self, expected: &'static [u8]) -> Result<(), HandoverError> {
        let found = self.hear()?;
        if found == expected {
            return Ok(());
        }
        Err(misunderstood(
            std::str::from_utf8(expected).unwrap_or_default(),
            &found,
        ))
    }

    /// What is left of the time; never zero, which would mean no limit.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

fn misunderstood(expected: &'static str, found: &[u8]) -> HandoverError {
    HandoverError::Misunderstood {
        expected,
        found: String::from_utf8_lossy(&found[..found.len().min(40)]).into_owned(),
    }
}

/// Writes a state as frames. [`Outgoing::end`] tells where it ends.
struct Outgoing<'a>(&'a mut Talk);

impl Outgoing<'_> {
    fn end(self) -> io::Result<()> {
        self.0.say(&[])
    }
}

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(FRAME)];
        if !part.is_empty() {
            self.0.say(part)?;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a state from its frames, to its end.
struct Incoming<'a> {
    talk: &'a mut Talk,
    frame: io::Cursor<Vec<u8>>,
    is_over: bool,
}

impl<'a> Incoming<'a> {
    fn new(talk: &'a mut Talk) -> Self {
        Self {
            talk,
            frame: io::Cursor::default(),
            is_over: false,
        }
    }

    /// Passes over what nobody has read.
    fn finish(mut self) -> io::Result<()> {
        while !self.is_over {
            self.is_over = self.talk.hear()?.is_empty();
        }
        Ok(())
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.frame.read(into)?;
            if read > 0 || self.is_over || into.is_empty() {
                return Ok(read);
            }
            self.frame = io::Cursor::new(self.talk.hear()?);
            self.is_over = self.frame.get_ref().is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Talk, Talk) {
        let (here, there) = UnixStream::pair().unwrap();
        let limit = Duration::from_secs(5);
        (Talk::new(here, limit), Talk::new(there, limit))
    }

    #[test]
    fn a_state_of_any_length_comes_through_whole() {
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 5 * FRAME + 7] {
            let (mut old, mut new) = pair();
            let state: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let sent = state.clone();
            let writer = std::thread::spawn(move || {
                let mut out = Outgoing(&mut old);
                out.write_all(&sent).unwrap();
                out.end().unwrap();
                old.say(READY).unwrap();
                old
            });
            let mut received = Vec::new();
            Incoming::new(&mut new).read_to_end(&mut received).unwrap();
            assert_eq!(received, state, "{length} bytes");
            // What follows is no part of it.
            new.expect(READY).unwrap();
            drop(writer.join().unwrap());
        }
    }

    #[test]
    fn what_is_not_read_of_a_state_is_passed_over() {
        let (mut old, mut new) = pair();
        let writer = std::thread::spawn(move || {
            let mut out = Outgoing(&mut old);
            out.write_all(&vec![7; 3 * FRAME]).unwrap();
            out.end().unwrap();
            old.say(YOURS).unwrap();
        });
        let mut incoming = Incoming::new(&mut new);
        incoming.read_exact(&mut [0; 10]).unwrap();
        incoming.finish().unwrap();
        new.expect(YOURS).unwrap();
        writer.join().unwrap();
    }

    #[test]
    fn who_has_gone_who_is_silent_and_who_babbles_are_told_apart() {
        let (old, mut new) = pair();
        drop(old);
        assert!(matches!(new.expect(BUILT), Err(HandoverError::Gone)));

        let (_old, mut new) = pair();
        new.deadline = Instant::now() + Duration::from_millis(10);
        assert!(matches!(new.expect(BUILT), Err(HandoverError::Silent)));

        let (mut old, mut new) = pair();
        old.say(b"something else").unwrap();
        let babble = new.expect(BUILT).unwrap_err().to_string();
        assert!(babble.contains("something else"), "{babble}");

        let (mut old, mut new) = pair();
        old.stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(matches!(new.expect(BUILT), Err(HandoverError::System(_))));
    }
}
