//! The agent that is recorded, and connections to it.

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::{Problem, failed, usage};
use crate::config::{self, Endpoint, Roots, Upstream, UpstreamTls};
use crate::upstream::{self, Connector};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Where the agent is.
#[derive(Debug)]
pub(super) struct Place {
    upstream: Upstream,
    pub(super) endpoint: Endpoint,
    connector: Option<Connector>,
}

impl Place {
    /// Reads the URL of an agent, without a query. `what` is what it was given as.
    pub(super) fn new(what: &str, url: &str, ca_file: Option<PathBuf>) -> Result<Self, Problem> {
        let endpoint = config::read_endpoint(url).map_err(|why| usage(format!("{what}: {why}")))?;
        let tls = UpstreamTls {
            roots: Roots::Bundled,
            ca_file,
            cert: None,
            key: None,
            server_name: None,
        };
        let upstream = Upstream::single(&endpoint.authority, endpoint.clone(), tls);
        let connector =
            upstream::connector(&upstream).map_err(|error| usage(format!("--ca-file: {error}")))?;
        Ok(Self {
            upstream,
            endpoint,
            connector,
        })
    }

    /// Opens a connection.
    pub(super) async fn dial(&self) -> Result<Box<dyn Wire>, Problem> {
        let dialing = upstream::dial(&self.upstream, &self.endpoint, self.connector.as_ref());
        match timeout(CONNECT, dialing).await {
            Ok(Ok(wire)) => Ok(Box::new(wire)),
            Ok(Err(error)) => {
                let why = error
                    .source()
                    .map_or_else(String::new, |source| format!(": {source}"));
                Err(failed(format!("{error}{why}")))
            }
            Err(_) => Err(failed(format!(
                "{} did not accept a connection within 10 s",
                self.endpoint.authority
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_no_file_of_authorities() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate\n").unwrap();
        let path = Some(file.path().to_owned());
        let problem = Place::new("the URL", "https://a", path).unwrap_err();
        assert_eq!(problem.code, 2);
        let expected = "--ca-file: the file has no certificate in PEM";
        assert!(problem.message.starts_with(expected), "{}", problem.message);
    }
}
