//! How one endpoint is spoken to: by HTTP, or over a WebSocket, on which it says by itself what is new.

use super::endpoints::EndpointError;
use alloy_json_rpc::{Id, Request, RequestPacket, ResponsePacket, ResponsePayload, RpcError};
use alloy_primitives::B256;
use alloy_pubsub::{ConnectionHandle, PubSubConnect, PubSubFrontend, RawSubscription};
use alloy_transport::{TransportError, TransportErrorKind, TransportResult};
use alloy_transport_http::Http;
use alloy_transport_ws::{WebSocketConfig, WsConnect};
use reqwest::{Client, Url};
use std::{future::poll_fn, time::Duration};
use tokio::{sync::Mutex, time::timeout};
use tower::Service;

/// Longest message, bytes: a full pool's content comes in one.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// Messages of a subscription that wait to be read; whoever is slower is told that it missed some.
const NEWS_MAX: usize = 16_384;

#[derive(Debug)]
pub(super) enum Wire {
    Http(Http<Client>),
    Socket(Socket),
}

impl Wire {
    pub(super) async fn call(&self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        match self {
            Self::Http(http) => http.clone().call(request).await,
            Self::Socket(socket) => socket.call(request).await,
        }
    }
}

/// A WebSocket: opened when it is first needed, and anew after it broke.
#[derive(Debug)]
pub(super) struct Socket {
    name: String,
    url: Url,
    timeout: Duration,
    open: Mutex<Option<PubSubFrontend>>,
}

impl Socket {
    pub(super) fn new(name: String, url: Url, timeout: Duration) -> Self {
        Self { name, url, timeout, open: Mutex::default() }
    }

    async fn call(&self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let frontend = self.frontend().await?;
        self.within(frontend.send_packet(request)).await
    }

    /// What the endpoint says from now on of `what`, until the connection breaks.
    pub(super) async fn subscribe(&self, what: &'static str) -> Result<RawSubscription, TransportError> {
        let frontend = self.frontend().await?;
        // Of the requests on this connection, the others' ids are numbers.
        let request = Request::new("eth_subscribe", Id::String(what.to_owned()), [what]);
        let request = request.serialize().map_err(TransportError::ser_err)?;
        let id: B256 = match self.within(frontend.send(request)).await?.payload {
            ResponsePayload::Success(id) => {
                serde_json::from_str(id.get()).map_err(|error| TransportError::deser_err(error, id.get()))?
            }
            ResponsePayload::Failure(refusal) => return Err(RpcError::ErrorResp(refusal)),
        };
        self.within(frontend.get_subscription(id)).await
    }

    async fn frontend(&self) -> Result<PubSubFrontend, TransportError> {
        let mut open = self.open.lock().await;
        if let Some(mut known) = open.clone()
            && poll_fn(|context| known.poll_ready(context)).await.is_ok()
        {
            return Ok(known);
        }
        let config = WebSocketConfig::default();
        let config = config.max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
        let once = Once(WsConnect::new(self.url.as_str()).with_config(config));
        let fresh = self.within(once.into_service()).await?;
        fresh.set_channel_size(NEWS_MAX);
        *open = Some(fresh.clone());
        Ok(fresh)
    }

    async fn within<T>(&self, wait: impl Future<Output = TransportResult<T>>) -> Result<T, TransportError> {
        let name = self.name.clone();
        let told = timeout(self.timeout, wait).await;
        told.unwrap_or_else(|_| Err(failed(EndpointError::Slow(name.clone(), self.timeout)))).map_err(|error| {
            match &error {
                RpcError::Transport(TransportErrorKind::BackendGone) => {
                    failed(EndpointError::Broken(name, "the WebSocket was closed".to_owned()))
                }
                RpcError::Transport(TransportErrorKind::Custom(why)) if !why.is::<EndpointError>() => {
                    failed(EndpointError::Unreachable(name, why.to_string()))
                }
                _ => error,
            }
        })
    }
}

fn failed(error: EndpointError) -> TransportError {
    TransportErrorKind::custom(error)
}

/// A connection that ends when it breaks. One that were made again behind its users' back would hide what was said meanwhile.
struct Once(WsConnect);

impl PubSubConnect for Once {
    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        Ok(self.0.connect().await?.with_max_retries(1))
    }

    async fn try_reconnect(&self) -> TransportResult<ConnectionHandle> {
        Err(TransportErrorKind::backend_gone())
    }
}
