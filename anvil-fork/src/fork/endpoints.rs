//! Several endpoints as one transport: asked in turn, each made to prove its chain first, and what one cannot answer, the
//! next is asked.

use super::{
    ForkOptions, UpstreamError,
    error::shortened,
    wire::{Socket, Wire},
};
use alloy_json_rpc::{Id, Request, RequestPacket, ResponsePacket, RpcError};
use alloy_transport::{
    TransportError, TransportErrorKind, TransportFut,
    layers::{RateLimitRetryPolicy, RetryPolicy},
};
use alloy_transport_http::Http;
use reqwest::{Client, Url};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::OnceCell;
use tower::Service;

/// One endpoint's failure. Names host and port only: the rest of a URL is often a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("{0} cannot be reached: {1}; check --fork-url and that the node runs")]
    Unreachable(String, String),
    #[error("{0} broke off: {1}")]
    Broken(String, String),
    #[error("{0} gave no whole answer within {1:?}; a longer --timeout (ms) waits longer")]
    Slow(String, Duration),
    #[error("{0} answered with HTTP status {1}: {2}")]
    Status(String, u16, String),
    #[error("{0} answered with {1}, which is not JSON-RPC: is it an Ethereum node's RPC endpoint?")]
    NotJsonRpc(String, String),
    #[error("{0} is a node of chain {2}, but chain {1} is forked: all --fork-url, and --fork-chain-id, must agree")]
    OtherChain(String, u64, u64),
}

impl EndpointError {
    /// Whether another attempt may succeed.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(..) | Self::Broken(..) | Self::Slow(..) | Self::NotJsonRpc(..) => true,
            Self::Status(_, status, _) => *status == 408 || *status == 429 || *status >= 500,
            Self::OtherChain(..) => false,
        }
    }

    fn of(error: &TransportError) -> Option<&Self> {
        error.as_transport_err()?.as_custom()?.downcast_ref()
    }
}

/// What is tried again: what alloy holds to be a rate limit, and what may pass.
#[derive(Clone, Debug)]
pub(super) struct Patience;

impl RetryPolicy for Patience {
    fn should_retry(&self, error: &TransportError) -> bool {
        EndpointError::of(error)
            .map_or_else(|| RateLimitRetryPolicy::default().should_retry(error), EndpointError::may_pass)
    }

    fn backoff_hint(&self, error: &TransportError) -> Option<Duration> {
        RateLimitRetryPolicy::default().backoff_hint(error)
    }
}

#[derive(Debug)]
struct Endpoint {
    name: String,
    wire: Wire,
    timeout: Duration,
    /// Set once it has said that it is of the right chain.
    proven: OnceCell<()>,
}

/// All endpoints of the forked chain.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    all: Arc<[Endpoint]>,
    next: Arc<AtomicUsize>,
    chain_id: Arc<OnceLock<u64>>,
}

impl Endpoints {
    pub(super) fn new(options: &ForkOptions) -> Result<Self, UpstreamError> {
        // The first provider wins, and all are the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().timeout(options.timeout).default_headers(options.headers.clone());
        let client = builder.build().map_err(|error| UpstreamError::Client(error.to_string()))?;
        let endpoint = |url: &Url| Endpoint {
            name: name(url),
            wire: if url.scheme() == "ws" {
                Wire::Socket(Socket::new(name(url), url.clone(), options.timeout))
            } else {
                Wire::Http(Http::with_client(client.clone(), url.clone()))
            },
            timeout: options.timeout,
            proven: OnceCell::new(),
        };
        let chain_id = options.chain_id.map_or_else(OnceLock::new, OnceLock::from);
        let all = options.urls.iter().map(endpoint).collect();
        Ok(Self { all, next: Default::default(), chain_id: Arc::new(chain_id) })
    }

    /// The chain's id, if it was given, or if an endpoint was asked.
    pub(super) fn chain_id(&self) -> Option<u64> {
        self.chain_id.get().copied()
    }

