//! One client connection: TLS if asked for, then HTTP/1.1 or HTTP/2 until it closes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::app::App;
use crate::config::Limits;
use crate::proxy::{self, Peer};

use super::tls::Acceptor;

/// Serves a connection to its end.
pub async fn serve<S>(app: Arc<App>, peer: Peer, stream: S, tls: Option<Arc<Acceptor>>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let limits = app.loaded().config.limits;
    let Some(tls) = tls else {
        return http(app, peer, stream, &limits).await;
    };
    match timeout(limits.request_head, tls.current().accept(stream)).await {
        Ok(Ok(stream)) => http(app, peer, stream, &limits).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took longer than limits.request_head"),
    }
}

async fn http<S>(app: Arc<App>, peer: Peer, stream: S, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_head)
        .max_headers(limits.max_headers)
        // Of the request head, and of what waits to be written: nothing large may hide here.
        .max_buf_size(limits.max_header_bytes.max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(256)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let service = service_fn(move |request| {
        let (app, peer) = (Arc::clone(&app), peer.clone());
        async move { Ok::<_, Infallible>(proxy::serve(&app, &peer, request).await) }
    });
    if let Err(error) = builder
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%error, "a client connection ended");
    }
}
