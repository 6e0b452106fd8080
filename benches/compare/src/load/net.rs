//! Connections to the proxy: source addresses, TLS, HTTP/1.1 and HTTP/2 clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Common;

pub const STEP: Duration = Duration::from_secs(30);
const SOURCES: usize = 16;

#[derive(Clone)]
pub struct Dialer {
    target: SocketAddr,
    tls: Option<TlsConnector>,
}

/// What a client may offer: one group and one cipher (per TLS version), so that every proxy does
/// the same cryptography, whatever it would prefer.
fn provider(tls12: bool) -> CryptoProvider {
    let mut kx_groups = vec![ring::kx_group::X25519];
    if tls12 {
        // There the list must also name the curve of the certificate.
        kx_groups.push(ring::kx_group::SECP256R1);
    }
    CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ],
        kx_groups,
        ..ring::default_provider()
    }
}

impl Dialer {
    pub fn new(c: &Common, alpn: &str, resume: bool) -> anyhow::Result<Self> {
        if c.plain {
            return Ok(Dialer {
                target: c.target,
                tls: None,
            });
        }
        let ca = c.ca.as_ref().context("--ca is needed, or --plain")?;
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(ca)? {
            roots.add(cert?)?;
        }
        let version = if c.tls12 {
            &rustls::version::TLS12
        } else {
            &rustls::version::TLS13
        };
        let mut cfg = ClientConfig::builder_with_provider(Arc::new(provider(c.tls12)))
            .with_protocol_versions(&[version])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        cfg.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        cfg.resumption = match resume {
            true => Resumption::in_memory_sessions(64),
            false => Resumption::disabled(),
        };
        Ok(Dialer {
            target: c.target,
            tls: Some(TlsConnector::from(Arc::new(cfg))),
        })
    }

    /// Connects from one of several source addresses, chosen by `i`.
    pub async fn dial(&self, i: usize) -> anyhow::Result<Conn> {
        timeout(STEP, self.dial_inner(i))
            .await
            .context("connect: timed out")?
    }

    async fn dial_inner(&self, i: usize) -> anyhow::Result<Conn> {
        let tcp = tcp_from(i, self.target).await.context("TCP connect")?;
        let Some(tls) = &self.tls else {
            return Ok(Conn::Plain(tcp));
        };
        let name = ServerName::try_from("localhost")?;
        let s = tls.connect(name, tcp).await.context("TLS handshake")?;
        let want = tls.config().alpn_protocols.first().map(Vec::as_slice);
        let got = s.get_ref().1.alpn_protocol();
        // A server may answer no ALPN at all where HTTP/1.1 was offered.
        ensure!(
            got == want || (got.is_none() && want == Some(b"http/1.1")),
            "ALPN: {got:?}"
        );
        Ok(Conn::Tls(Box::new(s)))
    }
}

async fn tcp_from(i: usize, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let s = TcpSocket::new_v4()?;
    let one: libc::c_int = 1;
    // SAFETY: a live fd and a valid int. The port is then chosen at connect, per
    // 4-tuple, so that one address gives more than 28000 connections in all.
    let rc = unsafe {
        libc::setsockopt(
            s.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const one).cast(),
            size_of_val(&one) as libc::socklen_t,
        )
    };
    ensure!(rc == 0, "IP_BIND_ADDRESS_NO_PORT");
    s.bind((Ipv4Addr::new(127, 0, 0, 2 + (i % SOURCES) as u8), 0).into())?;
    let tcp = s.connect(to).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