    /// The first endpoint's WebSocket, if it has one.
    pub(super) fn socket(&self) -> Option<&Socket> {
        match &self.all.first()?.wire {
            Wire::Http(_) => None,
            Wire::Socket(socket) => Some(socket),
        }
    }

    async fn ask(&self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut failed = None;
        for at in 0..self.all.len() {
            let endpoint = &self.all[(first + at) % self.all.len()];
            let answer = match self.prove(endpoint).await {
                Ok(()) => endpoint.post(request.clone()).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) if !another_may_know(&answer) => return Ok(answer),
                other => {
                    tracing::debug!(endpoint = endpoint.name, ?other, "an upstream failed");
                    // What may pass is worth more than a refusal: it is tried again.
                    if other.is_err() || failed.is_none() {
                        failed = Some(other);
                    }
                }
            }
        }
        failed.unwrap_or_else(|| Err(TransportErrorKind::non_retryable_str("there is no endpoint: give a --fork-url")))
    }

    async fn prove(&self, endpoint: &Endpoint) -> Result<(), TransportError> {
        let prove = || async {
            let got = endpoint.chain_id().await?;
            let wanted = *self.chain_id.get_or_init(|| got);
            if got == wanted {
                return Ok(());
            }
            Err(TransportErrorKind::custom(EndpointError::OtherChain(endpoint.name.clone(), wanted, got)))
        };
        endpoint.proven.get_or_try_init(prove).await.copied()
    }
}

/// Whether the answer is a refusal that is this endpoint's own: a revert is the same everywhere.
fn another_may_know(answer: &ResponsePacket) -> bool {
    answer.as_error().is_some_and(|error| error.code != 3 && error.code != -32602)
}

impl Endpoint {
    async fn chain_id(&self) -> Result<u64, TransportError> {
        let request = Request::new("eth_chainId", Id::Number(0), [(); 0]);
        let request = request.serialize().map_err(TransportError::ser_err)?;
        let answer = self.post(request.into()).await?;
        let told = answer
            .first_payload()
            .and_then(|payload| payload.as_success())
            .map(|payload| payload.get().trim_matches('"').to_owned());
        let number = told.as_deref().and_then(|text| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok());
        number.ok_or_else(|| {
            let got = told.unwrap_or_else(|| format!("{:?}", answer.first_error_message().unwrap_or_default()));
            self.failed(EndpointError::NotJsonRpc(self.name.clone(), format!("eth_chainId {}", shortened(&got))))
        })
    }

    async fn post(&self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        self.wire.call(request).await.map_err(|error| self.named(error))
    }

    fn failed(&self, error: EndpointError) -> TransportError {
        TransportErrorKind::custom(error)
    }

    /// The same error in words that say which endpoint and what to do.
    fn named(&self, error: TransportError) -> TransportError {
        let name = self.name.clone();
        match &error {
            RpcError::DeserError { text, .. } => self.failed(EndpointError::NotJsonRpc(name, shortened(text))),
            RpcError::Transport(TransportErrorKind::HttpError(http)) => {
                self.failed(EndpointError::Status(name, http.status, shortened(&http.body)))
            }
            RpcError::Transport(TransportErrorKind::Custom(source)) => match source.downcast_ref::<reqwest::Error>() {
                Some(lost) if lost.is_timeout() => self.failed(EndpointError::Slow(name, self.timeout)),
                Some(lost) if lost.is_connect() => self.failed(EndpointError::Unreachable(name, root(lost))),
                Some(lost) => self.failed(EndpointError::Broken(name, root(lost))),
                None => error,
            },
            _ => error,
        }
    }
}

/// The innermost cause, which alone says what happened.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn name(url: &Url) -> String {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

impl Service<RequestPacket> for Endpoints {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let endpoints = self.clone();
        Box::pin(async move { endpoints.ask(request).await })
    }
}
