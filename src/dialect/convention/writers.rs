//! Whose text an event of a convention holds: the members that say it, and the lane that they make.

use super::super::text;
use crate::event::Class;

/// The most members of one event that say whose text it is. Further ones are not read.
const MAX_WRITERS: usize = 8;

/// The members of one event that say who speaks, or in which message: hashes of their names, and of name and value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Writers {
    members: [(u64, u64); MAX_WRITERS],
    len: usize,
}

impl Writers {
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        if let Some(free) = self.members.get_mut(self.len) {
            *free = (text::key(name), text::key((name, value)));
            self.len += 1;
        }
    }

    fn members(&self) -> &[(u64, u64)] {
        self.members.get(..self.len).unwrap_or_default()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = u64> {
        self.members().iter().map(|(name, _)| *name)
    }

    pub(super) fn have_names(&self, names: &[u64]) -> bool {
        self.names().eq(names.iter().copied())
    }

    /// Returns the lane of a text; zero if nobody says whose it is. The sum does not depend on the members' order.
    pub(super) fn lane(&self) -> u64 {
        self.members()
            .iter()
            .fold(0_u64, |sum, (_, value)| sum.wrapping_add(*value))
    }

    /// Returns the lane in which tokens with members of these names are whose text this is; zero if one is missing.
    pub(super) fn lane_of(&self, names: &[u64], class: Class) -> u64 {
        // The name of a tool is no writer's.
        let tools = (class == Class::Tool).then(|| text::key(b"name".as_slice()));
        let value = |wanted: &u64| {
            let found = self.members().iter().find(|(name, _)| name == wanted);
            found
                .filter(|(name, _)| Some(*name) != tools)
                .map(|(_, value)| *value)
        };
        names
            .iter()
            .try_fold(0_u64, |sum, name| Some(sum.wrapping_add(value(name)?)))
            .unwrap_or_default()
    }
}
