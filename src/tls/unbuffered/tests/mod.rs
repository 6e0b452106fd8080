//! The stream against rustls's own client, over a wire that splits and stalls as it is told.

mod ends;
mod exchange;
mod hostile;
mod wire;

use std::future::Future;
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::*;
use wire::Wire;

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// How two peers meet.
struct Meeting {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Meeting {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let all = aws_lc_rs::default_provider().kx_groups;
        Self::with_groups(version, all.clone(), all)
    }

    /// Client and server with their key exchanges, in the order of their liking.
    fn with_groups(
        version: &'static SupportedProtocolVersion,
        client: Vec<&'static dyn SupportedKxGroup>,
        server: Vec<&'static dyn SupportedKxGroup>,
    ) -> Self {
        let suites = vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ];
        let provider = |groups| {
            Arc::new(CryptoProvider {
                kx_groups: groups,
                cipher_suites: suites.clone(),
                ..aws_lc_rs::default_provider()
            })
        };
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let server = ServerConfig::builder_with_provider(provider(server))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let mut client = ClientConfig::builder_with_provider(provider(client))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
        }
    }

    fn client(&self) -> Client {
        let name = "a.test".try_into().unwrap();
        Client {
            tls: ClientConnection::new(self.client.clone(), name).unwrap(),
            heard: Vec::new(),
        }
    }

    /// The two after their handshake, over `wire`.
    fn connect(&self, wire: Wire) -> Pair {
        self.connect_with(wire, self.client()).unwrap()
    }

    fn connect_with(&self, wire: Wire, mut client: Client) -> io::Result<Pair> {
        let far = wire.clone();
        let mut accept = pin!(Stream::accept(wire, self.server.clone()));
        for _ in 0..100_000 {
            exchange(&mut client, &far);
            if let Poll::Ready(accepted) = poll(accept.as_mut()) {
                exchange(&mut client, &far);
                let stream = accepted?;
                return Ok(Pair { client, stream });
            }
        }
        panic!("the handshake does not end");
    }
}

/// The other side, and what it has heard.
struct Client {
    tls: ClientConnection,
    heard: Vec<u8>,
}

/// Passes on what the client has to say, and what it is told.
fn exchange(client: &mut Client, wire: &Wire) {
    let Client { tls, heard } = client;
    let told = wire.take_sent();
    let mut told = told.as_slice();
    loop {
        while tls.wants_write() {
            tls.write_tls(&mut wire.incoming()).unwrap();
        }
        if told.is_empty() {
            return;
        }
        tls.read_tls(&mut told).unwrap();
        // What it thinks of it is looked at where it matters.
        let _ = tls.process_new_packets();
        // It ends with `WouldBlock`, or in order.
        let _ = tls.reader().read_to_end(heard);
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A client and the stream to it, connected.
struct Pair {
    client: Client,
    stream: Box<Stream<Wire>>,
}

impl Pair {
    fn wire(&self) -> Wire {
        self.stream.io().clone()
    }

    fn says(&mut self, data: &[u8]) {
        let wire = self.wire();
        let mut rest = data;
        while !rest.is_empty() {
            let written = self.client.tls.writer().write(rest).unwrap();
            rest = &rest[written..];
            exchange(&mut self.client, &wire);
        }
    }

    /// Reads once, with so much room. `None`: nothing is there.
    fn read(&mut self, room: usize) -> Option<io::Result<Vec<u8>>> {
        let mut bytes = vec![0; room];
        for _ in 0..100_000 {
            let mut buf = ReadBuf::new(&mut bytes);
            let mut cx = Context::from_waker(Waker::noop());
            let read = Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf);
            match read {
                Poll::Ready(read) => return Some(read.map(|()| buf.filled().to_vec())),
                Poll::Pending if self.stream.io().is_drained() => return None,
                Poll::Pending => {}
            }
        }
        panic!("reading gets nowhere");
    }

    /// Reads all that is there.
    fn read_all(&mut self, room: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(read) = self.read(room) {
            let read = read.unwrap();
            assert!(!read.is_empty(), "an end where none is");
            all.extend(read);
        }
        all
    }

    /// Drives `future` of the stream to its end; the client takes all that comes.
    fn drive<R>(
        &mut self,
        mut act: impl FnMut(&mut Stream<Wire>, &mut Context<'_>) -> Poll<R>,
    ) -> R {
        let wire = self.wire();
        for _ in 0..100_000 {
            let done = act(&mut self.stream, &mut Context::from_waker(Waker::noop()));
            exchange(&mut self.client, &wire);
            if let Poll::Ready(done) = done {
                return done;
            }
        }
        panic!("it does not end");
    }

    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.drive(|stream, cx| Pin::new(stream).poll_write_vectored(cx, pieces))
    }

    fn write_all(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let written = self.write(&[IoSlice::new(data)]).unwrap();
            data = &data[written..];
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.drive(|stream, cx| Pin::new(stream).poll_flush(cx))
            .unwrap();
    }

    /// What the client has heard since this was asked last.
    fn heard(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.client.heard)
    }

    fn assert_holds_nothing(&self) {
        let session = &self.stream.session;
        assert_eq!(session.memory(), 0);
    }
}
