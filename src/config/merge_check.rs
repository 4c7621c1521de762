//! Checks the section `merge` of a route: its agents, and what a route with several cannot have beside them.

use std::sync::Arc;

use crate::config::defaults as preset;
use crate::config::error::{Path, Place, Report, shown};
use crate::config::kind::{Placed, or};
use crate::config::{
    Merge, MergeAgent, OnAgentFailure, OnAgentFinish, Policy, Reply, Upstream, raw, upstreams,
};
use crate::translate::Target;

/// Reads the section of a route, and reports what is wrong with it.
pub(crate) fn checked(
    raw: &raw::Merge,
    known: &[Arc<Upstream>],
    path: &Path,
    report: &mut Report,
) -> Option<Merge> {
    let max_agents = or(raw.max_agents.as_ref(), preset::MERGE_AGENTS.value);
    let listed = raw.agents.as_ref()?;
    let path = path.key("agents");
    if listed.value.is_empty() {
        report.at(
            listed.place,
            &path,
            "is empty; at least one agent is needed",
        );
        return None;
    }
    let count = listed.value.len() as u64;
    if count > max_agents {
        report.at(
            listed.place,
            &path,
            format!("{count} agents are more than `max_agents` ({max_agents})"),
        );
        return None;
    }
    let mut agents: Vec<MergeAgent> = Vec::new();
    for (index, Placed { value: raw, .. }) in listed.value.iter().enumerate() {
        let path = path.index(index);
        let (Some(name), Some(wanted)) = (&raw.name, &raw.upstream) else {
            continue;
        };
        if agents.iter().any(|other| *other.name == *name.value) {
            report.at(
                name.place,
                &path.key("name"),
                format!(
                    "{} is also the name of an earlier agent",
                    shown(&name.value)
                ),
            );
        }
        let Some(upstream) = upstreams::known(wanted, known, &path.key("upstream"), report) else {
            continue;
        };
        agents.push(MergeAgent {
            name: name.value.as_str().into(),
            upstream: Arc::clone(upstream),
            path: raw.path.as_ref().and_then(|path| path.value.clone()),
            body: raw.body.as_ref().and_then(|body| body.value.clone()),
        });
    }
    Some(Merge {
        agents,
        finish: or(raw.finish.as_ref(), OnAgentFinish::All),
        fail: or(raw.fail.as_ref(), OnAgentFailure::Continue),
        max_agents,
    })
    .filter(|merge| !merge.agents.is_empty())
}

/// Reports what a route with several agents cannot have beside them. `place` is where the section is.
pub(crate) fn check(policy: &Policy, place: Place, path: &Path, report: &mut Report) {
    let reply = &policy.reply;
    let path = path.key("merge");
    let unfit = |target: &Option<Target>| !target.is_some_and(Target::has_agents);
    let all = std::iter::once(&reply.preset).chain(&reply.offer);
    let unfit: Vec<&str> = all
        .filter(|target| unfit(target))
        .map(|target| Reply::word(*target))
        .collect();
    if !unfit.is_empty() {
        report.at(
            place,
            &path,
            format!(
                "several agents have no common reply in `{}`; write one of ag-ui, ai-sdk, events, ndjson and openai-chat in `reply.as`, and only those in `reply.offer`",
                unfit.join("`, `")
            ),
        );
    }
    if reply.aggregates {
        report.at(
            place,
            &path,
            "is not possible with `reply.aggregate`: several agents are always streamed",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{self, Overrides};

    #[test]
    fn what_several_agents_cannot_have_is_an_error_with_a_place() {
        let agents = "agents: [{name: a, upstream: one}, {name: b, upstream: two}]";
        for (route, problem) in [
            (format!("reply: {{as: events}}, merge: {{{agents}}}"), ""),
            (
                format!("reply: {{as: ai-sdk, offer: [ag-ui, openai-chat, ndjson]}}, merge: {{{agents}, finish: any, fail: stop}}"),
                "",
            ),
            (format!("merge: {{{agents}}}"), "merge"),
            (
                format!("reply: {{as: events, offer: same}}, merge: {{{agents}}}"),
                "merge",
            ),
            (
                format!("reply: {{as: anthropic}}, merge: {{{agents}}}"),
                "merge",
            ),
            (
                format!("reply: {{as: events, aggregate: true}}, merge: {{{agents}}}"),
                "merge",
            ),
            (
                format!("reply: {{as: events}}, upstream: one, merge: {{{agents}}}"),
                "upstream",
            ),
            (
                format!("reply: {{as: events}}, merge: {{{agents}, max_agents: 1}}"),
                "merge.agents",
            ),
            (
                "reply: {as: events}, merge: {agents: []}".to_owned(),
                "merge.agents",
            ),
            (
                "reply: {as: events}, merge: {agents: [{name: \"a:b\", upstream: one}]}".to_owned(),
                "merge.agents[0].name",
            ),
            (
                "reply: {as: events}, merge: {agents: [{name: a, upstream: one}, {name: a, upstream: two}]}".to_owned(),
                "merge.agents[1].name",
            ),
            (
                "reply: {as: events}, merge: {agents: [{name: a, upstream: three}]}".to_owned(),
                "merge.agents[0].upstream",
            ),
        ] {
            let text = format!(
                "upstreams: {{one: {{endpoints: [\"http://127.0.0.1:1\"]}}, two: {{endpoints: [\"http://127.0.0.1:2\"]}}}}\n\
                routes: [{{name: chat, {route}}}]\n"
            );
            let loaded = config::load(Some(("f", &text)), &Overrides::default());
            let paths: Vec<String> = match &loaded {
                Ok(_) => Vec::new(),
                Err(problems) => problems.list.iter().map(|one| one.path.clone()).collect(),
            };
            if problem.is_empty() {
                assert!(paths.is_empty(), "{route}: {paths:?}");
                // Both upstreams are used.
                assert_eq!(loaded.unwrap().upstreams.len(), 2, "{route}");
            } else {
                assert_eq!(paths, [format!("routes[0].{problem}")], "{route}");
            }
        }
    }
}
