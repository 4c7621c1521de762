//! Questions that a request waits for: each is answered within a second, or the store is down.

use std::time::Duration;

use redis::{Cmd, RedisResult, Value};
use tokio::time::timeout;

use super::Store;
use super::client::{Link, pack};
use super::entry::{Entry, Mark};
use super::flush::CONTROL;
use super::meta::{self, millis};
use super::reply::{Verdict, bytes, entries, judge, text};
use super::terms::{Control, Down, Meta, RemoteState};

/// How long a request waits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How a stream ended whose process is gone.
const ORPHANED: &str = "upstream_reset";

impl Store {
    /// Returns what is known of a stream.
    ///
    /// # Errors
    /// If the store cannot be asked within a second.
    pub async fn find(&self, id: &str) -> Result<Option<Meta>, Down> {
        let events = self.keys.events(id);
        let mut get = redis::cmd("GET");
        get.arg(self.keys.meta(id));
        let mut first = redis::cmd("XRANGE");
        first.arg(&*events).arg("-").arg("+").arg("COUNT").arg(1);
        let mut last = redis::cmd("XREVRANGE");
        last.arg(&*events).arg("+").arg("-").arg("COUNT").arg(1);
        let [stored, first, last] = self.ask_all(vec![get, first, last]).await?;
        let read = bytes(stored).and_then(|stored| meta::read(stored, id, &self.sealer));
        let Some((mut meta, _)) = read else {
            return Ok(None);
        };
        let one = |answer| {
            let raw = entries(answer).into_iter().next()?;
            Some(Entry::read(raw, id, &self.sealer))
        };
        if let (Some(first), Some(last)) = (one(first), one(last)) {
            meta.first = first.first;
            meta.last = last.last;
            meta.state = match last.mark {
                None => RemoteState::Live,
                Some(Mark::Ended { outcome, .. }) => RemoteState::Ended { outcome },
                Some(Mark::Orphaned) => RemoteState::Ended {
                    outcome: ORPHANED.to_owned(),
                },
                Some(Mark::Gap) => RemoteState::Gap,
            };
        }
        Ok(Some(meta))
    }

    /// Remembers a stream under a name; the newest counts. Nothing waits: `worker` stores it soon.
    pub fn remember(&self, worker: usize, name: &str, id: &str, ttl: Duration) {
        if let Some(worker_store) = self.worker_stores.get(worker) {
            let mut set = redis::cmd("SET");
            set.arg(self.keys.name(name)).arg(id);
            set.arg("PX").arg(millis(ttl));
            worker_store.outbox.note(set);
        }
    }

    /// Remembers a stream under a name, unless there is one already, which is returned.
    ///
    /// # Errors
    /// If the store cannot be asked within a second.
    pub async fn remember_first(
        &self,
        name: &str,
        id: &str,
        ttl: Duration,
    ) -> Result<Option<String>, Down> {
        let key = self.keys.name(name);
        let Some(there) = self.set_first(&key, id.as_bytes(), Some(ttl)).await? else {
            return Ok(None);
        };
        String::from_utf8(there).map(Some).map_err(|_| Down)
    }

