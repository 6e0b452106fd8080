//! The worker's memory for records: ciphertext is read into it and decrypted there, and put into it to be written.
//!
//! It is the thread's, not the connection's, so that a silent connection holds none. Not the buffers of `lifecycle`: those
//! are lent to callers while they read from a stream or write to it.

use std::cell::RefCell;

/// Bytes of ciphertext, at most: what a connection has kept of an unfinished message, and a read behind it.
pub(super) const SIZE: usize = 68 * 1024;

/// The most plaintext of a record (RFC 8446 §5.1).
pub(super) const RECORD: usize = 16 * 1024;

/// The two buffers, in full length; what stands in them is of no meaning.
pub(super) struct Scratch {
    /// Ciphertext, in either direction.
    pub(super) sealed: Box<[u8]>,
    /// The plaintext of one record that comes in several pieces.
    pub(super) gathered: Box<[u8]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        sealed: vec![0; SIZE].into_boxed_slice(),
        gathered: vec![0; RECORD].into_boxed_slice(),
    });
}

/// Lends the buffers to `act` for as long as it runs.
///
/// # Panics
/// When `act` asks for them again: one of each is there.
pub(super) fn with<R>(act: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(act)
}
