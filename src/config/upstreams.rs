//! Checks the upstreams: endpoints, client-side TLS, ejection and health checks.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::defaults as preset;
use crate::config::error::{Path, Report, nearest, shown};
use crate::config::kind::{Placed, or};
use crate::config::overrides::{self, Overrides};
use crate::config::raw::{self, Root};
use crate::config::{Eject, Endpoint, Health, Roots, Talk, Upstream, UpstreamTls, pem};

/// Name of the upstream that `--upstream` creates if the file has none.
const ONLY: &str = "agent";

/// Returns every upstream of the file, with `--upstream` applied.
pub(crate) fn all(root: &Root, overrides: &Overrides, report: &mut Report) -> Vec<Arc<Upstream>> {
    let raw = root
        .upstreams
        .as_ref()
        .map_or(&[][..], |upstreams| &upstreams.value);
    let given = overrides::upstream(overrides, report);
    let mut list: Vec<Upstream> = raw
        .iter()
        .map(|(name, raw)| upstream(&name.value, raw, report))
        .collect();
    match (given, list.as_mut_slice()) {
        (Some(endpoint), []) => {
            let mut only = upstream(ONLY, &raw::Upstream::default(), report);
            only.endpoints = vec![endpoint];
            list.push(only);
        }
        (Some(endpoint), [only]) => only.endpoints = vec![endpoint],
        (Some(_), several) => {
            let names: Vec<_> = several.iter().map(|upstream| &*upstream.name).collect();
            report.of(
                overrides::both("--upstream"),
                format!(
                    "the file has several upstreams ({}); change their `endpoints` in the file",
                    names.join(", ")
                ),
            );
        }
        (None, [])
            if overrides.upstream.is_none()
                && root.upstreams.is_none()
                && report.is_fine("upstreams") =>
        {
            report.of("upstreams", "is missing; name an agent in the file, as in `upstreams: {agent: {endpoints: [\"http://127.0.0.1:8000\"]}}`, or by `--upstream http://127.0.0.1:8000`");
        }
        (None, []) => {
            if let Some(upstreams) = &root.upstreams {
                report.at(
                    upstreams.place,
                    &Path::default().key("upstreams"),
                    "is empty; at least one upstream is needed",
                );
            }
        }
        (None, _) => {}
    }
    list.into_iter().map(Arc::new).collect()
}

fn upstream(name: &str, raw: &raw::Upstream, report: &mut Report) -> Upstream {
    let path = Path::default().key("upstreams").key(name);
    let endpoints = endpoints(raw, &path.key("endpoints"), report);
    let eject = raw.eject.as_ref().map(|eject| &eject.value);
    let health = raw.health.as_ref().map(|health| &health.value);
    let failures = or(
        eject.and_then(|eject| eject.failures.as_ref()),
        preset::EJECT_FAILURES.value,
    );
    Upstream {
        name: Arc::from(name),
        pool_idle: or(raw.pool_idle.as_ref(), preset::POOL_IDLE.value),
        connect_budget: or(raw.connect_budget.as_ref(), preset::CONNECT_BUDGET.value),
        http2: or(raw.http2.as_ref(), preset::HTTP2.value),
        tls: tls(raw.tls.as_ref(), &endpoints, &path.key("tls"), report),
        talk: talk(raw, &endpoints, &path, report),
        eject: Eject {
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
            pause: or(
                eject.and_then(|eject| eject.pause.as_ref()),
                preset::EJECT_FOR.value,
            ),
        },
        health: Health {
            path: health
                .and_then(|health| health.path.as_ref())
                .and_then(|path| path.value.clone()),
            interval: or(
                health.and_then(|health| health.interval.as_ref()),
                preset::HEALTH_INTERVAL.value,
            ),
        },
        endpoints,
    }
}

fn endpoints(raw: &raw::Upstream, path: &Path, report: &mut Report) -> Vec<Endpoint> {
    let placed = raw
        .endpoints
        .as_ref()
        .map_or(&[][..], |endpoints| &endpoints.value);
    let mut list: Vec<Endpoint> = Vec::new();
    for endpoint in placed {
        if list.contains(&endpoint.value) {
            report.at(
                endpoint.place,
                &path.entry(endpoint.index),
                "the same endpoint is listed twice",
            );
        }
        list.push(endpoint.value.clone());
    }
    list
}

