//! Accounts for a plain response: its duration, its span and its log line, once its body has ended.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use super::admitted::Admitted;
use crate::app::App;
use crate::body_deadline::BodyDeadline;
use crate::client_conn::{ClientConn, Overdue};
use crate::end::End;
use crate::log::access::Line;
use crate::reply::body::Witness;
use crate::session::RequestContext;
use crate::session::request_line::{Grade, RequestLine};
use crate::session::source;
use crate::tasks;
use crate::traces::Span;
use crate::upstream::Broken;

/// What the log says of a request that was answered.
pub(super) const ENDED: &str = "request ended";

/// Returns the witness of a response that is passed through with this status.
pub(super) fn witness(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    status: StatusCode,
    deadline: Option<Arc<BodyDeadline>>,
) -> Box<dyn Witness> {
    let mut span = admitted.span.take();
    if let Some(span) = &mut span {
        span.passing(admitted.asked_for(), status);
    }
    Box::new(PlainResponse {
        context: Arc::clone(&admitted.context),
        status,
        bytes: 0,
        end: None,
        span,
        app: Arc::clone(app),
        conn: Arc::clone(conn),
        deadline,
    })
}

/// A plain response whose body is being sent. It is dropped with the body.
struct PlainResponse {
    context: Arc<RequestContext>,
    status: StatusCode,
    /// How many bytes of the body the connection has taken.
    bytes: u64,
    /// How the body has ended; `None` while it is being sent.
    end: Option<End>,
    span: Option<Span>,
    app: Arc<App>,
    conn: Arc<ClientConn>,
    /// The deadlines of the body, on a shared connection.
    deadline: Option<Arc<BodyDeadline>>,
}

impl Witness for PlainResponse {
    fn handed(&mut self, bytes: usize) {
        self.bytes = (self.bytes).saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    fn ended(&mut self, how: Result<(), &Broken>) {
        let end = how.map_or_else(source::broken, |()| End::Finished);
        if self.end.replace(end).is_some() {
            return;
        }
        if let Some(span) = &mut self.span {
            if end == End::Finished {
                span.passed();
            } else {
                span.cut(end);
            }
        }
    }
}

impl PlainResponse {
    /// Returns why the body was abandoned.
    fn why(&self) -> End {
        let missed = self
            .deadline
            .as_ref()
            .and_then(|deadline| deadline.missed());
        match missed.or_else(|| self.conn.overdue(Instant::now())) {
            Some(Overdue::Total) => End::TotalTimeout,
            Some(Overdue::Stalled) => End::ClientStalled,
            _ if *self.app.cut.borrow() => End::Drained,
            _ => End::ClientGone,
        }
    }

    fn log(&self, end: End) {
        let (line, grade) = if end == End::Panic {
            (Line::Failure, Grade::Error)
        } else if end.is_trouble() || self.status.is_server_error() {
            (Line::Failure, Grade::Warn)
        } else if end == End::Drained || self.status.is_client_error() {
            (Line::Failure, Grade::Info)
        } else {
            (Line::Plain, Grade::Info)
        };
        let about = RequestLine {
            status: Some(self.status),
            bytes: Some(self.bytes),
            grade,
            ..RequestLine::of(&self.context, end.as_str())
        };
        about.write(line, ENDED);
    }
}

impl Drop for PlainResponse {
    fn drop(&mut self) {
        let seconds = self.context.started.elapsed().as_secs_f64();
        self.context.metrics.request_seconds.observe(seconds);
        let end = if tasks::is_failing() {
            self.app.metrics.panics.inc();
            // The span itself records a panic.
            End::Panic
        } else if let Some(end) = self.end {
            end
        } else {
            let end = self.why();
            if let Some(span) = &mut self.span {
                span.cut(end);
            }
            end
        };
        self.log(end);
    }
}
