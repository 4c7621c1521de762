//! The files of the demo's page, and the policy that lets it load nothing else and speak with nobody else.

const INDEX: &str = include_str!("page/index.html");

/// The other files: path, content type, content.
const FILES: [(&str, &str, &str); 7] = [
    (
        "/demo/icon.svg",
        "image/svg+xml",
        include_str!("page/icon.svg"),
    ),
    (
        "/demo/page.css",
        "text/css; charset=utf-8",
        include_str!("page/page.css"),
    ),
    ("/demo/page.js", SCRIPT, include_str!("page/page.js")),
    ("/demo/reading.js", SCRIPT, include_str!("page/reading.js")),
    ("/demo/sse.js", SCRIPT, include_str!("page/sse.js")),
    (
        "/demo/verdicts.js",
        SCRIPT,
        include_str!("page/verdicts.js"),
    ),
    ("/demo/view.js", SCRIPT, include_str!("page/view.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The host name under which a page finds the buffering proxy if its own is no name.
const LOCAL: &str = "127.0.0.1";

/// What differs from demo to demo.
#[derive(Debug)]
pub(super) struct Page {
    /// The address of the admin page; empty without one. If it is any address of the machine, the page has the host
    /// under which the browser knows the machine.
    pub(super) admin: String,
    /// The port of the buffering proxy.
    pub(super) buffering_port: u16,
}

/// The page, and its content security policy.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) html: String,
    pub(super) policy: String,
}

impl Page {
    /// Returns the page for a browser that asked for `host`. The buffering proxy has the same host and another port.
    pub(super) fn index(&self, host: Option<&str>) -> Index {
        let name = host.map(|host| host.split_once(':').map_or(host, |(name, _)| name));
        let is_name = |name: &&str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            !name.is_empty() && name.bytes().all(is_part)
        };
        let name = name.filter(is_name).unwrap_or(LOCAL);
        let buffering = format!("http://{name}:{}", self.buffering_port);
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {buffering}; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let any = ["//0.0.0.0:", "//[::]:", "//:"];
        let admin = any.into_iter().fold(self.admin.clone(), |admin, any| {
            admin.replace(any, &format!("//{name}:"))
        });
        let html = INDEX
            .replace("{buffering}", &buffering)
            .replace("{admin}", &escaped(&admin));
        Index { html, policy }
    }
}

/// Returns the content type and the content of a file of the page.
pub(super) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    let found = FILES.iter().find(|(own, ..)| *own == path);
    found.map(|(_, kind, content)| (*kind, *content))
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_proxy_as_the_browser_reaches_it() {
        let page = Page {
            admin: "\"><script>".to_owned(),
            buffering_port: 81,
        };
        for (host, origin) in [
            (Some("localhost:8080"), "http://localhost:81"),
            (Some("demo.example"), "http://demo.example:81"),
            (Some("[::1]:8080"), "http://127.0.0.1:81"),
            (Some("x; script-src *"), "http://127.0.0.1:81"),
            (None, "http://127.0.0.1:81"),
        ] {
            let Index { html, policy } = page.index(host);
            assert!(
                policy.contains(&format!("connect-src 'self' {origin};")),
                "{policy}"
            );
            assert!(html.contains(&format!("data-buffering=\"{origin}\"")));
            assert!(html.contains("data-admin=\"&quot;&gt;&lt;script&gt;\""));
            assert!(!policy.contains("unsafe") && !policy.contains('*'));
        }
    }

    #[test]
    fn an_admin_page_at_any_address_is_found_where_the_page_is() {
        for (admin, found) in [
            ("http://0.0.0.0:9464/", "http://demo.example:9464/"),
            ("http://[::]:9464/", "http://demo.example:9464/"),
            ("http://:9464/", "http://demo.example:9464/"),
            ("http://127.0.0.1:9464/", "http://127.0.0.1:9464/"),
            ("", ""),
        ] {
            let page = Page {
                admin: admin.to_owned(),
                buffering_port: 81,
            };
            let Index { html, .. } = page.index(Some("demo.example:8080"));
            assert!(html.contains(&format!("data-admin=\"{found}\"")), "{html}");
        }
    }

    #[test]
    fn the_page_has_all_that_it_loads_and_nothing_inline() {
        for (_, _, content) in FILES.iter().chain(&[("/", "text/html", INDEX)]) {
            for part in content.split("\"/demo/").skip(1) {
                let name = part.split(['"', '?']).next().unwrap();
                let is_known =
                    ["stats", "left"].contains(&name) || file(&format!("/demo/{name}")).is_some();
                assert!(is_known, "{name}");
            }
            for part in content.split("from \"./").skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(file(&format!("/demo/{name}")).is_some(), "{name}");
            }
        }
        assert!(
            !INDEX.contains("<style") && !INDEX.contains(" style=") && !INDEX.contains(" onclick=")
        );
    }
}
