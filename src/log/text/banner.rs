//! The banner at the start: what runs, where it listens, and where each route leads.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};

use super::format::{Clean, WIDTH, cut};

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
        let mut routes: Vec<&str> = self.routes.split("; ").collect();
        // A long list ends with how many it leaves out.
        let last = routes.last().copied().unwrap_or_default();
        let left_out = last.strip_prefix("and ").and_then(|rest| {
            let number = rest.strip_suffix(" more")?;
            number.parse::<usize>().ok()
        });
        if left_out.is_some() {
            routes.pop();
        }
        let shown = routes.iter().take(MAX_ROUTES);
        lines.extend(shown.map(|route| format!("    route {route}")));
        match routes.len().saturating_sub(MAX_ROUTES) + left_out.unwrap_or(0) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_are_not_shown_are_counted() {
        let more = |routes: Vec<String>| {
            let banner = Banner {
                routes: routes.join("; "),
                ..Banner::default()
            };
            let lines = banner.lines("now");
            let more = lines.lines().find(|line| line.ends_with("more routes"));
            more.map(str::to_owned)
        };
        let routes = |count: usize| vec!["r \u{2192} a".to_owned(); count];
        assert_eq!(more(routes(12)), None);
        assert_eq!(more(routes(14)).as_deref(), Some("    and 2 more routes"));
        let mut long = routes(100);
        long.push("and 400 more".to_owned());
        assert_eq!(more(long).as_deref(), Some("    and 488 more routes"));
    }
}
