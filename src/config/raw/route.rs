//! One raw route: its name, the conditions that a request must meet, and its upstream.

use std::marker::PhantomData;

use http::{HeaderValue, Method};

use super::policy::Policy;
use crate::config::address;
use crate::config::choices;
use crate::config::defaults as preset;
use crate::config::error::{Path, Report};
use crate::config::group::{Group, Section, Sections, group, label};
use crate::config::json::Json;
use crate::config::kind::Key;
use crate::config::number::Count;
use crate::config::text::{OneOf, Text};
use crate::config::tree::Node;
use crate::config::wrap::{Fields, OneOrMany, OrNull, field_value};
use crate::config::{OnAgentFailure, OnAgentFinish};

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
        /// Several agents that all receive each request, and whose events make up one reply, instead of `upstream`; see
        /// `docs/merge.md`.
        merge: Section<Merge> = Section(PhantomData);
    }
}

group! {
    /// The section `routes[].merge`.
    Merge requires ["agents"] {
        /// The agents, at least one.
        agents: Sections<MergeAgent> = Sections(PhantomData);
        /// When the run has finished: with the end of `all` agents, or of `any` one of them, and the others are
        /// cancelled.
        finish: OneOf<OnAgentFinish> =
            OneOf { choices: choices::AGENT_FINISHES.to_vec(), preset: preset::MERGE_FINISH };
        /// What the failure of an agent means: the others `continue`, or the run fails and they `stop`.
        fail: OneOf<OnAgentFailure> =
            OneOf { choices: choices::AGENT_FAILURES.to_vec(), preset: preset::MERGE_FAIL };
        /// The most agents that the section may list.
        max_agents: Count = Count { preset: preset::MERGE_AGENTS, range: (1, 31) };
    }
}

group! {
    /// One agent, `routes[].merge.agents[]`.
    MergeAgent requires ["name", "upstream"] {
        /// Name of the agent in events, metrics and logs. Ids of its messages and tool calls begin with it. Must be
        /// unique.
        name: Text<String> = Text { form: "a name", parse: label, preset: None };
        /// Name of the upstream that receives the agent's requests.
        upstream: Text<String> =
            Text { form: "the name of an upstream", parse: label, preset: None };
        /// Path of the agent's requests, with a query if needed. `null` keeps the path of the client's request.
        path: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a path that begins with `/`", parse: address::request_path, preset: None },
                why: preset::MERGE_PATH_WHY,
            };
        /// Changes to the request's JSON body for this agent, as a merge patch (RFC 7396): members replace those of the
        /// request, and `null` removes one.
        body: Json = Json;
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
