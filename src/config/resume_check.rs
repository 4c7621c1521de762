//! Checks the section `resume` of a route: whether clients can come back to its streams, and what becomes of a run
//! whose client leaves.

use std::sync::Arc;

use crate::config::choices::Credential;
use crate::config::defaults as preset;
use crate::config::error::{Path, Report, shown};
use crate::config::kind::or;
use crate::config::layers::Layers;
use crate::config::number::bound;
use crate::config::{Bind, Chats, Ids, OnDisconnect, Policy, Resume, raw};

/// Returns how clients come back to the streams of a route, or `None` if they cannot. The upper layer that has the
/// section decides whether they can: it does so by being there, unless it says otherwise.
pub(crate) fn resumable(layers: &Layers<'_, raw::Policy>) -> Option<Arc<Resume>> {
    let decides = layers.find(|policy| &policy.resume)?.as_ref()?;
    if !or(decides.enabled.as_ref(), true) {
        return None;
    }
    let layers = layers.below_switch(|policy| &policy.resume);
    Some(Arc::new(Resume {
        ids: layers
            .get(|resume| &resume.ids, Some(Ids::Auto))
            .unwrap_or(Ids::Off),
        keep: layers.get(|resume| &resume.keep, preset::KEEP.value),
        max_events: bound(layers.get(|resume| &resume.max_events, preset::JOURNAL_EVENTS.value)),
        max_bytes: bound(layers.get(|resume| &resume.max_bytes, preset::JOURNAL_BYTES.value)),
        max_viewers: bound(layers.get(|resume| &resume.max_viewers, preset::MAX_VIEWERS.value)),
        bind: bind(&layers),
        idempotency: layers.get(|resume| &resume.idempotency, preset::IDEMPOTENCY.value),
        chats: chats(&layers),
    }))
}

fn bind(layers: &Layers<'_, raw::Resume>) -> Bind {
    let Some(Some(named)) = layers.find(|resume| &resume.bind) else {
        return Bind::Auto;
    };
    let (mut headers, mut cookies) = (Vec::new(), Vec::new());
    for entry in named {
        match &entry.value {
            Credential::Cookie(name) if !cookies.contains(name) => cookies.push(name.clone()),
            Credential::Header(name) if !headers.contains(name) => headers.push(name.clone()),
            Credential::Cookie(_) | Credential::Header(_) => {}
        }
    }
    Bind::Named { headers, cookies }
}

fn chats(layers: &Layers<'_, raw::Resume>) -> Option<Chats> {
    let layers = layers.below(|resume| &resume.chats);
    let path = layers.find(|chats| &chats.path)?.as_ref()?;
    let member = layers.find(|chats| &chats.member).map(String::as_str);
    Some(Chats {
        prefix: path.prefix.clone(),
        suffix: path.suffix.clone(),
        member: member.unwrap_or(preset::CHAT_MEMBER.value).to_owned(),
    })
}

