//! `weir top`: shows the live streams of a running Weir in the terminal. What is shown is in `top`; this is its I/O.
//!
//! One thread draws and reads keys. Another asks Weir every second, so keys work even while Weir does not answer. The
//! main thread waits until the display ends or the terminal is closed.

use std::io::{self, IsTerminal, Read, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use http::HeaderName;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};

use super::Output;
use super::ask::{self, ADMIN, LIMIT, Place};
use super::problem::{Problem, usage};
use crate::admin::MARK;
use crate::config;
use crate::top::{Action, Facts, Model, draw};

/// How often Weir is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How long a key is waited for before messages from Weir are read.
const KEYS: Duration = Duration::from_millis(100);
/// How often it is checked that the terminal is still there.
const CHECK: Duration = Duration::from_millis(500);
/// The most bytes of a document that are read: enough for tens of thousands of streams.
const MAX_DOCUMENT: u64 = 64 << 20;
/// The most bytes of another response that are shown.
const MAX_TEXT: u64 = 1 << 10;
/// How many messages wait for the display.
const WAITING: usize = 4;

/// A message of a thread to the display.
enum Message {
    Facts(Box<Facts>),
    /// Weir cannot be asked.
    Problem(String),
    /// What came of a stop.
    Stop(String),
}

/// What all threads know.
struct Target {
    place: Place,
    /// The admin listener's address as it was given.
    shown: String,
    /// Marks a request as an operator's.
    mark: HeaderName,
    /// The value of `Authorization`.
    authorization: Option<String>,
}

/// Shows the streams of the Weir with the admin listener `admin`, until the user ends it. `token` names the source of
/// the token.
pub fn top(admin: Option<&str>, token: Option<&str>) -> Output {
    let shown = address(admin);
    match run(shown, token) {
        Ok(()) => Output::default(),
        Err(Problem { message, code }) => Output {
            stderr: format!("weir top: {message}\n"),
            code,
            ..Output::default()
        },
    }
}

/// Returns the address, which may be given as the URL of the page.
fn address(admin: Option<&str>) -> &str {
    let given = admin.filter(|admin| !admin.is_empty()).unwrap_or(ADMIN);
    let given = given.strip_prefix("http://").unwrap_or(given);
    given.strip_suffix('/').unwrap_or(given)
}

fn run(shown: &str, token: Option<&str>) -> Result<(), Problem> {
    if shown.starts_with("https://") {
        return Err(usage(format!(
            "{shown}: the admin listener speaks http only; expected HOST:PORT or unix:/PATH"
        )));
    }
    let place = Place::of_listener(shown)
        .map_err(|problem| usage(format!("{shown}: {}", problem.message)))?;
    let token = token.map(config::read_secret).transpose();
    let token = token.map_err(|why| usage(format!("--token: {why}")))?;
    let authorization = match &token {
        None => None,
        Some(token) => {
            let token = token.to_str().map_err(|_| {
                usage("--token: the token has a character that a header cannot have")
            })?;
            Some(format!("Bearer {token}"))
        }
    };
    if !(stdin().is_terminal() && stdout().is_terminal()) {
        return Err(usage(format!(
            "expected a terminal for input and output; in scripts, ask for http://{shown}/streams"
        )));
    }
    let target = Arc::new(Target {
        place,
        shown: shown.to_owned(),
        mark: MARK,
        authorization,
    });
    let (sender, receiver) = sync_channel(WAITING);
    let is_over = Arc::new(AtomicBool::new(false));
    spawn("signals", {
        let is_over = Arc::clone(&is_over);
        move || end_by_signal(&is_over)
    })?;
    spawn("streams", {
        let (target, sender) = (Arc::clone(&target), sender.clone());
        move || follow(&target, &sender)
    })?;
    let (end, ended) = sync_channel(1);
    spawn("display", move || {
        // The process may have ended.
        let _ = end.send(display(&target, &sender, &receiver, &is_over));
    })?;
    loop {
        match ended.recv_timeout(CHECK) {
            Ok(done) => return done.map_err(Problem::from),
            Err(RecvTimeoutError::Timeout) if stdin().is_terminal() => {}
            // Its window was closed. The display would wait for keys without end, and without a pause.
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("the display has failed").into());
            }
        }
    }
}

/// Shows the streams, and leaves the terminal as it was.
fn display(
    target: &Arc<Target>,
    sender: &SyncSender<Message>,
    receiver: &Receiver<Message>,
    is_over: &AtomicBool,
) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, target, sender, receiver, is_over);
    let cursor = terminal.show_cursor();
    ratatui::try_restore()?;
    cursor?;
    shown
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(())
}

/// Draws and reads keys until the user or a signal ends it.
fn show(
    terminal: &mut DefaultTerminal,
    target: &Arc<Target>,
    sender: &SyncSender<Message>,
    receiver: &Receiver<Message>,
    is_over: &AtomicBool,
) -> io::Result<()> {
    let mut model = Model::default();
    while !is_over.load(Ordering::Relaxed) {
        terminal.draw(|frame| draw(frame, &model, &target.shown))?;
        if event::poll(KEYS)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            match model.key(key) {
                Action::None => {}
                Action::Quit => return Ok(()),
                Action::Stop(id) => {
                    let (target, sender) = (Arc::clone(target), sender.clone());
                    spawn("stop", move || {
                        // The display may be gone.
                        let _ = sender.send(Message::Stop(stop(&target, &id)));
                    })?;
                }
            }
        }
        for message in receiver.try_iter() {
            match message {
                Message::Facts(facts) => model.update(*facts),
                Message::Problem(problem) => model.lost(problem),
                Message::Stop(said) => model.said = Some(said),
            }
        }
    }
    Ok(())
}

