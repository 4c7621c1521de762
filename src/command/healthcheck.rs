//! `weir healthcheck`: sends one GET request. It serves as a container health check in images without a shell.

use super::Output;
use super::ask::{self, ADMIN, LIMIT, Place};
use super::problem::{Problem, usage};

/// Requests `url`, or `/healthz` of the admin listener at `admin`, and reports whether the status was 2xx.
pub fn healthcheck(url: Option<&str>, admin: Option<&str>) -> Output {
    let shown = url.or(admin).unwrap_or(ADMIN);
    let place = match url {
        Some(url) => target(url),
        None => Place::of_listener(shown).map(|place| (place, "/healthz".to_owned())),
    };
    let asked = place.and_then(|(place, path)| Ok(ask::get(&place, &path, &[], LIMIT)?.0));
    match asked {
        Ok(status) if (200..300).contains(&status) => Output {
            stdout: format!("{status}\n"),
            ..Output::default()
        },
        Ok(status) => Output {
            stderr: format!("{shown} answered {status}\n"),
            code: 1,
            ..Output::default()
        },
        Err(Problem { message, code }) => Output {
            stderr: format!("{shown}: {message}\n"),
            code,
            ..Output::default()
        },
    }
}

/// Returns whom a URL asks for what; a Unix socket is asked for `/healthz`.
fn target(url: &str) -> Result<(Place, String), Problem> {
    const FORM: &str = "expected http://HOST:PORT/PATH or unix:/PATH";
    if let Some(path) = url.strip_prefix("unix:") {
        return Ok((Place::Unix(path.to_owned()), "/healthz".to_owned()));
    }
    let uri: http::Uri = url.parse().map_err(|_| usage(FORM))?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(usage(FORM));
    };
    let place = Place::Tcp {
        host: host.to_owned(),
        port: uri.port_u16().unwrap_or(80),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((place, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_urls_are_rejected() {
        for url in ["", "127.0.0.1:9464", "https://127.0.0.1/", "http://"] {
            assert_eq!(healthcheck(Some(url), None).code, 2, "{url}");
        }
        assert_eq!(healthcheck(None, Some("off")).code, 2);
        assert_eq!(healthcheck(Some("unix:/no/such"), None).code, 1);
    }
}
