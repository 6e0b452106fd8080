//! Descriptors that the process was started with: a number becomes its owner here and nowhere else.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The first number that may have been handed over: those below are the standard streams (sd_listen_fds(3)).
const FIRST: RawFd = 3;

/// Takes over the socket with this number, which whoever started the process has left open for it. What comes back is not passed on
/// to programs that this process starts.
///
/// # Errors
/// There is no socket with this number.
#[expect(
    unsafe_code,
    reason = "a descriptor's number becomes its owner here and nowhere else"
)]
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    let kind = std::fs::read_link(format!("/proc/self/fd/{number}"))?;
    if number < FIRST || !kind.to_string_lossy().starts_with("socket:") {
        let found = format!("descriptor {number} is no socket");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, found));
    }
    // SAFETY: it is open, and was left open by the process that started this one, for it alone: those who call this have
    // checked that their environment speaks to this process, and call it once, before anything else opens sockets.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    // A copy is closed when another program is executed; the original, which is not, goes here.
    owned.try_clone()
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    #[test]
    fn what_is_no_socket_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(adopt(file.as_raw_fd()).is_err());
        assert!(adopt(1).is_err());
        assert!(adopt(1_000_000).is_err());
    }

    #[test]
    fn a_socket_is_taken_over() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let taken = adopt(here.into_raw_fd()).unwrap();
        drop(taken);
        // The other end sees that nobody holds it any more.
        assert_eq!(io::Read::read(&mut &there, &mut [0]).unwrap(), 0);
    }
}
