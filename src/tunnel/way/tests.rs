//! One direction, over in-memory sockets.

use std::future::poll_fn;
use std::task::Poll;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

/// A frame of a server with this much payload.
fn frame(length: usize) -> Vec<u8> {
    let mut bytes = vec![0x82, 127];
    bytes.extend((length as u64).to_be_bytes());
    bytes.resize(bytes.len() + length, 7);
    bytes
}

async fn run(way: &mut Way, from: &mut DuplexStream, to: &mut DuplexStream) -> Result<(), Failed> {
    poll_fn(|cx| {
        loop {
            match way.poll(cx, from, to) {
                Ok(_) if way.is_shut() || (way.is_told() && way.has_ended()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Went { more: true, .. }) => {}
                Ok(_) => return Poll::Pending,
                Err(failed) => return Poll::Ready(Err(failed)),
            }
        }
    })
    .await
}

#[tokio::test]
async fn bytes_and_the_end_pass_a_receiver_that_takes_little() {
    let (mut source, mut from) = duplex(1000);
    let (mut to, mut receiver) = duplex(7);
    let sent = frame(5000);
    let early = Bytes::copy_from_slice(&sent[..3]);
    let mut way = Way::new(Sender::Server, early);
    let sending = async {
        source.write_all(&sent[3..]).await.unwrap();
        source.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let receiving = receiver.read_to_end(&mut got);
    let (ran, (), read) = tokio::join!(run(&mut way, &mut from, &mut to), sending, receiving);
    ran.unwrap();
    read.unwrap();
    assert_eq!(got, sent);
    assert_eq!((way.bytes(), way.follower.frames()), (sent.len() as u64, 1));
    assert!(way.rest.is_empty() && way.blocked().is_none());
}

#[tokio::test]
async fn a_last_frame_is_put_only_between_frames() {
    let (mut source, mut from) = duplex(100_000);
    let (mut to, mut receiver) = duplex(100_000);
    let (first, second) = (frame(300), frame(20));
    source.write_all(&first[..100]).await.unwrap();
    let mut way = Way::new(Sender::Server, Bytes::new());
    let polled = poll_fn(|cx| Poll::Ready(way.poll(cx, &mut from, &mut to))).await;
    assert!(polled.unwrap().moved);
    way.close(b"\x88\0".to_vec());
    poll_fn(|cx| Poll::Ready(way.poll(cx, &mut from, &mut to)))
        .await
        .unwrap();
    assert!(!way.is_told(), "it is inside a frame");
    source
        .write_all(&[&first[100..], &second].concat())
        .await
        .unwrap();
    drop(source);
    run(&mut way, &mut from, &mut to).await.unwrap();
    drop(to);
    let mut got = Vec::new();
    receiver.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, [&first[..], b"\x88\0"].concat());
}

#[tokio::test]
async fn after_a_violation_there_is_only_the_end() {
    let (mut source, mut from) = duplex(1000);
    let (mut to, mut receiver) = duplex(1000);
    // A reserved opcode.
    source.write_all(b"\x83\0more").await.unwrap();
    let mut way = Way::new(Sender::Server, Bytes::new());
    poll_fn(|cx| Poll::Ready(way.poll(cx, &mut from, &mut to)))
        .await
        .unwrap();
    way.close(b"\x88\0".to_vec());
    run(&mut way, &mut from, &mut to).await.unwrap();
    let mut got = Vec::new();
    receiver.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"\x83\0more");
}

#[tokio::test]
async fn the_socket_that_failed_is_named() {
    let (mut source, mut from) = duplex(1000);
    let (mut to, receiver) = duplex(1000);
    drop(receiver);
    source.write_all(&frame(5)).await.unwrap();
    let mut way = Way::new(Sender::Server, Bytes::new());
    let failed = poll_fn(|cx| Poll::Ready(way.poll(cx, &mut from, &mut to))).await;
    assert_eq!(failed, Err(Failed::Receiver));
}