/// Notes that a signal asks for the end, so that the terminal is restored first.
fn end_by_signal(is_over: &AtomicBool) {
    let waiting = || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hangup = signal(SignalKind::hangup())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
            }
            Ok(())
        })
    };
    // Without signals, keys still end it.
    if waiting().is_ok() {
        is_over.store(true, Ordering::Relaxed);
    }
}

/// Asks Weir again and again until the display is gone.
fn follow(target: &Target, sender: &SyncSender<Message>) {
    loop {
        let message = match streams(target) {
            Ok(facts) => Message::Facts(Box::new(facts)),
            Err(problem) => Message::Problem(problem),
        };
        if sender.send(message).is_err() {
            return;
        }
        thread::sleep(EVERY);
    }
}

/// Asks for the streams.
///
/// # Errors
/// If Weir does not tell them. The error says who did what instead.
fn streams(target: &Target) -> Result<Facts, String> {
    let shown = &target.shown;
    let said = ask::get(&target.place, "/streams", &fields(target), LIMIT);
    let (status, body) = said
        .and_then(read)
        .map_err(|error| format!("no connection to {shown}: {error}"))?;
    if status != 200 {
        return Err(refused(shown, status, &line(&body)));
    }
    serde_json::from_slice(&body).map_err(|_| {
        format!(
            "{shown} answered with something else than streams; is it the admin listener of a Weir?"
        )
    })
}

/// Returns what another answer than the streams means.
fn refused(shown: &str, status: u16, said: &str) -> String {
    if status == 404 || said.is_empty() {
        format!("{shown} answered {status}; is it the admin listener of a Weir?")
    } else {
        format!("{shown} answered {status}: {said}")
    }
}

/// Stops a stream. Returns what came of it, in words.
fn stop(target: &Target, id: &str) -> String {
    let words = format!("DELETE /streams/{id}");
    let said = ask::send(&target.place, &words, &fields(target), LIMIT);
    match said.and_then(read) {
        Ok((202, _)) => format!("stopping {id}"),
        Ok((404, _)) => format!("{id} has ended already"),
        Ok((401, _)) => {
            "expected the token of admin.token: start `weir top` with --token".to_owned()
        }
        Ok((status, body)) => format!("not stopped, {status}: {}", line(&body)),
        Err(error) => format!("not stopped: {error}"),
    }
}

fn fields(target: &Target) -> Vec<(&str, &str)> {
    let mut fields = vec![(target.mark.as_str(), "1")];
    if let Some(authorization) = &target.authorization {
        fields.push(("Authorization", authorization.as_str()));
    }
    fields
}

/// Reads a response to its end. Returns its status and body.
fn read((status, rest): ask::Answer) -> io::Result<(u16, Vec<u8>)> {
    let most = if status == 200 {
        MAX_DOCUMENT
    } else {
        MAX_TEXT
    };
    let mut text = Vec::new();
    rest.take(most).read_to_end(&mut text)?;
    let end = text.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let body = end.map_or(text.len(), |end| end + 4);
    Ok((status, text.split_off(body)))
}

/// Returns the first line of a text.
fn line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_the_url_of_the_page() {
        for (given, shown) in [
            (None, ADMIN),
            (Some(""), ADMIN),
            (Some("weir:9464"), "weir:9464"),
            (Some("http://10.0.0.5:9464/"), "10.0.0.5:9464"),
            (Some("unix:/run/weir.sock"), "unix:/run/weir.sock"),
        ] {
            assert_eq!(address(given), shown);
        }
    }

    #[test]
    fn invalid_arguments_are_rejected() {
        let wrong = top(Some("nowhere"), None);
        assert!(wrong.code == 2 && wrong.stderr.contains("nowhere: expected HOST:PORT"));
        let wrong = top(Some("https://10.0.0.5:9464"), None);
        assert!(wrong.code == 2 && wrong.stderr.contains("speaks http only"));
        let wrong = top(None, Some("s3cret"));
        assert!(wrong.code == 2 && wrong.stderr.contains("--token"));
        assert!(!wrong.stderr.contains("s3cret"));
    }

    #[test]
    fn a_response_that_is_not_weirs_is_reported() {
        let text = refused("a:1", 404, "");
        assert!(text.contains("a:1 answered 404; is it the admin"), "{text}");
        let text = refused("a:1", 403, "expected Host to be");
        assert_eq!(text, "a:1 answered 403: expected Host to be");
    }

    #[test]
    fn a_response_is_its_status_and_its_body() {
        let rest: Box<dyn Read> = Box::new(&b" OK\r\na: b\r\n\r\n{}"[..]);
        let (status, body) = read((200, rest)).unwrap();
        assert_eq!((status, &*body), (200, &b"{}"[..]));
        assert_eq!(line(b"one\ntwo"), "one");
        assert_eq!(line(b""), "");
    }
}
