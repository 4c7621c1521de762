//! The last frames of a conversation that nobody asks for any more.

use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::poll_write;
use crate::tasks;
use crate::upstream::socket::Io;
use crate::upstream::sockets::Counted;

/// How long the agent may take for the last frames and for closing the connection.
const LEAVING: Duration = Duration::from_secs(1);

/// Writes the last frames, and closes the connection once the agent has, or a second later. `unflushed`: something was
/// written before that was not flushed.
pub(super) fn leave(mut io: Io, mut out: BytesMut, mut unflushed: bool, socket: Option<Counted>) {
    // Most often the socket takes this at once. So the agent knows even if the process ends now.
    let mut cx = Context::from_waker(Waker::noop());
    if let Poll::Ready(Err(_)) = poll_write(&mut io, &mut cx, &mut out, &mut unflushed) {
        return;
    }
    // Without a runtime the process ends.
    if Handle::try_current().is_ok() {
        tasks::spawn(wait(io, out, socket));
    }
}

async fn wait(mut io: Io, out: BytesMut, socket: Option<Counted>) {
    let waiting = async {
        io.write_all(&out).await?;
        io.flush().await?;
        let mut rest = [0; 1024];
        while io.read(&mut rest).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // An agent that does not close is left all the same.
    let _ = timeout(LEAVING, waiting).await;
    drop(io);
    // The connection is counted as open until here.
    drop(socket);
}
