//! The raw key `websocket`: a word, or a section with the settings of bridges.

use serde_json::json;

use super::{MINUTES_10, MS, count, time};
use crate::config::choices;
use crate::config::defaults as preset;
use crate::config::error::{Path, Report};
use crate::config::group::{Group, group, object};
use crate::config::kind::{Below, Kind, Placed, Shape};
use crate::config::number::{Count, Time};
use crate::config::text::{Flag, OneOf, Text};
use crate::config::tree::{Node, Value};
use crate::config::websocket::{self, AllowedOrigin, Claimed};
use crate::config::wrap::{OneOrMany, OrNull, OrOff};

group! {
    /// The section `websocket`.
    WebSocket {
        /// Who takes the WebSocket: `tunnel` lets the agent decide, `bridge` is Weir itself, `off` refuses with 501.
        mode: OrOff<OneOf<websocket::WebSocket>> = mode();
        /// Whether clients of a bridge acknowledge events: `optional` limits what waits for an acknowledgement once a
        /// client has sent one, `required` from the start, `off` never.
        ack: OrOff<OneOf<Claimed>> =
            OrOff { inner: OneOf { choices: choices::ACKS.to_vec(), preset: preset::ACK }, off: None };
        /// How many events of a run a client may leave unacknowledged. Further ones wait in the queue.
        ack_window: Count = count(preset::ACK_WINDOW, 1, 65_536);
        /// How long a client may acknowledge nothing while `ack_window` events are unacknowledged. It gets close 1013
        /// then.
        ack_timeout: Time = time(preset::ACK_TIMEOUT, MS, MINUTES_10);
        /// Sites whose pages may open a bridge, or `*` for all. `null` allows those of the host that the request asks
        /// for.
        origins: OrNull<OneOrMany<Text<AllowedOrigin>>> =
            OrNull {
                inner: OneOrMany {
                    inner: Text {
                        form: "an origin such as `https://app.example.com`",
                        parse: websocket::origin,
                        preset: None,
                    },
                },
                why: preset::ORIGINS_WHY,
            };
        /// Whether the end of a run that was stopped is an event `interrupted` instead of an `error` with the code
        /// `stopped`.
        interrupted: Flag = Flag { preset: preset::INTERRUPTED };
    }
}

fn mode() -> OrOff<OneOf<websocket::WebSocket>> {
    OrOff {
        inner: OneOf {
            choices: choices::WEBSOCKETS.to_vec(),
            preset: preset::WEBSOCKET,
        },
        off: None,
    }
}

/// A mode, or the section.
pub(crate) struct WordOrSection;

impl Kind for WordOrSection {
    type Out = WebSocket;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<WebSocket> {
        if !matches!(node.value, Value::Scalar { .. }) {
            return WebSocket::read(node, path, report);
        }
        let value = mode().read(node, path, report)?;
        Some(WebSocket {
            mode: Some(Placed {
                place: node.place,
                value,
            }),
            ..WebSocket::default()
        })
    }

    fn shape(&self) -> Shape {
        let words = json!({ "enum": ["bridge", "tunnel", "off", false] });
        let schema = json!({ "anyOf": [words, object::<WebSocket>()] });
        Shape {
            below: Below::Keys(WebSocket::keys()),
            ..Shape::leaf("`bridge`, `tunnel`, `off` or section", schema, None, "")
        }
    }
}
