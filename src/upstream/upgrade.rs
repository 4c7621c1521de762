//! Upgrades: a request that asks the agent to go on in another protocol, on a connection of its own.

use std::io;

use http::Request;

use super::client::{Leased, Supply};
use super::request::{self, Origin};
use super::request_body::RequestBody;
use super::{Answer, Client, Error, Interim};
use crate::config::{Deadlines, Upstream};

/// Reports whether upgrades can be sent to every endpoint. They exist in HTTP/1.1 only, which a TLS handshake can
/// choose; an endpoint that is spoken to in HTTP/2 without TLS may not know it.
pub fn takes_upgrades(upstream: &Upstream) -> bool {
    !upstream.http2 || upstream.endpoints.iter().all(|endpoint| endpoint.tls)
}

impl Client {
    /// Sends `request` as an upgrade to a WebSocket, over HTTP/1.1 on a new connection, and waits for the response
    /// head. If it is a 101, the body is the connection ([`Body::into_upgraded`](super::Body::into_upgraded)).
    ///
    /// # Errors
    /// The error says whose fault it was. Nothing has been sent to the client yet.
    pub async fn upgrade(
        &self,
        request: Request<RequestBody>,
        origin: &Origin,
        deadlines: &Deadlines,
        interim: Option<Interim>,
    ) -> Result<Answer, Error> {
        let (parts, body) = request.into_parts();
        let verdict = body.verdict();
        let Leased {
            mut lease,
            connected,
        } = self.lease(Supply::Upgrade, deadlines).await?;
        let Some(endpoint) = lease.picked.endpoint() else {
            return Err(self.no_endpoint());
        };
        let forwarded = request::forwarded(parts, endpoint, origin);
        let mut forwarded = forwarded.map_err(|_| Error::Connect {
            upstream: self.upstream.name.to_string(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "request target"),
        })?;
        request::upgrades(&mut forwarded.headers);
        lease.exchange.set_last();
        lease.exchange.begin(&forwarded, Some(body));
        drop(forwarded);
        let sending = self.send(lease, interim.as_ref(), deadlines.head, &verdict);
        match sending.await {
            Ok(answer) => Ok(Answer {
                connected,
                ..answer
            }),
            Err(failure) => Err(failure.error),
        }
    }
}
