//! PROXY headers of any bytes in any split: the same answer, and nothing behind the header is read.
#![no_main]

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use streamgate::listen::proxy_protocol;
use tokio::io::{AsyncRead, ReadBuf};

fuzz_target!(|input: (u8, &[u8])| {
    let (split, bytes) = input;
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(whole, read(bytes, usize::from(split).max(1)));
});

/// What was announced and how many bytes were read for it; `None` when it was refused.
fn read(bytes: &[u8], step: usize) -> Option<(String, usize)> {
    let mut pieces = Pieces { bytes, step };
    let announced = {
        let reading = pin!(proxy_protocol::read(&mut pieces));
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(announced) => announced.ok()?,
            Poll::Pending => panic!("nothing is waited for"),
        }
    };
    Some((format!("{announced:?}"), bytes.len() - pieces.bytes.len()))
}

/// Bytes that come a few at a time.
struct Pieces<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.bytes.len().min(self.step).min(buf.remaining());
        let (now, later) = self.bytes.split_at(length);
        buf.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}
