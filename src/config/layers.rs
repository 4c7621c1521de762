//! The layers of a setting: a key that a route does not set is taken from `defaults`.

use crate::config::kind::Placed;

/// A section of a route (`upper`) that overrides the same section of `defaults` (`lower`).
pub(crate) struct Layers<'a, G> {
    /// The section of the route.
    pub(crate) upper: Option<&'a G>,
    /// The section of `defaults`.
    pub(crate) lower: Option<&'a G>,
}

impl<'a, G> Layers<'a, G> {
    /// Returns the value of the route, else that of `defaults`, else `default`.
    pub(crate) fn get<T: Copy>(&self, field: impl Fn(&G) -> &Option<Placed<T>>, default: T) -> T {
        let find = |group: Option<&G>| {
            group.and_then(|group| field(group).as_ref().map(|placed| placed.value))
        };
        find(self.upper)
            .or_else(|| find(self.lower))
            .unwrap_or(default)
    }

    /// Like `get`, but returns a reference, and `None` if neither layer has a value.
    pub(crate) fn find<T>(&self, field: impl Fn(&'a G) -> &'a Option<Placed<T>>) -> Option<&'a T> {
        let find = |group: Option<&'a G>| {
            group.and_then(|group| field(group).as_ref().map(|placed| &placed.value))
        };
        find(self.upper).or_else(|| find(self.lower))
    }

    /// Returns the two layers of a nested section.
    pub(crate) fn below<S>(&self, field: impl Fn(&G) -> &Option<Placed<S>>) -> Layers<'a, S> {
        let find = |group: Option<&'a G>| {
            group.and_then(|group| field(group).as_ref().map(|placed| &placed.value))
        };
        Layers {
            upper: find(self.upper),
            lower: find(self.lower),
        }
    }

    /// Like `below`, for a section that can be `off`. Where it is, there are no keys.
    pub(crate) fn below_switch<S>(
        &self,
        field: impl Fn(&G) -> &Option<Placed<Option<S>>>,
    ) -> Layers<'a, S> {
        let find = |group: Option<&'a G>| {
            group.and_then(|group| {
                field(group)
                    .as_ref()
                    .and_then(|placed| placed.value.as_ref())
            })
        };
        Layers {
            upper: find(self.upper),
            lower: find(self.lower),
        }
    }
}
