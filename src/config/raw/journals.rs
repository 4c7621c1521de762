//! The raw section `resume` of the process: where journals are kept.

use std::marker::PhantomData;

use super::{GIB, KIB, UpstreamTls, size};
use crate::config::choices::{self, Servers};
use crate::config::defaults as preset;
use crate::config::group::{Section, group};
use crate::config::number::Size;
use crate::config::redis_url::{self, RedisUrl};
use crate::config::secret::{self, Source};
use crate::config::text::{OneOf, Text};
use crate::config::wrap::{OneOrMany, OrNull};

group! {
    /// The section `resume` of the file.
    Journals {
        /// Maximum size of all journals in the memory of the process. Beyond it, those of streams that have ended go
        /// first, then the oldest events of live ones.
        total_bytes: Size = size(preset::JOURNALS, 1024 * KIB, 1024 * GIB);
        /// Where journals are kept: `memory` is that of the process, `redis` is a server that several processes share.
        /// Builds without the cargo feature `redis` accept only `memory`.
        store: OneOf<bool> = OneOf { choices: choices::STORES.to_vec(), preset: preset::STORE };
        /// The Redis or Valkey servers of `store: redis`.
        redis: Section<Redis> = Section(PhantomData);
    }
}

group! {
    /// The section `resume.redis`.
    Redis {
        /// URL of the server: `redis://host:6379/0`, `rediss://` with TLS, or `redis+unix:///path?db=0`. The number is
        /// that of the database.
        url: OrNull<Text<RedisUrl>> = OrNull { inner: server(), why: preset::REDIS_URL_WHY };
        /// URLs of several servers instead of `url`: some nodes of a cluster, or the sentinels.
        urls: OrNull<OneOrMany<Text<RedisUrl>>> =
            OrNull { inner: OneOrMany { inner: server() }, why: preset::REDIS_URL_WHY };
        /// What the URLs name: `standalone` is one server, `cluster` nodes of a Redis Cluster, `sentinel` the sentinels
        /// that know the primary.
        mode: OneOf<Servers> =
            OneOf { choices: choices::SERVERS.to_vec(), preset: preset::REDIS_MODE };
        /// Name by which the sentinels know the primary.
        master: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a name", parse: redis_url::name, preset: None },
                why: preset::REDIS_MASTER_WHY,
            };
        /// User to log in as. Requires `password`.
        username: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a name", parse: redis_url::name, preset: None },
                why: preset::REDIS_USERNAME_WHY,
            };
        /// Password to log in with. Says where it is read from: `env:NAME` is an environment variable, `file:PATH` is a
        /// file.
        password: OrNull<Text<Source>> = named(preset::REDIS_PASSWORD_WHY);
        /// User to log in to the sentinels as. Requires `sentinel_password`.
        sentinel_username: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a name", parse: redis_url::name, preset: None },
                why: preset::SENTINEL_USERNAME_WHY,
            };
        /// Password to log in to the sentinels with, which do not get `password`. It is read from the same kinds of
        /// places.
        sentinel_password: OrNull<Text<Source>> = named(preset::SENTINEL_PASSWORD_WHY);
        /// TLS to the servers, for `rediss://` URLs.
        tls: Section<UpstreamTls> = Section(PhantomData);
        /// What the names of all keys begin with. Processes that share streams need the same.
        prefix: Text<String> =
            Text { form: "the beginning of a key", parse: redis_url::prefix, preset: Some(preset::REDIS_PREFIX) };
        /// Key that events are encrypted with before they are stored (AES-256-GCM): 32 bytes in base64. Says where it
        /// is read from: `env:NAME` is an environment variable, `file:PATH` is a file.
        encrypt: OrNull<Text<Source>> = named(preset::ENCRYPT_WHY);
        /// Earlier key that events may still be encrypted with. It is read from the same kinds of places as `encrypt`.
        encrypt_old: OrNull<Text<Source>> = named(preset::ENCRYPT_OLD_WHY);
    }
}

fn server() -> Text<RedisUrl> {
    Text {
        form: "a URL such as `redis://redis:6379/0`",
        parse: redis_url::url,
        preset: None,
    }
}

fn named(why: &'static str) -> OrNull<Text<Source>> {
    OrNull {
        inner: Text {
            form: "`env:NAME` or `file:PATH`",
            parse: secret::source,
            preset: None,
        },
        why,
    }
}
