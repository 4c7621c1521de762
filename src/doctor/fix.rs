//! How to fix a finding: the settings of `docs/intermediaries.md`, by the product that the response names.

use super::finding::Id;
use super::observation::Head;

/// A product that was recognised by the head of its responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    Nginx,
    Envoy,
    Caddy,
    CloudFront,
    Cloudflare,
    Google,
    Gunicorn,
    Uvicorn,
    Unknown,
}

impl Product {
    /// Returns the product that a response names, in `Server` or `Via`.
    pub(crate) fn of(head: &Head) -> Self {
        let server = head
            .server
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let via = head.via.as_deref().unwrap_or_default().to_ascii_lowercase();
        let known = [
            ("cloudflare", Self::Cloudflare),
            ("cloudfront", Self::CloudFront),
            ("nginx", Self::Nginx),
            ("openresty", Self::Nginx),
            ("envoy", Self::Envoy),
            ("caddy", Self::Caddy),
            ("gunicorn", Self::Gunicorn),
            ("uvicorn", Self::Uvicorn),
            ("hypercorn", Self::Uvicorn),
            ("google", Self::Google),
        ];
        let found = known
            .into_iter()
            .find(|(word, _)| via.contains(word) || server.contains(word));
        found.map_or(Self::Unknown, |(_, product)| product)
    }

    /// Returns the section of `docs/intermediaries.md` about it.
    pub(crate) const fn section(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
            Self::CloudFront => "aws",
            Self::Cloudflare => "cloudflare",
            Self::Google => "google-cloud",
            Self::Gunicorn | Self::Uvicorn | Self::Unknown => "a-hop-that-is-not-named-here",
        }
    }
}

