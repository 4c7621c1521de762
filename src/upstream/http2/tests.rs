//! HTTP/2 connections to the library's own server, in the same thread.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;

use super::connection::STREAMS;
use super::*;
use crate::tasks;
use crate::upstream::socket::Io;

/// Serves each request with `answer`.
fn serve<F, A>(io: DuplexStream, answer: A)
where
    F: Future<Output = ()> + Send + 'static,
    A: Fn(SendResponse<Bytes>) -> F + Send + 'static,
{
    tasks::spawn(async move {
        let mut connection = server::handshake(io).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            tasks::spawn(answer(respond));
        }
    });
}

async fn open(io: DuplexStream) -> Connection {
    let io = Io::Other(Box::new(io));
    Connection::open(io, "http").await.unwrap()
}

async fn ask(connection: &Connection) -> Stream {
    let mut stream = Stream::new(connection.first_place());
    let request = Request::get("/").header("host", "agent").body(()).unwrap();
    stream.begin(&request.into_parts().0, None);
    let head = poll_fn(|cx| stream.poll_head(cx, |_, _| {})).await.unwrap();
    assert_eq!(head.status, 200);
    stream
}

async fn read(stream: &mut Stream) -> Result<Vec<u8>, Broken> {
    let mut all = Vec::new();
    loop {
        let mut keep = |bytes: &[u8]| all.extend_from_slice(bytes);
        if let Read::Eof(_) = poll_fn(|cx| stream.poll_body(cx, &mut keep)).await? {
            return Ok(all);
        }
    }
}

/// Sends a whole window of frames of 40 bytes.
async fn small_frames(mut respond: SendResponse<Bytes>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    for _ in 0..1_600 {
        body.send_data(Bytes::from_static(&[b'x'; 40]), false)
            .unwrap();
    }
    body.send_data(Bytes::new(), true).unwrap();
}

#[tokio::test]
async fn windows_full_of_small_frames_do_not_count_against_the_connection() {
    // The pipe has room for everything, so all of it has arrived before any stream's task runs.
    let (ours, theirs) = duplex(16 << 20);
    serve(theirs, small_frames);
    let connection = open(ours).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(tasks::spawn({
            let connection = connection.clone();
            async move { read(&mut ask(&connection).await).await }
        }));
    }
    for stream in streams {
        assert_eq!(stream.await.unwrap().unwrap().len(), 64_000);
    }
}

#[tokio::test]
async fn nobody_has_to_take_small_frames_at_once() {
    let (ours, theirs) = duplex(16 << 20);
    serve(theirs, small_frames);
    let connection = open(ours).await;
    let mut stalled = Vec::new();
    for _ in 0..STREAMS - 1 {
        stalled.push(ask(&connection).await);
    }
    // Their bodies have all arrived and been read once that of a later stream has.
    assert_eq!(
        read(&mut ask(&connection).await).await.unwrap().len(),
        64_000
    );
    for stream in &mut stalled {
        assert_eq!(read(stream).await.unwrap().len(), 64_000);
    }
}

/// Sends more than the window, as the window opens.
async fn much(mut respond: SendResponse<Bytes>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    for _ in 0..2_000 {
        body.reserve_capacity(1_000);
        while body.capacity() < 1_000 {
            let _more = poll_fn(|cx| body.poll_capacity(cx)).await;
        }
        body.send_data(Bytes::from_static(&[b'x'; 1_000]), false)
            .unwrap();
    }
    body.send_data(Bytes::new(), true).unwrap();
}

#[tokio::test]
async fn a_reader_that_is_never_quite_done_holds_two_windows_at_most() {
    let (ours, theirs) = duplex(1 << 20);
    serve(theirs, much);
    let connection = open(ours).await;
    let mut stream = ask(&connection).await;
    let (mut taken, mut held) = (0, 0);
    loop {
        // More arrives than is taken.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let mut count = |bytes: &[u8]| taken += bytes.len();
        if let Read::Eof(_) = poll_fn(|cx| stream.poll_body(cx, &mut count))
            .await
            .unwrap()
        {
            break;
        }
        if let Phase::Answered { incoming, .. } = &stream.phase {
            held = held.max(incoming.held());
        }
    }
    assert_eq!(taken, 2_000_000);
    assert!(held <= 4 * 64 * 1024, "{held}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_without_a_word_breaks_its_streams() {
    let (ours, theirs) = duplex(1 << 20);
    let (mut client, middle) = duplex(1 << 20);
    let silent = Arc::new(AtomicUsize::new(0));
    let muted = Arc::clone(&silent);
    tasks::spawn(async move {
        let (mut near, mut far) = tokio::io::split(middle);
        let (mut in_, mut out) = tokio::io::split(ours);
        tasks::spawn(async move { tokio::io::copy(&mut near, &mut out).await });
        let mut buffer = [0; 1024];
        while let Ok(size @ 1..) = in_.read(&mut buffer).await {
            if muted.load(Ordering::Relaxed) > 0 {
                std::future::pending::<()>().await;
            }
            far.write_all(&buffer[..size]).await.unwrap();
        }
    });
    client.flush().await.unwrap();
    serve(theirs, |mut respond| async move {
        let _body = respond.send_response(Response::new(()), false).unwrap();
        std::future::pending::<()>().await;
    });
    let connection = open(client).await;
    let mut stream = ask(&connection).await;
    let begun = Instant::now();
    silent.store(1, Ordering::Relaxed);
    assert!(matches!(
        read(&mut stream).await,
        Err(Broken::Truncated | Broken::Reset(_))
    ));
    assert!(
        (20..=45).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
    assert!(connection.place(Duration::MAX).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_left_alone_as_long_as_its_peer_is_there() {
    let (ours, theirs) = duplex(1 << 20);
    serve(theirs, |mut respond| async move {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        body.send_data(Bytes::from_static(b"at last"), true)
            .unwrap();
    });
    let connection = open(ours).await;
    assert_eq!(read(&mut ask(&connection).await).await.unwrap(), b"at last");
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_takes_no_more() {
    let (ours, theirs) = duplex(1 << 20);
    serve(theirs, small_frames);
    let connection = open(ours).await;
    let mut stream = ask(&connection).await;
    tokio::time::advance(crate::upstream::MAX_AGE).await;
    assert!(connection.place(Duration::MAX).is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(connection.place(Duration::MAX).is_none());
    assert_eq!(read(&mut stream).await.unwrap().len(), 64_000);
}

#[tokio::test]
async fn a_place_is_given_back() {
    let (ours, theirs) = duplex(1 << 20);
    serve(theirs, |mut respond| async move {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        // Keeps the stream open until it is reset.
        let _reset = poll_fn(|cx| body.poll_reset(cx)).await;
    });
    let connection = open(ours).await;
    let mut streams = Vec::new();
    while let Some(place) = connection.place(Duration::MAX) {
        streams.push(place);
    }
    assert_eq!(streams.len(), STREAMS);
    streams.pop();
    assert!(connection.place(Duration::MAX).is_some());
    drop(streams);
    assert!(connection.place(Duration::ZERO).is_none(), "too old");
}
