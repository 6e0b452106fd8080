//! A client's TLS connection: whatever comes, before the handshake or behind a finished one, in any split, nothing panics, and
//! what the client had said in order is read.
#![no_main]

use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use streamgate::tls::unbuffered::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether a handshake is done first, how many bytes a read gives, and what comes then.
type Input<'a> = (bool, u16, &'a [u8]);

static CONFIGS: LazyLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = LazyLock::new(configs);

fuzz_target!(|input: Input<'_>| {
    let (is_open, step, bytes) = input;
    let wire = Wire::default();
    wire.lock().step = usize::from(step).max(1);
    let mut accept = pin!(Stream::accept(wire.clone(), CONFIGS.0.clone()));
    let mut cx = Context::from_waker(Waker::noop());
    if !is_open {
        wire.lock().incoming.extend_from_slice(bytes);
        wire.lock().has_ended = true;
        let met = accept.as_mut().poll(&mut cx);
        assert!(matches!(met, Poll::Ready(Err(_))), "it cannot know the keys");
        return;
    }
    let name = "a.test".try_into().expect("it is a name");
    let mut client = ClientConnection::new(CONFIGS.1.clone(), name).expect("it is well configured");
    let mut stream = loop {
        talk(&mut client, &wire);
        if let Poll::Ready(stream) = accept.as_mut().poll(&mut cx) {
            break stream.expect("they agree");
        }
    };
    talk(&mut client, &wire);
    client.writer().write_all(b"said in order").expect("there is room");
    talk(&mut client, &wire);
    wire.lock().incoming.extend_from_slice(bytes);
    wire.lock().has_ended = true;
    let mut read = Vec::new();
    loop {
        let mut space = [0; 64];
        let mut buf = ReadBuf::new(&mut space);
        match Pin::new(&mut stream).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => read.extend_from_slice(buf.filled()),
            Poll::Ready(_) => break,
            Poll::Pending => panic!("there is something to read"),
        }
        let _ = Pin::new(&mut stream).poll_write(&mut cx, b"said between");
    }
    assert_eq!(read, b"said in order", "nobody else can seal");
    let _ = Pin::new(&mut stream).poll_shutdown(&mut cx);
});

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("it is its own root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the key is the certificate's");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Passes on what the client says and what it is told.
fn talk(client: &mut ClientConnection, wire: &Wire) {
    let told = std::mem::take(&mut wire.lock().sent);
    let mut told = &told[..];
    loop {
        while client.wants_write() {
            client.write_tls(&mut wire.lock().incoming).expect("memory takes all");
        }
        if told.is_empty() {
            break;
        }
        client.read_tls(&mut told).expect("memory gives all");
        client.process_new_packets().expect("the server errs");
    }
    let _ = client.reader().read_to_end(&mut Vec::new());
}

/// A socket in memory; a clone is the same one.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    incoming: Vec<u8>,
    sent: Vec<u8>,
    step: usize,
    has_ended: bool,
}

impl Wire {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.incoming.is_empty() && !state.has_ended {
            return Poll::Pending;
        }
        let length = state.incoming.len().min(state.step).min(buf.remaining());
        buf.put_slice(&state.incoming[..length]);
        state.incoming.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().sent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
