//! The settings of Redis: the servers that journals are kept on, and how to log in to them.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::HeaderValue;

use crate::config::defaults as preset;
use crate::config::redis_url::RedisUrl;
use crate::config::{Roots, Secret, UpstreamTls};

/// The Redis or Valkey servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// The servers, or the sentinels. One at least, and only one if there is only one server.
    pub urls: Vec<RedisUrl>,
    /// What `urls` names.
    pub mode: RedisMode,
    /// The user to log in as.
    pub username: Option<String>,
    /// The password to log in with.
    pub password: Option<Secret>,
    /// The user to log in to the sentinels as.
    pub sentinel_username: Option<String>,
    /// The password to log in to the sentinels with.
    pub sentinel_password: Option<Secret>,
    /// TLS settings for `rediss://` URLs.
    pub tls: UpstreamTls,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// The key that events are encrypted with; see [`sealing_key`].
    pub encrypt: Option<Secret>,
    /// An earlier key that events may be encrypted with.
    pub encrypt_old: Option<Secret>,
}

impl Default for RedisSettings {
    /// Returns the settings of a file that says nothing. They name no server.
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            mode: RedisMode::Standalone,
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            tls: UpstreamTls {
                roots: Roots::Bundled,
                ca_file: None,
                cert: None,
                key: None,
                server_name: None,
            },
            prefix: preset::REDIS_PREFIX.value.to_owned(),
            encrypt: None,
            encrypt_old: None,
        }
    }
}

/// What the URLs of Redis name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// Some nodes of a cluster.
    Cluster,
    /// The sentinels that know the primary.
    Sentinel {
        /// The name by which they know it.
        master: String,
    },
    /// One server.
    Standalone,
}

/// Returns the key that a secret holds for encryption: 32 bytes in base64.
///
/// # Errors
/// If the secret holds something else. The message does not repeat it.
pub fn sealing_key(value: &HeaderValue) -> Result<[u8; 32], &'static str> {
    let bytes = BASE64_STANDARD.decode(value.as_bytes()).ok();
    bytes
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or("a key is 32 bytes in base64, as `openssl rand -base64 32` writes it")
}