/// Returns the setting that fixes a finding.
pub(crate) const fn setting(id: Id, product: Product) -> &'static str {
    match (id, product) {
        (Id::Buffered | Id::Coalesced, Product::Nginx) => {
            "nginx: `proxy_buffering off;`, and no `proxy_ignore_headers X-Accel-Buffering`"
        }
        (Id::Buffered | Id::Coalesced, Product::Caddy) => {
            "Caddy: no `flush_interval` in reverse_proxy, and no `encode` for text/event-stream"
        }
        (Id::Buffered | Id::Coalesced, Product::Cloudflare) => {
            "Cloudflare: turn `response buffering` of the zone off"
        }
        (Id::Buffered | Id::Coalesced, Product::Gunicorn | Product::Uvicorn) => {
            "return a streaming response that yields each event, and put no middleware around it that collects the body (GZipMiddleware, BaseHTTPMiddleware)"
        }
        (Id::Buffered, _) => {
            "turn response buffering off for text/event-stream and application/x-ndjson (nginx: `proxy_buffering off;`; Azure Application Gateway: `enableResponseBuffering=false`)"
        }
        (Id::Coalesced, _) => {
            "turn response buffering off, and send packets without delay (HAProxy: `option http-no-delay`); if the hop waits for the first kilobytes, set `preamble_bytes` in Weir"
        }
        (Id::EventsDelayed, _) => {
            "send packets without delay (HAProxy: `option http-no-delay` in defaults; elsewhere TCP_NODELAY)"
        }
        (Id::HeadDelayed, Product::Cloudflare | Product::CloudFront) => {
            "set `commit_after` in Weir below the timeout of the CDN, and turn response buffering off"
        }
        (Id::HeadDelayed, Product::Nginx) => {
            "nginx: `proxy_buffering off;`, and for clients of HTTP/2, where nginx holds the head until the body begins, `preamble_bytes: 16B` in Weir"
        }
        (Id::HeadDelayed, Product::Caddy) => {
            "Caddy: `encode` holds the head until the body begins: set `preamble_bytes: 16B` in Weir, or leave `encode` out where streams pass"
        }
        (Id::HeadDelayed, _) => {
            "let the hop pass on the head before the body (no response buffering, no scan of the body); if it needs a first byte, set `preamble_bytes` in Weir, and for slow agents `commit_after`"
        }
        (Id::Compressed, Product::Nginx) => {
            "nginx: `gzip off;`, or no text/event-stream in `gzip_types`"
        }
        (Id::Compressed, Product::Caddy) => {
            "Caddy: leave text/event-stream out of `encode` (from 2.6.3 on it respects `no-transform`)"
        }
        (Id::Compressed, Product::Cloudflare) => {
            "Cloudflare: a Compression Rule without compression for text/event-stream"
        }
        (Id::Compressed, _) => {
            "turn compression off for text/event-stream and application/x-ndjson, or let the hop respect `Cache-Control: no-transform`; Weir asks agents not to compress"
        }
        (Id::Cut, Product::Envoy) => {
            "Envoy: `timeout: 0s` in the route, which counts from the request on"
        }
        (Id::Cut, Product::Google) => {
            "Google Cloud: `--timeout` of the backend service above `deadlines.total`"
        }
        (Id::Cut, Product::CloudFront) => {
            "CloudFront: leave the `response completion timeout` unset"
        }
        (Id::Cut, Product::Gunicorn) => {
            "gunicorn: an asynchronous worker (`-k uvicorn.workers.UvicornWorker` or gthread); with sync workers `--timeout` ends every longer stream"
        }
        (Id::Cut, _) => {
            "turn timeouts for the whole response off, or set them above `deadlines.total` (Envoy: `timeout: 0s`; Google Cloud: `--timeout`)"
        }
        (Id::IdleCut, Product::Nginx) => {
            "nginx: `proxy_read_timeout 150s;` and `send_timeout` above 30s; Weir's `heartbeat` must be shorter"
        }
        (Id::IdleCut, Product::Envoy) => {
            "Envoy: `stream_idle_timeout: 150s`; Weir's `heartbeat` must be shorter"
        }
        (Id::IdleCut, Product::CloudFront | Product::Cloudflare) => {
            "keep Weir's `heartbeat` (15s) below the limit, and set `commit_after` for the time before the head"
        }
        (Id::IdleCut, _) => {
            "set the idle timeout above 30 s, or `heartbeat` in Weir below it (nginx: `proxy_read_timeout`; HAProxy: `timeout server` and `timeout client`; Envoy: `stream_idle_timeout`; ALB: `idle_timeout.timeout_seconds`)"
        }
        (Id::ErrorEvent, _) => {
            "look the code up among Weir's (docs/behaviour.md#endings) and its log for this request; any other code is the agent's own"
        }
        (Id::HeartbeatsStripped, _) => {
            "let the hop pass comments of event streams on unchanged; it must not parse and write the events anew"
        }
        (Id::ContentTypeRewritten, _) => {
            "let the hop leave Content-Type alone: clients take nothing but text/event-stream for a stream"
        }
        (Id::Http10, Product::Nginx) => {
            "nginx: `proxy_http_version 1.1;` (the default before 1.29.7 is 1.0)"
        }
        (Id::Http10, _) => "speak HTTP/1.1 or HTTP/2 to Weir (nginx: `proxy_http_version 1.1;`)",
        (Id::ClientLeftIgnored, Product::Nginx) => {
            "nginx: `proxy_ignore_client_abort off;`, the default"
        }
        (Id::ClientLeftIgnored, Product::Caddy) => {
            "Caddy: no `flush_interval -1`, which from 2.6 to 2.8 hides that a client left"
        }
        (Id::ClientLeftIgnored, _) => {
            "let the hop close its request when its client leaves (HAProxy before 3.3: `option abortonclose` in defaults)"
        }
        (Id::OneAtATime, _) => {
            "serve several streams at once (gunicorn: no sync workers, but `-k gthread --threads 32` or an asynchronous worker)"
        }
        (Id::NoProbe, _) => {
            "set `probe: true` in Weir's configuration, and let the hop forward /.weir/probe; or give your own request (-d, --openai)"
        }
        (Id::NotAStream, _) => {
            "ask for a stream in the request (`\"stream\": true`), and let the agent stream"
        }
        (Id::ErrorStatus, _) => {
            "make the request succeed first: check its URL, its method and its credentials (-H 'Authorization: ...')"
        }
        (Id::Unreachable, _) => {
            "check the address, the network and the certificate (--ca-file for your own authority)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::testing::head;
    use super::*;

    #[test]
    fn a_product_is_known_by_its_head() {
        let mut head = head(0);
        assert_eq!(Product::of(&head), Product::Unknown);
        head.server = Some("nginx/1.22.1".to_owned());
        assert_eq!(Product::of(&head), Product::Nginx);
        head.via = Some("1.1 google".to_owned());
        head.server = None;
        assert_eq!(Product::of(&head), Product::Google);
    }

    #[test]
    fn every_section_is_on_the_page() {
        let page = include_str!("../../docs/intermediaries.md");
        for product in [
            Product::Nginx,
            Product::Envoy,
            Product::Caddy,
            Product::CloudFront,
            Product::Cloudflare,
            Product::Google,
            Product::Unknown,
        ] {
            let title = product.section().replace('-', " ");
            let found = page.lines().any(|line| {
                line.strip_prefix("## ")
                    .is_some_and(|name| name.to_ascii_lowercase() == title)
            });
            assert!(found, "{title}");
        }
    }

    #[test]
    fn the_keys_of_weir_exist() {
        let page = include_str!("../../docs/configuration.md");
        for key in ["preamble_bytes", "commit_after", "heartbeat", "deadlines"] {
            assert!(page.contains(key), "{key}");
        }
    }
}
