//! An event stream, read as the standard says (LF and CR LF; the fields other than `data` and `event` are skipped).

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use tokio::time::timeout;

use crate::Common;
use crate::net::{Client, Dialer, STEP, get};

/// An event stream on a connection of its own.
pub struct SseStream {
    body: Incoming,
    buf: BytesMut,
    scanned: usize,
    event: Event,
    _client: Client,
}

impl SseStream {
    pub async fn open(c: &Common, dialer: &Dialer, i: usize, path: &str) -> anyhow::Result<Self> {
        let mut client = Client::h1(dialer.dial(i).await?).await?;
        let mut req = get(c, path, false);
        req.headers_mut()
            .insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let resp = timeout(STEP, client.send(req))
            .await
            .context("SSE response: timed out")??;
        ensure!(resp.status() == 200, "SSE: status {}", resp.status());
        let ty = resp
            .headers()
            .get(CONTENT_TYPE)
            .map(|v| v.as_bytes().to_vec())
            .unwrap_or_default();
        ensure!(
            ty.starts_with(b"text/event-stream"),
            "SSE: content-type {}",
            String::from_utf8_lossy(&ty)
        );
        Ok(SseStream {
            body: resp.into_body(),
            buf: BytesMut::new(),
            scanned: 0,
            event: Event::default(),
            _client: client,
        })
    }

    /// The data of the next event; an end of the stream is an error.
    pub async fn next(&mut self) -> anyhow::Result<Bytes> {
        loop {
            while let Some(n) = self.buf[self.scanned..].iter().position(|&b| b == b'\n') {
                let line = self.buf.split_to(self.scanned + n);
                self.buf.advance(1);
                self.scanned = 0;
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                if let Some(event) = self.event.line(line) {
                    return Ok(event);
                }
            }
            self.scanned = self.buf.len();
            match self.body.frame().await {
                Some(f) => {
                    if let Ok(d) = f?.into_data() {
                        self.buf.extend_from_slice(&d);
                    }
                }
                None => bail!("SSE stream ended"),
            }
        }
    }
}

/// The event under way.
#[derive(Default)]
struct Event {
    data: Vec<u8>,
    has_data: bool,
    is_named: bool,
}

impl Event {
    /// Takes one line; gives the event's data at the blank line that ends it. An event with a name is not one of the
    /// feed's: what a bridge itself tells has one.
    fn line(&mut self, line: &[u8]) -> Option<Bytes> {
        if line.is_empty() {
            let event = std::mem::take(self);
            return (event.has_data && !event.is_named).then(|| event.data.into());
        }
        self.is_named |= line.starts_with(b"event:");
        if let Some(value) = line.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            let value = value.strip_prefix(b" ").unwrap_or(value);
            self.data.extend_from_slice(value);
            self.has_data = true;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_line_by_line_and_those_with_a_name_are_left_out() {
        let input = b": hi\n\nid: 3\ndata: one\n\r\nevent: x\ndata: own\n\ndata:two\r\ndata: three\r\n\r\ndata: cut";
        let mut event = Event::default();
        let lines = input.split(|&byte| byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let events: Vec<_> = lines.filter_map(|line| event.line(line)).collect();
        assert_eq!(events, [&b"one"[..], b"two\nthree"]);
    }
}
