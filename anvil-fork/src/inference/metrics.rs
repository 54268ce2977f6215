//! The Prometheus endpoint: all numbers of the pre-executor as text, at `/metrics`.

use crate::node::Node;
use axum::{Router, http::header, response::IntoResponse, routing::get};
use std::{net::SocketAddr, sync::Arc};

/// The text format's content type.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An endpoint that cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {address}: {source}; choose another address with --metrics")]
pub struct MetricsError {
    /// Where it should listen.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// Starts listening; the address, with the port that was free where 0 was asked for.
pub async fn serve_metrics(node: Arc<Node>, address: SocketAddr) -> Result<SocketAddr, MetricsError> {
    let failed = |source| MetricsError { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let text = move || {
        let node = node.clone();
        async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], node.inference.prometheus()).into_response() }
    };
    let router = Router::new().route("/metrics", get(text));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are not served any more");
        }
    });
    Ok(address)
}
