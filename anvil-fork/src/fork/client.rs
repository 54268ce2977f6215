//! JSON-RPC to the upstream, for callers that are not asynchronous: the EVM asks for state in the middle of a transaction.

use super::{
    Feed, ForkOptions, UpstreamError,
    endpoints::{Endpoints, Patience},
    error::shortened,
};
use alloy_json_rpc::RpcError;
use alloy_rpc_client::{ClientBuilder, RpcClient};
use alloy_transport::{TransportError, layers::RetryBackoffLayer};
use serde_json::{Value, value::RawValue};
use std::sync::{OnceLock, mpsc};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

/// A question.
pub(super) type Question = (&'static str, Value);

/// The upstream's JSON-RPC.
#[derive(Debug)]
pub(super) struct Client {
    rpc: RpcClient,
    endpoints: Endpoints,
}

/// The thread that talks to upstreams. It is not the server's, so that who waits for an answer cannot keep it from coming;
/// and it is never dropped, since a runtime must not be dropped inside another.
fn runtime() -> Result<&'static Runtime, UpstreamError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let start = || {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("upstream").enable_all().build();
        runtime.map_err(|error| error.to_string())
    };
    RUNTIME.get_or_init(start).as_ref().map_err(|error| UpstreamError::Client(error.clone()))
}

/// Waits without keeping the server's tasks from running.
pub(super) fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

impl Client {
    pub(super) fn new(options: &ForkOptions) -> Result<Self, UpstreamError> {
        let endpoints = Endpoints::new(options)?;
        let backoff = u64::try_from(options.backoff.as_millis()).unwrap_or(u64::MAX);
        let retry =
            RetryBackoffLayer::new_with_policy(options.retries, backoff, options.compute_units_per_second, Patience);
        let rpc = ClientBuilder::default().layer(retry).transport(endpoints.clone(), false);
        Ok(Self { rpc, endpoints })
    }

    /// The chain's id, asked if it is not known.
    pub(super) fn chain_id(&self) -> Result<u64, UpstreamError> {
        if let Some(known) = self.endpoints.chain_id() {
            return Ok(known);
        }
        let asked = self.ask("eth_chainId", serde_json::json!([]))?;
        self.endpoints.chain_id().ok_or_else(|| malformed("eth_chainId", "a number", asked.get()))
    }

    /// What the upstream says by itself from now on; `None` where it is asked by HTTP.
    pub(super) fn feed(&self) -> Result<Option<Feed>, UpstreamError> {
        if self.endpoints.socket().is_none() {
            return Ok(None);
        }
        let (endpoints, (opened, opening)) = (self.endpoints.clone(), mpsc::sync_channel(1));
        runtime()?.spawn(async move {
            if let Some(socket) = endpoints.socket() {
                let _ = opened.send(Feed::open(socket).await);
            }
        });
        let gone = |_| UpstreamError::Client("the subscription was dropped".to_owned());
        let feed = waiting(|| opening.recv()).map_err(gone)?;
        feed.map(Some).map_err(|error| failure("eth_subscribe", error))
    }

    /// One answer, as the upstream wrote it.
    pub(super) fn ask(&self, method: &'static str, params: Value) -> Result<Box<RawValue>, UpstreamError> {
        let mut answers = self.ask_all(vec![(method, params)])?;
        Ok(answers.remove(0))
    }

    /// All answers, asked at once; the first failure where there is one.
    pub(super) fn ask_all(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, UpstreamError> {
        let runtime = runtime()?;
        let mut waits = Vec::with_capacity(questions.len());
        for (method, params) in questions {
            let (answered, answer) = mpsc::sync_channel(1);
            let call = self.rpc.request::<Value, Box<RawValue>>(method, params);
            runtime.spawn(async move {
                let _ = answered.send(call.await.map_err(|error| failure(method, error)));
            });
            waits.push((method, answer));
        }
        let one = |(method, answer): (&str, mpsc::Receiver<_>)| {
            let gone = |_| UpstreamError::Client(format!("the request {method} was dropped"));
            answer.recv().map_err(gone).and_then(|answer| answer)
        };
        waiting(|| waits.into_iter().map(one).collect())
    }
}

fn failure(method: &'static str, error: TransportError) -> UpstreamError {
    match error {
        RpcError::ErrorResp(refusal) => UpstreamError::Refused {
            method: method.to_owned(),
            code: refusal.code,
            message: refusal.message.to_string(),
            data: refusal.data.and_then(|data| serde_json::from_str(data.get()).ok()),
        },
        RpcError::DeserError { text, .. } => malformed(method, "JSON", &text),
        other => {
            let text = other.to_string();
            let why = text.strip_prefix("Max retries exceeded ").unwrap_or(&text).to_owned();
            UpstreamError::Silent { method: method.to_owned(), why }
        }
    }
}

/// An answer that is no answer.
pub(super) fn malformed(method: &str, expected: &'static str, got: &str) -> UpstreamError {
    UpstreamError::Malformed { method: method.to_owned(), expected, got: shortened(got) }
}
