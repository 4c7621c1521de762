//! Posts records to a webhook, signed as Standard Webhooks says: one HTTP/1.1 connection for each attempt.

use std::fmt;
use std::io;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::response;
use http::uri::PathAndQuery;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::{Error, judged, read_head};
use super::log_limit::LogLimit;
use super::retry::Failure;
use crate::config::{Endpoint, Upstream, UpstreamTls};
use crate::signing::Key;
use crate::upstream::{self, Connector};

/// Longest time of one attempt, from the look-up of the name to the head of the response.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Maximum number of attempts at the same time. They share the descriptors that are kept for everything but clients and
/// agents.
const MAX_AT_ONCE: usize = 16;

const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));

/// A webhook.
#[derive(Clone)]
pub struct Hook {
    /// Where it is. Its `path_prefix` is not used.
    pub endpoint: Endpoint,
    /// Path and query of each request.
    pub target: PathAndQuery,
    /// TLS settings for an `https://` webhook.
    pub tls: UpstreamTls,
    /// The key that records are signed with.
    pub key: Key,
}

impl fmt::Debug for Hook {
    /// Leaves out path and query, which may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook")
            .field(&self.endpoint.authority)
            .finish()
    }
}

/// The client of one webhook.
pub(super) struct Webhook {
    hook: Hook,
    /// The webhook, in the form that connections are opened with.
    upstream: Upstream,
    connector: Option<Connector>,
    turns: Semaphore,
    log_limit: LogLimit,
}

impl Webhook {
    /// Creates the client.
    ///
    /// # Errors
    /// If a TLS file cannot be used.
    pub(super) fn new(hook: Hook) -> io::Result<Self> {
        let upstream = Upstream::single("complete", hook.endpoint.clone(), hook.tls.clone());
        let connector = upstream::connector(&upstream)
            .map_err(|error| io::Error::new(error.kind(), format!("complete.tls: {error}")))?;
        Ok(Self {
            hook,
            upstream,
            connector,
            turns: Semaphore::new(MAX_AT_ONCE),
            log_limit: LogLimit::default(),
        })
    }

