//! Handles a client's messages: acknowledge, interrupt, resume, start a run.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{MAX_RUNS, Socket};
use crate::bridge::acks::Acks;
use crate::bridge::ai_sdk::{self, FromAiSdk};
use crate::bridge::close::Why;
use crate::bridge::members::Mistake;
use crate::bridge::message::{self, Message};
use crate::bridge::run::{Begun, Kind, Run};
use crate::bridge::{BridgeRequest, Form, Refusal, event};
use crate::client_conn::ClientConn;
use crate::config::Ack;
use crate::session::stream_id::StreamId;

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Acts on a message.
    pub(super) fn on_message(&mut self, cx: &mut Context<'_>, text: &str) {
        match message::read(text) {
            Ok(Message::AckAll) => self.acknowledge(None, None),
            Ok(Message::Ack { stream, seq }) => self.acknowledge(stream.as_deref(), Some(seq)),
            Ok(Message::Ping { id }) => self.frames.send(cx, event::pong(id.as_deref())),
            Ok(Message::Interrupt { stream, request }) => self.interrupt(cx, stream, request),
            Ok(Message::Resume {
                request,
                stream,
                after,
            }) => self.resume(cx, request, stream, after),
            Ok(Message::Run { request, body }) => {
                let wanted = BridgeRequest::Run {
                    form: Form::Native,
                    body: Bytes::from(body),
                    headers: HeaderMap::new(),
                };
                self.begin(cx, wanted, Kind::Events, Form::Native, (request, None));
            }
            Ok(Message::AiSdk(message)) => self.on_ai_sdk_message(cx, message),
            Err(Mistake::NotJson) => self.end(cx, Why::NotText),
            Err(Mistake::Meaningless {
                code,
                message,
                request,
            }) => {
                let text = event::rejected(code, &message, request.as_deref());
                self.frames.send(cx, text);
            }
        }
    }

    fn on_ai_sdk_message(&mut self, cx: &mut Context<'_>, message: FromAiSdk) {
        match message {
            FromAiSdk::Abort { request } => {
                for run in self.runs.iter().filter(|run| run.is_called(&request)) {
                    if let Some(id) = run.id() {
                        self.start.requests.stop(id);
                    }
                }
                // The client has forgotten it already.
                self.runs.retain(|run| !run.is_called(&request));
            }
            FromAiSdk::Resume {
                request,
                chat,
                headers,
            } => {
                let wanted = BridgeRequest::Chat { id: chat, headers };
                self.begin(cx, wanted, Kind::Chat, Form::AiSdk, (Some(request), None));
            }
            FromAiSdk::Send {
                request,
                body,
                headers,
            } => {
                let wanted = BridgeRequest::Run {
                    form: Form::AiSdk,
                    body: Bytes::from(body),
                    headers,
                };
                self.begin(cx, wanted, Kind::Events, Form::AiSdk, (Some(request), None));
            }
        }
    }

    /// Begins a run. `named` is how the client calls its message, as JSON, and the stream that it asks for.
    fn begin(
        &mut self,
        cx: &mut Context<'_>,
        wanted: BridgeRequest,
        kind: Kind,
        form: Form,
        (request, asked_for): (Option<String>, Option<String>),
    ) {
        if self.runs.len() >= MAX_RUNS {
            let message = format!("A socket has at most {MAX_RUNS} runs at the same time.");
            let text = match (form, &request) {
                (Form::AiSdk, Some(request)) => ai_sdk::error(request, &message),
                _ => event::rejected(event::TOO_MANY_RUNS, &message, request.as_deref()),
            };
            self.frames.send(cx, text);
            return;
        }
        let conn = Arc::new(ClientConn::new(Duration::ZERO, Duration::ZERO));
        let settings = &self.start.settings;
        let unacked = self.start.metrics.websocket.unacked.clone();
        self.runs.push(Run::new(Begun {
            asking: self.start.requests.ask(wanted, Arc::clone(&conn)),
            conn,
            kind,
            form,
            request,
            asked_for,
            acks: Acks::new(settings.ack_window, unacked),
            as_interrupted: settings.tells_interrupted,
        }));
    }

    fn resume(
        &mut self,
        cx: &mut Context<'_>,
        request: Option<String>,
        stream: String,
        after: u64,
    ) {
        let Some(id) = StreamId::parse(&stream) else {
            self.refuse(cx, not_found(), request.as_deref(), &stream);
            return;
        };
        if self.runs.iter().any(|run| run.follows(id)) {
            let refusal = Refusal {
                code: "already_followed".to_owned(),
                message: "The events of the stream are on their way to this socket.".to_owned(),
                ..not_found()
            };
            self.refuse(cx, refusal, request.as_deref(), &stream);
            return;
        }
        let wanted = BridgeRequest::Resume { id, after };
        let named = (request, Some(stream));
        self.begin(cx, wanted, Kind::Events, Form::Native, named);
    }

    /// Ends a stream, the run of a message, or all of them.
    fn interrupt(&mut self, cx: &mut Context<'_>, stream: Option<String>, request: Option<String>) {
        let id = stream.as_deref().map(StreamId::parse);
        let mut found = false;
        for run in &mut self.runs {
            let is_meant = match (&id, &request) {
                (Some(id), _) => run.id() == *id && id.is_some(),
                (None, Some(request)) => run.is_called(request),
                (None, None) => true,
            };
            if !is_meant {
                continue;
            }
            match run.id() {
                Some(id) => {
                    run.note_stopped();
                    found |= self.start.requests.stop(id);
                }
                None => {
                    run.stop_asking();
                    found = true;
                }
            }
        }
        let Some(stream) = stream.filter(|_| !found) else {
            return;
        };
        match id.flatten() {
            Some(id) => {
                let named = (request, Some(stream));
                self.begin(
                    cx,
                    BridgeRequest::Stop { id },
                    Kind::Stop,
                    Form::Native,
                    named,
                );
            }
            None => self.refuse(cx, not_found(), request.as_deref(), &stream),
        }
    }

    fn refuse(
        &mut self,
        cx: &mut Context<'_>,
        refusal: Refusal,
        request: Option<&str>,
        stream: &str,
    ) {
        let text = event::refused(&refusal, request, Some(stream));
        self.frames.send(cx, text);
    }

    /// Notes what the client has: of a stream or of all, up to an event or all.
    fn acknowledge(&mut self, stream: Option<&str>, seq: Option<u64>) {
        if self.start.settings.ack == Ack::Off {
            return;
        }
        let id = stream.map(StreamId::parse);
        let meant = |run: &&mut Run| id.is_none_or(|id| id.is_some() && run.id() == id);
        for run in self.runs.iter_mut().filter(meant) {
            match seq {
                Some(seq) => run.acks().acknowledged(seq),
                None => run.acks().all_acknowledged(),
            }
        }
        if !std::mem::replace(&mut self.has_acked, true) && self.start.settings.ack == Ack::Optional
        {
            let now = Instant::now();
            for run in &mut self.runs {
                run.acks().begin(now);
            }
        }
    }
}

fn not_found() -> Refusal {
    Refusal {
        code: "not_found".to_owned(),
        message: "No such stream.".to_owned(),
        status: None,
        is_retryable: false,
        by_agent: false,
    }
}
