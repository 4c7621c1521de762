//! Opens a connection to an endpoint: name resolution, socket options, TLS. The callers limit the time.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::{Endpoint, Target, Upstream};

use super::error::Error;
use super::http2;
use super::socket::{Io, RECEIVE_BUFFER_BYTES};
use super::tls;

/// The version of HTTP that a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

impl Speaks {
    /// Returns the version that is configured.
    pub(super) const fn configured(upstream: &Upstream) -> Self {
        if upstream.http2 {
            Self::Http2
        } else {
            Self::Http1
        }
    }
}

/// Makes one attempt to connect.
pub(super) async fn connect(
    upstream: &Upstream,
    endpoint: &Endpoint,
    connector: Option<&TlsConnector>,
    speaks: Speaks,
) -> Result<Io, Error> {
    let name = || upstream.name.to_string();
    let failed = |source: io::Error| {
        if is_out_of_descriptors(&source) {
            return Error::NoSocket {
                upstream: name(),
                source: Some(source),
            };
        }
        Error::Connect {
            upstream: name(),
            source,
        }
    };
    let (stream, host) = match &endpoint.target {
        Target::Unix(path) => (
            Io::Other(Box::new(UnixStream::connect(path).await.map_err(failed)?)),
            "localhost",
        ),
        Target::Tcp(host, port) => {
            let addresses = resolve(host, *port).await;
            let addresses = addresses.map_err(|source| {
                if is_out_of_descriptors(&source) {
                    return failed(source);
                }
                Error::Dns {
                    upstream: name(),
                    source,
                }
            })?;
            (
                Io::Tcp(connect_any(&addresses).await.map_err(failed)?),
                host.as_str(),
            )
        }
    };
    let Some(connector) = connector.filter(|_| endpoint.tls) else {
        return Ok(stream);
    };
    let tls_failed = |source| Error::Tls {
        upstream: name(),
        source,
    };
    let server_name = tls::server_name(&upstream.tls, host).map_err(tls_failed)?;
    let connecting = if speaks == Speaks::configured(upstream) {
        connector.connect(server_name, stream)
    } else {
        // The connector offers the configured version only.
        let offer = vec![b"http/1.1".to_vec()];
        connector.with_alpn(offer).connect(server_name, stream)
    };
    let stream = connecting.await.map_err(tls_failed)?;
    if speaks == Speaks::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        let why = "the agent did not choose HTTP/2 (ALPN `h2`); if it speaks HTTP/1.1 only, `http2` must be false";
        return Err(tls_failed(io::Error::other(why)));
    }
    Ok(Io::Other(Box::new(stream)))
}

/// Makes one attempt to open an HTTP/2 connection.
pub(super) async fn shared(
    upstream: &Upstream,
    endpoint: &Endpoint,
    connector: Option<&TlsConnector>,
) -> Result<http2::Connection, Error> {
    let io = connect(upstream, endpoint, connector, Speaks::Http2).await?;
    let scheme = if endpoint.tls { "https" } else { "http" };
    let opening = http2::Connection::open(io, scheme).await;
    opening.map_err(|source| Error::Connect {
        upstream: upstream.name.to_string(),
        source,
    })
}

/// Reports whether the process or the system has no file descriptor left: `EMFILE` and `ENFILE`, for which the standard
/// library has no kind.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.trim_matches(['[', ']']);
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no addresses for this name",
        ));
    }
    Ok(addresses)
}

async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match connect_one(*address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Set before connecting, because the TCP handshake fixes the window scale.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
