//! The same answers over HTTP, as JSON: for people, scripts, and clients without Unix sockets.

use super::Sidecar;
use alloy_primitives::{B256, Bytes, keccak256};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use foreblock_precompile::Outcome;
use foreblock_sidecar::{
    Answers,
    frame::{LIST_MAX, Noted, Reason},
};
use serde::Deserialize;
use serde_json::json;
use std::{net::SocketAddr, sync::Arc};

const JSON: &str = "application/json";

#[derive(Deserialize)]
struct WantedBody {
    #[serde(default)]
    transaction: B256,
    model: B256,
    input: Bytes,
}

/// Starts listening; the address, with the port that was free where 0 was asked for.
pub async fn serve(sidecar: Arc<Sidecar>, address: SocketAddr) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/v1/outcomes/{id}", get(outcome))
        .route("/v1/wanted", post(wanted))
        .route("/v1/list", post(list))
        .route("/v1/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(sidecar);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "HTTP is not served any more");
        }
    });
    Ok(address)
}

async fn outcome(State(sidecar): State<Arc<Sidecar>>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<B256>() else {
        return refused(StatusCode::BAD_REQUEST, Reason::Malformed, "expected a request's id: 32 bytes in hex");
    };
    let found = match sidecar.lookup(id) {
        None => return (StatusCode::NOT_FOUND, Json(json!({ "status": "missing" }))).into_response(),
        Some(Outcome::Output(output)) => json!({ "status": "output", "output": output }),
        Some(Outcome::Failed(failure)) => {
            json!({ "status": "failed", "code": failure.code as u16, "reason": failure.reason })
        }
    };
    Json(found).into_response()
}

async fn wanted(State(sidecar): State<Arc<Sidecar>>, Json(body): Json<WantedBody>) -> Response {
    match sidecar.wanted(body.transaction, body.model, body.input) {
        Ok(noted) => {
            let name = match noted {
                Noted::There => "there",
                Noted::Queued => "queued",
                Noted::NotTaken => "not taken",
            };
            Json(json!({ "status": name })).into_response()
        }
        Err((reason, words)) => refused(StatusCode::CONFLICT, reason, &words),
    }
}

async fn list(State(sidecar): State<Arc<Sidecar>>, Json(used): Json<Vec<B256>>) -> Response {
    if used.len() > LIST_MAX {
        return refused(StatusCode::PAYLOAD_TOO_LARGE, Reason::Malformed, "more than 65,536 ids");
    }
    match sidecar.list(used) {
        Ok(encoded) => {
            let commitment = (!encoded.is_empty()).then(|| keccak256(&encoded));
            Json(json!({ "encoded": encoded, "commitment": commitment })).into_response()
        }
        Err((reason, words)) => refused(StatusCode::CONFLICT, reason, &words),
    }
}

async fn status(State(sidecar): State<Arc<Sidecar>>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], sidecar.status().to_vec()).into_response()
}

async fn metrics(State(sidecar): State<Arc<Sidecar>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], sidecar.prometheus()).into_response()
}

fn refused(status: StatusCode, reason: Reason, words: &str) -> Response {
    (status, Json(json!({ "refused": reason as u16, "reason": words }))).into_response()
}
