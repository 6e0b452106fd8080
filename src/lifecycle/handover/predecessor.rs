//! The new process's side: what it is given, and what it says of itself.
//!
//! It runs before anything is served, on the process's main thread, and blocks.

use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

use super::{
    BUILT, HandoverError, Hello, Incoming, LIMIT, READY, Socket, Talk, VARIABLE, VERSION, YOURS,
    misunderstood,
};
use crate::lifecycle::descriptors;

/// The process that runs already, and gives over to this one.
#[derive(Debug)]
pub struct Predecessor {
    talk: Talk,
}

impl Predecessor {
    /// Whether this process was started to take over, from whom, and the sockets that it gets. To be called once.
    ///
    /// # Errors
    /// [`HandoverError`]: the environment speaks of a handover that there is not, or the other process is of a version that this
    /// one does not understand.
    pub fn greet() -> Result<Option<(Self, Vec<Socket>)>, HandoverError> {
        let Ok(told) = std::env::var(VARIABLE) else {
            return Ok(None);
        };
        let nothing_there = |error| HandoverError::NothingThere(Some(error));
        let (process, number) = addressed(&told).ok_or(HandoverError::NothingThere(None))?;
        let descriptor = descriptors::adopt(number).map_err(nothing_there)?;
        let stream = UnixStream::from(descriptor);
        if maker(&stream).map_err(nothing_there)? != Some(process) {
            return Err(HandoverError::NothingThere(None));
        }
        let mut talk = Talk::new(stream, LIMIT);
        let hello = talk.hear()?;
        let sockets = understand(&hello)?
            .sockets
            .into_iter()
            .map(|named| {
                let descriptor = descriptors::adopt(named.descriptor)?;
                Ok(Socket {
                    name: named.name,
                    descriptor,
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Some((Self { talk }, sockets)))
    }

    /// Says that all is made, and gives what comes of the other one's state to `restore`. What `restore` makes of it is its own
    /// affair: a state that it cannot read ends no handover.
    ///
    /// # Errors
    /// [`HandoverError`]: the other one has gone, and goes on without this one.
    pub fn built(&mut self, restore: impl FnOnce(&mut dyn Read)) -> Result<(), HandoverError> {
        self.talk.say(BUILT)?;
        let mut state = Incoming::new(&mut self.talk);
        restore(&mut state);
        state.finish()?;
        Ok(())
    }

    /// Says that connections are accepted, and waits until the other one has stepped back. One that is gone, or hangs, has
    /// done so too: somebody has to serve.
    ///
    /// # Errors
    /// [`HandoverError`]: it could not be told, or it says that it goes on.
    pub fn ready(mut self) -> Result<(), HandoverError> {
        self.talk.say(READY)?;
        match self.talk.expect(YOURS) {
            Err(mine @ HandoverError::Misunderstood { .. }) => Err(mine),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// What the environment says: whose talk it is, and its descriptor.
fn addressed(told: &str) -> Option<(i32, RawFd)> {
    let (process, descriptor) = told.split_once(':')?;
    Some((process.parse().ok()?, descriptor.parse().ok()?))
}

/// The process that made a pair of sockets: an environment that was meant for another process names another one, or none.
fn maker(stream: &UnixStream) -> io::Result<Option<i32>> {
    let stream = stream.try_clone()?;
    stream.set_nonblocking(true)?;
    let maker = tokio::net::UnixStream::from_std(stream.try_clone()?)?
        .peer_cred()?
        .pid();
    // The mode is the socket's, and not the copy's.
    stream.set_nonblocking(false)?;
    Ok(maker)
}

fn understand(hello: &[u8]) -> Result<Hello, HandoverError> {
    let strange = || misunderstood("hello", hello);
    // The version first: of another one nothing else can be understood.
    let value: serde_json::Value = serde_json::from_slice(hello).map_err(|_error| strange())?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    let version = version.ok_or_else(strange)?;
    if version != u64::from(VERSION) {
        return Err(HandoverError::Version { found: version });
    }
    serde_json::from_value(value).map_err(|_error| strange())
}

#[cfg(test)]
mod tests {
    use super::super::MINE;
    use super::*;

    #[test]
    fn what_the_environment_says_is_understood_whole_or_not_at_all() {
        assert_eq!(addressed("17:5"), Some((17, 5)));
        for other in ["17", "17:", ":5", "17:x", "", "17:5:6"] {
            assert_eq!(addressed(other), None, "{other}");
        }
    }

    #[test]
    fn who_is_ready_serves_unless_the_other_one_says_that_it_goes_on() {
        let words: [(Option<&[u8]>, bool); 3] =
            [(Some(YOURS), true), (None, true), (Some(MINE), false)];
        for (word, serves) in words {
            let (here, there) = UnixStream::pair().unwrap();
            let mut old = Talk::new(here, LIMIT);
            if let Some(word) = word {
                old.say(word).unwrap();
            }
            // It hears the other one's word, and then finds it gone.
            old.stream.shutdown(std::net::Shutdown::Write).unwrap();
            let new = Predecessor {
                talk: Talk::new(there, LIMIT),
            };
            assert_eq!(new.ready().is_ok(), serves, "{word:?}");
        }
    }

    #[tokio::test]
    async fn it_is_known_who_has_made_a_talk() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let us = i32::try_from(std::process::id()).unwrap();
        assert_eq!(maker(&there).unwrap(), Some(us));
        // It blocks as before.
        let writer = std::thread::spawn(move || {
            std::thread::yield_now();
            io::Write::write_all(&mut here, b"x").unwrap();
        });
        (&there).read_exact(&mut [0]).unwrap();
        writer.join().unwrap();
    }

    #[test]
    fn another_version_is_told_as_such() {
        assert!(matches!(
            understand(br#"{"version":7,"new":"ways"}"#),
            Err(HandoverError::Version { found: 7 })
        ));
        for strange in ["", "hello", "{}", r#"{"version":1}"#] {
            assert!(matches!(
                understand(strange.as_bytes()),
                Err(HandoverError::Misunderstood { .. })
            ));
        }
        let named = r#"{"version":1,"sockets":[{"name":"systemd:https","descriptor":9}]}"#;
        assert_eq!(
            understand(named.as_bytes()).unwrap().sockets[0].descriptor,
            9
        );
    }
}
