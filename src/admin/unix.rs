//! The admin listener's Unix socket.
//!
//! Owns the socket's file: what a process that is gone has left there is replaced, what a living one holds is not, and at
//! the end the file is removed only if it is still ours. A socket is made beside its path and takes that name only when it is certain
//! that it is wanted: whoever fails before leaves what was there. The file is for its owner alone, and each connection's user is asked
//! of the kernel besides.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Only the owner may connect.
const MODE: u32 = 0o600;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("the admin socket `{}` belongs to a process that runs", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// A file that nobody who wants a socket there can mean to lose.
    #[error("`{}` is there already, and is no socket", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("the admin socket `{}` cannot be made", path.display())]
    Refused {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What is done with a socket at which somebody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Living {
    /// It is left alone, and there is an error.
    Spare,
    /// It is replaced: its process is to give way to this one.
    Replace,
}

/// A socket that listens, with its file. Dropped, it removes the file if that is still its own.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) path: PathBuf,
    /// Where its file is until it takes its name.
    beside: Option<PathBuf>,
    listener: UnixListener,
    file: Identity,
    /// Whoever made it: this process's user.
    pub(super) owner: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Socket {
    /// Listens, for now beside `path`.
    ///
    /// # Errors
    /// [`SocketError`]; nothing has changed then.
    pub(super) fn bind(path: &Path, living: Living) -> Result<Self, SocketError> {
        look(path, living)?;
        let refused = |source| SocketError::Refused {
            path: path.to_owned(),
            source,
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        // Left by a process of the same number.
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).map_err(refused)?;
        let made = || {
            listener.set_nonblocking(true)?;
            fs::set_permissions(&beside, Permissions::from_mode(MODE))?;
            fs::symlink_metadata(&beside)
        };
        let file = made().map_err(|source| {
            let _ = fs::remove_file(&beside);
            refused(source)
        })?;
        Ok(Self {
            path: path.to_owned(),
            beside: Some(beside),
            listener,
            file: Identity::of(&file),
            owner: file.uid(),
        })
    }

    /// Takes its name: whoever connects finds the socket that was there, and from then on this one.
    ///
    /// # Errors
    /// The system refuses; it still is beside its path then.
    pub(super) fn take_name(&mut self) -> io::Result<()> {
        if let Some(beside) = &self.beside {
            fs::rename(beside, &self.path)?;
            self.beside = None;
        }
        Ok(())
    }

    /// The listening socket.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let path = self.beside.as_ref().unwrap_or(&self.path);
        let is_ours = fs::symlink_metadata(path).is_ok_and(|file| Identity::of(&file) == self.file);
        if is_ours && let Err(error) = fs::remove_file(path) {
            tracing::debug!(path = %path.display(), %error, "the admin socket's file stays");
        }
    }
}

impl Identity {
    fn of(file: &fs::Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

/// Sees whether what is at `path` may be replaced.
fn look(path: &Path, living: Living) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(SocketError::Refused {
                path: path.to_owned(),
                source,
            });
        }
        Ok(file) if !file.file_type().is_socket() => {
            return Err(SocketError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_socket) => {}
    }
    // Nobody listens at what a process has left that is gone.
    if living == Living::Spare && UnixStream::connect(path).is_ok() {
        return Err(SocketError::Taken {
            path: path.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("streamgate-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn bound(path: &Path, living: Living) -> Socket {
        let mut socket = Socket::bind(path, living).unwrap();
        socket.take_name().unwrap();
        socket
    }

    #[test]
    fn one_that_has_not_taken_its_name_leaves_what_was_there() {
        let scratch = Scratch::new("beside");
        let path = scratch.0.join("admin.sock");
        let first = bound(&path, Living::Spare);
        let second = Socket::bind(&path, Living::Replace).unwrap();
        let reaches = |socket: &Socket| {
            let _client = UnixStream::connect(&path).unwrap();
            socket.listener.accept().is_ok()
        };
        assert!(reaches(&first) && !reaches(&second));
        drop(second);
        assert!(reaches(&first));
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
    }

    #[test]
    fn a_socket_is_its_owners_alone_and_goes_with_its_process() {
        let scratch = Scratch::new("own");
        let path = scratch.0.join("admin.sock");
        let socket = bound(&path, Living::Spare);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0);
    }

    #[test]
    fn what_is_left_is_replaced_and_what_lives_only_on_purpose() {
        let scratch = Scratch::new("left");
        let path = scratch.0.join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        let first = bound(&path, Living::Spare);
        let second = Socket::bind(&path, Living::Spare);
        assert!(matches!(second, Err(SocketError::Taken { .. })));
        let second = bound(&path, Living::Replace);
        drop(first);
        UnixStream::connect(&path).expect("the file is the second one's");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let scratch = Scratch::new("file");
        let path = scratch.0.join("admin.sock");
        fs::write(&path, "mine").unwrap();
        for living in [Living::Spare, Living::Replace] {
            let refused = Socket::bind(&path, living);
            assert!(matches!(refused, Err(SocketError::NotASocket { .. })));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
