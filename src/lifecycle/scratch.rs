//! The worker's scratch buffers: what a connection reads into, and what it puts together to be written, so that it need not
//! hold a buffer while it waits.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;
use tokio::io::ReadBuf;

/// Bytes of the buffer: four TLS records.
pub const SIZE: usize = 64 * 1024;

/// A frame's buffer that has grown beyond this is not kept.
const FRAME_KEPT: usize = 4 * SIZE;

thread_local! {
    static KEPT: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
}

/// Lends the worker's buffer to `read` for as long as it runs. What must be kept is copied out by `read`.
///
/// # Panics
/// When `read` asks for the buffer again: there is one.
pub fn with<R>(read: impl FnOnce(&mut ReadBuf<'_>) -> R) -> R {
    SCRATCH.with_borrow_mut(|buffer| read(&mut ReadBuf::new(buffer)))
}

/// Lends `read` a buffer with [`SIZE`] bytes of room, of which what was read may be split off and kept without a copy. Its
/// memory is used again once that is dropped, so that a body of many pieces is read into one place.
pub fn with_kept<R>(read: impl FnOnce(&mut BytesMut) -> R) -> R {
    let mut buffer = KEPT.take().unwrap_or_default();
    buffer.reserve(SIZE);
    let result = read(&mut buffer);
    KEPT.set(Some(buffer));
    result
}

/// Lends the worker's second buffer, empty, to `write` for as long as it runs: what is put together there to be written.
///
/// # Panics
/// When `write` asks for the buffer again: there is one.
pub fn with_frame<R>(write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    FRAME.with_borrow_mut(|frame| {
        frame.clear();
        frame.shrink_to(FRAME_KEPT);
        write(frame)
    })
}
