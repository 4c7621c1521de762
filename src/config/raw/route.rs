//! One raw route: its name, the conditions that a request must meet, and its upstream.

use std::marker::PhantomData;

use http::{HeaderValue, Method};

use super::policy::Policy;
use crate::config::address;
use crate::config::defaults as preset;
use crate::config::error::{Path, Report};
use crate::config::group::{Group, Section, group, label};
use crate::config::kind::Key;
use crate::config::text::Text;
use crate::config::tree::Node;
use crate::config::wrap::{Fields, OneOrMany, OrNull, field_value};

group! {
    /// One route, `routes[]`, without the keys that it shares with `defaults`.
    RouteHead requires ["name"] {
        /// Name of the route in metrics and logs. Must be unique.
        name: Text<String> = Text { form: "a name", parse: label, preset: None };
        /// Conditions that a request must meet. All of them must hold.
        matches("match"): Section<Match> = Section(PhantomData);
        /// Name of the upstream that receives the requests.
        upstream: Text<String> =
            Text { form: "the name of an upstream", parse: label, preset: None };
    }
}

group! {
    /// The section `routes[].match`.
    Match {
        /// Path prefix, matched by whole segments: `/v1` matches `/v1` and `/v1/x`, but not `/v10`.
        path_prefix: Text<String> =
            Text {
                form: "a path that begins with `/`",
                parse: address::path_prefix,
                preset: Some(preset::PATH_PREFIX),
            };
        /// Host of the request, without the port. `*.example.com` matches every subdomain.
        host: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a host name", parse: address::host_pattern, preset: None },
                why: preset::ANY_WHY,
            };
        /// HTTP method, or a list of methods.
        methods: OrNull<OneOrMany<Text<Method>>> =
            OrNull {
                inner: OneOrMany { inner: Text { form: "a method", parse: address::method, preset: None } },
                why: preset::ANY_WHY,
            };
        /// Headers that must be present with exactly these values.
        headers: Fields<HeaderValue> =
            Fields {
                form: "the value of a header field",
                parse: field_value,
                why: preset::ANY_WHY,
            };
    }
}

/// One route, `routes[]`: its own keys, and those that it shares with `defaults`.
#[derive(Default)]
pub(crate) struct Route {
    /// Name, conditions and upstream.
    pub(crate) head: RouteHead,
    /// Keys that override `defaults`.
    pub(crate) policy: Policy,
}

impl Group for Route {
    fn keys() -> Vec<Key> {
        let mut keys = RouteHead::keys();
        keys.extend(Policy::keys());
        keys
    }

    fn take(&mut self, name: &str, node: &Node, path: &Path, report: &mut Report) -> bool {
        self.head.take(name, node, path, report) || self.policy.take(name, node, path, report)
    }

    fn required() -> &'static [&'static str] {
        RouteHead::required()
    }
}
