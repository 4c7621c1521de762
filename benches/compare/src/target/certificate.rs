//! The certificate of the targets that speak TLS: one for all of them, made by openssl when it is first needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::{Context, Result, bail};

/// Files in the directory of a target.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// Both in one file, as HAProxy reads them.
    pub(super) both: PathBuf,
}

/// The certificate and the key, in PEM.
type Pair = (Vec<u8>, Vec<u8>);

static MADE: Mutex<Option<Pair>> = Mutex::new(None);

/// Writes the certificate into a directory.
pub(super) fn write(directory: &Path) -> Result<Files> {
    let files = Files {
        certificate: directory.join("certificate.pem"),
        key: directory.join("key.pem"),
        both: directory.join("both.pem"),
    };
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((certificate, key)) = &*made {
        std::fs::write(&files.certificate, certificate)?;
        std::fs::write(&files.key, key)?;
    } else {
        make(&files)?;
        *made = Some((
            std::fs::read(&files.certificate)?,
            std::fs::read(&files.key)?,
        ));
    }
    let both = [
        std::fs::read(&files.certificate)?,
        std::fs::read(&files.key)?,
    ];
    std::fs::write(&files.both, both.concat())?;
    Ok(files)
}

/// Makes an elliptic key, as current authorities do, and a certificate that it signs itself.
fn make(files: &Files) -> Result<()> {
    let mut command = Command::new(super::on_path("openssl"));
    command
        .args(["req", "-x509", "-nodes", "-days", "30"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-subj", "/CN=model.test"])
        .args(["-addext", "subjectAltName=DNS:model.test,IP:127.0.0.1"])
        .arg("-out")
        .arg(&files.certificate)
        .arg("-keyout")
        .arg(&files.key)
        .stdin(Stdio::null());
    let output = command.output().context("cannot start openssl")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("openssl makes no certificate: {}", said.trim());
    }
    Ok(())
}
