//! Settings of a route that can never do what they say together. What merely has no effect is a
//! [warning](super::warnings()).

use crate::config::error::{Path, Place, Report, shown};
use crate::config::layers::Layers;
use crate::config::{Policy, Reply, raw};
use crate::dialect::Choice;
use crate::request_map::RequestForm;
use crate::translate::{Statuses, Target};

/// Reports the settings of a route that contradict each other. `route` is its name and its place in the file.
pub(crate) fn check(
    layers: &Layers<'_, raw::Policy>,
    policy: &Policy,
    route: (&str, &Path),
    report: &mut Report,
) {
    let (name, own) = route;
    let name = shown(name);
    if policy.reply.unstreams
        && let Choice::Fixed(dialect) = policy.dialect
        && dialect.accepts_whole_answers()
    {
        let place = |policy: &raw::Policy| {
            let reply = policy.reply.as_ref()?;
            Some(reply.value.unstream.as_ref()?.place)
        };
        if let Some((place, path)) = written(layers, own, place) {
            report.at(
                place,
                &path.key("reply").key("unstream"),
                format!(
                    "`synthesize` is not possible with `dialect: {dialect}` on the route {name}, because its clients get whole answers as they are; write `pass`, or another `dialect`"
                ),
            );
        }
    }
    if policy.reply.statuses == Statuses::Text && !has_status_text(&policy.reply) {
        let place = |policy: &raw::Policy| {
            let reply = policy.reply.as_ref()?;
            Some(reply.value.status.as_ref()?.place)
        };
        if let Some((place, path)) = written(layers, own, place) {
            report.at(
                place,
                &path.key("reply").key("status"),
                format!(
                    "`text` is for clients of `openai-chat`, and no reply of the route {name} ({}) is; write `visible`, or `openai-chat` in `reply.as` or `reply.offer`",
                    policy.reply.words().join(", ")
                ),
            );
        }
    }
    if let Some(form) = policy.request
        && reads_nothing(form, policy)
    {
        let place = |policy: &raw::Policy| {
            let request = policy.request.as_ref()?;
            Some(request.value.from.as_ref()?.place)
        };
        if let Some((place, path)) = written(layers, own, place) {
            let form = form.as_str();
            report.at(
                place,
                &path.key("request").key("from"),
                format!(
                    "clients that send `{form}` read none of the replies of the route {name} ({}); write `{form}` in `reply.as` or `reply.offer`",
                    policy.reply.words().join(", ")
                ),
            );
        }
    }
}

/// Reports whether all replies of a route are forms of other clients than those that send `form`. What the agent says,
/// and native events, may be for a client of one's own.
fn reads_nothing(form: RequestForm, policy: &Policy) -> bool {
    let own = match form {
        RequestForm::AgUi => Target::AgUi,
        RequestForm::AiSdk => Target::AiSdk,
    };
    let reply = &policy.reply;
    let is_foreign = |target: &Option<Target>| match target {
        None | Some(Target::Events | Target::Ndjson) => false,
        Some(target) => *target != own,
    };
    is_foreign(&reply.preset) && reply.offer.iter().all(is_foreign)
}

/// Reports whether any client of a route may be told what is going on by reasoning text.
fn has_status_text(reply: &Reply) -> bool {
    let is_text = |target: &Option<Target>| match target {
        // One answer has the form of the request.
        None => reply.aggregates,
        Some(target) => target.has_status_text(),
    };
    is_text(&reply.preset) || reply.offer.iter().any(is_text)
}

/// Returns where the key is written that decides for a route, and the section that has it.
fn written(
    layers: &Layers<'_, raw::Policy>,
    own: &Path,
    place: impl Fn(&raw::Policy) -> Option<Place>,
) -> Option<(Place, Path)> {
    let defaults = Path::default().key("defaults");
    [(layers.upper, own), (layers.lower, &defaults)]
        .into_iter()
        .find_map(|(policy, path)| Some((place(policy?)?, path.clone())))
}

#[cfg(test)]
mod tests {
    use crate::config::{self, Overrides};

    #[test]
    fn only_what_can_never_work_is_an_error() {
        for (route, problem) in [
            (
                "request: {from: ai-sdk}, reply: {as: ag-ui}",
                "request.from",
            ),
            (
                "request: {from: ag-ui}, reply: {as: ai-sdk, offer: [anthropic, openai-chat]}",
                "request.from",
            ),
            (
                "request: {from: ai-sdk}, reply: {as: ag-ui, offer: ai-sdk}",
                "",
            ),
            (
                "request: {from: ai-sdk}, reply: {as: ag-ui, offer: same}",
                "",
            ),
            ("request: {from: ag-ui}, reply: {as: events}", ""),
            ("request: {from: ag-ui}", ""),
            (
                "dialect: mcp, reply: {unstream: synthesize}",
                "reply.unstream",
            ),
            ("dialect: ag_ui, reply: {unstream: synthesize}", ""),
            ("dialect: mcp, reply: {unstream: pass}", ""),
            ("reply: {status: text}", "reply.status"),
            (
                "reply: {as: ai-sdk, offer: [anthropic, same], status: text}",
                "reply.status",
            ),
            ("reply: {as: ai-sdk, offer: openai-chat, status: text}", ""),
            ("reply: {as: openai-chat, status: text}", ""),
            ("reply: {aggregate: true, status: text}", ""),
            ("reply: {as: anthropic, status: visible}", ""),
        ] {
            let text = format!(
                "upstreams: {{agent: {{endpoints: [\"http://127.0.0.1:8000\"]}}}}\n\
                routes: [{{name: chat, {route}}}]\n"
            );
            let problems = config::load(Some(("f", &text)), &Overrides::default())
                .err()
                .map_or_else(Vec::new, |problems| problems.list);
            let paths: Vec<_> = problems.iter().map(|problem| &*problem.path).collect();
            if problem.is_empty() {
                assert!(paths.is_empty(), "{route}: {paths:?}");
            } else {
                assert_eq!(paths, [format!("routes[0].{problem}")], "{route}");
            }
        }
    }
}