/// Reports runs that go on without a client although no client can come back to them. `route` is the name of the route
/// and its place in the file.
pub(crate) fn check(
    layers: &Layers<'_, raw::Policy>,
    policy: &Policy,
    route: (&str, &Path),
    report: &mut Report,
) {
    if policy.resume.is_some() || policy.on_disconnect == OnDisconnect::Cancel {
        return;
    }
    let (name, own) = route;
    let defaults = Path::default().key("defaults");
    let layers = [(layers.upper, own), (layers.lower, &defaults)];
    let decides = layers.into_iter().find_map(|(policy, path)| {
        let written = policy?.on_disconnect.as_ref()?;
        Some((written.place, path))
    });
    if let Some((place, path)) = decides {
        report.at(
            place,
            &path.key("on_disconnect"),
            format!(
                "needs `resume` on the route {}, because nobody reads a run that nobody can return to; write `resume: {{}}` beside it, or `on_disconnect: cancel`",
                shown(name)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;
    use crate::config::{self, Overrides};

    fn load(defaults: &str, route: &str) -> Result<Policy, String> {
        let text = format!(
            "upstreams: {{agent: {{endpoints: [\"http://127.0.0.1:8000\"]}}}}\n\
            defaults: {defaults}\n\
            routes: [{{name: chat, {route}}}]\n"
        );
        config::load(Some(("f", &text)), &Overrides::default())
            .map(|config| config.routes[0].policy.clone())
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_section_switches_it_on_and_off_switches_it_off() {
        for (defaults, route, is_on) in [
            ("{}", "", false),
            ("{}", "resume: {}", true),
            ("{}", "resume: {keep: 1m}", true),
            ("{}", "resume: ", false),
            ("{}", "resume: off", false),
            ("{}", "resume: false", false),
            ("{}", "resume: {enabled: false}", false),
            ("{resume: {}}", "", true),
            ("{resume: {}}", "resume: null", true),
            ("{resume: {}}", "resume: off", false),
            ("{resume: {}}", "resume: {enabled: false, keep: 1m}", false),
            ("{resume: {enabled: false}}", "", false),
            ("{resume: {enabled: false}}", "resume: {}", true),
            ("{resume: off}", "resume: {enabled: true}", true),
        ] {
            let policy = load(defaults, route).unwrap();
            assert_eq!(policy.resume.is_some(), is_on, "{defaults} {route}");
        }
    }

    #[test]
    fn keys_are_inherited_one_by_one() {
        let unset = load("{}", "resume: {}").unwrap().resume.unwrap();
        let want = Resume {
            ids: Ids::Auto,
            keep: Duration::from_secs(120),
            max_events: 10_000,
            max_bytes: 4 << 20,
            max_viewers: 16,
            bind: Bind::Auto,
            idempotency: false,
            chats: None,
        };
        assert_eq!(*unset, want);
        let defaults = "{resume: {enabled: false, ids: all, keep: 0s, bind: [\"header:X-User\", \"cookie:sid\", \"cookie:sid\"], chats: {path: \"/c/{id}/s\", member: chat}}}";
        let route = "resume: {ids: off, max_events: 5, max_bytes: 1KiB, max_viewers: 1, idempotency: true, chats: {path: \"/d/{id}\"}}";
        let set = load(defaults, route).unwrap().resume.unwrap();
        let want = Resume {
            ids: Ids::Off,
            keep: Duration::ZERO,
            max_events: 5,
            max_bytes: 1024,
            max_viewers: 1,
            bind: Bind::Named {
                headers: vec![HeaderName::from_static("x-user")],
                cookies: vec!["sid".to_owned()],
            },
            idempotency: true,
            chats: Some(Chats {
                prefix: "/d/".to_owned(),
                suffix: String::new(),
                member: "chat".to_owned(),
            }),
        };
        assert_eq!(*set, want);
    }

    #[test]
    fn a_run_goes_on_only_where_clients_can_return() {
        let grace = OnDisconnect::Grace(Duration::from_secs(30));
        for (defaults, route, want) in [
            ("{}", "", OnDisconnect::Cancel),
            ("{}", "on_disconnect: cancel", OnDisconnect::Cancel),
            ("{}", "resume: {}, on_disconnect: {grace: 30s}", grace),
            (
                "{resume: {}}",
                "on_disconnect: continue",
                OnDisconnect::Continue,
            ),
            (
                "{on_disconnect: continue}",
                "resume: {}, on_disconnect: {grace: 30s}",
                grace,
            ),
            (
                "{on_disconnect: continue}",
                "on_disconnect: cancel",
                OnDisconnect::Cancel,
            ),
        ] {
            let policy = load(defaults, route).unwrap();
            assert_eq!(policy.on_disconnect, want, "{defaults} {route}");
        }
        for (defaults, route, at) in [
            ("{}", "on_disconnect: continue", "routes[0].on_disconnect"),
            (
                "{}",
                "on_disconnect: {grace: 1s}",
                "routes[0].on_disconnect",
            ),
            ("{on_disconnect: continue}", "", "defaults.on_disconnect"),
            (
                "{on_disconnect: continue, resume: {}}",
                "resume: off",
                "defaults.on_disconnect",
            ),
        ] {
            let refused = load(defaults, route).unwrap_err();
            let wanted = format!("{at}: needs `resume` on the route `chat`");
            assert!(refused.contains(&wanted), "{refused}");
        }
    }

    #[test]
    fn mistakes_name_their_keys() {
        for (route, wanted) in [
            ("resume: on", "resume: a single value is not a section"),
            (
                "resume: {ids: some}",
                "resume.ids: `some` is not `all` or `auto`",
            ),
            (
                "resume: {bind: session}",
                "resume.bind: `session` is neither",
            ),
            (
                "resume: {bind: [auto]}",
                "resume.bind[0]: `auto` is neither",
            ),
            (
                "resume: {bind: [\"header:cookie\"]}",
                "resume.bind[0]: all cookies",
            ),
            (
                "resume: {bind: [\"header:a b\", \"cookie:\"]}",
                "resume.bind[1]: `cookie:` does not name",
            ),
            (
                "resume: {max_viewers: 0}",
                "resume.max_viewers: 0 is not allowed (1 to 1024)",
            ),
            (
                "resume: {chats: {path: /chat}}",
                "resume.chats.path: `/chat` does not contain `{id}`",
            ),
            ("resume: {viewers: 3}", "resume.viewers: unknown key"),
            (
                "on_disconnect: grace",
                "on_disconnect: `grace` is not `cancel`, `continue` or `{grace: 30s}`",
            ),
            (
                "on_disconnect: {grace: 0s}",
                "on_disconnect.grace: `0s` is not allowed (1ms to 1d)",
            ),
            ("on_disconnect: {}", "on_disconnect.grace: is missing"),
            (
                "on_disconnect: {after: 1s}",
                "on_disconnect.after: unknown key",
            ),
        ] {
            let refused = load("{}", route).unwrap_err();
            assert!(refused.contains(wanted), "{route}: {refused}");
        }
    }
}
