//! The listeners that clients connect to. They are bound before anything else starts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use super::holder::why_not;
use super::socket;
use crate::certificate::ReloadingCertificate;
use crate::config::{Address, Listen};

/// A bound listener, with one socket for each worker if it is a TCP one.
#[derive(Debug)]
pub struct Bound {
    /// The address that it listens on, with port 0 resolved.
    pub address: String,
    sockets: Sockets,
    /// The certificate, if it speaks TLS to its clients.
    pub(super) tls: Option<Arc<ReloadingCertificate>>,
}

#[derive(Debug)]
enum Sockets {
    Tcp(Vec<TcpListener>),
    Unix(UnixListener),
}

/// One worker's part of a listener.
#[derive(Debug)]
pub(super) enum Share {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Binds one listener.
///
/// # Errors
/// When the address cannot be bound or a certificate cannot be read; the message names the address.
pub fn bind(listen: &Listen, workers: usize) -> io::Result<Bound> {
    let tls = listen
        .tls
        .as_ref()
        .map(ReloadingCertificate::new)
        .transpose()?
        .map(Arc::new);
    let refused = |error: io::Error| {
        let (address, why) = (&listen.address, why_not(&listen.address, &error));
        io::Error::new(error.kind(), format!("cannot listen on {address}: {why}"))
    };
    match &listen.address {
        Address::Tcp(address) => {
            let sockets = socket::tcp(*address, workers).map_err(refused)?;
            let address: SocketAddr = sockets
                .first()
                .map_or(Ok(*address), TcpListener::local_addr)?;
            Ok(Bound {
                address: address.to_string(),
                sockets: Sockets::Tcp(sockets),
                tls,
            })
        }
        Address::Unix(path) => {
            let socket = socket::unix(path).map_err(refused)?;
            Ok(Bound {
                address: listen.address.to_string(),
                sockets: Sockets::Unix(socket),
                tls,
            })
        }
    }
}

impl Bound {
    /// Returns its address and its certificate if it speaks TLS.
    pub fn certificate(&self) -> Option<(String, Arc<ReloadingCertificate>)> {
        let acceptor = self.tls.as_ref()?;
        Some((self.address.clone(), Arc::clone(acceptor)))
    }

    /// Distributes the sockets: one to each of `workers`; a Unix socket goes to the first.
    pub(super) fn shares(self, workers: usize) -> Vec<Option<Share>> {
        let mut shares: Vec<Option<Share>> = match self.sockets {
            Sockets::Tcp(sockets) => sockets
                .into_iter()
                .map(|one| Some(Share::Tcp(one)))
                .collect(),
            Sockets::Unix(socket) => vec![Some(Share::Unix(socket))],
        };
        shares.resize_with(workers, || None);
        shares
    }
}
