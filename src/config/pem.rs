//! Checks certificate and key files while the configuration is loaded, so that an invalid file is reported with its
//! configuration key before anything starts.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::config::error::{Path, Report};
use crate::config::kind::Placed;

/// Maximum number of bytes of a file that are looked at to say what it is.
const MAX_LOOK: u64 = 64 << 10;

/// Reports an unusable file of certificate authorities.
pub(crate) fn authorities(file: Option<&Placed<PathBuf>>, path: &Path, report: &mut Report) {
    let Some((file, certificates)) = certificates(file, path, report) else {
        return;
    };
    // A list of authorities often has some that are no longer used.
    let reasons: Option<Vec<_>> = certificates.iter().map(out_of_date).collect();
    if let Some(why) = reasons.as_deref().and_then(<[_]>::last) {
        let message = format!("`{}`: {why}", file.value.display());
        report.warn(file.place, path, message);
    }
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        if let Err(error) = store.add(certificate) {
            let shown = file.value.display();
            let message = format!("`{shown}` holds a certificate that cannot be trusted: {error}");
            report.at(file.place, path, message);
        }
    }
}

/// Reports a certificate or key that cannot be used, or that does not belong to the other. `path` is the section of
/// both.
pub(crate) fn pair(
    cert: Option<&Placed<PathBuf>>,
    key: Option<&Placed<PathBuf>>,
    path: &Path,
    report: &mut Report,
) {
    let chain = certificates(cert, &path.key("cert"), report);
    let private = private_key(key, &path.key("key"), report);
    if let Some((file, chain)) = &chain {
        for certificate in chain {
            if let Some(why) = out_of_date(certificate) {
                let message = format!("`{}`: {why}", file.value.display());
                report.warn(file.place, &path.key("cert"), message);
            }
        }
    }
    let (Some((cert, chain)), Some((key, private))) = (chain, private) else {
        return;
    };
    let fits = any_supported_type(&private)
        .and_then(|signing| CertifiedKey::new(chain, signing).keys_match());
    match fits {
        // If the keys cannot be compared, a mismatch shows up in the TLS handshake.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let shown = cert.value.display();
            let message = format!("does not belong to the certificate in `{shown}`");
            report.at(key.place, &path.key("key"), message);
        }
        Err(error) => {
            let message = format!("`{}` cannot be used: {error}", key.value.display());
            report.at(key.place, &path.key("key"), message);
        }
    }
}

/// Returns why the other side refuses a certificate today. Weir starts nevertheless: the file may be replaced while it
/// runs.
fn out_of_date(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let [from, to] = [validity.not_before, validity.not_after].map(|time| time.to_unix_duration());
    let date = |time: Duration| httpdate::fmt_http_date(UNIX_EPOCH + time);
    if now > to {
        Some(format!("a certificate has expired ({})", date(to)))
    } else if now < from {
        Some(format!("a certificate is not valid yet ({})", date(from)))
    } else {
        None
    }
}

type Read<'a, T> = Option<(&'a Placed<PathBuf>, T)>;

fn certificates<'a>(
    file: Option<&'a Placed<PathBuf>>,
    path: &Path,
    report: &mut Report,
) -> Read<'a, Vec<CertificateDer<'static>>> {
    let file = readable(file, path, report)?;
    let read = CertificateDer::pem_file_iter(&file.value).and_then(Iterator::collect);
    match read {
        Ok(list) if !Vec::is_empty(&list) => Some((file, list)),
        Ok(_) => {
            let instead = match contents(file) {
                Contents::EncryptedKey | Contents::Key => "; it holds a private key",
                Contents::Certificate | Contents::Other => "",
            };
            let why = format!("expected certificates in PEM, found none{instead}");
            refuse(file, path, report, &why)
        }
        Err(error) => refuse(file, path, report, &damage(&error)),
    }
}

fn private_key<'a>(
    file: Option<&'a Placed<PathBuf>>,
    path: &Path,
    report: &mut Report,
) -> Read<'a, PrivateKeyDer<'static>> {
    let file = readable(file, path, report)?;
    match PrivateKeyDer::from_pem_file(&file.value) {
        Ok(key) => Some((file, key)),
        Err(error) => {
            let none = matches!(error, Error::NoItemsFound);
            let expected = "expected a private key in PEM, not encrypted, found";
            let why = match contents(file) {
                Contents::EncryptedKey => {
                    format!("{expected} an encrypted one; `openssl pkey -in FILE` decrypts it")
                }
                Contents::Certificate if none => format!("{expected} none; it holds a certificate"),
                _ if none => format!("{expected} none"),
                _ => damage(&error),
            };
            refuse(file, path, report, &why)
        }
    }
}

/// What a file holds, to say what it is instead of what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contents {
    Certificate,
    EncryptedKey,
    Key,
    Other,
}

