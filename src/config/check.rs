//! Turns the file as written into the checked configuration: fills in defaults, checks rules that involve several keys,
//! and connects routes with their upstreams.

use std::io::Read;
use std::path::Path as FilePath;
use std::string::FromUtf8Error;
use std::sync::Arc;

use crate::config::defaults as preset;
use crate::config::descriptors::{self, Descriptors, Users};
use crate::config::error::{Path, Problems, Report};
use crate::config::group::Group;
use crate::config::kind::{Placed, or};
use crate::config::listen::{ListenSection, ListenTls as RawTls};
use crate::config::number::bound;
use crate::config::overlap::overlap;
use crate::config::overrides::{self, Overrides};
use crate::config::raw::{self, Root};
use crate::config::{
    Config, Drain, Limits, Listen, ListenTls, Log, LogAccess, LogFormat, MemoryLimit, Upstream,
    Written, address, admin, complete, journals, listening, own_address, pem, routes, traces, tree,
    upstreams,
};

/// Largest file that is read. Some thousand routes fit; a ConfigMap holds 1 MiB.
const MAX_FILE_BYTES: usize = 4 << 20;

/// Reads and checks a configuration. `source` is the name and text of the file, `overrides` holds the flags and
/// variables.
///
/// Reads no files except `/proc/self/limits` and the certificates, keys and secrets that the configuration names.
pub fn load(source: Option<(&str, &str)>, overrides: &Overrides) -> Result<Config, Problems> {
    built(source, overrides, false)
}

fn built(
    source: Option<(&str, &str)>,
    overrides: &Overrides,
    is_reload: bool,
) -> Result<Config, Problems> {
    let mut report = Report::default();
    let name = source.map(|(name, _)| name);
    let (mut root, mut written) = (Root::default(), Written::default());
    if let Some((_, text)) = source {
        let Some(read) = decode(text, &mut report) else {
            return Err(report.into_problems(name));
        };
        (root, written) = read;
    }
    overrides::apply(&mut root, overrides, &mut report);
    let config = checked(&root, overrides, is_reload, &mut report);
    match config {
        Some(config) if report.is_empty() => {
            overrides::overridden(overrides).for_each(|key| written.forget(key));
            let written = Arc::new(written.doubted(report.take_warnings()));
            Ok(Config { written, ..config })
        }
        config => {
            let is_known = report.is_fine("listen") && report.is_fine("admin");
            let listening = config.filter(|_| is_known).map(|config| {
                overrides::overridden(overrides).for_each(|key| written.forget(key));
                listening(&Config {
                    written: Arc::new(written),
                    ..config
                })
            });
            Err(Problems {
                listening: listening.unwrap_or_default(),
                ..report.into_problems(name)
            })
        }
    }
}

/// Like [`load`], for a file on disk.
pub fn load_file(path: &FilePath, overrides: &Overrides) -> Result<Config, Problems> {
    built_of(path, overrides, false)
}

/// Like [`load_file`], for a process that is already running. Secrets that were needed only at start may be missing.
pub fn reload_file(path: &FilePath, overrides: &Overrides) -> Result<Config, Problems> {
    built_of(path, overrides, true)
}

fn built_of(path: &FilePath, overrides: &Overrides, is_reload: bool) -> Result<Config, Problems> {
    let name = path.display().to_string();
    match read(path).map(String::from_utf8) {
        Ok(Ok(text)) => built(Some((&name, &text)), overrides, is_reload),
        Ok(Err(error)) => Err(Problems::of_file(&name, not_utf8(&error))),
        Err(error) => Err(Problems::of_file(&name, format!("cannot be read: {error}"))),
    }
}

/// Says where a file stops being UTF-8 text.
fn not_utf8(error: &FromUtf8Error) -> String {
    let bytes = error.as_bytes();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return "is UTF-16 text; save it as UTF-8".to_owned();
    }
    let read = bytes.get(..error.utf8_error().valid_up_to());
    let line = read
        .unwrap_or_default()
        .split(|byte| *byte == b'\n')
        .count();
    format!("is not UTF-8 text from line {line} on")
}

