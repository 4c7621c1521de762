//! Tests of the hub. Here: what the tests of each file use, a stream of numbered events and a client of it.

mod model;
mod random;
mod room;
mod told;
mod viewers;
mod world;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::*;
use crate::dialect::Dialect;
use crate::event::{Class, Event};
use crate::queue::{Next, Offer, Overflow, Receiver};
use crate::wire::Framing;

const SETTINGS: Settings = Settings {
    bounds: Bounds {
        max_events: 1000,
        max_bytes: 1 << 20,
    },
    limits: Limits {
        max_events: 4,
        max_bytes: 64 * 1024,
        merge: false,
        overflow: Overflow::DropOldest,
    },
    gating: Gating {
        batch: None,
        pace: None,
    },
    max_viewers: 4,
    on_leave: OnLeave::Cancel,
    ids: Ids::WhereUsed,
    has_agents: false,
};

fn hub(settings: Settings) -> (Arc<Hub>, Input) {
    let encoder = Encoder::identity(Some(Dialect::Convention), Framing::Sse);
    Hub::new("s", settings, encoder, Arc::new(Budget::new(1 << 30)))
}

fn block(number: u64) -> Vec<u8> {
    format!("data: {{\"n\":{number}}}\n\n").into_bytes()
}

/// What a client gets for the event with this number.
fn sent(number: u64) -> String {
    format!("data: {{\"n\":{number}}}\nid: s.{number}\n\n")
}

fn expected(numbers: impl IntoIterator<Item = u64>) -> String {
    numbers.into_iter().map(sent).collect()
}

fn push(input: &Input, number: u64, class: Class) -> Offer {
    let mut pushing = input.pushing(0, Instant::now());
    let offer = pushing.push(&block(number), &Event::bare(class));
    pushing.done();
    offer
}

/// Pushes the events of one read.
fn push_read(input: &Input, numbers: impl IntoIterator<Item = u64>) {
    // As if it had many more.
    let mut pushing = input.pushing(4096, Instant::now());
    for number in numbers {
        let event = Event::bare(Class::Tool);
        assert_eq!(pushing.push(&block(number), &event), Offer::Accepted);
    }
    pushing.done();
}

/// A client with the task that the session gives it.
struct Client {
    hub: Arc<Hub>,
    number: u32,
    receiver: Option<Receiver>,
    got: Vec<u8>,
    end: Option<Close>,
}

impl Client {
    fn first(hub: &Arc<Hub>) -> Self {
        Self::of(hub, hub.attach_first(Instant::now()))
    }

    fn after(hub: &Arc<Hub>, after: u64) -> Self {
        Self::of(hub, hub.attach(after, Instant::now()).unwrap())
    }

    fn of(hub: &Arc<Hub>, attached: Attached) -> Self {
        Self {
            hub: Arc::clone(hub),
            number: attached.number,
            receiver: Some(attached.receiver),
            got: Vec::new(),
            end: None,
        }
    }

    fn step(&self) -> Step {
        let mut cx = Context::from_waker(Waker::noop());
        self.hub.poll_viewer(self.number, &mut cx, Instant::now())
    }

    /// Takes once; returns whether there was something.
    fn take(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let receiver = self.receiver.as_mut().unwrap();
        let next = receiver.poll_next(&mut cx, usize::MAX, &mut self.got);
        let took = match next {
            Poll::Ready(Next::Data { large, .. }) => {
                self.got.extend(large);
                true
            }
            Poll::Ready(Next::End(close)) => {
                self.end = Some(close);
                false
            }
            Poll::Pending => false,
        };
        self.step();
        took
    }

    fn take_all(&mut self) -> String {
        self.step();
        while self.take() {}
        String::from_utf8(std::mem::take(&mut self.got)).unwrap()
    }

    /// Leaves as a closed connection does.
    fn leave(mut self) {
        self.receiver = None;
        let Step::Gone(end) = self.step() else {
            panic!("it has left");
        };
        self.hub.leave(self.number, end);
    }
}
