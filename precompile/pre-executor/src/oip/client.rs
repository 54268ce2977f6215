//! A connection to a server of the protocol: made once, used by all, made again when it breaks.

use super::{
    messages::{InferRequest, InferResponse, Nothing, SERVICE, ServerMetadata},
    tls::{Tls, TlsError},
};
use http::uri::PathAndQuery;
use prost::Message;
use std::{
    error::Error,
    future::Future,
    sync::OnceLock,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// Longest message, bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Longest that a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Pause before the one retry of what a broken connection lost.
const RETRY: Duration = Duration::from_millis(50);

/// A server that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address.
    #[error(
        "{url:?} is no address of a server: {reason}; write oip://HOST:PORT, http://HOST:PORT or https://HOST:PORT"
    )]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// One of the two does not accept who the other is.
    #[error("no trusted connection to {url}: {reason}; {advice}")]
    Refused {
        /// Where.
        url: String,
        /// What was said.
        reason: String,
        /// What may help.
        advice: &'static str,
    },
    /// No answer that makes sense.
    #[error("{url} does not answer as an operator does: {reason}; is `foreblock operator` running there?")]
    NoOperator {
        /// Where.
        url: String,
        /// What came.
        reason: String,
    },
}

/// One server.
#[derive(Clone, Debug)]
pub struct Client {
    url: String,
    channel: Channel,
}

/// Where all connections of the process live. Callers are threads, not tasks.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(2).thread_name("foreblock-oip").enable_all();
        builder.build().expect("threads for connections can be started")
    })
}

impl Client {
    /// Connects when it is first asked for something.
    pub fn new(url: &str, tls: &Tls) -> Result<Self, ConnectError> {
        let bad = |reason: String| ConnectError::Url { url: url.to_owned(), reason };
        let address = url.strip_prefix("oip://").map_or_else(|| url.to_owned(), |host| format!("http://{host}"));
        let mut endpoint = Endpoint::from_shared(address.clone()).map_err(|error| bad(error.to_string()))?;
        endpoint = endpoint.connect_timeout(CONNECT).tcp_nodelay(true);
        if address.starts_with("https://") {
            endpoint = endpoint.tls_config(tls.of_client()?).map_err(|error| bad(chain(&error)))?;
        }
        let _inside = runtime().enter();
        Ok(Self { url: url.to_owned(), channel: endpoint.connect_lazy() })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn infer(&self, request: InferRequest, deadline: Instant) -> Result<InferResponse, Status> {
        match self.ask("ModelInfer", request.clone(), deadline).await {
            // The connection broke, so nobody answered: a second try meets a new connection.
            Err(status) if status.code() == Code::Unavailable && Instant::now() + RETRY < deadline => {
                tokio::time::sleep(RETRY).await;
                self.ask("ModelInfer", request, deadline).await
            }
            answered => answered,
        }
    }

    pub(super) async fn metadata(&self, deadline: Instant) -> Result<ServerMetadata, Status> {
        self.ask("ServerMetadata", Nothing {}, deadline).await
    }

    async fn ask<M, R>(&self, method: &'static str, message: M, deadline: Instant) -> Result<R, Status>
    where
        M: Message + 'static,
        R: Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(format!("{SERVICE}{method}")).expect("a method's name is a path");
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = Request::new(message);
        request.set_timeout(left);
        let mut grpc = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let call = async {
            grpc.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
            let answered = grpc.unary(request, path, ProstCodec::<M, R>::default()).await;
            Ok(answered.map_err(with_causes)?.into_inner())
        };
        tokio::time::timeout(left, call).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
    }

    /// Runs to its end on the connections' threads.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        runtime().block_on(work)
    }
}

/// What the connection said goes into the status' words: by itself it says "transport error".
fn with_causes(status: Status) -> Status {
    let Some(cause) = status.source() else { return status };
    Status::new(status.code(), format!("{}: {}", status.message(), chain(cause)))
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| (*error).source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
