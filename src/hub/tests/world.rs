//! A hub beside its model: what happens to one happens to the other, and after each step they must agree.

use std::collections::VecDeque;

use super::model::{Model, Said, Viewer};
use super::told::Told;
use super::*;

/// A hub, its model, and its viewers.
pub(super) struct World {
    settings: Settings,
    hub: Arc<Hub>,
    input: Input,
    budget: Arc<Budget>,
    model: Model,
    /// How many events were made.
    made: u64,
    /// What has to wait outside.
    waiting: VecDeque<Said>,
    viewers: Vec<Viewer>,
    /// What the tap was given, if there is one.
    told: Option<Told>,
    /// How many events went because of the journal's bounds: as the hub says, and as it must be.
    evicted: [u64; 2],
    /// Events went for another reason, so that viewers that were behind may miss tokens.
    has_others: bool,
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        let budget = Arc::new(Budget::new(1 << 30));
        let encoder = Encoder::identity(Some(Dialect::Convention), Framing::Sse);
        let (hub, input) = Hub::new("s", settings, encoder, Arc::clone(&budget));
        let first = Viewer {
            client: Client::first(&hub),
            after: 0,
            got: Vec::new(),
        };
        let model = Model {
            bounds: settings.bounds,
            all: Vec::new(),
            gone: 0,
            bytes: 0,
        };
        Self {
            settings,
            hub,
            input,
            budget,
            model,
            made: 0,
            waiting: VecDeque::new(),
            viewers: vec![first],
            told: None,
            evicted: [0, 0],
            has_others: false,
        }
    }

    /// Gives the hub a tap that records what it is given.
    pub(super) fn tap(&mut self) {
        self.told = Some(Told::of(&self.hub));
    }

    /// Pushes what waits, and then the events of a read of `bytes` bytes.
    pub(super) fn read(&mut self, events: &[(u8, usize)], bytes: usize) {
        let mut queue = std::mem::take(&mut self.waiting);
        for (kind, pad) in events {
            self.made += 1;
            queue.push_back(Said::new(self.made, *kind, *pad));
        }
        let mut refused = None;
        let mut pushing = self.input.pushing(bytes, Instant::now());
        while let Some(said) = queue.pop_front() {
            match pushing.push(&said.block, &said.event) {
                Offer::Accepted => self.evicted[1] += self.model.append(said),
                Offer::Disconnect => panic!("no hub does that"),
                Offer::Full | Offer::Wait => {
                    refused = Some(said.block.len());
                    queue.push_front(said);
                    break;
                }
            }
        }
        pushing.done();
        // Before it refuses an event, the hub evicts what nobody needs.
        let first = self.hub.extent().first;
        while let Some(len) = refused.filter(|_| self.model.first() < first) {
            assert!(!self.model.fits(len), "evicted for nothing");
            self.model.evict();
            self.evicted[1] += 1;
        }
        self.waiting = queue;
        self.evicted[0] += self.hub.take_evicted();
        assert_eq!(self.evicted[0], self.evicted[1]);
    }

    /// Compares the journal with the model.
    pub(super) fn check(&self) {
        let state = self.hub.lock();
        let (journal, model) = (&state.journal, &self.model);
        assert_eq!(
            (journal.first(), journal.last()),
            (model.first(), model.last())
        );
        assert_eq!(journal.bytes(), model.bytes);
        let mut kept = journal.events(0);
        for (seq, said) in (model.first()..).zip(model.kept()) {
            let (number, kept) = kept.next().unwrap();
            assert_eq!(number, seq);
            assert!(kept.block == said.block, "{seq}");
            assert_eq!(
                (kept.class, kept.agent),
                (said.event.class, said.event.agent)
            );
            let text = said.event.text.unwrap_or_default();
            assert!(kept.text == text.of(&said.block), "{seq}");
        }
        assert!(kept.next().is_none());
        if self.made > 0 {
            assert_eq!(self.budget.used(), journal.allocated() + STREAM_BYTES);
        }
        if let Some(told) = &self.told {
            let all = (model.all.iter()).map(|said| (said.event.class, &said.block[..]));
            told.check(&all.collect::<Vec<_>>());
        }
    }

    fn come(&mut self, after: u64) {
        match self.hub.attach(after, Instant::now()) {
            Ok(attached) => self.viewers.push(Viewer {
                client: Client::of(&self.hub, attached),
                after,
                got: Vec::new(),
            }),
            Err(Refused::Full) => assert_eq!(self.viewers.len(), self.settings.max_viewers),
            Err(Refused::Evicted(first)) => {
                assert_eq!(first, self.model.first());
                assert!(after + 1 < first);
            }
            Err(Refused::Beyond(last)) => panic!("{after} is beyond {last}"),
        }
    }

    /// Lets those leave whose streams end early.
    fn drop_lost(&mut self) {
        for viewer in std::mem::take(&mut self.viewers) {
            match viewer.client.step() {
                Step::Follows { ends: None, .. } => self.viewers.push(viewer),
                Step::Follows { .. } => viewer.client.leave(),
                Step::Gone(end) => panic!("{end:?}"),
            }
        }
    }

    pub(super) async fn act(&mut self, op: Op) {
        match op {
            Op::Read { events, bytes } => self.read(&events, bytes),
            Op::Take { who, max } => {
                if let Some(mut viewer) = self.pull(who) {
                    viewer.take(max, &self.model);
                    self.viewers.push(viewer);
                }
            }
            Op::TakeAll { who } => {
                if let Some(mut viewer) = self.pull(who) {
                    viewer.take_all(&self.model);
                    self.viewers.push(viewer);
                }
            }
            Op::Come { back } => {
                let last = self.model.last();
                self.come(last.saturating_sub(back));
            }
            Op::Return { who } => {
                if let Some(viewer) = self.pull(who) {
                    let after = viewer.reached();
                    viewer.client.leave();
                    self.come(after);
                }
            }
            Op::Leave { who } => {
                if let Some(viewer) = self.pull(who) {
                    viewer.client.leave();
                }
            }
            Op::EvictHalf => {
                self.has_others = true;
                for _ in 0..self.hub.evict_half() {
                    self.model.evict();
                }
            }
            Op::GiveUp => self.input.give_up(),
            Op::SameEncoder => self.input.set_encoder(self.hub.encoder()),
            Op::Wait { millis } => advance(Duration::from_millis(millis)).await,
        }
        self.drop_lost();
        self.check();
    }

    fn pull(&mut self, who: usize) -> Option<Viewer> {
        let place = who.checked_rem(self.viewers.len())?;
        Some(self.viewers.swap_remove(place))
    }

    /// Ends the stream. `is_patient`: once everything has been accepted.
    pub(super) async fn end(&mut self, is_patient: bool) {
        for _ in 0..10_000 {
            if !is_patient || self.waiting.is_empty() {
                break;
            }
            for viewer in &mut self.viewers {
                viewer.take_all(&self.model);
            }
            self.read(&[], 0);
            self.drop_lost();
            advance(Duration::from_millis(20)).await;
        }
        assert!(!is_patient || self.waiting.is_empty(), "it never fits");
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            self.has_others = true;
            let mut pushing = self.input.pushing(0, Instant::now());
            for said in waiting {
                pushing.push_over(&said.block, &said.event);
                self.model.append(said);
            }
            pushing.done();
            self.check();
        }
        let last = Said::last(self.model.last() + 1);
        self.has_others |= !self.model.fits(last.block.len());
        self.input
            .close(Close::Clean, Some(&last.block), Instant::now());
        self.model.append(last);
        self.check();
        self.drop_lost();
        for viewer in &mut self.viewers {
            for _ in 0..10_000 {
                viewer.take_all(&self.model);
                if viewer.client.end.is_some() {
                    break;
                }
                advance(Duration::from_millis(20)).await;
            }
            assert_eq!(viewer.client.end, Some(Close::Clean));
        }
    }

    /// Each viewer has what it may not miss, and somebody who comes now gets all that is kept.
    pub(super) fn check_viewers(&mut self) {
        let tells_all = self.settings.limits.overflow != Overflow::DropOldest && !self.has_others;
        for viewer in &self.viewers {
            for number in viewer.after + 1..=self.model.last() {
                let class = self.model.all[usize::try_from(number - 1).unwrap()]
                    .event
                    .class;
                if tells_all || !class.is_droppable() {
                    assert!(viewer.got.contains(&number), "{number}: {:?}", viewer.got);
                }
            }
        }
        for viewer in std::mem::take(&mut self.viewers) {
            viewer.client.leave();
        }
        let after = self.model.first() - 1;
        let text = Client::after(&self.hub, after).take_all();
        let kept = (self.model.first()..).zip(self.model.kept());
        let wanted: String = kept.map(|(seq, said)| said.sent(seq)).collect();
        // Tokens are held back and merged only on their way to somebody who follows.
        assert!(text == wanted, "{text}\n{wanted}");
        for (seq, said) in (self.model.first()..).zip(self.model.kept()) {
            if said.block.starts_with(b"id: ") {
                let id = format!("o.{seq}");
                assert_eq!(self.hub.find_id(id.as_bytes()), Some(seq));
            }
        }
        if self.model.gone > 0 {
            let id = format!("o.{}", self.model.gone);
            assert_eq!(self.hub.find_id(id.as_bytes()), None);
        }
    }
}

/// What may happen to a hub.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Read {
        events: Vec<(u8, usize)>,
        bytes: usize,
    },
    Take {
        who: usize,
        max: usize,
    },
    TakeAll {
        who: usize,
    },
    Come {
        back: u64,
    },
    Return {
        who: usize,
    },
    Leave {
        who: usize,
    },
    EvictHalf,
    GiveUp,
    SameEncoder,
    Wait {
        millis: u64,
    },
}
