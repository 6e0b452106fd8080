//! What a load balancer says of its client in front of a connection's own bytes: the PROXY protocol, versions 1 and 2.
//!
//! Owns finding the header's end, and reading not a byte behind it: what follows is TLS or HTTP. The `proxy-header` crate
//! reads what stands in it. Whom to believe is the caller's business, and so is the deadline.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What version 2 begins with (§2.2 of the protocol's text).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with (§2.1).
const WORD: &[u8; 6] = b"PROXY ";

/// The longest line of version 1, its CRLF included.
const LINE_MAX: usize = 107;

/// The longest header of version 2 that is taken: 16 bytes, the addresses (216 at most), and what else a load balancer
/// has to say, which is not used.
const HEADER_MAX: usize = 4096;

/// Bytes of a version 2 header before its length is known.
const FIXED: usize = 16;

/// The two ends of a connection that was announced: the client's, and the one that it connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Who connected.
    pub client: SocketAddr,
    /// To where.
    pub local: SocketAddr,
}

/// Why a connection has no PROXY header. It cannot be used.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// It begins with something else.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// It breaks the grammar.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// It has no end within bounds.
    #[error("the PROXY header is longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The connection ended too early.
    #[error("the connection broke within its PROXY header")]
    Broken(#[source] io::Error),
}

impl From<io::Error> for ProxyError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Reads a header to its last byte. `None`: the connection is the load balancer's own (`LOCAL`, `UNKNOWN`), or one whose
/// addresses are not those of a network.
///
/// # Errors
/// [`ProxyError`].
///
/// # Cancel safety
/// None: the connection has to be closed.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Announced>, ProxyError> {
    let mut header = Vec::with_capacity(LINE_MAX);
    // No header of either version is shorter than version 2's signature.
    while header.len() < SIGNATURE.len() {
        read_more(stream, SIGNATURE.len(), &mut header).await?;
        let begins = |text: &[u8]| text.iter().zip(&header).all(|(one, other)| one == other);
        if !begins(WORD) && !begins(SIGNATURE) {
            return Err(ProxyError::Missing);
        }
    }
    if header[0] == WORD[0] {
        read_line(stream, &mut header).await?;
    } else {
        read_binary(stream, &mut header).await?;
    }
    parse(&header)
}

