//! Connections to the server, the cluster, or the primary that the sentinels know.
//!
//! Weir connects again by itself, instead of with the library's connection manager: it must know when it is connected,
//! and settings are read again each time (files of certificates change, a primary moves).

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo, Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult,
    TlsCertificates, TlsMode, Value,
};
use tokio::time::timeout;

use crate::config::{RedisMode, RedisSettings, RedisUrl, Roots, Secret, Target, UpstreamTls};
use crate::tasks;

/// To connect and to log in. Long enough for a server that takes a second for each answer.
const CONNECT: Duration = Duration::from_secs(2);
/// To ask the sentinels, too.
const CONNECT_ANYWHERE: Duration = Duration::from_secs(6);
/// For an answer. Nobody waits for what is stored, so this is longer than what a client would wait.
const RESPONSE: Duration = Duration::from_secs(3);

/// The answers to the commands of one pipeline, in order.
pub(super) type Answers = Vec<RedisResult<Value>>;

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) enum Link {
    Cluster(ClusterConnection),
    Single(MultiplexedConnection),
}

/// Makes a pipeline in which one refused command does not hide the answers to the others.
pub(super) fn pipeline(commands: impl IntoIterator<Item = Cmd>) -> Pipeline {
    let mut pipeline = redis::pipe();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.ignore_errors();
    pipeline
}

impl Link {
    /// Reports whether keys of different slots need pipelines of their own.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sends a pipeline. In a cluster, all its keys must lie in one slot.
    pub(super) async fn send(&mut self, pipeline: &Pipeline) -> RedisResult<Answers> {
        let sent = pipeline.len();
        let answers: Answers = match self {
            Self::Cluster(cluster) => pipeline.query_async(cluster).await?,
            Self::Single(single) => pipeline.query_async(single).await?,
        };
        if answers.len() == sent {
            Ok(answers)
        } else {
            Err(io::Error::other("the server answered another number of commands").into())
        }
    }

    /// Sends pipelines, in a cluster all at once. Returns their answers in order.
    pub(super) async fn send_all(
        &mut self,
        pipelines: &[Arc<Pipeline>],
    ) -> Vec<RedisResult<Answers>> {
        let mut all = Vec::with_capacity(pipelines.len());
        if !self.is_cluster() {
            for pipeline in pipelines {
                all.push(self.send(pipeline).await);
            }
            return all;
        }
        let mut sent = Vec::with_capacity(pipelines.len());
        for pipeline in pipelines {
            let (mut link, pipeline) = (self.clone(), Arc::clone(pipeline));
            // Ends with its answer, at the latest after `RESPONSE`.
            sent.push(tasks::spawn(async move { link.send(&pipeline).await }));
        }
        for answer in sent {
            all.push(match answer.await {
                Ok(answer) => answer,
                Err(error) => Err(io::Error::other(error).into()),
            });
        }
        all
    }
}

/// A pipeline of several, and a range of commands in it.
type Place = (usize, Range<usize>);

/// Puts commands of several slots into pipelines: one for each list in a cluster, one for all otherwise. Returns for
/// each list the pipeline and its range in there.
pub(super) fn pack(
    lists: impl IntoIterator<Item = Vec<Cmd>>,
    is_cluster: bool,
) -> (Vec<Arc<Pipeline>>, Vec<Place>) {
    let mut pipelines: Vec<Pipeline> = Vec::new();
    let mut places = Vec::new();
    for list in lists {
        if is_cluster || pipelines.is_empty() {
            pipelines.push(pipeline([]));
        }
        let number = pipelines.len().saturating_sub(1);
        let Some(last) = pipelines.last_mut() else {
            continue;
        };
        let begin = last.len();
        for command in list {
            last.add_command(command);
        }
        places.push((number, begin..last.len()));
    }
    (pipelines.into_iter().map(Arc::new).collect(), places)
}

