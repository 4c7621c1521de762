//! The metrics of WebSockets: frames, bytes and close codes.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::busy::BusyGauge;
use super::register::{counters, register};

/// The codes that have a series of their own. 1005 stands for a close frame without a code, 1006 for none at all.
const CODES: [u16; 13] = [
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
];

/// The families with a route label.
#[derive(Debug)]
pub(super) struct WebSocketFamilies {
    frames: IntCounterVec,
    bytes: IntCounterVec,
    closes: IntCounterVec,
    sockets: IntGaugeVec,
    unacked: IntGaugeVec,
}

impl WebSocketFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        let count = |name, help, labels| counters(registry, name, help, labels);
        let gauge = |name: &str, help: &str| {
            let options = Opts::new(name, help);
            register(registry, IntGaugeVec::new(options, &["route"]))
        };
        Self {
            frames: count(
                "weir_websocket_frames_total",
                "WebSocket frames from clients (in) and to them (out).",
                &["route", "direction"],
            ),
            bytes: count(
                "weir_websocket_bytes_total",
                "Bytes of WebSockets from clients (in) and to them (out), with their framing.",
                &["route", "direction"],
            ),
            closes: count(
                "weir_websocket_closes_total",
                "WebSockets that ended, by the code of their first close frame.",
                &["route", "code"],
            ),
            sockets: gauge(
                "weir_websocket_sockets",
                "Open WebSockets that Weir bridges to HTTP.",
            ),
            unacked: gauge(
                "weir_websocket_unacked_events",
                "Events sent over bridged WebSockets and not acknowledged.",
            ),
        }
    }
}

/// The handles of one route.
#[derive(Debug)]
pub struct WebSocketRoute {
    /// Frames from clients, and to them.
    pub frames: [IntCounter; 2],
    /// Bytes from clients, and to them.
    pub bytes: [IntCounter; 2],
    /// Open WebSockets that are bridged.
    pub(super) sockets: IntGauge,
    /// Events that were sent over them and not acknowledged.
    pub unacked: BusyGauge,
    /// The number of unacknowledged events at the last scrape.
    unacked_sum: IntGauge,
    /// In the order of [`CODES`].
    closes: [IntCounter; CODES.len()],
    /// Codes of libraries and frameworks, of applications, and all others.
    ranges: [IntCounter; 3],
}

impl WebSocketRoute {
    pub(super) fn new(families: &WebSocketFamilies, route: &str) -> Self {
        let both = |family: &IntCounterVec| {
            ["in", "out"].map(|direction| family.with_label_values(&[route, direction]))
        };
        let code = |code: &str| families.closes.with_label_values(&[route, code]);
        Self {
            frames: both(&families.frames),
            bytes: both(&families.bytes),
            sockets: families.sockets.with_label_values(&[route]),
            unacked: BusyGauge::default(),
            unacked_sum: families.unacked.with_label_values(&[route]),
            closes: CODES.map(|known| code(&known.to_string())),
            ranges: ["3xxx", "4xxx", "other"].map(code),
        }
    }

    /// Adds up what the threads have counted separately.
    pub(super) fn flush(&self) {
        // A thread may have counted an acknowledgement while the others were added up.
        self.unacked_sum.set(self.unacked.sum().max(0));
    }

    /// Counts a WebSocket that ended with this code.
    pub fn closed(&self, code: u16) {
        let mut known = CODES.iter().zip(&self.closes);
        if let Some((_, counter)) = known.find(|(known, _)| **known == code) {
            counter.inc();
            return;
        }
        let [library, application, other] = &self.ranges;
        match code {
            3000..=3999 => library.inc(),
            4000..=4999 => application.inc(),
            _ => other.inc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn a_scrape_has_what_was_not_acknowledged() {
        let metrics = Metrics::new();
        let route = metrics.route("chat");
        for (change, sum) in [(0, 0), (3, 3), (-2, 1), (-2, 0)] {
            route.websocket.unacked.add(change);
            let line = format!("\nweir_websocket_unacked_events{{route=\"chat\"}} {sum}\n");
            assert!(metrics.encode().contains(&line), "{sum}");
            assert!(metrics.encode_openmetrics().contains(&line), "{sum}");
        }
    }

    #[test]
    fn every_code_is_counted_and_the_series_are_few() {
        let metrics = Metrics::new();
        let route = metrics.route("chat");
        for code in 0..=u16::MAX {
            route.websocket.closed(code);
        }
        let text = metrics.encode();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("weir_websocket_closes_total{"))
            .collect();
        assert_eq!(lines.len(), 16);
        let count = |code: &str| {
            let series = format!("weir_websocket_closes_total{{code=\"{code}\",route=\"chat\"}} ");
            let line = lines.iter().find_map(|line| line.strip_prefix(&series));
            line.unwrap().parse::<u64>().unwrap()
        };
        assert_eq!((count("1001"), count("1006")), (1, 1));
        assert_eq!((count("3xxx"), count("4xxx")), (1000, 1000));
        assert_eq!(count("other"), 65_536 - 2013);
    }
}