/// Reads the file, up to one byte more than the limit, which shows that it is too large.
fn read(path: &FilePath) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX) + 1;
    std::fs::File::open(path)?
        .take(bound)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decode(text: &str, report: &mut Report) -> Option<(Root, Written)> {
    if text.len() > MAX_FILE_BYTES {
        report.of(
            "",
            format!("the file is larger than {MAX_FILE_BYTES} bytes"),
        );
        return None;
    }
    let node = tree::parse(text, report)?;
    let root = Root::read(&node, &Path::default(), report)?;
    Some((root, Written::of(&node)))
}

fn checked(
    root: &Root,
    overrides: &Overrides,
    is_reload: bool,
    report: &mut Report,
) -> Option<Config> {
    let listen = listeners(root, report);
    let admin = admin::checked(root, &listen, is_reload, report);
    let traces = traces::checked(root, is_reload, report);
    let drain = drain(root.drain.as_ref().map(|drain| &drain.value), report);
    let upstreams = upstreams::all(root, overrides, report);
    let routes = routes::all(root, &upstreams, report);
    let complete = complete::checked(root, is_reload, report);
    let journals = journals::checked(root, is_reload, report);
    own_address::check(root, &upstreams, &listen, &admin, report);
    // Upstreams that no route uses are checked, but left out.
    let (upstreams, unused): (Vec<_>, Vec<_>) = upstreams.into_iter().partition(|upstream| {
        let mut used = routes.iter().flat_map(|route| route.upstreams());
        used.any(|used| Arc::ptr_eq(used, upstream))
    });
    warn_of_unused(root, &unused, report);
    let workers = workers(root);
    let sharers = Sharers {
        workers,
        listeners: listen.len(),
        upstreams: &upstreams,
        fan_out: (routes.iter().map(|route| route.upstreams().count()).max()).unwrap_or(1),
    };
    let limits = limits(root.limits.as_ref().map(|limits| &limits.value), &sharers);
    Some(Config {
        listen,
        admin,
        workers,
        log: log(root),
        traces,
        complete,
        journals,
        probe: (root.probe.as_ref()).map_or(preset::PROBE.value, |placed| placed.value),
        drain,
        limits,
        upstreams,
        written: Arc::default(),
        routes: Some(routes).filter(|routes| !routes.is_empty())?,
    })
}

fn warn_of_unused(root: &Root, unused: &[Arc<Upstream>], report: &mut Report) {
    if !report.is_fine("routes") || !report.is_fine("upstreams") {
        // A route that could not be read may use it.
        return;
    }
    let named = root.upstreams.iter().flat_map(|named| &named.value);
    for (name, _) in named {
        if unused.iter().any(|upstream| *upstream.name == *name.value) {
            let path = Path::default().key("upstreams").key(&name.value);
            report.warn(name.place, &path, "is used by no route");
        }
    }
}

fn listeners(root: &Root, report: &mut Report) -> Vec<Listen> {
    let Some(entries) = &root.listen else {
        let address = address::listen(preset::LISTEN.value);
        return address
            .map(|address| Listen { address, tls: None })
            .into_iter()
            .collect();
    };
    let mut list: Vec<Listen> = Vec::new();
    for entry in &entries.value {
        let path = Path::default().key("listen").entry(entry.index);
        let Some(listen) = listener(&entry.value, &path, report) else {
            continue;
        };
        // Port 0 may be listed twice, because the system assigns a free port each time.
        let twice = list
            .iter()
            .any(|other| other.address == listen.address && !address::is_any_port(&listen.address));
        if twice {
            report.at(entry.place, &path, "the same address is listed twice");
        } else if let Some(other) =
            (list.iter()).find(|other| overlap(&other.address, &listen.address))
        {
            let message = format!(
                "{} and {} cannot both be listened on, because one includes the other; remove one of them, or change its port",
                other.address, listen.address
            );
            report.at(entry.place, &path, message);
        }
        list.push(listen);
    }
    list
}

fn listener(entry: &ListenSection, path: &Path, report: &mut Report) -> Option<Listen> {
    let tls = match entry.tls.as_ref().and_then(|tls| tls.value.as_ref()) {
        Some(tls) => Some(listen_tls(tls, &path.key("tls"), report)?),
        None => None,
    };
    let address = entry.address.as_ref()?.value.clone();
    Some(Listen { address, tls })
}

