//! How long a server may leave a publisher without an answer, on a clock that is stopped.

use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bridge::post::Answered;
use crate::bridge::tests::config;
use crate::net::Authority;

use super::*;

/// Bytes of a body that is longer than what a client is given.
const LONG: usize = LONGEST + 1;

/// What sends messages to a server, with a connection to it, and the server's end of that.
async fn connected() -> (Posts, Address, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    let near = TcpStream::connect(place).await.unwrap();
    let far = listener.accept().await.unwrap().0;
    // A clock that is stopped goes on to the next deadline whenever nothing else is to be done.
    tokio::time::pause();
    let server = ServerAddr::from(Authority {
        host: "127.0.0.1".into(),
        port: place.port(),
    });
    let posts = Posts::new(Arc::new(config(&[place.port()])));
    posts.client.keep(&server, Connection::new(near));
    let address = Address {
        server,
        path: "/say".into(),
        fields: HeaderMap::new(),
    };
    (posts, address, far)
}

fn hello(address: &Address) -> Letter<'_> {
    Letter {
        address,
        content_type: "text/plain",
        body: "hello".into(),
        key: None,
    }
}

/// All that the server hears.
async fn heard(mut far: TcpStream) -> String {
    let mut all = String::new();
    far.read_to_string(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn a_server_without_an_answer_is_given_up_after_ten_seconds_and_is_not_asked_again() {
    let (posts, address, far) = connected().await;
    let begun = Instant::now();
    let sent = posts.client.send(hello(&address)).await;
    assert_eq!(sent, Err(Unsent::Late));
    assert_eq!(Unsent::Late.status(), StatusCode::GATEWAY_TIMEOUT);
    let waited = begun.elapsed();
    assert!(
        (ANSWER..ANSWER + Duration::from_secs(1)).contains(&waited),
        "{waited:?}"
    );
    let all = heard(far).await;
    assert_eq!(all.matches("POST ").count(), 1, "{all}");
    assert!(posts.client.take(&address.server).is_none());
}

#[tokio::test]
async fn interim_answers_do_not_make_the_wait_longer() {
    let (posts, address, mut far) = connected().await;
    let begun = Instant::now();
    let hints = async {
        loop {
            far.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let sent = tokio::select! {
        sent = posts.client.send(hello(&address)) => sent,
        () = hints => unreachable!("it has no end"),
    };
    assert_eq!(sent, Err(Unsent::Late));
    assert!(begun.elapsed() < ANSWER + Duration::from_secs(1));
}

#[tokio::test]
async fn an_answer_whose_body_does_not_end_is_told_without_it() {
    let (posts, address, mut far) = connected().await;
    let begun = Instant::now();
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal";
    let answer = async { far.write_all(half).await.unwrap() };
    let (sent, ()) = tokio::join!(posts.client.send(hello(&address)), answer);
    assert_eq!(sent, Ok(Delivered::Taken));
    assert!(begun.elapsed() >= BODY);
    assert!(
        posts.client.take(&address.server).is_none(),
        "what comes behind is no answer to another message"
    );
}

#[tokio::test]
async fn no_answer_however_odd_is_taken_for_that_to_another_message() {
    let huge = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n{}",
        "x".repeat(LONG)
    );
    let endless = "HTTP/1.1 102 Processing\r\n\r\n".repeat(17);
    let said = Ok(Delivered::Answered(Answered {
        status: StatusCode::OK,
        content_type: None,
        body: "ok".into(),
        retry_after: None,
    }));
    let table = [
        (&*huge, Ok(Delivered::Taken)),
        (&*endless, Err(Unsent::BadAnswer)),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nx",
            Ok(Delivered::Taken),
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            Err(Unsent::BadAnswer),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            said,
        ),
    ];
    for (answer, expected) in table {
        let (posts, address, mut far) = connected().await;
        let told = async { far.write_all(answer.as_bytes()).await };
        let (sent, _) = tokio::join!(posts.client.send(hello(&address)), told);
        let shown = &answer[..answer.len().min(60)];
        assert_eq!(sent, expected, "{shown}");
        assert!(posts.client.take(&address.server).is_none(), "{shown}");
        tokio::time::resume();
    }
}
