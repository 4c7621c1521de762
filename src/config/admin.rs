//! Checks the section `admin`: the listener, the names by which it may be asked, and the token.

use http::HeaderValue;

use crate::config::defaults as preset;
use crate::config::error::{Path, Report};
use crate::config::overlap::overlap;
use crate::config::raw::{self, Root};
use crate::config::{Address, Admin, Listen, Secret, address, secret};

/// Checks the section. On a reload, a token that cannot be read is not an error, because a running process keeps its
/// admin settings: a change is only logged.
pub(crate) fn checked(
    root: &Root,
    listen: &[Listen],
    is_reload: bool,
    report: &mut Report,
) -> Admin {
    let none = raw::Admin::default();
    let raw = root.admin.as_ref().map_or(&none, |admin| &admin.value);
    let hosts = raw.hosts.as_ref().and_then(|hosts| hosts.value.as_ref());
    Admin {
        listen: listener(root, raw, listen, report),
        hosts: (hosts.into_iter().flatten())
            .map(|host| host.value.clone())
            .collect(),
        token: token(raw, is_reload, report),
    }
}

fn path(key: &str) -> Path {
    Path::default().key("admin").key(key)
}

fn listener(
    root: &Root,
    raw: &raw::Admin,
    listen: &[Listen],
    report: &mut Report,
) -> Option<Address> {
    let Some(given) = &raw.listen else {
        let usual = address::listen(preset::ADMIN_LISTEN.value).ok()?;
        let mut written = root.listen.iter().flat_map(|entries| &entries.value);
        let in_its_way = written.find_map(|entry| {
            let address = &entry.value.address.as_ref()?.value;
            overlap(address, &usual).then_some((entry, address))
        });
        if let Some((entry, address)) = in_its_way {
            let message = format!(
                "{address} and {usual}, the default of `admin.listen`, cannot both be listened on; change the port of one of them"
            );
            let path = Path::default().key("listen").entry(entry.index);
            report.at(entry.place, &path, message);
        }
        return Some(usual);
    };
    let is_taken = |admin: &Address| listen.iter().any(|other| other.address == *admin);
    if let Some(admin) = &given.value
        && is_taken(admin)
        && !address::is_any_port(admin)
    {
        report.at(
            given.place,
            &path("listen"),
            "is also in `listen`; the admin listener needs an address of its own",
        );
    } else if let Some(admin) = &given.value
        && let Some(other) = listen.iter().find(|other| overlap(&other.address, admin))
    {
        let message = format!(
            "{admin} and {} in `listen` cannot both be listened on, because one includes the other; the admin listener needs a port of its own",
            other.address
        );
        report.at(given.place, &path("listen"), message);
    }
    given.value.clone()
}

fn token(raw: &raw::Admin, is_reload: bool, report: &mut Report) -> Option<Secret> {
    let given = raw.token.as_ref()?;
    let source = given.value.clone()?;
    let read = secret::read(&source).and_then(|value| {
        let scheme = value.as_bytes().get(..b"Bearer ".len()).unwrap_or_default();
        if scheme.eq_ignore_ascii_case(b"Bearer ") {
            return Err(format!(
                "what `{source}` names begins with `Bearer`; expected the token alone"
            ));
        }
        Ok(value)
    });
    let value = match read {
        Err(_) if is_reload => HeaderValue::from_static(""),
        Err(why) => {
            report.at(given.place, &path("token"), why);
            return None;
        }
        Ok(value) => value,
    };
    Some(Secret { source, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    fn text(admin: &str) -> String {
        let agent = "upstreams: {agent: {endpoints: [\"http://127.0.0.1:8000\"]}}";
        format!("{agent}\nadmin: {admin}\n")
    }

    fn load(admin: &str) -> Result<Admin, String> {
        config::load(Some(("f", &text(admin))), &Overrides::default())
            .map(|config| config.admin)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn hosts_are_names_without_ports() {
        assert_eq!(load("{}").unwrap().hosts, [""; 0]);
        assert_eq!(load("{hosts: null}").unwrap().hosts, [""; 0]);
        assert_eq!(load("{hosts: Weir}").unwrap().hosts, ["weir"]);
        let two = load("{hosts: [weir, weir.agents.svc]}").unwrap();
        assert_eq!(two.hosts, ["weir", "weir.agents.svc"]);
        for wrong in [
            "weir:9464",
            "http://weir",
            "\"*.svc\"",
            "[weir, \"\"]",
            "[]",
        ] {
            let refused = load(&format!("{{hosts: {wrong}}}")).unwrap_err();
            assert!(refused.contains("admin.hosts"), "{refused}");
        }
    }

    #[test]
    fn a_token_is_read_from_where_the_file_says() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let named = format!("{{token: \"file:{}\"}}", file.path().display());
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let token = load(&named).unwrap().token.unwrap();
        assert_eq!(token.value, "s3cret");
        assert!(!format!("{token:?}").contains("s3cret"));
        std::fs::write(file.path(), "Bearer s3cret").unwrap();
        let refused = load(&named).unwrap_err();
        assert!(
            refused.contains("admin.token")
                && refused.contains("alone")
                && !refused.contains("s3cret"),
            "{refused}"
        );
        let refused = load("{token: s3cret}").unwrap_err();
        assert!(refused.contains("admin.token") && !refused.contains("s3cret"));
    }

    #[test]
    fn only_a_process_that_starts_needs_its_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text("{token: \"file:/no/such\"}")).unwrap();
        let refused = config::load_file(file.path(), &Overrides::default()).unwrap_err();
        assert!(refused.to_string().contains("admin.token"));
        assert!(config::reload_file(file.path(), &Overrides::default()).is_ok());
    }
}
