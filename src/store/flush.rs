//! Stores what waits in the outbox of a worker, for as long as the process runs.
//!
//! One pipeline is on its way at a time; what comes meanwhile goes into the next one. Under load a pipeline waits a
//! moment for more, because most of its cost is the same for one event and for many; for longer, if nobody reads the
//! events of its streams from the store. What was not answered is sent again, over another connection: entries have
//! explicit ids, so the server refuses what it has.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisError, RedisResult};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::Store;
use super::client::{self, Answers, Link};
use super::outbox::Parcel;
use super::reply::{Verdict, judge};
use super::worker_store::WorkerStore;

/// Between two attempts to connect. New streams must be whole within a second after the server is back.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// From the start of one pipeline to the next: how long an event may wait here before it is sent, if somebody follows
/// its stream elsewhere.
const GATHER_URGENT: Duration = Duration::from_millis(25);
/// How long all other events may wait. At the pace of models, some five events of a stream become one entry.
const GATHER: Duration = Duration::from_millis(100);
/// A connection that has nothing to do is tried this often, so that a loss is noticed.
const IDLE: Duration = Duration::from_secs(1);
/// How long a process counts as alive after it said so.
const LEASE: Duration = Duration::from_secs(15);
/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(5);
/// How long questions wait for a process that does not read them.
pub(super) const CONTROL: Duration = Duration::from_secs(60);
/// Maximum number of parcels that wait for an answer, or for another attempt.
const MAX_PENDING: usize = 1_024;

/// Pipelines that are not answered yet.
#[derive(Default)]
struct Pending(Vec<Shipment>);

struct Shipment {
    pipeline: Arc<Pipeline>,
    /// What the answers belong to.
    parcels: Vec<(Parcel, Range<usize>)>,
}

impl Pending {
    fn parcels(&self) -> usize {
        self.0.iter().map(|shipment| shipment.parcels.len()).sum()
    }

    fn add(&mut self, mut parcels: Vec<Parcel>, is_cluster: bool) {
        if parcels.is_empty() {
            return;
        }
        let lists = parcels
            .iter_mut()
            .map(|parcel| std::mem::take(&mut parcel.commands));
        let (pipelines, places) = client::pack(lists, is_cluster);
        let mut shipments: Vec<Shipment> = pipelines
            .into_iter()
            .map(|pipeline| Shipment {
                pipeline,
                parcels: Vec::new(),
            })
            .collect();
        for (parcel, (number, range)) in parcels.into_iter().zip(places) {
            if let Some(shipment) = shipments.get_mut(number) {
                shipment.parcels.push((parcel, range));
            }
        }
        self.0.append(&mut shipments);
    }

    /// Settles what was answered, and keeps the rest for another attempt. Returns why there must be one.
    fn settle(&mut self, answers: Vec<RedisResult<Answers>>, store: &Store) -> Result<(), Failure> {
        let mut failure = Ok(());
        let mut kept = Vec::new();
        for (shipment, answers) in std::mem::take(&mut self.0).into_iter().zip(answers) {
            let answers = match answers {
                Ok(answers) if judge(&answers) < Verdict::Later => answers,
                Ok(answers) => {
                    let refused = answers.into_iter().find_map(Result::err);
                    failure = Err(Failure(refused));
                    kept.push(shipment);
                    continue;
                }
                Err(error) => {
                    failure = Err(Failure(Some(error)));
                    kept.push(shipment);
                    continue;
                }
            };
            for (parcel, range) in shipment.parcels {
                let own = answers.get(range).unwrap_or_default();
                let verdict = judge(own);
                if verdict != Verdict::Done {
                    store.refused(verdict, own);
                }
                parcel.settle(verdict);
            }
        }
        self.0 = kept;
        failure
    }
}

/// Why a connection is not used any more.
struct Failure(Option<RedisError>);

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self(Some(error))
    }
}

/// Connects again and again, and stores what waits.
pub(super) async fn run(store: &Store, worker_store: &WorkerStore) {
    let mut pending = Pending::default();
    loop {
        let failure = match client::connect(&store.settings).await {
            Ok(link) => serve(store, worker_store, link, &mut pending).await,
            Err(error) => Failure(Some(error)),
        };
        store.set_link(worker_store, None);
        store.failed(failure.0.as_ref());
        sleep(PAUSE).await;
    }
}

/// Stores what waits over one connection, until it fails.
async fn serve(
    store: &Store,
    worker_store: &WorkerStore,
    mut link: Link,
    pending: &mut Pending,
) -> Failure {
    let mut pulse = Pulse::default();
    // When the last pipeline began; `None` if the next one need not wait.
    let mut began: Option<Instant> = None;
    loop {
        if let Err(failure) = pulse.beat(store, worker_store, &mut link).await {
            return failure;
        }
        if !worker_store.is_up() {
            store.set_link(worker_store, Some(link.clone()));
        }
        if pending.0.is_empty() {
            // If nothing comes, it is time to see whether the connection works.
            let _ = timeout(IDLE, worker_store.outbox.ready()).await;
            if let Some(began) = began {
                sleep_until(began + GATHER_URGENT).await;
                let _ = timeout_at(began + GATHER, worker_store.outbox.urgent()).await;
            }
            began = Some(Instant::now());
        }
        if pending.parcels() < MAX_PENDING {
            let parcels = worker_store.outbox.take(&store.keys, &store.sealer);
            pending.add(parcels, link.is_cluster());
            if worker_store.outbox.has_more() {
                began = None;
            }
        }
        let pipelines: Vec<_> = (pending.0.iter())
            .map(|shipment| Arc::clone(&shipment.pipeline))
            .collect();
        let answers = link.send_all(&pipelines).await;
        if let Err(failure) = pending.settle(answers, store) {
            return failure;
        }
    }
}

/// Sees from time to time whether a connection works. The first worker renews the lease of the process.
#[derive(Default)]
struct Pulse {
    last: Option<Instant>,
    renewed: Option<Instant>,
}

impl Pulse {
    async fn beat(
        &mut self,
        store: &Store,
        worker_store: &WorkerStore,
        link: &mut Link,
    ) -> Result<(), Failure> {
        if self.last.is_some_and(|last| last.elapsed() < IDLE) {
            return Ok(());
        }
        let is_renewed = self.renewed.is_some_and(|last| last.elapsed() < RENEW);
        let lists = if worker_store.worker == 0 && !is_renewed {
            self.renewed = Some(Instant::now());
            lease(store)
        } else {
            vec![vec![redis::cmd("PING")]]
        };
        let (pipelines, _) = client::pack(lists, link.is_cluster());
        for answers in link.send_all(&pipelines).await {
            let answers = answers?;
            match judge(&answers) {
                Verdict::Done => {}
                Verdict::Later => return Err(Failure(answers.into_iter().find_map(Result::err))),
                verdict @ (Verdict::Gone | Verdict::Refused) => store.refused(verdict, &answers),
            }
        }
        self.last = Some(Instant::now());
        Ok(())
    }
}

fn lease(store: &Store) -> Vec<Vec<Cmd>> {
    let owner = store.keys.owner(&store.instance);
    let control = store.keys.control(&store.instance);
    let mut set = redis::cmd("SET");
    set.arg(&*owner).arg("1").arg("PX");
    set.arg(super::meta::millis(LEASE));
    let expire = |key: &str, time| {
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(key).arg(super::meta::millis(time));
        expire
    };
    // A server without memory refuses to set a key, but not to let it live on.
    let owner = vec![set, expire(&owner, LEASE)];
    vec![owner, vec![expire(&control, CONTROL)]]
}
