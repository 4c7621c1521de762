//! Runs a tunnel or bridge of an HTTP/2 client (RFC 8441) in a task of its own, because hyper drives only responses.
//! Its bytes are those of one stream, with the flow control of HTTP/2.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::bridge::{self, Socket};
use crate::tunnel::{Over, Start, Tunnel};

/// How long the client may take to get the end of its stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the bridge, once the head of the response has been sent.
pub(super) async fn run_bridge(upgrade: OnUpgrade, start: bridge::Start) {
    // The client has left if it fails; dropping `start` reports that.
    let Ok(upgraded) = upgrade.await else { return };
    let client = TokioIo::new(upgraded);
    let mut socket = Box::new(Socket::new(client, Vec::new(), start, None));
    if poll_fn(|cx| socket.poll(cx)).await == Over::Closed {
        let mut client = socket.into_client();
        // A client that does not take it has nothing to wait for.
        let _ = timeout(CLOSE_TIMEOUT, client.shutdown()).await;
    }
}

/// Runs the tunnel, once the head of the response has been sent.
pub(super) async fn run(upgrade: OnUpgrade, start: Start) {
    // The client has left if it fails; dropping `start` reports that.
    let Ok(upgraded) = upgrade.await else { return };
    let client = TokioIo::new(upgraded);
    let mut tunnel = Box::new(Tunnel::new(client, Bytes::new(), start, None));
    if poll_fn(|cx| tunnel.poll(cx)).await == Over::Closed {
        let mut client = tunnel.into_client();
        // A client that does not take it has nothing to wait for.
        let _ = timeout(CLOSE_TIMEOUT, client.shutdown()).await;
    }
}
