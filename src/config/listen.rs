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
        /// Address to listen on: `host:port`, `:port` or `unix:/path`.
        address: Text<Address> = listen_text();
        /// TLS settings of this listener. `null` means plain text.
        tls: OrNull<Section<ListenTls>> =
            OrNull {
                inner: Section(std::marker::PhantomData),
                why: "Most sidecars and load balancers use plain text inside a pod or a cluster.",
            };
    }
}

group! {
    /// The section `listen.tls`.
    ListenTls requires ["cert", "key"] {
        /// PEM file with the certificate chain, the server's own certificate first. Reloaded when it changes.
        cert: Text<PathBuf> = file();
        /// PEM file with the private key. Reloaded when it changes.
        key: Text<PathBuf> = file();
        /// PEM file with certificate authorities. If set, clients must present a certificate signed by one of them
        /// (mutual TLS).
        client_ca: OrNull<Text<PathBuf>> =
            OrNull { inner: file(), why: "By default, clients need no certificate." };
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
