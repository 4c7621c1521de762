//! The bytes of a client connection: plain, or over TLS.
//!
//! A client writes a few hundred bytes at a time, so what the kernel does not take at once is an exception, and is
//! written when the socket can take more.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::front::Client;
use crate::net::{self, Moved};

/// The name that clients ask for, and that the certificate of the targets has.
const NAME: &str = "model.test";

/// What clients need to connect.
#[derive(Clone, Debug)]
pub(super) struct Connector(Option<Arc<ClientConfig>>);

impl Connector {
    pub(super) fn new(client: Client) -> Result<Self> {
        if !client.is_tls() {
            return Ok(Self(None));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        if client.is_h2() {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(Self(Some(Arc::new(config))))
    }

    /// Wraps a socket that has begun to connect.
    pub(super) fn wire(&self, socket: OwnedFd) -> Result<Wire> {
        let Some(config) = &self.0 else {
            return Ok(Wire::Plain(socket));
        };
        let name = ServerName::try_from(NAME).context("the name of the targets")?;
        let tls = ClientConnection::new(Arc::clone(config), name)?;
        Ok(Wire::Tls(Box::new(Secure { socket, tls })))
    }
}

#[derive(Debug)]
pub(super) enum Wire {
    Plain(OwnedFd),
    Tls(Box<Secure>),
}

#[derive(Debug)]
pub(super) struct Secure {
    socket: OwnedFd,
    tls: ClientConnection,
}

impl Wire {
    pub(super) fn socket(&self) -> &OwnedFd {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(secure) => &secure.socket,
        }
    }

    /// Reports whether records wait until the socket takes more.
    pub(super) fn waits(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(secure) => secure.tls.wants_write(),
        }
    }

    /// Writes some of these bytes, and what waits.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Moved {
        match self {
            Self::Plain(socket) => net::write(&*socket, bytes),
            Self::Tls(secure) => secure.write(bytes),
        }
    }

    /// Reads what one look at the socket finds. It is level-triggered, so the rest comes with the next look.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Moved {
        match self {
            Self::Plain(socket) => net::read(&*socket, buffer),
            Self::Tls(secure) => secure.read(buffer),
        }
    }
}

impl Secure {
    fn write(&mut self, bytes: &[u8]) -> Moved {
        // Before the handshake is over, rustls keeps them.
        let Ok(count) = self.tls.writer().write(bytes) else {
            return Moved::Closed;
        };
        if self.flush() {
            Moved::Bytes(count)
        } else {
            Moved::Closed
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Moved {
        let ended = match self.tls.read_tls(&mut Socket(&self.socket)) {
            Ok(count) => count == 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => return Moved::Closed,
        };
        let understood = self.tls.process_new_packets().is_ok();
        // The end of a handshake, an update of keys, or an alert.
        if !self.flush() || !understood {
            return Moved::Closed;
        }
        match self.tls.reader().read(buffer) {
            Ok(0) => Moved::Closed,
            Ok(count) => Moved::Bytes(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !ended => Moved::Nothing,
            Err(_) => Moved::Closed,
        }
    }

    /// Writes the records that wait. Returns whether the connection lives.
    fn flush(&mut self) -> bool {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket(&self.socket)) {
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// A socket as rustls reads and writes it.
#[derive(Debug)]
struct Socket<'a>(&'a OwnedFd);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        rustix::io::read(self.0, buffer).map_err(blocked)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rustix::net::send(self.0, bytes, rustix::net::SendFlags::NOSIGNAL).map_err(blocked)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocked(error: Errno) -> io::Error {
    match error {
        Errno::AGAIN | Errno::INTR | Errno::NOTCONN => ErrorKind::WouldBlock.into(),
        error => error.into(),
    }
}

/// Accepts every certificate: what is measured is the target, and nobody is in between.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
