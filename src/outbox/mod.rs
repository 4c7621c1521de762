//! Records of finished streams on their way out: posted to a webhook, or appended to a file.
//!
//! ```text
//! send ──► Room: a place, or given up ──► a task of the record: retry::deliver ──► webhook::Webhook
//!                                                                            └──► file::Appender ──► its thread
//! ```
//!
//! A record is sent at least once, or it is given up and counted. Records wait in memory only, so a process that is
//! killed loses them. Their order is not kept: one that is sent again comes after later ones.

mod answer;
mod file;
mod log_limit;
mod retry;
mod room;
mod webhook;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::tasks;

use file::Appender;
use retry::Failure;
use room::Room;
pub use room::{Counted, GivenUp, Tally, Waiting};
pub use webhook::Hook;
use webhook::Webhook;

/// Where records go.
#[derive(Debug)]
pub enum Destination {
    /// A file: one line for each record.
    File(PathBuf),
    /// A webhook: one signed POST for each record.
    Webhook(Box<Hook>),
}

/// The outbox of one destination.
pub struct Outbox {
    room: Arc<Room>,
    way: Arc<Way>,
    /// The runtime that the outbox was started in.
    runtime: Handle,
    /// Random, so that ids differ from those of other processes.
    prefix: String,
    next: AtomicU64,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// Starts an outbox. Its tasks run in the runtime of the caller. `tally` is called for each thing that is counted,
    /// on any thread, and must not block.
    ///
    /// # Errors
    /// If the file cannot be opened, a TLS file of the webhook cannot be used, the system gives no random bytes, or
    /// there is no runtime.
    pub fn start(destination: Destination, tally: Tally) -> io::Result<Self> {
        let way = match destination {
            Destination::File(path) => Way::File(Appender::start(path)?),
            Destination::Webhook(hook) => Way::Webhook(Box::new(Webhook::new(*hook)?)),
        };
        let random = || getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
        Ok(Self {
            room: Arc::new(Room::new(tally)),
            way: Arc::new(way),
            runtime: Handle::try_current().map_err(io::Error::other)?,
            prefix: format!("{:016x}{:016x}", random()?, random()?),
            next: AtomicU64::new(1),
        })
    }

    /// Sends a record: one JSON object. Never waits; a record that finds no room is given up.
    pub fn send(&self, record: Vec<u8>) {
        // What is allocated counts, not what is used of it.
        let Some(place) = self.room.enter(record.capacity()) else {
            return;
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let parcel = Arc::new(Parcel {
            id: format!("msg_{}_{number}", self.prefix),
            record: record.into(),
        });
        let way = Arc::clone(&self.way);
        // The caller's runtime is a worker's, which ends before the outbox is drained.
        let _entered = self.runtime.enter();
        // Ends with the record: sent, given up, or left behind by `drain`.
        tasks::spawn(retry::deliver(place, move || {
            let (way, parcel) = (Arc::clone(&way), Arc::clone(&parcel));
            // On the heap, so that a record that waits for its next attempt takes little memory.
            Box::pin(async move { way.attempt(&parcel).await })
        }));
    }

    /// Returns how much waits or is being sent.
    pub fn waiting(&self) -> Waiting {
        self.room.waiting()
    }

    /// Takes no more records, tries each that waits once more, and returns at the latest at `deadline`. Returns how
    /// many records were lost.
    pub async fn drain(&self, deadline: Instant) -> usize {
        self.room.drain(deadline).await
    }
}

/// The way to a destination.
enum Way {
    File(Appender),
    Webhook(Box<Webhook>),
}

/// A record with the id that all its attempts carry.
struct Parcel {
    id: String,
    record: Bytes,
}

impl Way {
    async fn attempt(&self, parcel: &Parcel) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.append(parcel.record.clone()).await,
            Self::Webhook(webhook) => webhook.post(&parcel.id, &parcel.record).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::room::tests::{Kept, kept};
    use super::room::{MAX_BYTES, MAX_RECORDS};
    use super::webhook::tests::{answer, hook, listen, request};
    use super::*;

    const SHUTDOWN: Counted = Counted::GivenUp(GivenUp::Shutdown);