fn listen_tls(tls: &RawTls, path: &Path, report: &mut Report) -> Option<ListenTls> {
    let client_ca = tls.client_ca.as_ref().and_then(|file| {
        Some(Placed {
            place: file.place,
            value: file.value.clone()?,
        })
    });
    pem::pair(tls.cert.as_ref(), tls.key.as_ref(), path, report);
    pem::authorities(client_ca.as_ref(), &path.key("client_ca"), report);
    Some(ListenTls {
        cert: tls.cert.as_ref()?.value.clone(),
        key: tls.key.as_ref()?.value.clone(),
        client_ca: client_ca.map(|file| file.value),
    })
}

fn drain(raw: Option<&raw::Drain>, report: &mut Report) -> Drain {
    let delay = raw.and_then(|raw| raw.delay.as_ref());
    let limit = raw.and_then(|raw| raw.limit.as_ref());
    let drain = Drain {
        delay: or(delay, preset::DRAIN_DELAY.value),
        limit: or(limit, preset::DRAIN_LIMIT.value),
    };
    if drain.delay > drain.limit {
        let [delay_text, limit_text] = [drain.delay, drain.limit].map(super::units::show_duration);
        let path = Path::default().key("drain");
        match (delay, limit) {
            (Some(delay), _) => report.at(delay.place, &path.key("delay"), format!("{delay_text} is longer than `drain.limit` ({limit_text}); both count from the start of the drain")),
            (None, Some(limit)) => report.at(limit.place, &path.key("limit"), format!("{limit_text} is shorter than `drain.delay` ({delay_text}); both count from the start of the drain")),
            (None, None) => {}
        }
    }
    drain
}

fn log(root: &Root) -> Log {
    let raw = root.log.as_ref().map(|log| &log.value);
    let level = raw
        .and_then(|raw| raw.level.as_ref())
        .map(|level| level.value.clone());
    Log {
        format: or(raw.and_then(|raw| raw.format.as_ref()), LogFormat::Auto),
        level: level.unwrap_or_else(|| preset::LOG_LEVEL.value.to_owned()),
        access: or(raw.and_then(|raw| raw.access.as_ref()), LogAccess::All),
    }
}

fn workers(root: &Root) -> usize {
    match root.workers.as_ref().and_then(|workers| workers.value) {
        Some(count) => bound(count),
        None => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

/// Who shares the file descriptors, besides what `limits` says.
struct Sharers<'a> {
    workers: usize,
    listeners: usize,
    upstreams: &'a [Arc<Upstream>],
    fan_out: usize,
}

fn limits(raw: Option<&raw::Limits>, sharers: &Sharers<'_>) -> Limits {
    let none = raw::Limits::default();
    let raw = raw.unwrap_or(&none);
    let given = |count: &Option<Placed<Option<u64>>>| count.as_ref()?.value.map(bound);
    let users = Users {
        workers: sharers.workers,
        listeners: sharers.listeners,
        upstreams: sharers.upstreams,
        max_connections: given(&raw.max_connections),
        max_requests: given(&raw.max_requests),
        max_streams: bound(or(raw.max_streams.as_ref(), preset::MAX_STREAMS.value)),
        fan_out: sharers.fan_out,
    };
    let descriptors = Descriptors::divide(descriptors::limit(), &users);
    let max_requests = (users.max_requests).unwrap_or_else(|| descriptors.requests(&users));
    Limits {
        max_connections: (users.max_connections).unwrap_or_else(|| descriptors.connections()),
        max_requests,
        max_detached: given(&raw.max_detached)
            .unwrap_or_else(|| (max_requests / preset::DETACHED_PART).max(1)),
        max_streams: users.max_streams,
        descriptors,
        max_header_bytes: bound(or(
            raw.max_header_bytes.as_ref(),
            preset::MAX_HEADER_BYTES.value,
        )),
        max_headers: bound(or(raw.max_headers.as_ref(), preset::MAX_HEADERS.value)),
        request_head: or(raw.request_head.as_ref(), preset::REQUEST_HEAD.value),
        request_body: or(raw.request_body.as_ref(), preset::REQUEST_BODY.value),
        keep_alive: or(raw.keep_alive.as_ref(), preset::KEEP_ALIVE.value),
        memory: match raw.memory.as_ref().map(|memory| memory.value) {
            None | Some(None) => MemoryLimit::Auto,
            Some(Some(None)) => MemoryLimit::Off,
            Some(Some(Some(bytes))) => MemoryLimit::Bytes(bytes),
        },
    }
}
