//! Any order of data, ends and resets from both sides.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Waker;

use proptest::prelude::*;
use tokio::io::ReadBuf;
use tokio::sync::Notify;

use super::*;
use crate::websocket::boundary::{Boundary, Event, Opcode};

/// What a peer does.
#[derive(Debug, Clone)]
enum Act {
    Send(Vec<u8>),
    Yield,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// In order, after a Close.
    CloseAndFin,
    /// In order, without one.
    Fin,
    /// With a reset: what nobody has read yet is lost, on both sides.
    Reset,
    /// Not at all: it listens to the end.
    Stay,
}

#[derive(Debug, Clone)]
struct Part {
    acts: Vec<Act>,
    last: Last,
    /// All that it says.
    said: Vec<u8>,
}

/// A peer that says whole frames, but maybe for the last one before a reset.
fn part(frame: fn(u8, &[u8]) -> Vec<u8>) -> impl Strategy<Value = Part> {
    let act = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..120).prop_map(Some),
        1 => Just(None),
    ];
    let last = prop_oneof![
        Just(Last::CloseAndFin),
        Just(Last::Fin),
        Just(Last::Reset),
        Just(Last::Stay),
    ];
    let acts = proptest::collection::vec(act, 0..20);
    (acts, last, any::<bool>()).prop_map(move |(acts, last, torn)| {
        let (mut said, mut played) = (Vec::new(), Vec::new());
        for act in acts {
            let Some(payload) = act else {
                played.push(Act::Yield);
                continue;
            };
            let bytes = frame(2, &payload);
            said.extend_from_slice(&bytes);
            played.push(Act::Send(bytes));
        }
        let end = match last {
            Last::CloseAndFin => frame(8, b""),
            Last::Reset if torn => frame(2, &[7; 50])[..20].to_vec(),
            _ => Vec::new(),
        };
        said.extend_from_slice(&end);
        played.push(Act::Send(end));
        Part {
            acts: played,
            last,
            said,
        }
    })
}

/// Whether a connection was reset.
#[derive(Default)]
struct Reset {
    happened: Cell<bool>,
    tunnel: RefCell<Option<Waker>>,
    peer: Notify,
}

impl Reset {
    fn happen(&self) {
        self.happened.set(true);
        self.peer.notify_one();
        if let Some(waker) = self.tunnel.take() {
            waker.wake();
        }
    }
}

/// The tunnel's end of a connection that can be reset.
struct Connection {
    io: DuplexStream,
    reset: Rc<Reset>,
}

impl Connection {
    fn sound(&mut self, cx: &Context<'_>) -> io::Result<Pin<&mut DuplexStream>> {
        if self.reset.happened.get() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.reset.tunnel.replace(Some(cx.waker().clone()));
        Ok(Pin::new(&mut self.io))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.sound(cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sound(cx)?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sound(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sound(cx)?.poll_shutdown(cx)
    }
}

/// Plays a part to its end: what was heard, unless it reset the connection.
async fn play(socket: DuplexStream, part: &Part, reset: &Reset) -> Option<Vec<u8>> {
    let (mut read, mut write) = tokio::io::split(socket);
    let playing = async {
        for act in &part.acts {
            match act {
                // The other end may have gone; what it heard is what counts.
                Act::Send(bytes) => drop(write.write_all(bytes).await),
                Act::Yield => tokio::task::yield_now().await,
            }
        }
        match part.last {
            Last::CloseAndFin | Last::Fin => drop(write.shutdown().await),
            Last::Reset => reset.happen(),
            Last::Stay => {}
        }
    };
    let hearing = async {
        let mut heard = Vec::new();
        tokio::select! {
            // Who resets has heard nothing that counts, not even an end.
            biased;
            () = reset.peer.notified() => None,
            _ = read.read_to_end(&mut heard) => Some(heard),
        }
    };
    tokio::join!(playing, hearing).1
}

/// Whether these bytes are one Close, or nothing.
fn is_close_or_nothing(mut bytes: &[u8], sender: Sender) -> bool {
    let mut boundary = Boundary::new(sender, Extensions::None);
    let mut closes = 0;
    while let Ok(Some(event)) = boundary.next(&mut bytes) {
        match event {
            Event::Head(head) if head.opcode == Opcode::Close => closes += 1,
            Event::Head(_) => return false,
            Event::End { .. } => {}
        }
    }
    closes <= 1 && bytes.is_empty() && boundary.is_between_frames()
}

/// Whether `heard` is a beginning of `said`, and then at most a Close of ours, where a frame ended.
fn is_beginning(heard: &[u8], said: &[u8], sender: Sender) -> bool {
    if said.starts_with(heard) {
        return true;
    }
    let (mut rest, mut boundary) = (said, Boundary::new(sender, Extensions::None));
    let mut borders = vec![0];
    while let Ok(Some(event)) = boundary.next(&mut rest) {
        if matches!(event, Event::End { .. }) {
            borders.push(said.len() - rest.len());
        }
    }
    borders.into_iter().any(|border| {
        heard.starts_with(&said[..border]) && is_close_or_nothing(&heard[border..], sender)
    })
}

fn check(heard: Option<Vec<u8>>, speaker: &Part, listener: &Part, sender: Sender) {
    let Some(heard) = heard else {
        assert_eq!(listener.last, Last::Reset);
        return;
    };
    let said = &speaker.said;
    if speaker.last == Last::Reset {
        assert!(is_beginning(&heard, said, sender), "{heard:?} of {said:?}");
        return;
    }
    if listener.last == Last::Reset {
        return;
    }
    assert!(
        heard.starts_with(said),
        "{} of {} bytes",
        heard.len(),
        said.len()
    );
    assert!(is_close_or_nothing(&heard[said.len()..], sender));
}

async fn run(up: &Part, down: &Part) {
    let resets = [Rc::<Reset>::default(), Rc::<Reset>::default()];
    let (client, near) = duplex(PIPE);
    let (backend, far) = duplex(PIPE);
    let connection = |io, reset: &Rc<Reset>| Connection {
        io,
        reset: reset.clone(),
    };
    let (near, far) = (connection(near, &resets[0]), connection(far, &resets[1]));
    let mut tunnel = between(&WebSocket::default(), near, far);
    let begun = Instant::now();
    let (took, at_client, at_backend) = tokio::join!(
        async {
            poll_fn(|cx| tunnel.poll(cx)).await;
            let took = begun.elapsed();
            drop(tunnel);
            took
        },
        play(client, up, &resets[0]),
        play(backend, down, &resets[1]),
    );
    check(at_backend, up, down, Sender::Client);
    check(at_client, down, up, Sender::Server);
    if [up.last, down.last].contains(&Last::Reset) {
        // To finish a frame, to answer, to leave.
        assert!(took <= Duration::from_secs(9), "{took:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whoever ends first, and however: what one side said before an orderly end is what the other one hears, and at most a
    /// Close of ours behind it. Of what was said before a reset a beginning is heard, and the other side is told at once.
    #[test]
    fn no_byte_is_lost_or_doubled_in_any_order_of_data_ends_and_resets(
        up in part(masked),
        down in part(plain),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(&up, &down));
    }
}
