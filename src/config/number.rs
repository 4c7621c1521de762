//! Kinds of numbers: durations, sizes, shares and counts, each with its range.

use std::time::Duration;

use serde_json::json;

use crate::config::defaults::Preset;
use crate::config::error::{Path, Report, shown};
use crate::config::kind::{Kind, Shape, refuse, scalar};
use crate::config::tree::Node;
use crate::config::units;

/// A duration with a unit.
pub(crate) struct Time {
    /// The default.
    pub(crate) preset: Preset<Duration>,
    /// Smallest and largest allowed value.
    pub(crate) range: (Duration, Duration),
}

impl Kind for Time {
    type Out = Duration;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Duration> {
        let (text, _) = scalar(node, path, "a duration such as `5s`", report)?;
        let (low, high) = self.range;
        match units::duration(text) {
            Ok(time) if (low..=high).contains(&time) => Some(time),
            Ok(_) => {
                let (low, high) = (units::show_duration(low), units::show_duration(high));
                report.at(
                    node.place,
                    path,
                    format!("{} is not allowed ({low} to {high})", shown(text)),
                );
                None
            }
            Err(why) => refuse(node, path, text, &why, report),
        }
    }

    fn shape(&self) -> Shape {
        let (low, high) = (
            units::show_duration(self.range.0),
            units::show_duration(self.range.1),
        );
        let default = json!(units::show_duration(self.preset.value));
        let schema = json!({ "type": "string", "minLength": 2, "pattern": units::TIME_PATTERN });
        Shape::leaf(
            format!("duration, {low} to {high}"),
            schema,
            Some(default),
            self.preset.why,
        )
    }
}

/// A size in bytes, with a unit or as a plain whole number.
pub(crate) struct Size {
    /// The default.
    pub(crate) preset: Preset<u64>,
    /// Smallest and largest allowed value.
    pub(crate) range: (u64, u64),
}

impl Kind for Size {
    type Out = u64;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<u64> {
        let (text, _) = scalar(node, path, "a size such as `64KiB`", report)?;
        let (low, high) = self.range;
        match units::size(text) {
            Ok(bytes) if (low..=high).contains(&bytes) => Some(bytes),
            Ok(_) => {
                let (low, high) = (units::show_size(low), units::show_size(high));
                report.at(
                    node.place,
                    path,
                    format!("{} is not allowed ({low} to {high})", shown(text)),
                );
                None
            }
            Err(why) => refuse(node, path, text, &why, report),
        }
    }

    fn shape(&self) -> Shape {
        let (low, high) = (
            units::show_size(self.range.0),
            units::show_size(self.range.1),
        );
        let default = json!(units::show_size(self.preset.value));
        let schema = json!({ "anyOf": [
            { "type": "string", "pattern": units::SIZE_PATTERN },
            { "type": "integer", "minimum": self.range.0, "maximum": self.range.1 },
        ] });
        Shape::leaf(
            format!("size, {low} to {high}"),
            schema,
            Some(default),
            self.preset.why,
        )
    }
}

/// A fraction from 0 to 1.
pub(crate) struct Share {
    /// The default.
    pub(crate) preset: Preset<f64>,
}

impl Kind for Share {
    type Out = f64;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<f64> {
        let (text, quoted) = scalar(node, path, "a number from 0 to 1", report)?;
        let share = text.parse::<f64>().ok().filter(|_| !quoted);
        match share.filter(|share| (0.0..=1.0).contains(share)) {
            Some(share) => Some(share),
            None => refuse(node, path, text, "is not a number from 0 to 1", report),
        }
    }

    fn shape(&self) -> Shape {
        Shape::leaf(
            "number, 0 to 1",
            json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            Some(json!(self.preset.value)),
            self.preset.why,
        )
    }
}

/// A whole number.
pub(crate) struct Count {
    /// The default.
    pub(crate) preset: Preset<u64>,
    /// Smallest and largest allowed value.
    pub(crate) range: (u64, u64),
}

impl Kind for Count {
    type Out = u64;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<u64> {
        let (text, quoted) = scalar(node, path, "a whole number", report)?;
        let (low, high) = self.range;
        match units::whole(text).filter(|_| !quoted) {
            Some(count) if (low..=high).contains(&count) => Some(count),
            Some(_) => {
                report.at(
                    node.place,
                    path,
                    format!("{text} is not allowed ({low} to {high})"),
                );
                None
            }
            // `-1` and `1.5` are numbers, so the message says which numbers are allowed.
            None if !quoted && text.parse::<f64>().is_ok() => {
                report.at(
                    node.place,
                    path,
                    format!(
                        "{} is not allowed (whole number, {low} to {high})",
                        shown(text)
                    ),
                );
                None
            }
            None if quoted && units::whole(text).is_some() => refuse(
                node,
                path,
                text,
                "is text; write the number without quotes",
                report,
            ),
            None => refuse(
                node,
                path,
                text,
                &format!("is not a whole number ({low} to {high})"),
                report,
            ),
        }
    }

    fn shape(&self) -> Shape {
        let (low, high) = self.range;
        let schema = json!({ "type": "integer", "minimum": low, "maximum": high });
        Shape::leaf(
            format!("number, {low} to {high}"),
            schema,
            Some(json!(self.preset.value)),
            self.preset.why,
        )
    }
}
/// Converts a limit to `usize`, saturating.
pub(crate) fn bound(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
