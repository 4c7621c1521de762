//! Applies flags and `WEIR_*` variables to the file before it is checked.
//!
//! Flags override variables, which override the file. A flag is parsed by the decoder of its key, so that both accept
//! the same values and report the same errors.

use crate::config::address;
use crate::config::error::{Path, Place, Report};
use crate::config::group::{Group, Section};
use crate::config::kind::{Kind, Placed};
use crate::config::listen::ListenSection;
use crate::config::raw::Root;
use crate::config::tree::{Node, Value};
use crate::config::wrap::Entry;
use crate::config::{Endpoint, raw};

/// The values given outside the file. If a flag and its variable are both set, this holds the flag's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`, `WEIR_LISTEN`: key `listen`.
    pub listen: Option<String>,
    /// `--upstream`, `WEIR_UPSTREAM`: the endpoints of the only upstream.
    pub upstream: Option<String>,
    /// `--admin`, `WEIR_ADMIN`: key `admin.listen`.
    pub admin: Option<String>,
    /// `--workers`, `WEIR_WORKERS`: key `workers`.
    pub workers: Option<String>,
    /// `--log-level`, `WEIR_LOG_LEVEL`: key `log.level`.
    pub log_level: Option<String>,
    /// `--log-format`, `WEIR_LOG_FORMAT`: key `log.format`.
    pub log_format: Option<String>,
}

/// The position of values that do not come from the file.
const OUTSIDE: Place = Place { line: 0, column: 0 };

/// Overrides the file by every flag and variable except `--upstream`.
pub(crate) fn apply(root: &mut Root, overrides: &Overrides, report: &mut Report) {
    if let Some(text) = &overrides.listen {
        listen(root, text, report);
    }
    if let Some(text) = &overrides.workers {
        root.take("workers", &node(text), &flag("--workers"), report);
    }
    let admin: &mut raw::Admin = section(&mut root.admin);
    if let Some(text) = &overrides.admin {
        admin.take("listen", &node(text), &flag("--admin"), report);
    }
    let log: &mut raw::Log = section(&mut root.log);
    if let Some(text) = &overrides.log_level {
        log.take("level", &node(text), &flag("--log-level"), report);
    }
    if let Some(text) = &overrides.log_format {
        log.take("format", &node(text), &flag("--log-format"), report);
    }
}

/// Returns the endpoint given by `--upstream`.
pub(crate) fn upstream(overrides: &Overrides, report: &mut Report) -> Option<Endpoint> {
    let text = overrides.upstream.as_deref()?;
    address::agent(text)
        .map_err(|why| report.of(both("--upstream"), why))
        .ok()
}

/// Overrides `listen`. A single listener of the file gets the new address and keeps its TLS. Several listeners are
/// replaced by one, which is an error if any of them has TLS.
fn listen(root: &mut Root, text: &str, report: &mut Report) {
    let before = root
        .listen
        .take()
        .map(|listen| listen.value)
        .unwrap_or_default();
    let tls = |entry: &Entry<ListenSection>| {
        let entry = &entry.value;
        matches!(&entry.tls, Some(Placed { value: Some(_), .. }))
    };
    if before.len() > 1 && before.iter().any(tls) {
        report.of(both("--listen"), "the file has several listeners, some with TLS, which one address cannot replace; change `listen` in the file");
        return;
    }
    root.take("listen", &node(text), &flag("--listen"), report);
    let kept = before
        .into_iter()
        .find(tls)
        .and_then(|entry| entry.value.tls);
    if let Some(entry) = root
        .listen
        .as_mut()
        .and_then(|listen| listen.value.first_mut())
    {
        entry.value.tls = kept;
    }
}

fn node(text: &str) -> Node {
    Node {
        place: OUTSIDE,
        value: Value::Scalar {
            text: text.to_owned(),
            quoted: false,
        },
    }
}

/// Returns the path of a flag, which also names its variable, because which of the two was given is not known here.
fn flag(name: &str) -> Path {
    Path::default().key(&both(name))
}

/// Returns the position of a value that a flag or its variable gives, for messages.
pub(crate) fn place_of(name: &str) -> (Place, Path) {
    (OUTSIDE, flag(name))
}

/// Returns the keys of the file that flags and variables override.
pub(crate) fn overridden(overrides: &Overrides) -> impl Iterator<Item = &'static str> {
    let keys = [
        (&overrides.listen, "listen"),
        (&overrides.admin, "admin.listen"),
        (&overrides.workers, "workers"),
        (&overrides.log_level, "log.level"),
        (&overrides.log_format, "log.format"),
    ];
    let given = keys.map(|(value, key)| value.is_some().then_some(key));
    given.into_iter().flatten()
}

/// Returns the names of a flag and its variable, as messages show them.
pub(crate) fn both(flag: &str) -> String {
    let word = flag
        .trim_start_matches('-')
        .replace('-', "_")
        .to_uppercase();
    format!("{flag} or WEIR_{word}")
}

/// Returns the section, and creates it if the file has none.
fn section<G: Group>(field: &mut Option<Placed<<Section<G> as Kind>::Out>>) -> &mut G {
    &mut field
        .get_or_insert_with(|| Placed {
            place: OUTSIDE,
            value: G::default(),
        })
        .value
}
