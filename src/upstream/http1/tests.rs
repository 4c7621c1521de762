//! An HTTP/1.1 connection over a pipe: heads, bodies, and how they break.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::*;
use crate::upstream::progress::Failure;

/// Returns a connection on which a GET was begun, and its other end.
fn asked() -> (Connection, DuplexStream) {
    let (near, far) = duplex(1 << 16);
    let mut connection = Connection::new(Io::Other(Box::new(near)));
    connection.begin(&get(), None);
    (connection, far)
}

fn get() -> request::Parts {
    Request::get("/x")
        .header("host", "h")
        .body(())
        .unwrap()
        .into_parts()
        .0
}

async fn head(connection: &mut Connection) -> Result<response::Parts, Failure> {
    poll_fn(|cx| connection.poll_head(cx, |_, _| {})).await
}

async fn body(connection: &mut Connection) -> (Vec<u8>, Result<Option<HeaderMap>, Broken>) {
    let mut all = Vec::new();
    loop {
        let mut sink = |bytes: &[u8]| all.extend_from_slice(bytes);
        match poll_fn(|cx| connection.poll_body(cx, &mut sink)).await {
            Ok(Read::Data { .. }) => {}
            Ok(Read::Eof(trailers)) => return (all, Ok(trailers.map(|trailers| *trailers))),
            Err(broken) => return (all, Err(broken)),
        }
    }
}

async fn is_ready(connection: &mut Connection) -> bool {
    poll_fn(|cx| Poll::Ready(connection.is_ready(cx))).await
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let (mut connection, mut far) = asked();
    for turn in 0..3 {
        if turn > 0 {
            connection.begin(&get(), None);
        }
        far.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\n")
            .await
            .unwrap();
        let mut told = Vec::new();
        let head = poll_fn(|cx| connection.poll_head(cx, |status, _| told.push(status)));
        assert_eq!(head.await.unwrap().status, StatusCode::OK);
        assert_eq!(told, [StatusCode::EARLY_HINTS]);
        let mut sent = [0; 30];
        let length = far.read(&mut sent).await.unwrap();
        assert_eq!(&sent[..length], b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n");
        assert!(!is_ready(&mut connection).await, "inside an answer");
        far.write_all(b"de\r\n0\r\nx-sum: 1\r\n\r\n").await.unwrap();
        let (all, end) = body(&mut connection).await;
        assert_eq!(all, b"abcde");
        assert_eq!(end.unwrap().unwrap()["x-sum"], "1");
        assert!(is_ready(&mut connection).await);
        assert_eq!(connection.unread.capacity(), 0, "nothing is held");
    }
    drop(far);
    assert!(!is_ready(&mut connection).await, "closed");
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_serves_to_the_end_and_no_further() {
    let (mut connection, mut far) = asked();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    far.write_all(answer).await.unwrap();
    head(&mut connection).await.unwrap();
    tokio::time::advance(MAX_AGE).await;
    assert_eq!(body(&mut connection).await.0, b"ok");
    assert!(is_ready(&mut connection).await, "a minute old");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!is_ready(&mut connection).await);
}

#[tokio::test]
async fn what_follows_an_answer_is_nobodys() {
    for answer in [
        "content-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
        "connection: close\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let (mut connection, mut far) = asked();
        far.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes())
            .await
            .unwrap();
        head(&mut connection).await.unwrap();
        let (all, end) = body(&mut connection).await;
        assert_eq!((all.as_slice(), end.unwrap()), (&b"ok"[..], None));
        assert!(!is_ready(&mut connection).await, "{answer}");
    }
}

#[tokio::test]
async fn what_came_before_a_break_is_handed_over() {
    let cases = [
        (
            "transfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
            "malformed",
        ),
        (
            "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n5\r\n",
            "ended",
        ),
        ("transfer-encoding: chunked\r\n\r\n2\r\nok\r\n", "ended"),
        ("content-length: 3\r\n\r\nok", "ended"),
    ];
    for (answer, word) in cases {
        let (mut connection, mut far) = asked();
        far.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes())
            .await
            .unwrap();
        drop(far);
        head(&mut connection).await.unwrap();
        let (all, end) = body(&mut connection).await;
        assert_eq!(all, b"ok");
        let broken = end.unwrap_err().to_string();
        assert!(broken.contains(word), "{answer:?}: {broken}");
    }
    let (mut connection, mut far) = asked();
    far.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").await.unwrap();
    drop(far);
    head(&mut connection).await.unwrap();
    let (all, end) = body(&mut connection).await;
    assert_eq!(
        (all.as_slice(), end.is_ok()),
        (&b"ok"[..], true),
        "up to the end"
    );
}