/// Looks at the beginning of a file.
fn contents(file: &Placed<PathBuf>) -> Contents {
    let mut begin = Vec::new();
    let read = File::open(&file.value).map(|file| file.take(MAX_LOOK).read_to_end(&mut begin));
    if !matches!(read, Ok(Ok(_))) {
        return Contents::Other;
    }
    let text = String::from_utf8_lossy(&begin);
    let has = |words: &str| text.contains(words);
    if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
        Contents::EncryptedKey
    } else if has("PRIVATE KEY-----") {
        Contents::Key
    } else if has("-----BEGIN CERTIFICATE-----") {
        Contents::Certificate
    } else {
        Contents::Other
    }
}

/// Says why a PEM file cannot be read, without anything that it holds.
fn damage(error: &Error) -> String {
    match error {
        Error::Base64Decode(_) => {
            "is damaged: what stands between BEGIN and END is not base64".to_owned()
        }
        Error::IllegalSectionStart { .. } => "is damaged: a BEGIN line has no end".to_owned(),
        Error::MissingSectionEnd { .. } => {
            "is damaged: the END line of a section is missing".to_owned()
        }
        Error::Io(error) => format!("cannot be read: {error}"),
        error => error.to_string(),
    }
}

fn refuse<T>(file: &Placed<PathBuf>, path: &Path, report: &mut Report, why: &str) -> Option<T> {
    report.at(
        file.place,
        path,
        format!("`{}`: {why}", file.value.display()),
    );
    None
}

/// Returns the file if it is a regular file. Others, such as a pipe, may never end.
fn readable<'a>(
    file: Option<&'a Placed<PathBuf>>,
    path: &Path,
    report: &mut Report,
) -> Option<&'a Placed<PathBuf>> {
    let file = file?;
    let shown = file.value.display();
    let problem = match std::fs::metadata(&file.value) {
        Ok(found) if found.is_file() => match File::open(&file.value) {
            Ok(_) => return Some(file),
            Err(error) => format!("`{shown}` cannot be read: {error}"),
        },
        Ok(found) if found.is_dir() => format!("`{shown}` is a folder, not a file"),
        Ok(_) => format!("`{shown}` is no regular file"),
        Err(error) => format!("`{shown}` cannot be read: {error}"),
    };
    report.at(file.place, path, problem);
    None
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::config::error::Place;

    /// Writes a certificate that is valid between two years, and its key. Returns what is reported about them.
    fn reported(years: (i32, i32)) -> (Vec<String>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let signing_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.self_signed(&signing_key).unwrap();
        let file = |name: &str, text: String| {
            let value = folder.path().join(name);
            std::fs::write(&value, text).unwrap();
            let place = Place { line: 2, column: 3 };
            Placed { place, value }
        };
        let cert = file("cert.pem", certificate.pem());
        let key = file("key.pem", signing_key.serialize_pem());
        let mut report = Report::default();
        let path = Path::default().key("tls");
        pair(Some(&cert), Some(&key), &path, &mut report);
        authorities(Some(&cert), &path.key("client_ca"), &mut report);
        let warnings = report.take_warnings();
        let said = warnings.iter().map(ToString::to_string).collect();
        (said, report.len())
    }

    #[test]
    fn what_a_file_holds_instead_is_said() {
        let said = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let place = Place { line: 2, column: 3 };
            let value = file.path().to_owned();
            let key = Placed { place, value };
            let mut report = Report::default();
            assert!(private_key(Some(&key), &Path::default().key("key"), &mut report).is_none());
            assert!(certificates(Some(&key), &Path::default().key("cert"), &mut report).is_none());
            report.into_problems(None).to_string()
        };
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMTIz\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(said(encrypted).contains("found an encrypted one; `openssl pkey"));
        assert!(said(encrypted).contains("found none; it holds a private key"));
        let broken = "-----BEGIN PRIVATE KEY-----\ns3cret!\n-----END PRIVATE KEY-----\n";
        assert!(said(broken).contains("is not base64") && !said(broken).contains("s3cret"));
        let cut = "-----BEGIN PRIVATE KEY-----\nMTIz\n";
        assert!(
            said(cut).contains("END line of a section is missing"),
            "{}",
            said(cut)
        );
        assert!(said("nothing").contains("not encrypted, found none\n"));
    }

    #[test]
    fn a_certificate_out_of_date_is_a_warning() {
        for (years, why) in [
            (
                (2001, 2002),
                "a certificate has expired (Tue, 01 Jan 2002 00:00:00 GMT)",
            ),
            (
                (2300, 2301),
                "a certificate is not valid yet (Mon, 01 Jan 2300 00:00:00 GMT)",
            ),
        ] {
            let (said, problems) = reported(years);
            assert_eq!((said.len(), problems), (2, 0), "{said:?}");
            for (said, key) in said.iter().zip(["tls.cert: `", "tls.client_ca: `"]) {
                assert!(said.starts_with(key) && said.ends_with(why), "{said}");
            }
        }
        assert_eq!(reported((2001, 2300)), (Vec::new(), 0));
    }
}
