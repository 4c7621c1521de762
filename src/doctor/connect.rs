//! Connects to a URL: TCP or a Unix socket, TLS, and HTTP/1.1 or HTTP/2, whichever the server chooses (ALPN).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::clock::Clock;
use super::target::{Place, Target};
use crate::tasks;

/// How long a connection may take, TLS included.
const LIMIT: Duration = Duration::from_secs(15);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Opens connections.
pub(crate) struct Dialer {
    tls: TlsConnector,
}

/// A connection that takes requests. Dropping it closes the connection, whatever is under way.
pub(crate) struct Connection {
    sender: Sender,
    driver: JoinHandle<()>,
    /// How long TCP took to connect, in microseconds.
    pub(crate) took: i64,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Dialer {
    /// Creates a dialer that trusts the bundled roots, those of the system, and those in `ca_file`. `http1`: it does
    /// not offer HTTP/2.
    pub(crate) fn new(ca_file: Option<&Path>, http1: bool) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let found = rustls_native_certs::load_native_certs().certs;
        roots.add_parsable_certificates(found);
        if let Some(path) = ca_file {
            let mut is_empty = true;
            for cert in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
                let cert = cert.map_err(io::Error::other)?;
                roots.add(cert).map_err(io::Error::other)?;
                is_empty = false;
            }
            if is_empty {
                return Err(io::Error::other(
                    "the file has no certificate in PEM: expected -----BEGIN CERTIFICATE-----",
                ));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = if http1 {
            vec![b"http/1.1".to_vec()]
        } else {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        };
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Connects to `target`. The error is a sentence for people.
    pub(crate) async fn dial(&self, target: &Target, clock: &Clock) -> Result<Connection, String> {
        // Boxed, as are its parts: TLS and HTTP/2 have large futures.
        let connected = Box::pin(self.connected(target, clock));
        match timeout(LIMIT, connected).await {
            Ok(dialed) => dialed,
            Err(_) => Err(format!("no connection within {} s", LIMIT.as_secs())),
        }
    }

    async fn connected(&self, target: &Target, clock: &Clock) -> Result<Connection, String> {
        let began = clock.now();
        let io: Box<dyn Io> = match &target.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Box::new(stream.map_err(|error| format!("cannot connect: {error}"))?)
            }
            Place::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| not_connected(&error, host, *port))?;
                // Requests are small, and must not wait.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
        };
        let took = clock.now() - began;
        if !target.tls {
            return http1_over(io, took).await;
        }
        let Place::Tcp(host, _) = &target.place else {
            return http1_over(io, took).await;
        };
        let name = ServerName::try_from(host.clone())
            .map_err(|_| "the host of the URL cannot be in a certificate".to_owned())?;
        let stream = self.tls.connect(name, io).await;
        let stream = stream.map_err(|error| not_secured(&error))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io: Box<dyn Io> = Box::new(stream);
        if is_http2 {
            http2_over(io, took).await
        } else {
            http1_over(io, took).await
        }
    }
}

async fn http1_over(io: Box<dyn Io>, took: i64) -> Result<Connection, String> {
    let handshake = Box::pin(http1::handshake(TokioIo::new(io)));
    let (sender, connection) = handshake.await.map_err(|error| said(&error))?;
    Ok(Connection {
        sender: Sender::Http1(sender),
        driver: tasks::spawn(async move {
            // What broke it is reported to the request.
            let _ = connection.await;
        }),
        took,
    })
}

async fn http2_over(io: Box<dyn Io>, took: i64) -> Result<Connection, String> {
    let handshake = Box::pin(http2::handshake(TokioExecutor::new(), TokioIo::new(io)));
    let (sender, connection) = handshake.await.map_err(|error| said(&error))?;
    Ok(Connection {
        sender: Sender::Http2(sender),
        driver: tasks::spawn(async move {
            let _ = connection.await;
        }),
        took,
    })
}

impl Connection {
    /// Reports whether requests take the form of HTTP/2.
    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Sends a request and returns the head of its response.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        let sent = match &mut self.sender {
            Sender::Http1(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
            Sender::Http2(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
        };
        sent.map_err(|error| {
            let why = said(&error);
            if !error.is_parse() {
                return why;
            }
            // What answers in TLS, or in another protocol, has no version of HTTP.
            if why.contains("version") {
                return format!(
                    "the response is not HTTP ({why}): if the server speaks TLS, give https://"
                );
            }
            format!("the response is not valid HTTP: {why}")
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Says why there is no connection.
fn not_connected(error: &io::Error, host: &str, port: u16) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("the connection was refused: nothing listens on port {port} of {host}")
        }
        // The resolver's errors have no kind.
        _ if error.to_string().contains("lookup") => {
            format!("the name {host} cannot be resolved: {error}")
        }
        _ => format!("cannot connect: {error}"),
    }
}

/// Says why TLS failed.
fn not_secured(error: &io::Error) -> String {
    let cause = error.get_ref();
    match cause.and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => {
            "the server does not speak TLS on this port: did you mean http://?".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the authority of the server's certificate is not trusted: give its file with --ca-file"
                .to_owned()
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(why))) => {
            format!("the server's certificate is not one for servers: {why}")
        }
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("the server's certificate is not valid: {why}")
        }
        _ => format!("TLS failed: {error}"),
    }
}

/// Returns an error with its causes.
pub(crate) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_says_what_to_do() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let said = not_connected(&refused, "a", 81);
        assert!(said.contains("nothing listens on port 81 of a"), "{said}");
        let name = io::Error::other("failed to lookup address information: unknown");
        let said = not_connected(&name, "a", 81);
        assert!(said.starts_with("the name a cannot be resolved"), "{said}");
        let tls = |error: rustls::Error| not_secured(&io::Error::other(error));
        let plain = rustls::InvalidMessage::InvalidContentType;
        let said = tls(rustls::Error::InvalidMessage(plain));
        assert!(said.contains("did you mean http://"), "{said}");
        let unknown = CertificateError::UnknownIssuer;
        let said = tls(rustls::Error::InvalidCertificate(unknown));
        assert!(said.contains("--ca-file"), "{said}");
        let said = tls(rustls::Error::InvalidCertificate(CertificateError::Expired));
        assert!(said.contains("is not valid"), "{said}");
        assert!(tls(rustls::Error::DecryptError).starts_with("TLS failed"));
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let file = std::env::temp_dir().join(format!("weir-doctor-{}.pem", std::process::id()));
        std::fs::write(&file, "no certificate").unwrap();
        let made = Dialer::new(Some(&file), false);
        std::fs::remove_file(&file).unwrap();
        let error = made.err().unwrap().to_string();
        assert!(error.contains("no certificate"), "{error}");
    }
}
