//! A hub against a plain model, over random reads, viewers that come and go, and bounds: what the journal holds after each
//! read, what every viewer gets, what a tap gets, and what the budget and the counts know.

use std::collections::VecDeque;

use super::told::Told;
use super::*;
use crate::event::{Content, Keep, Merge, Span};
use crate::queue::Batch;

/// An event of the stream. The one with number N says `[N]`.
#[derive(Clone, Debug)]
struct Said {
    block: Vec<u8>,
    event: Event,
}

impl Said {
    /// `kind`: 0 and 1 are critical, the others tokens that can be merged; even ones have an id of the upstream.
    fn new(number: u64, kind: u8, pad: usize) -> Self {
        let text = format!("[{number}]{}", "x".repeat(pad));
        let own = if kind.is_multiple_of(2) {
            format!("id: o.{number}\n")
        } else {
            String::new()
        };
        let head = format!("{own}data: {{\"t\":\"");
        let span = Span::new(head.len()..head.len() + text.len()).unwrap();
        let event = if kind < 2 {
            Event::bare(Class::Tool)
        } else {
            Event {
                content: Content::Token,
                text: Some(span),
                merge: Some(Merge {
                    key: 1,
                    text: span,
                    keep: Keep::First,
                    lists: false,
                }),
                ..Event::bare(Class::Token)
            }
        };
        Self {
            block: format!("{head}{text}\"}}\n\n").into_bytes(),
            event: Event {
                agent: u8::try_from(number % 3).unwrap(),
                ..event
            },
        }
    }

    /// The last event, which Weir writes.
    fn last(number: u64) -> Self {
        Self {
            block: format!("data: bye [{number}]\n\n").into_bytes(),
            event: Event::bare(Class::Error),
        }
    }

    /// What a client gets if the event is not merged.
    fn sent(&self, number: u64) -> String {
        let block = String::from_utf8(self.block.clone()).unwrap();
        if block.starts_with("id: ") {
            return block;
        }
        let body = block.strip_suffix('\n').unwrap();
        format!("{body}id: s.{number}\n\n")
    }
}

/// What the journal must hold: the newest events that fit, each as it came.
struct Model {
    bounds: Bounds,
    /// The event with number N is at N - 1.
    all: Vec<Said>,
    /// How many of these have been evicted.
    gone: usize,
    bytes: usize,
}

impl Model {
    fn kept(&self) -> &[Said] {
        &self.all[self.gone..]
    }

    fn first(&self) -> u64 {
        self.gone as u64 + 1
    }

    fn last(&self) -> u64 {
        self.all.len() as u64
    }

    fn fits(&self, len: usize) -> bool {
        let kept = self.kept().len();
        kept == 0 || (kept < self.bounds.max_events && self.bytes + len <= self.bounds.max_bytes)
    }

    fn evict(&mut self) {
        self.bytes -= self.all[self.gone].block.len();
        self.gone += 1;
    }

    /// Appends an event. Returns how many others it evicts.
    fn append(&mut self, said: Said) -> u64 {
        let before = self.gone;
        while !self.fits(said.block.len()) {
            self.evict();
        }
        self.bytes += said.block.len();
        self.all.push(said);
        (self.gone - before) as u64
    }
}

/// A client, and the numbers of the events that it has got.
struct Viewer {
    client: Client,
    after: u64,
    got: Vec<u64>,
}

impl Viewer {
    /// Takes once, at most `max` bytes if no event is larger.
    fn take(&mut self, max: usize, model: &Model) {
        let client = &mut self.client;
        let mut cx = Context::from_waker(Waker::noop());
        let receiver = client.receiver.as_mut().unwrap();
        match receiver.poll_next(&mut cx, max, &mut client.got) {
            Poll::Ready(Next::Data { large, .. }) => client.got.extend(large),
            Poll::Ready(Next::End(close)) => client.end = Some(close),
            Poll::Pending => {}
        }
        client.step();
        self.read(model);
    }

    fn take_all(&mut self, model: &Model) {
        let text = self.client.take_all();
        self.client.got = text.into_bytes();
        self.read(model);
    }

    /// Reads what the client has got: whole events in order, each with the id of its last part.
    fn read(&mut self, model: &Model) {
        let text = String::from_utf8(std::mem::take(&mut self.client.got)).unwrap();
        for block in text.split_terminator("\n\n") {
            let lines = block.lines().filter(|line| !line.starts_with(": "));
            let lines: Vec<&str> = lines.collect();
            let Some(last) = numbers(&lines.join("\n")).last().copied() else {
                assert!(lines.is_empty(), "{block}");
                continue;
            };
            let id = lines
                .iter()
                .rev()
                .find_map(|line| line.strip_prefix("id: "));
            let id: Option<u64> = id.and_then(|id| id.split_once('.')?.1.parse().ok());
            assert_eq!(id, Some(last), "{block}");
            let parts = numbers(&lines.join("\n"));
            if let [number] = parts[..] {
                let said = &model.all[usize::try_from(number - 1).unwrap()];
                assert_eq!(lines.join("\n") + "\n\n", said.sent(number));
            }
            for number in parts {
                let before = self.got.last().copied().unwrap_or(self.after);
                assert!(number > before, "{number} after {before}");
                self.got.push(number);
            }
        }
    }

    fn reached(&self) -> u64 {
        self.got.last().copied().unwrap_or(self.after)
    }
}

/// The numbers that stand in brackets.
fn numbers(text: &str) -> Vec<u64> {
    let parts = text.split('[').skip(1);
    let inner = parts.filter_map(|part| part.split_once(']')?.0.parse().ok());
    inner.collect()
}