    /// An outbox to a listener, and what it counts.
    async fn outbox() -> (TcpListener, Outbox, Kept) {
        let listener = listen().await;
        let (tally, counted) = kept();
        let hook = hook(listener.local_addr().unwrap());
        let outbox = Outbox::start(Destination::Webhook(Box::new(hook)), tally).unwrap();
        (listener, outbox, counted)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn after_a_500_the_same_record_is_sent_with_the_same_id() {
        let (listener, outbox, counted) = outbox().await;
        outbox.send(b"{\"a\":1}".to_vec());
        let mut first = request(&listener).await;
        answer(&mut first, "500 No\r\n").await;
        let mut second = request(&listener).await;
        answer(&mut second, "204 Yes\r\n").await;
        outbox.room.emptied().await;
        assert_eq!(first.body, b"{\"a\":1}");
        assert_eq!(first.body, second.body);
        assert!(first.field("webhook-id").starts_with("msg_"));
        assert_eq!(first.field("webhook-id"), second.field("webhook-id"));
        assert_eq!(counted.take(), [Counted::Retried, Counted::Sent]);
        outbox.send(b"{\"a\":1}".to_vec());
        let other = request(&listener).await;
        assert_ne!(first.field("webhook-id"), other.field("webhook-id"));
    }

    #[tokio::test]
    async fn a_record_that_is_refused_is_not_sent_again() {
        let (listener, outbox, counted) = outbox().await;
        outbox.send(b"{}".to_vec());
        let mut only = request(&listener).await;
        answer(&mut only, "400 No\r\n").await;
        outbox.room.emptied().await;
        assert_eq!(counted.take(), [Counted::GivenUp(GivenUp::Refused)]);
        assert_eq!(outbox.waiting(), Waiting::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_never_answers_gets_eight_attempts_of_ten_seconds() {
        let (_listener, outbox, counted) = outbox().await;
        let began = Instant::now();
        outbox.send(b"{}".to_vec());
        outbox.room.emptied().await;
        let took = began.elapsed().as_secs();
        // 80 s for the attempts, and 61.5 to 123 s between them.
        assert!((141..=204).contains(&took), "{took}");
        let mut want = vec![Counted::Retried; 7];
        want.push(Counted::GivenUp(GivenUp::Failed));
        assert_eq!(counted.take(), want);
    }

    #[tokio::test]
    async fn the_newest_is_given_up_when_the_outbox_is_full() {
        let full = [Counted::GivenUp(GivenUp::Full)];
        let (_listener, outbox, counted) = outbox().await;
        // Nothing of this is sent, because this task does not yield.
        for _ in 0..MAX_RECORDS {
            outbox.send(b"{}".to_vec());
        }
        assert!(counted.take().is_empty());
        outbox.send(b"{}".to_vec());
        assert_eq!(counted.take(), full);
        assert_eq!(outbox.waiting().records, MAX_RECORDS);
    }

    #[tokio::test]
    async fn bytes_are_bounded_too() {
        let full = [Counted::GivenUp(GivenUp::Full)];
        let (_listener, outbox, counted) = outbox().await;
        outbox.send(vec![b'x'; MAX_BYTES + 1]);
        assert_eq!(counted.take(), full, "too large by itself");
        for _ in 0..2 {
            outbox.send(vec![b'x'; MAX_BYTES / 2]);
        }
        assert!(counted.take().is_empty());
        outbox.send(vec![b'x'; 1]);
        assert_eq!(counted.take(), full);
        assert_eq!(outbox.waiting().bytes, MAX_BYTES);
    }

    #[tokio::test]
    async fn what_waits_is_tried_once_more_before_the_end() {
        let (listener, outbox, counted) = outbox().await;
        outbox.send(b"{\"a\":1}".to_vec());
        outbox.send(b"{\"a\":2}".to_vec());
        for _ in 0..2 {
            answer(
                &mut request(&listener).await,
                "503 No\r\nretry-after: 300\r\n",
            )
            .await;
        }
        let serve = async {
            answer(&mut request(&listener).await, "200 Yes\r\n").await;
            answer(&mut request(&listener).await, "503 No\r\n").await;
        };
        let (lost, ()) = tokio::join!(outbox.drain(soon()), serve);
        assert_eq!(lost, 1);
        let mut counted = counted.take();
        counted.sort_by_key(|counted| format!("{counted:?}"));
        assert_eq!(
            counted,
            [SHUTDOWN, Counted::Retried, Counted::Retried, Counted::Sent]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_not_waited_for_beyond_its_deadline() {
        let (_listener, outbox, counted) = outbox().await;
        let began = Instant::now();
        outbox.send(b"{}".to_vec());
        let lost = outbox.drain(soon()).await;
        assert_eq!((lost, began.elapsed().as_secs()), (1, 5));
        outbox.room.emptied().await;
        assert_eq!(began.elapsed().as_secs(), 5, "no attempt goes on");
        outbox.send(b"{}".to_vec());
        assert_eq!(counted.take(), [SHUTDOWN, SHUTDOWN]);
    }

    #[tokio::test]
    async fn a_file_gets_every_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let (tally, counted) = kept();
        let outbox = Outbox::start(Destination::File(path.clone()), tally).unwrap();
        for number in 0..3 {
            outbox.send(format!("{{\"n\":{number}}}").into_bytes());
        }
        assert_eq!(outbox.drain(soon()).await, 0);
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
        assert_eq!(counted.take(), [Counted::Sent; 3]);
        let nowhere = Destination::File(folder.path().join("no/such"));
        assert!(Outbox::start(nowhere, kept().0).is_err());
    }

    #[test]
    fn a_record_sent_by_a_worker_survives_the_worker() {
        let own = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (listener, outbox, counted) = own.block_on(outbox());
        let worker = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        worker.block_on(async { outbox.send(b"{}".to_vec()) });
        drop(worker);
        own.block_on(async {
            answer(&mut request(&listener).await, "200 Yes\r\n").await;
            outbox.room.emptied().await;
        });
        assert_eq!(counted.take(), [Counted::Sent]);
    }
}
