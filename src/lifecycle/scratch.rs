//! The worker's scratch buffer: what a connection reads into, so that it need not hold a buffer while it waits.

use std::cell::RefCell;

use tokio::io::ReadBuf;

/// Bytes of the buffer: four TLS records.
pub const SIZE: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
}

/// Lends the worker's buffer to `read` for as long as it runs. What must be kept is copied out by `read`.
///
/// # Panics
/// When `read` asks for the buffer again: there is one.
pub fn with<R>(read: impl FnOnce(&mut ReadBuf<'_>) -> R) -> R {
    SCRATCH.with_borrow_mut(|buffer| read(&mut ReadBuf::new(buffer)))
}
