//! Conversations: a request to an agent that speaks only WebSocket, on a connection of its own.

use std::io;
use std::sync::Arc;

use http::{Request, StatusCode};
use tokio::time::Instant;

use super::client::{Leased, Supply};
use super::error::Malformed;
use super::request::{self, Origin};
use super::request_body::RequestBody;
use super::websocket::conversation::{Conversation, Parts};
use super::websocket::{Terms, handshake, opening};
use super::{Answer, Client, Error, Interim};
use crate::config::Deadlines;

impl Client {
    /// Opens a WebSocket with the head of `request`, sends its body as the first message, and returns what the agent
    /// says as the body of a 200. An agent that refuses the WebSocket has answered with that.
    ///
    /// # Errors
    /// The error says whose fault it was. Nothing has been sent to the client yet.
    pub async fn converse(
        &self,
        request: Request<RequestBody>,
        origin: &Origin,
        deadlines: &Deadlines,
        interim: Option<Interim>,
        terms: Terms,
    ) -> Result<Answer, Error> {
        let (mut parts, mut body) = request.into_parts();
        let verdict = body.verdict();
        let first = opening::message(&mut body, self.upstream.talk.open.as_ref()).await?;
        drop(body);
        let key = handshake::ask(&mut parts).ok_or_else(|| self.unaskable("the handshake"))?;
        let Leased {
            mut lease,
            connected,
        } = self.lease(Supply::Upgrade, deadlines).await?;
        let Some(endpoint) = lease.picked.endpoint() else {
            return Err(self.no_endpoint());
        };
        let forwarded = request::forwarded(parts, endpoint, origin);
        let mut forwarded = forwarded.map_err(|_| self.unaskable("request target"))?;
        request::upgrades(&mut forwarded.headers);
        lease.exchange.set_last();
        lease.exchange.begin(&forwarded, None);
        drop(forwarded);
        let sending = self.send(lease, interim.as_ref(), deadlines.head, &verdict);
        let Answer { head, body, .. } = sending.await.map_err(|failure| failure.error)?;
        let sent = Instant::now();
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answer {
                head,
                body,
                sent,
                connected,
                repeated: false,
            });
        }
        let wrong = |source: Malformed| Error::Protocol {
            upstream: self.upstream.name.to_string(),
            source,
        };
        handshake::check(&head.headers, &key).map_err(wrong)?;
        let body = body.converse(|io, early, socket| {
            Conversation::new(Parts {
                io,
                early,
                socket,
                upstream: Arc::clone(&self.upstream),
                first,
                terms,
            })
        });
        Ok(Answer {
            head: handshake::answer(head),
            body: body.ok_or_else(|| wrong(Malformed("a 101 without a connection")))?,
            sent,
            connected,
            repeated: false,
        })
    }

    fn unaskable(&self, what: &'static str) -> Error {
        Error::Connect {
            upstream: self.upstream.name.to_string(),
            source: io::Error::new(io::ErrorKind::InvalidInput, what),
        }
    }
}
