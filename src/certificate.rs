//! TLS for client connections: reloads certificates when their files change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::config::ListenTls;

/// The files are checked for changes no more often than this.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// A TLS server configuration that is reloaded when its files change.
pub struct ReloadingCertificate {
    settings: ListenTls,
    /// Locked for a comparison, and at most once per [`CHECK_EVERY`] while the files are read.
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    not_after: Option<f64>,
    changed: Vec<Option<SystemTime>>,
    checked: Instant,
}

impl std::fmt::Debug for ReloadingCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReloadingCertificate")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ReloadingCertificate {
    /// Loads the files.
    ///
    /// # Errors
    /// If a file cannot be read, or if the key does not match the certificate.
    pub fn new(settings: &ListenTls) -> io::Result<Self> {
        let (acceptor, not_after) = load(settings)?;
        let current = Current {
            acceptor,
            not_after,
            changed: stamps(settings),
            checked: Instant::now(),
        };
        Ok(Self {
            settings: settings.clone(),
            current: Mutex::new(current),
        })
    }

    /// Returns when the certificate in use expires, in seconds since 1970. Returns `None` if the certificate cannot
    /// be parsed.
    pub fn not_after(&self) -> Option<f64> {
        self.lock().not_after
    }

    /// Returns the acceptor for the next handshake. If changed files are unusable, the old acceptor stays in use.
    pub fn current(&self) -> TlsAcceptor {
        let mut current = self.lock();
        if current.checked.elapsed() >= CHECK_EVERY {
            current.checked = Instant::now();
            let changed = stamps(&self.settings);
            if changed != current.changed {
                match load(&self.settings) {
                    Ok((acceptor, not_after)) => {
                        current.acceptor = acceptor;
                        current.not_after = not_after;
                        tracing::info!("certificates were read again");
                    }
                    Err(error) => {
                        tracing::error!(%error, "changed certificates cannot be used, the old ones stay");
                    }
                }
                current.changed = changed;
            }
        }
        current.acceptor.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(settings: &ListenTls) -> Vec<Option<SystemTime>> {
    let files: [Option<&PathBuf>; 3] = [
        Some(&settings.cert),
        Some(&settings.key),
        settings.client_ca.as_ref(),
    ];
    files
        .into_iter()
        .flatten()
        .map(|path| {
            std::fs::metadata(path)
                .and_then(|data| data.modified())
                .ok()
        })
        .collect()
}

/// Loads the files, and returns an acceptor and when its certificate expires.
fn load(settings: &ListenTls) -> io::Result<(TlsAcceptor, Option<f64>)> {
    let named = |path: &Path| {
        let path = path.display().to_string();
        move |error: rustls_pki_types::pem::Error| io::Error::other(format!("{path}: {error}"))
    };
    let certs = |path: &Path| -> io::Result<Vec<CertificateDer<'static>>> {
        let certs: Vec<_> = CertificateDer::pem_file_iter(path)
            .map_err(named(path))?
            .map(|cert| cert.map_err(named(path)))
            .collect::<io::Result<_>>()?;
        if certs.is_empty() {
            let message = "expected certificates in PEM, found none";
            return Err(io::Error::other(format!("{}: {message}", path.display())));
        }
        Ok(certs)
    };
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(named(&settings.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for cert in certs(path)? {
                roots.add(cert).map_err(|error| unusable(path, &error))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable(path, &error))?)
        }
    };
    let chain = certs(&settings.cert)?;
    let not_after = chain.first().and_then(not_after);
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&settings.cert, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), not_after))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

/// Returns the SHA-256 of a certificate, by which it is known apart from all others.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let digest = digest(&SHA256, certificate);
    let digest: &[u8] = digest.as_ref();
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = *from;
    }
    bytes
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<f64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some(validity.not_after.to_unix_duration().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_digest_of_the_whole_certificate() {
        // Computed with Python: hashlib.sha256(b"abc").digest().
        let known = fingerprint(&CertificateDer::from(b"abc".to_vec()));
        assert_eq!(known[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(known[28..], [0xf2, 0x00, 0x15, 0xad]);
        let other = fingerprint(&CertificateDer::from(b"abd".to_vec()));
        assert_ne!(known, other);
    }
}