#[tokio::test]
async fn an_end_before_the_head_is_a_reset() {
    for start in ["", "HTTP/1.1 200 OK\r\ncontent-"] {
        let (mut connection, mut far) = asked();
        far.write_all(start.as_bytes()).await.unwrap();
        drop(far);
        assert!(matches!(
            head(&mut connection).await,
            Err(Failure::Reset(_))
        ));
    }
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let (mut connection, mut far) = asked();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (parts, ()) = tokio::join!(head(&mut connection), async {
        for byte in answer {
            far.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(parts.unwrap().headers["content-length"], "2");
    assert_eq!(body(&mut connection).await.0, b"ok");
}

#[tokio::test]
async fn a_narrow_connection_reads_little_until_its_next_request() {
    const LENGTH: usize = 4 * READ_BYTES;
    let (mut connection, mut far) = asked();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
    let mut most = Vec::new();
    for low_rate in [true, false] {
        far.write_all(answer.as_bytes()).await.unwrap();
        head(&mut connection).await.unwrap();
        let rest = vec![b'x'; LENGTH];
        let (mut all, mut largest) = (0, 0);
        let feed = far.write_all(&rest);
        let read = async {
            if low_rate {
                connection.set_low_rate(true);
            }
            while all < LENGTH {
                let mut sink = |bytes: &[u8]| {
                    all += bytes.len();
                    largest = largest.max(bytes.len());
                };
                poll_fn(|cx| connection.poll_body(cx, &mut sink))
                    .await
                    .unwrap();
            }
        };
        let (fed, ()) = tokio::join!(feed, read);
        fed.unwrap();
        most.push(largest);
        let shrunk = connection.receive;
        assert_eq!(shrunk < RECEIVE_BUFFER_BYTES, low_rate, "{shrunk}");
        connection.begin(&get(), None);
        assert_eq!(connection.receive, RECEIVE_BUFFER_BYTES);
    }
    assert_eq!(most, [NARROW_READ_BYTES, READ_BYTES]);
}

/// A connection whose upstream takes nothing more: each write fails with this error.
#[derive(Debug)]
struct Refusing(DuplexStream, io::ErrorKind);

impl crate::upstream::socket::Stream for Refusing {}

impl tokio::io::AsyncRead for Refusing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Refusing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(self.1.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Returns a connection whose GET cannot be sent, and the end that responds to it.
fn refused(kind: io::ErrorKind) -> (Connection, DuplexStream) {
    let (near, far) = duplex(1 << 16);
    let mut connection = Connection::new(Io::Other(Box::new(Refusing(near, kind))));
    connection.begin(&get(), None);
    (connection, far)
}

#[tokio::test]
async fn an_answer_is_awaited_although_a_write_failed() {
    let (mut connection, mut far) = refused(io::ErrorKind::BrokenPipe);
    let once = poll_fn(|cx| Poll::Ready(connection.poll_head(cx, |_, _| {}).is_pending()));
    assert!(once.await, "nothing has come yet");
    far.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno")
        .await
        .unwrap();
    let parts = head(&mut connection).await.unwrap();
    assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
    assert_eq!(body(&mut connection).await.0, b"no");
    assert!(!is_ready(&mut connection).await, "it takes no request");
}

#[tokio::test]
async fn a_failed_write_is_told_if_no_answer_follows() {
    let (mut connection, far) = refused(io::ErrorKind::BrokenPipe);
    drop(far);
    let Err(Failure::Reset(error)) = head(&mut connection).await else {
        panic!("a head from nowhere");
    };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_reset_that_a_write_has_seen_ends_no_body() {
    for (kind, whole) in [
        (io::ErrorKind::BrokenPipe, true),
        (io::ErrorKind::ConnectionReset, false),
    ] {
        let (mut connection, mut far) = refused(kind);
        far.write_all(b"HTTP/1.1 403 No\r\n\r\nno").await.unwrap();
        drop(far);
        head(&mut connection).await.unwrap();
        let (all, end) = body(&mut connection).await;
        assert_eq!(all, b"no");
        assert_eq!(end.is_ok(), whole, "{kind:?}");
    }
}