    /// Makes one attempt to post a record.
    pub(super) async fn post(&self, id: &str, record: &[u8]) -> Result<(), Failure> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let head = self.head(id, record);
        match timeout(ATTEMPT, self.exchange(head.as_bytes(), record)).await {
            Ok(Ok(answer)) => {
                let judged = judged(&answer, SystemTime::now());
                if judged.is_err() {
                    self.warn(|| format!("status {}", answer.status.as_u16()));
                }
                judged
            }
            Ok(Err(error)) => {
                self.warn(|| error.chain());
                Err(Failure::Later(None))
            }
            Err(_) => {
                self.warn(|| format!("no answer within {ATTEMPT:?}"));
                Err(Failure::Later(None))
            }
        }
    }

    /// Returns the head of the request. It is signed with the time of the attempt, because receivers refuse what is
    /// more than a few minutes old.
    fn head(&self, id: &str, record: &[u8]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = now.unwrap_or_default().as_secs();
        let signature = self.hook.key.sign(id, timestamp, record);
        let (target, host) = (&self.hook.target, &self.hook.endpoint.authority);
        let length = record.len();
        format!(
            "POST {target} HTTP/1.1\r\n\
            host: {host}\r\n\
            user-agent: {USER_AGENT}\r\n\
            connection: close\r\n\
            content-type: application/json\r\n\
            content-length: {length}\r\n\
            webhook-id: {id}\r\n\
            webhook-timestamp: {timestamp}\r\n\
            webhook-signature: {signature}\r\n\r\n"
        )
    }

    /// Sends the request, and returns the head of the response. The body says nothing that is needed.
    async fn exchange(&self, head: &[u8], record: &[u8]) -> Result<response::Parts, Error> {
        let connector = self.connector.as_ref();
        let io = upstream::dial(&self.upstream, &self.hook.endpoint, connector).await?;
        let (reader, mut writer) = tokio::io::split(io);
        let writing = async {
            writer.write_all(head).await?;
            writer.write_all(record).await?;
            writer.flush().await
        };
        let mut reading = pin!(read_head(reader));
        // A receiver may answer before it has read everything, and read no more.
        let written = tokio::select! {
            answer = &mut reading => return answer,
            written = writing => written,
        };
        match (reading.await, written) {
            (Err(_), Err(error)) => Err(Error::Broken(error)),
            (answer, _) => answer,
        }
    }

    fn warn(&self, why: impl FnOnce() -> String) {
        if self.log_limit.is_due() {
            let (receiver, error) = (&self.hook.endpoint.authority, why());
            tracing::warn!(receiver, error, "the webhook does not take records");
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::{Roots, Target};
    use crate::signing::tests::SECRET;

    /// A request as a receiver sees it.
    pub(in crate::outbox) struct Request<S> {
        stream: S,
        head: String,
        pub(in crate::outbox) body: Vec<u8>,
    }

    impl<S> Request<S> {
        /// Returns the value of a header that is there once.
        pub(in crate::outbox) fn field(&self, name: &str) -> &str {
            let start = format!("{name}: ");
            let mut found = self
                .head
                .lines()
                .filter_map(|line| line.strip_prefix(&start));
            let value = found.next().unwrap();
            assert!(found.next().is_none(), "{name} is there twice");
            value
        }
    }

    pub(in crate::outbox) async fn listen() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    /// Accepts a connection and reads a request.
    pub(in crate::outbox) async fn request(listener: &TcpListener) -> Request<TcpStream> {
        read(listener.accept().await.unwrap().0).await
    }

    async fn read<S: AsyncRead + Unpin>(mut stream: S) -> Request<S> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let mut request = Request {
            stream,
            head: String::from_utf8(head).unwrap(),
            body: Vec::new(),
        };
        let length = request.field("content-length").parse().unwrap();
        request.body.resize(length, 0);
        let Request { stream, body, .. } = &mut request;
        stream.read_exact(body).await.unwrap();
        request
    }

    /// Answers with a status line from the code on, and headers.
    pub(in crate::outbox) async fn answer(
        request: &mut Request<impl AsyncWrite + Unpin>,
        answer: &str,
    ) {
        let head = format!("HTTP/1.1 {answer}content-length: 0\r\n\r\n");
        request.stream.write_all(head.as_bytes()).await.unwrap();
        request.stream.flush().await.unwrap();
    }

    pub(in crate::outbox) fn hook(address: SocketAddr) -> Hook {
        Hook {
            endpoint: Endpoint {
                target: Target::Tcp("127.0.0.1".to_owned(), address.port()),
                tls: false,
                authority: address.to_string(),
                path_prefix: "/unused".to_owned(),
                websocket: false,
            },
            target: PathAndQuery::from_static("/in?token=canary"),
            tls: UpstreamTls {
                roots: Roots::None,
                ca_file: None,
                cert: None,
                key: None,
                server_name: None,
            },
            key: Key::parse(SECRET).unwrap(),
        }
    }

    async fn webhook() -> (TcpListener, Webhook) {
        let listener = listen().await;
        let hook = hook(listener.local_addr().unwrap());
        (listener, Webhook::new(hook).unwrap())
    }

    #[tokio::test]
    async fn a_record_is_posted_and_signed_with_the_time_of_the_attempt() {
        let (listener, webhook) = webhook().await;
        let serve = async {
            let mut request = request(&listener).await;
            answer(&mut request, "204 Yes\r\n").await;
            request
        };
        let (posted, request) = tokio::join!(webhook.post("msg_1", b"{\"a\":1}"), serve);
        assert_eq!(posted, Ok(()));
        assert!(
            request
                .head
                .starts_with("POST /in?token=canary HTTP/1.1\r\n")
        );
        let host = listener.local_addr().unwrap().to_string();
        assert_eq!(request.field("host"), host);
        assert_eq!(request.field("content-type"), "application/json");
        assert_eq!(request.field("webhook-id"), "msg_1");
        assert_eq!(request.body, b"{\"a\":1}");
        let timestamp: u64 = request.field("webhook-timestamp").parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(now.as_secs() - timestamp < 60);
        let key = Key::parse(SECRET).unwrap();
        let signature = key.sign("msg_1", timestamp, b"{\"a\":1}");
        assert_eq!(request.field("webhook-signature"), signature);
    }

    #[tokio::test]
    async fn an_answer_means_done_or_later_or_never() {
        let later = |seconds: Option<u64>| Err(Failure::Later(seconds.map(Duration::from_secs)));
        let (listener, webhook) = webhook().await;
        for (told, want) in [
            ("200 Yes\r\n", Ok(())),
            ("202 Yes\r\n", Ok(())),
            ("103 Wait\r\n\r\nHTTP/1.1 200 Yes\r\n", Ok(())),
            ("302 There\r\n", later(None)),
            ("400 No\r\n", Err(Failure::Refused)),
            ("401 No\r\nretry-after: 1\r\n", Err(Failure::Refused)),
            ("408 Late\r\n", later(None)),
            ("410 Gone\r\n", Err(Failure::Refused)),
            ("429 Wait\r\nRetry-After: 7\r\n", later(Some(7))),
            ("500 No\r\nretry-after: soon\r\n", later(None)),
            ("503 No\r\nretry-after: 0\r\n", later(Some(0))),
            (
                "503 No\r\nretry-after: Thu, 01 Jan 1970 00:00:01 GMT\r\n",
                later(Some(0)),
            ),
            ("nonsense\r\n", later(None)),
        ] {
            let serve = async { answer(&mut request(&listener).await, told).await };
            let (posted, ()) = tokio::join!(webhook.post("msg_1", b"{}"), serve);
            assert_eq!(posted, want, "{told}");
        }
        let serve = async { drop(request(&listener).await) };
        let (posted, ()) = tokio::join!(webhook.post("msg_1", b"{}"), serve);
        assert_eq!(posted, later(None), "closed without an answer");
        drop(listener);
        let posted = webhook.post("msg_1", b"{}").await;
        assert_eq!(posted, later(None), "nobody listens");
    }

    #[tokio::test]
    async fn an_answer_before_the_record_was_read_counts() {
        let (listener, webhook) = webhook().await;
        // More than the kernel takes by itself.
        let record = vec![b' '; 15 << 20];
        let serve = async {
            let mut stream = listener.accept().await.unwrap().0;
            let status = b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(status).await.unwrap();
            stream
        };
        let (posted, _stream) = tokio::join!(webhook.post("msg_1", &record), serve);
        assert_eq!(posted, Err(Failure::Refused));
    }

    #[tokio::test]
    async fn an_https_webhook_must_have_the_right_certificate() {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, own.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = listen().await;
        for (name, want) in [
            ("localhost", Ok(())),
            ("elsewhere", Err(Failure::Later(None))),
        ] {
            let mut hook = hook(listener.local_addr().unwrap());
            hook.endpoint.tls = true;
            hook.tls.ca_file = Some(ca_file.clone());
            hook.tls.server_name = Some(name.to_owned());
            let webhook = Webhook::new(hook).unwrap();
            let serve = async {
                let stream = listener.accept().await.unwrap().0;
                // The client refuses the other name.
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(&mut read(stream).await, "200 Yes\r\n").await;
                }
            };
            let (posted, ()) = tokio::join!(webhook.post("msg_1", b"{}"), serve);
            assert_eq!(posted, want, "{name}");
        }
    }

    #[test]
    fn what_may_hold_a_secret_is_not_shown() {
        let shown = format!("{:?}", hook(([127, 0, 0, 1], 1).into()));
        assert_eq!(shown, "Hook(\"127.0.0.1:1\")");
    }
}
