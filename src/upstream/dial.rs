//! One TCP connection, to whichever of a server's addresses takes it first (RFC 8305 §5).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

/// How long an attempt is alone before the next address is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Tries `addresses` in this order, the next one as soon as one has failed or been silent for 250 ms.
///
/// # Errors
/// What the last one to fail said; there is no limit but the caller's.
///
/// # Cancel safety
/// Dropping it gives all attempts up.
pub(super) async fn first_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut left = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match left.next() {
            Some(address) => attempts.push(TcpStream::connect(*address)),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        let is_last = left.len() == 0;
        tokio::select! {
            Some(ended) = attempts.next() => match ended {
                Ok(tcp) => return Ok(tcp),
                Err(error) => failed = error,
            },
            () = tokio::time::sleep(STAGGER), if !is_last => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// An address where nothing listens.
    fn closed() -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let tcp = first_of(&[closed(), closed(), open]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn a_silent_address_is_not_waited_for() {
        // A full queue: Linux drops what comes beyond it, and the attempt stays silent.
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        full.listen(0).unwrap();
        let silent = full.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(silent).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let limit = Duration::from_secs(10);
        let addresses = [silent, open];
        let tcp = tokio::time::timeout(limit, first_of(&addresses)).await;
        assert_eq!(tcp.unwrap().unwrap().peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn when_all_refuse_the_last_one_says_why() {
        let error = first_of(&[closed(), closed()]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let none = first_of(&[]).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