/// Checks what concerns only agents that speak WebSocket.
fn talk(raw: &raw::Upstream, endpoints: &[Endpoint], path: &Path, report: &mut Report) -> Talk {
    let speaks = endpoints.iter().any(|endpoint| endpoint.websocket);
    let entries = raw.endpoints.as_ref().map_or(&[][..], |all| &all.value);
    for entry in entries.iter().filter(|entry| !entry.value.websocket) {
        if speaks {
            report.at(
                entry.place,
                &path.key("endpoints").entry(entry.index),
                "is no WebSocket as others are; the endpoints of an upstream are either all WebSockets or none of them is",
            );
        }
    }
    if let Some(Placed { place, value: true }) = raw.http2
        && speaks
    {
        report.at(
            place,
            &path.key("http2"),
            "is not possible with WebSocket endpoints, which begin in HTTP/1.1",
        );
    }
    let section = raw.websocket.as_ref();
    let talk = section.map_or_else(Talk::default, |section| {
        let raw::Talk { open, interrupt } = &section.value;
        Talk {
            open: open.as_ref().and_then(|open| open.value.clone()),
            interrupt: interrupt.as_ref().and_then(|text| text.value.clone()),
        }
    });
    if let Some(section) = section
        && talk != Talk::default()
        && !speaks
        && !endpoints.is_empty()
    {
        report.at(
            section.place,
            &path.key("websocket"),
            "has no effect, because no endpoint begins with `ws://` or `wss://`",
        );
    }
    talk
}

/// Checks the TLS settings for connections to `endpoints`.
pub(crate) fn tls(
    raw: Option<&Placed<raw::UpstreamTls>>,
    endpoints: &[Endpoint],
    path: &Path,
    report: &mut Report,
) -> UpstreamTls {
    let none = raw::UpstreamTls::default();
    let (place, raw) = raw.map_or((None, &none), |tls| (Some(tls.place), &tls.value));
    let [ca_file, cert, key] = [&raw.ca_file, &raw.cert, &raw.key].map(given);
    pem::authorities(ca_file.as_ref(), &path.key("ca_file"), report);
    pem::pair(cert.as_ref(), key.as_ref(), path, report);
    match (&cert, &key) {
        (Some(cert), None) => report.at(cert.place, &path.key("cert"), "needs `key` beside it"),
        (None, Some(key)) => report.at(key.place, &path.key("key"), "needs `cert` beside it"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let roots = raw.roots.as_ref();
    if let (
        Some(Placed {
            place,
            value: Roots::None,
        }),
        None,
    ) = (roots, &ca_file)
    {
        report.at(
            *place,
            &path.key("roots"),
            "`none` needs `ca_file`; without it no certificate would be trusted",
        );
    }
    let written = ca_file.is_some()
        || cert.is_some()
        || roots.is_some_and(|roots| roots.value == Roots::None);
    if let Some(place) = place
        && written
        && !endpoints.is_empty()
        && !endpoints.iter().any(|endpoint| endpoint.tls)
    {
        report.at(
            place,
            path,
            "has no effect, because no endpoint begins with `https://`",
        );
    }
    UpstreamTls {
        roots: or(roots, Roots::Bundled),
        ca_file: ca_file.map(|file| file.value),
        cert: cert.map(|file| file.value),
        key: key.map(|file| file.value),
        server_name: raw.server_name.as_ref().and_then(|name| name.value.clone()),
    }
}

/// Returns the upstream that a route or an agent wants, or reports that there is none.
pub(crate) fn known<'a>(
    wanted: &Placed<String>,
    upstreams: &'a [Arc<Upstream>],
    path: &Path,
    report: &mut Report,
) -> Option<&'a Arc<Upstream>> {
    let found = upstreams
        .iter()
        .find(|upstream| *upstream.name == *wanted.value);
    // A configuration without any upstream is reported elsewhere.
    if found.is_none() && !upstreams.is_empty() {
        let hint = match nearest(
            &wanted.value,
            upstreams.iter().map(|upstream| &*upstream.name),
        ) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("the upstreams are {}", names(upstreams)),
        };
        report.at(
            wanted.place,
            path,
            format!("no upstream is named {}; {hint}", shown(&wanted.value)),
        );
    }
    found
}

/// Returns the names of the upstreams, for a message.
pub(crate) fn names(upstreams: &[Arc<Upstream>]) -> String {
    upstreams
        .iter()
        .map(|upstream| &*upstream.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns the file name, if one is given.
fn given(file: &Option<Placed<Option<PathBuf>>>) -> Option<Placed<PathBuf>> {
    let file = file.as_ref()?;
    Some(Placed {
        place: file.place,
        value: file.value.clone()?,
    })
}
