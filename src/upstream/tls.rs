//! TLS towards upstreams: root certificates, client certificate, server name.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

use crate::config::{Roots, UpstreamTls};

/// Builds the TLS connector of one upstream from its certificate and key files.
pub(super) fn connector(tls: &UpstreamTls, http2: bool) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match tls.roots {
        Roots::Bundled => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Roots::None => {}
        Roots::System => {
            for cert in rustls_native_certs::load_native_certs().certs {
                roots.add(cert).map_err(io::Error::other)?;
            }
        }
    }
    if let Some(path) = &tls.ca_file {
        let mut is_empty = true;
        for cert in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
            roots
                .add(cert.map_err(io::Error::other)?)
                .map_err(io::Error::other)?;
            is_empty = false;
        }
        if is_empty {
            return Err(io::Error::other(
                "the file has no certificate in PEM: expected -----BEGIN CERTIFICATE-----",
            ));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let mut config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert)
                .map_err(io::Error::other)?
                .collect();
            let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
            builder
                .with_client_auth_cert(chain.map_err(io::Error::other)?, key)
                .map_err(io::Error::other)?
        }
        _ => builder.with_no_client_auth(),
    };
    // A resumed session does not verify the certificate again, so an expired one would be accepted for ever.
    config.resumption = Resumption::disabled();
    let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Returns the name that the server's certificate must contain.
pub(super) fn server_name(tls: &UpstreamTls, host: &str) -> io::Result<ServerName<'static>> {
    let name = tls.server_name.as_deref().unwrap_or(host);
    ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)
}