    /// Returns the stream that is remembered under a name.
    ///
    /// # Errors
    /// If the store cannot be asked within a second.
    pub async fn recall(&self, name: &str) -> Result<Option<String>, Down> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys.name(name));
        let [answer] = self.ask_all(vec![get]).await?;
        Ok(text(answer))
    }

    /// Asks something of the process that runs a stream. Nothing happens if no stream has this id.
    ///
    /// # Errors
    /// If the store cannot be asked within a second, or refuses.
    pub async fn ask(&self, id: &str, what: Control) -> Result<(), Down> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys.meta(id));
        let [stored] = self.ask_all(vec![get]).await?;
        let read = bytes(stored).and_then(|stored| meta::read(stored, id, &self.sealer));
        let Some((Meta { owner, .. }, _)) = read else {
            return Ok(());
        };
        if owner == self.instance {
            self.deliver(id, what);
            return Ok(());
        }
        let key = self.keys.control(&owner);
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(&*key).arg(millis(CONTROL));
        let commands = vec![
            redis::cmd("MULTI"),
            what.command(&key, id),
            expire,
            redis::cmd("EXEC"),
        ];
        match judge(&self.call(commands).await?) {
            Verdict::Done => Ok(()),
            Verdict::Gone | Verdict::Refused | Verdict::Later => Err(Down),
        }
    }

    /// Reports whether a process runs, as far as is known.
    ///
    /// # Errors
    /// If the store cannot be asked within a second.
    pub async fn is_alive(&self, instance: &str) -> Result<bool, Down> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.keys.owner(instance));
        let [answer] = self.ask_all(vec![exists]).await?;
        Ok(answer != Value::Int(0))
    }

    /// Returns the key of the digests of callers, which all processes share.
    ///
    /// # Errors
    /// If the store cannot be asked within a second, or the system gives no random bytes.
    pub async fn shared_key(&self) -> Result<[u8; 32], Down> {
        let mut own = [0; 32];
        getrandom::fill(&mut own).map_err(|_| Down)?;
        match self.set_first(&self.keys.secret(), &own, None).await? {
            None => Ok(own),
            Some(there) => there.try_into().map_err(|_| Down),
        }
    }

    /// Returns the shared key for a process that knows it already: the store may have been emptied meanwhile.
    ///
    /// # Errors
    /// If the store cannot be asked within a second.
    pub async fn keep_shared_key(&self, own: [u8; 32]) -> Result<[u8; 32], Down> {
        match self.set_first(&self.keys.secret(), &own, None).await? {
            None => Ok(own),
            Some(there) => there.try_into().map_err(|_| Down),
        }
    }

    /// Sets a key unless it is there already; returns what is there then. Two commands, because servers before version
    /// 7 do not return what is there.
    async fn set_first(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<Option<Vec<u8>>, Down> {
        let mut set = redis::cmd("SET");
        set.arg(key).arg(value).arg("NX");
        if let Some(ttl) = ttl {
            set.arg("PX").arg(millis(ttl));
        }
        let mut get = redis::cmd("GET");
        get.arg(key);
        // What is there may expire between the two.
        for _ in 0..2 {
            let [set, there] = self.ask_all(vec![set.clone(), get.clone()]).await?;
            if set == Value::Okay {
                return Ok(None);
            }
            if let Some(there) = bytes(there) {
                return Ok(Some(there));
            }
        }
        Err(Down)
    }

    /// Sends commands of one slot, and returns their answers. One that is refused is an error.
    async fn ask_all<const N: usize>(&self, commands: Vec<Cmd>) -> Result<[Value; N], Down> {
        let answers = self.call(commands).await?;
        let known: RedisResult<Vec<Value>> = answers.into_iter().collect();
        known.map_err(|_| Down)?.try_into().map_err(|_| Down)
    }

    async fn call(&self, commands: Vec<Cmd>) -> Result<Vec<RedisResult<Value>>, Down> {
        let mut link = self.link().ok_or(Down)?;
        let asked = async {
            let (pipelines, _) = pack([commands], false);
            let pipeline = pipelines.first().ok_or(Down)?;
            link.send(pipeline).await.map_err(|error| {
                self.failed(Some(&error));
                Down
            })
        };
        let answers = timeout(REQUEST_TIMEOUT, Box::pin(asked))
            .await
            .map_err(|_| {
                self.failed(None);
                Down
            })??;
        let refused = answers.iter().any(Result::is_err);
        if refused {
            self.refused(judge(&answers).max(Verdict::Refused), &answers);
        }
        Ok(answers)
    }

    /// Returns a connection that works.
    fn link(&self) -> Option<Link> {
        self.worker_stores
            .iter()
            .find_map(|worker_store| worker_store.link())
    }
}
