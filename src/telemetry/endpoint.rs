//! `/metrics` and `/health` over HTTP, on a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::Metrics;

/// Why there are no metrics to be had.
#[derive(Debug, thiserror::Error)]
#[error("failed to offer metrics on {address}: {source}; choose another metrics.listen, or leave the section out")]
pub struct EndpointError {
    /// Where.
    address: SocketAddr,
    /// What the system says.
    source: std::io::Error,
}

/// Answers until told to stop.
///
/// # Errors
/// When the address cannot be listened on.
pub fn start(address: SocketAddr, metrics: Arc<Metrics>, stop: CancellationToken) -> Result<JoinHandle<()>, EndpointError> {
    let failed = |source| EndpointError { address, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).map_err(failed)?;
    let health = Arc::clone(&metrics);
    let text = (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let router = Router::new()
        .route("/metrics", get(move || async move { ([text], metrics.text()) }))
        .route(
            "/health",
            get(move || async move {
                if health.is_ready() {
                    (StatusCode::OK, "ready\n")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
                }
            }),
        );
    let serve = async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::warn!(%error, "metrics are not offered any more");
            },
            // A client that holds its connection does not hold the station.
            () = stop.cancelled() => {}
        }
    };
    Builder::new()
        .name("metrics".into())
        .spawn(move || runtime.block_on(serve))
        .map_err(failed)
}