async fn read_more(
    stream: &mut (impl AsyncRead + Unpin),
    length: usize,
    header: &mut Vec<u8>,
) -> Result<(), ProxyError> {
    let missing = length.saturating_sub(header.len()) as u64;
    if stream.take(missing).read_buf(header).await? == 0 {
        return Err(ProxyError::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

/// A line ends where it ends: byte by byte is the only way to read no further. There is one for each connection.
async fn read_line(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
) -> Result<(), ProxyError> {
    while header.last() != Some(&b'\n') {
        if header.len() == LINE_MAX {
            return Err(ProxyError::TooLong { limit: LINE_MAX });
        }
        read_more(stream, header.len() + 1, header).await?;
    }
    Ok(())
}

async fn read_binary(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
) -> Result<(), ProxyError> {
    while header.len() < FIXED {
        read_more(stream, FIXED, header).await?;
    }
    let length = FIXED + usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > HEADER_MAX {
        return Err(ProxyError::TooLong { limit: HEADER_MAX });
    }
    while header.len() < length {
        read_more(stream, length, header).await?;
    }
    Ok(())
}

fn parse(header: &[u8]) -> Result<Option<Announced>, ProxyError> {
    let config = ParseConfig {
        include_tlvs: false,
        allow_v1: true,
        allow_v2: true,
    };
    let (parsed, length) =
        ProxyHeader::parse(header, config).map_err(|_invalid| ProxyError::Malformed)?;
    if length != header.len() {
        return Err(ProxyError::Malformed);
    }
    let Some(addresses) = parsed.proxied_address() else {
        return Ok(None);
    };
    if addresses.protocol != Protocol::Stream {
        return Err(ProxyError::Malformed);
    }
    // An IPv4 client of an IPv6 socket is an IPv4 client.
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    Ok(Some(Announced {
        client: canonical(addresses.source),
        local: canonical(addresses.destination),
    }))
}

#[cfg(test)]
mod tests {
    use proxy_header::ProxiedAddress;

    use super::*;

    fn binary(client: &str, local: &str, more: usize) -> Vec<u8> {
        let ends = ProxiedAddress::stream(client.parse().unwrap(), local.parse().unwrap());
        let mut header = Vec::new();
        ProxyHeader::with_address(ends)
            .encode_v2(&mut header)
            .unwrap();
        // NOOP fields (§2.2.4) fill it up.
        let length = header.len() - FIXED + more;
        header[14..FIXED].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        if more > 0 {
            header.extend_from_slice(&[4, ((more - 3) >> 8) as u8, (more - 3) as u8]);
            header.resize(FIXED + length, 0);
        }
        header
    }

    /// What is read of `input`, in pieces of `size`, and what is left behind it.
    async fn parsed(input: &[u8], size: usize) -> Result<(Option<Announced>, Vec<u8>), ProxyError> {
        let (mut near, mut far) = tokio::io::duplex(size);
        let reading = async {
            let announced = read(&mut far).await;
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).await.unwrap();
            announced.map(|announced| (announced, rest))
        };
        let writing = async {
            tokio::io::AsyncWriteExt::write_all(&mut near, input)
                .await
                .unwrap();
            drop(near);
        };
        tokio::join!(reading, writing).0
    }

    fn announced(client: &str, local: &str) -> Option<Announced> {
        let [client, local] = [client, local].map(|end| end.parse().unwrap());
        Some(Announced { client, local })
    }

    #[tokio::test]
    async fn headers_are_read_to_their_last_byte_however_they_come() {
        let v4 = announced("192.0.2.1:1000", "192.0.2.9:443");
        let v6 = announced("[2001:db8::1]:1000", "[2001:db8::9]:443");
        let [local, unix] =
            [(0x20, 0x11, 12), (0x21, 0x31, 216)].map(|(command, family, length)| {
                let head = [&SIGNATURE[..], &[command, family, 0, length]].concat();
                [head, vec![7; length.into()]].concat()
            });
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.9 1000 443\r\n".to_vec(), v4),
            (
                b"PROXY TCP6 2001:db8::1 2001:db8::9 1000 443\r\n".to_vec(),
                v6,
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.9 1000 443\r\n".to_vec(),
                v4,
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:: whatever 1 2\r\n".to_vec(), None),
            (binary("192.0.2.1:1000", "192.0.2.9:443", 0), v4),
            (binary("[2001:db8::1]:1000", "[2001:db8::9]:443", 3000), v6),
            (local, None),
            (unix, None),
        ] {
            for size in [1, 7, 1000] {
                let input = [&header[..], b"\x16\x03\x01PROXY"].concat();
                let (found, rest) = parsed(&input, size).await.unwrap();
                assert_eq!((found, &rest[..]), (expected, &input[header.len()..]));
            }
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for (input, missing) in [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), true),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0".to_vec(), true),
            (b"PROXYTCP4 192.0.2.1 192.0.2.9 1000 443\r\n".to_vec(), true),
            (b"PROXY TCP4 192.0.2.1 192.0.2.9 1000 443\n".to_vec(), false),
            (
                b"PROXY TCP4 a.example 192.0.2.9 1000 443\r\n".to_vec(),
                false,
            ),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.9 70000 443\r\n".to_vec(),
                false,
            ),
            (b"PROXY UNIX a b c d\r\n".to_vec(), false),
            (b"PROXY TCP4 192.0.2.1".to_vec(), false),
            (
                b"PROXY UNKNOWN "
                    .iter()
                    .copied()
                    .chain([b'x'; 200])
                    .collect(),
                false,
            ),
            (binary("192.0.2.1:1000", "192.0.2.9:443", 5000), false),
            ([&SIGNATURE[..], &[0x31, 0x11, 0, 0]].concat(), false),
            (
                [&SIGNATURE[..], &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat(),
                false,
            ),
            (
                [
                    &SIGNATURE[..],
                    &[0x21, 0x12, 0, 12, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4],
                ]
                .concat(),
                false,
            ),
            (SIGNATURE[..5].to_vec(), false),
        ] {
            for size in [1, 7, 1000] {
                let error = parsed(&input, size).await.unwrap_err();
                let found = matches!(error, ProxyError::Missing);
                assert_eq!(found, missing, "{} {error}", input.escape_ascii());
            }
        }
    }
}
