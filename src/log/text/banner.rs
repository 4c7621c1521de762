//! The banner at the start: what runs, where it listens, and where each route leads.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};

use super::words::{Clean, WIDTH, cut};

/// How many routes are shown.
const MAX_ROUTES: usize = 12;

/// The facts of the event `started`. Lists have `; ` between their items.
#[derive(Debug, Default)]
pub(super) struct Banner {
    version: String,
    features: String,
    listeners: String,
    routes: String,
    admin: String,
}

impl Banner {
    /// Returns the lines, with their ends.
    pub(super) fn lines(&self, now: &str) -> String {
        let features = match &*self.features {
            "" => "none",
            features => features,
        };
        let mut lines = vec![format!(
            "{now} weir {} (features: {features})",
            self.version
        )];
        let items = self.listeners.split("; ");
        lines.extend(items.map(|listener| format!("    listens on {listener}")));
        let routes: Vec<&str> = self.routes.split("; ").collect();
        let shown = routes.iter().take(MAX_ROUTES);
        lines.extend(shown.map(|route| format!("    route {route}")));
        match routes.len().saturating_sub(MAX_ROUTES) {
            0 => {}
            more => lines.push(format!("    and {more} more routes")),
        }
        lines.push(format!("    admin {}", self.admin));
        lines
            .iter()
            .map(|line| format!("{}\n", cut(line, WIDTH)))
            .collect()
    }
}

impl Visit for Banner {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "version" => &mut self.version,
            "features" => &mut self.features,
            "listeners" => &mut self.listeners,
            "routes" => &mut self.routes,
            "admin" => &mut self.admin,
            _ => return,
        };
        // Writing to a string cannot fail.
        let _ = write!(Clean::single(text), "{value:?}");
    }
}
