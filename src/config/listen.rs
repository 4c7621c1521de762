//! Reads one client listener: an address, or a section with an address and TLS files.

use std::path::PathBuf;

use serde_json::json;

use crate::config::error::{Path, Report};
use crate::config::group::{Group, Section, group, object};
use crate::config::kind::{Below, Kind, Placed, Shape};
use crate::config::text::Text;
use crate::config::tree::{Node, Value};
use crate::config::wrap::OrNull;
use crate::config::{Address, address};

group! {
    /// A listener written as a section.
    ListenSection requires ["address"] {
        /// Where clients connect: `host:port`, `:port` or `unix:/path`.
        address: Text<Address> = listen_text();
        /// TLS of this listener; `null` is plain text.
        tls: OrNull<Section<ListenTls>> =
            OrNull {
                inner: Section(std::marker::PhantomData),
                why: "Most sidecars and load balancers talk plain text inside a pod or a cluster.",
            };
    }
}

group! {
    /// The section `listen.tls`.
    ListenTls requires ["cert", "key"] {
        /// Certificate chain, a PEM file with the server's own certificate first. Read again when
        /// it changes.
        cert: Text<PathBuf> = file();
        /// Private key, a PEM file. Read again when it changes.
        key: Text<PathBuf> = file();
        /// When set, clients must show a certificate that one of these authorities signed; a PEM
        /// file.
        client_ca: OrNull<Text<PathBuf>> =
            OrNull { inner: file(), why: "Clients are not asked for certificates." };
    }
}

/// One listener, as an address or as a section.
pub(crate) struct ListenEntry;

impl Kind for ListenEntry {
    type Out = ListenSection;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<ListenSection> {
        if matches!(node.value, Value::Map(_)) {
            return ListenSection::read(node, path, report);
        }
        let value = listen_text().read(node, path, report)?;
        Some(ListenSection {
            address: Some(Placed {
                place: node.place,
                value,
            }),
            tls: None,
        })
    }

    fn shape(&self) -> Shape {
        let section = object::<ListenSection>();
        let schema = json!({ "anyOf": [listen_text().shape().schema, section] });
        Shape {
            below: Below::List(ListenSection::keys()),
            ..Shape::leaf("address or section", schema, None, "")
        }
    }
}

/// Returns the kind of a listening address, which client listeners and the admin listener share.
pub(crate) fn listen_text() -> Text<Address> {
    Text {
        form: "an address such as `127.0.0.1:8080` or `unix:/path`",
        parse: address::listen,
        preset: None,
    }
}

/// Returns the kind of a file name. Whether the file can be read is checked later.
pub(crate) fn file() -> Text<PathBuf> {
    Text {
        form: "a file",
        parse: address::file,
        preset: None,
    }
}
