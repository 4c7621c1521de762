//! Reads what other processes ask of this one, for as long as it runs.

use std::time::Duration;

use redis::{Cmd, RedisError};
use tokio::time::sleep;

use super::Store;
use super::client::{self, Link};
use super::flush::PAUSE;
use super::meta::millis;
use super::reply::streams;
use super::terms::Control;

/// How long a reading waits for something new. Shorter than what the library waits for an answer.
const BLOCK: Duration = Duration::from_millis(500);
/// Maximum number of messages that are read at a time.
const MAX_MESSAGES: usize = 64;

/// Reads again and again, and hands messages to the streams that they are about.
pub(super) async fn run(store: &Store) {
    // The name of the process is new, so everything under it is for it.
    let mut after = "0-0".to_owned();
    loop {
        let error = match client::connect(&store.settings).await {
            Ok(link) => read(store, link, &mut after).await,
            Err(error) => error,
        };
        store.failed(Some(&error));
        sleep(PAUSE).await;
    }
}

async fn read(store: &Store, mut link: Link, after: &mut String) -> RedisError {
    let key = store.keys.control(&store.instance);
    loop {
        let pipeline = client::pipeline([command(&key, after)]);
        let answers = match link.send(&pipeline).await {
            Ok(answers) => answers,
            Err(error) => return error,
        };
        for answer in answers {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => return error,
            };
            for raw in streams(answer).into_iter().flat_map(|(_, raws)| raws) {
                if let Some((id, control)) = Control::read(&raw) {
                    store.deliver(&id, control);
                }
                *after = raw.stamp;
            }
        }
    }
}

fn command(key: &str, after: &str) -> Cmd {
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(MAX_MESSAGES);
    read.arg("BLOCK").arg(millis(BLOCK));
    read.arg("STREAMS").arg(key).arg(after);
    read
}