/// Connects.
pub(super) async fn connect(settings: &RedisSettings) -> RedisResult<Link> {
    let connecting = Box::pin(open(settings));
    match timeout(CONNECT_ANYWHERE, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

async fn open(settings: &RedisSettings) -> RedisResult<Link> {
    let Some(first) = settings.urls.first() else {
        return Err(io::Error::other("no server is named").into());
    };
    let certificates = if first.endpoint.tls {
        Some(certificates(&settings.tls)?)
    } else {
        None
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(RESPONSE));
    match &settings.mode {
        RedisMode::Standalone => {
            let info = info(first, settings)?;
            let client = match certificates {
                Some(certificates) => Client::build_with_tls(info, certificates)?,
                None => Client::open(info)?,
            };
            let connecting = client.get_multiplexed_async_connection_with_config(&config);
            Ok(Link::Single(connecting.await?))
        }
        RedisMode::Cluster => {
            let nodes = settings.urls.iter().map(|url| info(url, settings));
            let nodes = nodes.collect::<RedisResult<Vec<ConnectionInfo>>>()?;
            let mut builder = ClusterClient::builder(nodes)
                .connection_timeout(CONNECT)
                .response_timeout(RESPONSE)
                .tcp_settings(tcp());
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            Ok(Link::Cluster(
                builder.build()?.get_async_connection().await?,
            ))
        }
        RedisMode::Sentinel { master } => {
            let sentinels = settings.urls.iter().map(address);
            let mut builder =
                SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3)
                    .set_client_to_redis_db(i64::from(first.database))
                    .set_client_to_redis_tcp_settings(tcp());
            if let Some(username) = &settings.username {
                builder = builder.set_client_to_redis_username(username);
            }
            if let Some(password) = password(settings.password.as_ref())? {
                builder = builder.set_client_to_redis_password(password);
            }
            if let Some(username) = &settings.sentinel_username {
                builder = builder.set_client_to_sentinel_username(username);
            }
            if let Some(password) = password(settings.sentinel_password.as_ref())? {
                builder = builder.set_client_to_sentinel_password(password);
            }
            if let Some(certificates) = certificates {
                builder = builder
                    .set_client_to_redis_tls_mode(TlsMode::Secure)
                    .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates);
            }
            let mut client = builder.build()?;
            let connecting = client.get_async_connection_with_config(&config);
            Ok(Link::Single(connecting.await?))
        }
    }
}

fn address(url: &RedisUrl) -> ConnectionAddr {
    match &url.endpoint.target {
        Target::Unix(path) => ConnectionAddr::Unix(path.clone()),
        Target::Tcp(host, port) if url.endpoint.tls => ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: false,
            tls_params: None,
        },
        Target::Tcp(host, port) => ConnectionAddr::Tcp(host.clone(), *port),
    }
}

fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn password(secret: Option<&Secret>) -> RedisResult<Option<String>> {
    let Some(secret) = secret else {
        return Ok(None);
    };
    let text = String::from_utf8(secret.value.as_bytes().to_vec());
    // The error would repeat the password.
    let text = text.map_err(|_| io::Error::other("the password is no text"))?;
    Ok(Some(text))
}

fn info(url: &RedisUrl, settings: &RedisSettings) -> RedisResult<ConnectionInfo> {
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(i64::from(url.database))
        // Two commands less for a server that is slow.
        .set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = password(settings.password.as_ref())? {
        login = login.set_password(password);
    }
    let info = address(url).into_connection_info()?;
    Ok(info.set_redis_settings(login).set_tcp_settings(tcp()))
}

/// Returns the certificates in the form that the library takes: PEM. Without any root, it takes the bundled ones; these
/// are no certificates, so that they cannot be had beside those of `ca_file`.
fn certificates(tls: &UpstreamTls) -> RedisResult<TlsCertificates> {
    if tls.server_name.is_some() {
        return Err(
            io::Error::other("`tls.server_name` has no effect on connections to Redis").into(),
        );
    }
    let read = |path: &Path| std::fs::read(path).map_err(RedisError::from);
    let mut roots = match &tls.ca_file {
        Some(path) => read(path)?,
        None => Vec::new(),
    };
    if tls.roots == Roots::System {
        for certificate in rustls_native_certs::load_native_certs().certs {
            pem(&certificate, &mut roots);
        }
        if roots.is_empty() {
            return Err(io::Error::other("the system has no root certificates").into());
        }
    }
    let client_tls = match (&tls.cert, &tls.key) {
        (Some(certificate), Some(key)) => Some(ClientTlsConfig {
            client_cert: read(certificate)?,
            client_key: read(key)?,
        }),
        _ => None,
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert: (!roots.is_empty()).then_some(roots),
    })
}

/// Writes a certificate as PEM.
fn pem(certificate: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n-----BEGIN CERTIFICATE-----\n");
    for line in BASE64_STANDARD.encode(certificate).as_bytes().chunks(64) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"-----END CERTIFICATE-----\n");
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn commands_of_several_slots_are_parted_only_in_a_cluster() {
        let lists = || {
            let ping = || redis::cmd("PING");
            [vec![ping()], vec![ping(), ping()], vec![ping()]]
        };
        let (pipelines, places) = pack(lists(), false);
        assert_eq!(pipelines.len(), 1);
        assert_eq!(places, [(0, 0..1), (0, 1..3), (0, 3..4)]);
        let (pipelines, places) = pack(lists(), true);
        assert_eq!(pipelines.len(), 3);
        assert_eq!(places, [(0, 0..1), (1, 0..2), (2, 0..1)]);
        assert!(pack([], false).0.is_empty());
    }

    #[test]
    fn certificates_of_the_system_are_read_again() {
        let mut out = b"no line break at the end".to_vec();
        pem(&[7; 100], &mut out);
        pem(&[9; 48], &mut out);
        let read: Vec<_> = CertificateDer::pem_slice_iter(&out)
            .map(Result::unwrap)
            .collect();
        assert_eq!(read.len(), 2);
        assert_eq!(*read[0], [7; 100]);
        assert_eq!(*read[1], [9; 48]);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error() {
        let settings = RedisSettings::default();
        assert!(connect(&settings).await.is_err(), "none is named");
    }
}
