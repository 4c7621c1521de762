//! Chooses the dialect in which a request is answered: what the client asks for, if the route offers it.

use http::{HeaderName, StatusCode, Uri, request};

use super::reject::Refused;
use crate::config::Reply;
use crate::metrics::Refusal;
use crate::translate::Target;

/// The header by which a client asks for a dialect.
pub(super) const FIELD: HeaderName = HeaderName::from_static("weir-reply");
/// The query parameter by which one asks that cannot send headers, such as an `EventSource`.
const PARAMETER: &str = "weir.reply";

/// Returns what the stream is translated to; `None` if it keeps its dialect. Removes the header and the parameter by
/// which the client asked: they are meant for Weir, not for the agent. On a route that offers nothing, the request is
/// left as it is.
///
/// # Errors
/// If the route does not offer what the client asks for.
pub(super) fn choose(reply: &Reply, parts: &mut request::Parts) -> Result<Option<Target>, Refused> {
    if !reply.is_on() {
        return Ok(None);
    }
    let field = parts.headers.remove(FIELD);
    let parameter = take_parameter(&mut parts.uri);
    let field = field.as_ref().map(|value| value.to_str().unwrap_or("?"));
    let Some(word) = field.map(str::trim).or(parameter.as_deref()) else {
        return Ok(reply.preset);
    };
    let target = Reply::parse(word).filter(|target| reply.offers(*target));
    target.ok_or_else(|| Refused {
        message: format!(
            "the route does not offer the reply that was asked for with Weir-Reply or weir.reply: expected one of {}",
            reply.words().join(", ")
        )
        .into(),
        ..Refused::new(StatusCode::NOT_ACCEPTABLE, Refusal::ReplyNotOffered, "")
    })
}

/// Removes the parameter from the query, and returns its value.
fn take_parameter(uri: &mut Uri) -> Option<String> {
    let query = uri.query()?;
    let is_ours = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        name == PARAMETER
    };
    let value = query.split('&').find(|pair| is_ours(pair)).map(|pair| {
        pair.split_once('=')
            .map_or("", |(_, value)| value)
            .to_owned()
    })?;
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_ours(pair)).collect();
    let path = uri.path();
    let path_and_query = if kept.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", kept.join("&"))
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    *uri = Uri::from_parts(parts).ok()?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(
        reply: &Reply,
        uri: &str,
        field: Option<&str>,
    ) -> (Result<Option<Target>, u16>, String) {
        let mut request = http::Request::builder().uri(uri);
        if let Some(field) = field {
            request = request.header("Weir-Reply", field);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let chosen = choose(reply, &mut parts).map_err(|rejection| rejection.status.as_u16());
        let kept = parts.headers.contains_key(FIELD);
        (
            chosen,
            format!("{}{}", parts.uri, if kept { " +" } else { "" }),
        )
    }

    #[test]
    fn the_client_chooses_among_what_the_route_offers() {
        let reply = Reply {
            preset: Some(Target::Events),
            offer: vec![Some(Target::AiSdk), None],
            ..Reply::default()
        };
        let ok = |target: Option<Target>, uri: &str| (Ok(target), uri.to_owned());
        assert_eq!(
            asked(&reply, "/a?b=1", None),
            ok(Some(Target::Events), "/a?b=1")
        );
        assert_eq!(
            asked(&reply, "/a", Some("ai-sdk")),
            ok(Some(Target::AiSdk), "/a")
        );
        assert_eq!(asked(&reply, "/a", Some(" same ")), ok(None, "/a"));
        assert_eq!(
            asked(&reply, "/a?b=1&weir.reply=ai-sdk&c=%20", None),
            ok(Some(Target::AiSdk), "/a?b=1&c=%20")
        );
        assert_eq!(
            asked(&reply, "/a?weir.reply=events", None),
            ok(Some(Target::Events), "/a")
        );
        for word in ["ag-ui", "", "AI-SDK", "x"] {
            assert_eq!(asked(&reply, "/a", Some(word)).0, Err(406), "{word}");
        }
        let off = Reply::default();
        let uri = "/a?weir.reply=ai-sdk";
        assert_eq!(asked(&off, uri, Some("x")), (Ok(None), format!("{uri} +")));
    }
}