struct World {
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
    fn new(settings: Settings) -> Self {
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

    /// Pushes what waits, and then the events of a read of `bytes` bytes.
    fn read(&mut self, events: &[(u8, usize)], bytes: usize) {
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
    fn check(&self) {
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

    async fn act(&mut self, op: Op) {
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
    async fn end(&mut self, is_patient: bool) {
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
    fn check_viewers(&mut self) {
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

#[derive(Clone, Debug)]
enum Op {
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

fn pad() -> impl Strategy<Value = usize> {
    prop_oneof![
        30 => 0..60_usize,
        5 => 200..3_000_usize,
        1 => Just(20_000_usize),
        1 => Just(70_000_usize),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let events = prop::collection::vec((0..6_u8, pad()), 0..12);
    let bytes = prop::sample::select(vec![0_usize, 300, 8_192, 100_000]);
    let who = || 0..4_usize;
    prop_oneof![
        10 => (events, bytes).prop_map(|(events, bytes)| Op::Read { events, bytes }),
        3 => (who(), 1..500_usize).prop_map(|(who, max)| Op::Take { who, max }),
        8 => who().prop_map(|who| Op::TakeAll { who }),
        1 => (0..40_u64).prop_map(|back| Op::Come { back }),
        1 => who().prop_map(|who| Op::Return { who }),
        1 => who().prop_map(|who| Op::Leave { who }),
        1 => Just(Op::EvictHalf),
        1 => Just(Op::GiveUp),
        1 => Just(Op::SameEncoder),
        2 => (1..200_u64).prop_map(|millis| Op::Wait { millis }),
    ]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let batch = Some(Batch {
        max_delay: Duration::from_millis(50),
        max_chars: 8,
    });
    let pace = Some(Duration::from_millis(100));
    let gatings = [(None, None), (None, None), (batch, None), (batch, pace)];
    let gatings: Vec<Gating> = gatings
        .into_iter()
        .map(|(batch, pace)| Gating { batch, pace })
        .collect();
    let overflows = vec![Overflow::Block, Overflow::Disconnect, Overflow::DropOldest];
    (
        prop::sample::select(vec![1_usize, 2, 5, 40, 1_000]),
        prop::sample::select(vec![200_usize, 1_000, 20_000, 100_000]),
        prop::sample::select(vec![1_usize, 3, 16, 64]),
        prop::sample::select(vec![4_096_usize, 65_536]),
        any::<bool>(),
        prop::sample::select(overflows),
        prop::sample::select(gatings),
    )
        .prop_map(
            |(events, bytes, waiting, size, merge, overflow, gating)| Settings {
                bounds: Bounds {
                    max_events: events,
                    max_bytes: bytes,
                },
                limits: Limits {
                    max_events: waiting,
                    max_bytes: size,
                    merge,
                    overflow,
                },
                gating,
                on_leave: OnLeave::Continue,
                ..SETTINGS
            },
        )
}

proptest! {
    /// Whatever is read and whoever comes or leaves, the journal holds the newest events as they came, with their numbers;
    /// each viewer gets each event once, in order, with its number; so does a tap, with the end of each read; and the
    /// counts and the budget are exact.
    #[test]
    fn a_hub_is_a_list_of_its_newest_events(
        chosen in any_settings(),
        ops in prop::collection::vec(op(), 1..60),
        is_patient in any::<bool>(),
        has_tap in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(chosen);
            world.told = has_tap.then(|| Told::of(&world.hub));
            for op in ops {
                world.act(op).await;
            }
            world.end(is_patient).await;
            world.check_viewers();
        });
    }
}

/// The first events may show that they have ids after they were put into the queue of the viewer that is alone.
#[tokio::test(start_paused = true)]
async fn ids_that_are_known_only_after_the_first_read_are_those_of_the_journal() {
    let encoder = Encoder::identity(Some(Dialect::Convention), Framing::Ndjson);
    let (hub, input) = Hub::new("s", SETTINGS, encoder, Arc::new(Budget::new(1 << 30)));
    let mut first = Client::first(&hub);
    push_read(&input, 1..=3);
    input.set_encoder(Encoder::identity(Some(Dialect::Convention), Framing::Sse));
    assert_eq!(first.take_all(), expected(1..=3));
    // Four fit, the rest comes from the journal.
    push_read(&input, 4..=9);
    assert_eq!(first.take_all(), expected(4..=9));
    assert_eq!(Client::after(&hub, 0).take_all(), expected(1..=9));
}

/// One read that is larger in every way than what is kept: in one piece, and with an event beyond each bound between.
#[tokio::test(start_paused = true)]
async fn a_read_beyond_the_bounds_leaves_its_newest_events() {
    for (max_events, max_bytes) in [(1, 1 << 20), (3, 1 << 20), (1_000, 1_024), (2, 200)] {
        let mut settings = SETTINGS;
        settings.bounds = Bounds {
            max_events,
            max_bytes,
        };
        settings.limits.max_events = 10_000;
        let mut world = World::new(settings);
        world.told = Some(Told::of(&world.hub));
        let mut events = vec![(1, 20); 400];
        world.read(&events, 64 * 1024);
        world.check();
        // Larger than what is put at once, than the journal, and than what is copied.
        events.extend([(1, 17_000), (3, 1), (1, 70_000), (0, 5)]);
        world.read(&events, 256 * 1024);
        world.check();
        world.end(true).await;
        world.check_viewers();
    }
}