pub enum Conn {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Conn {
    pub fn resumed(&self) -> bool {
        match self {
            Conn::Plain(_) => false,
            Conn::Tls(s) => s.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

macro_rules! each {
    ($self:expr, $s:ident => $e:expr) => {
        match $self.get_mut() {
            Conn::Plain($s) => $e,
            Conn::Tls($s) => $e,
        }
    };
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        each!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write(cx, buf))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, s => Pin::new(s).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}

/// An HTTP client on one connection, of either version.
pub enum Client {
    H1(conn::http1::SendRequest<Empty<Bytes>>),
    H2(conn::http2::SendRequest<Empty<Bytes>>),
}

impl Client {
    pub async fn h1(io: Conn) -> anyhow::Result<Self> {
        let (tx, drive) = conn::http1::handshake(TokioIo::new(io)).await?;
        tokio::spawn(drive);
        Ok(Client::H1(tx))
    }

    pub async fn h2(io: Conn) -> anyhow::Result<Self> {
        let (tx, drive) = conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake(TokioIo::new(io))
            .await?;
        tokio::spawn(drive);
        Ok(Client::H2(tx))
    }

    /// Another handle on the same HTTP/2 connection.
    pub fn share(&self) -> anyhow::Result<Self> {
        match self {
            Client::H1(_) => bail!("HTTP/1.1 has no streams"),
            Client::H2(tx) => Ok(Client::H2(tx.clone())),
        }
    }

    pub async fn send(&mut self, req: Request<Empty<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        Ok(match self {
            Client::H1(tx) => {
                tx.ready().await?;
                tx.send_request(req).await?
            }
            Client::H2(tx) => {
                tx.ready().await?;
                tx.send_request(req).await?
            }
        })
    }

    /// GET whose whole body must be `want`.
    pub async fn get_checked(
        &mut self,
        req: Request<Empty<Bytes>>,
        want: &[u8],
    ) -> anyhow::Result<()> {
        let mut resp = timeout(STEP, self.send(req))
            .await
            .context("response: timed out")??;
        ensure!(resp.status() == 200, "status {}", resp.status());
        let mut at = 0;
        while let Some(f) = timeout(STEP, resp.frame())
            .await
            .context("body: timed out")?
        {
            if let Ok(data) = f?.into_data() {
                ensure!(
                    want.get(at..at + data.len()) == Some(&data[..]),
                    "body differs near byte {at}"
                );
                at += data.len();
            }
        }
        ensure!(
            at == want.len(),
            "body ends after {at} of {} bytes",
            want.len()
        );
        Ok(())
    }
}

/// A GET for an HTTP/1.1 (`/path` + Host) or HTTP/2 (absolute) client.
pub fn get(c: &Common, path: &str, h2: bool) -> Request<Empty<Bytes>> {
    let host = format!("localhost:{}", c.target.port());
    let scheme = if c.plain { "http" } else { "https" };
    let b = match h2 {
        true => Request::get(format!("{scheme}://{host}{path}")),
        false => Request::get(path).header("host", host),
    };
    b.header("user-agent", "bench-load")
        .header("accept", "*/*")
        .body(Empty::new())
        .expect("valid request")
}

/// A plain HTTP/1.1 exchange that is not part of the measurement.
pub struct Side(conn::http1::SendRequest<Full<Bytes>>, String);

impl Side {
    pub async fn open(to: &str) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(to)
            .await
            .with_context(|| format!("connect to {to}"))?;
        tcp.set_nodelay(true)?;
        let (tx, drive) = conn::http1::handshake(TokioIo::new(tcp)).await?;
        tokio::spawn(drive);
        Ok(Side(tx, to.to_owned()))
    }

    /// Makes sure of a live connection: some servers close after each answer.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        if self.0.ready().await.is_err() {
            *self = Side::open(&self.1).await?;
            self.0.ready().await?;
        }
        Ok(())
    }

    pub async fn ask(&mut self, method: &str, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let req = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.1)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        self.ready().await?;
        let r = self.0.send_request(req).await?;
        let status = r.status();
        let body = r.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}

/// The backend's counters.
pub async fn backend_stats(c: &Common) -> anyhow::Result<serde_json::Value> {
    let body = Side::open(&c.backend.to_string())
        .await?
        .ask("GET", "/stats", Bytes::new())
        .await?;
    Ok(serde_json::from_slice(&body)?)
}
