//! The HTTP and WebSocket server: both on one port.

use super::{Args, ipc, routes, subscribe};
use crate::node::Node;
use http::{HeaderValue, Method, header};
use jsonrpsee::{
    RpcModule,
    server::{BatchRequestConfig, IdProvider, Server},
    types::{ErrorObjectOwned, SubscriptionId},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

pub use jsonrpsee::server::ServerHandle;

/// How the server listens.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where.
    pub addresses: Vec<SocketAddr>,
    /// Origins that browsers may call from; `None` is no CORS headers at all.
    pub allow_origin: Option<String>,
    /// Longest request, bytes.
    pub request_bytes_max: u32,
    /// Longest answer, bytes.
    pub response_bytes_max: u32,
    /// Most requests in a batch.
    pub batch_max: u32,
    /// A Unix socket that is served, too.
    pub ipc: Option<PathBuf>,
    /// Most connections at once.
    pub connections_max: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 8545))],
            allow_origin: Some("*".to_owned()),
            request_bytes_max: 16 << 20,
            response_bytes_max: 512 << 20,
            batch_max: 5_000,
            ipc: None,
            connections_max: 1_024,
        }
    }
}

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else has the port.
    #[error("port {port} of {host} is in use: stop the other program, or choose another with --port (0 takes a free one)", port = .0.port(), host = .0.ip())]
    InUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}; check --host and --port")]
    Listen(SocketAddr, std::io::Error),
    /// The Unix socket.
    #[error("cannot listen on the socket {path}: {1}; choose another path with --ipc", path = .0.display())]
    Ipc(PathBuf, String),
    /// A header that is none.
    #[error("--allow-origin `{0}` is not a header value: give an origin such as http://localhost:3000, or *")]
    Origin(String),
}

/// Starts listening; the addresses, with the ports that were free where 0 was asked for.
pub async fn serve(node: Arc<Node>, config: &ServerConfig) -> Result<(Vec<ServerHandle>, Vec<SocketAddr>), ServeError> {
    let module = module(node);
    if let Some(path) = &config.ipc {
        ipc::serve(path, module.clone(), config.batch_max, config.request_bytes_max)?;
    }
    let (mut handles, mut addresses) = (Vec::new(), Vec::new());
    for address in &config.addresses {
        let limits = jsonrpsee::server::ServerConfig::builder()
            .max_request_body_size(config.request_bytes_max)
            .max_response_body_size(config.response_bytes_max)
            .max_connections(config.connections_max)
            .max_subscriptions_per_connection(4_096)
            .set_batch_request_config(BatchRequestConfig::Limit(config.batch_max))
            .set_id_provider(Ids::default())
            .build();
        let middleware = tower::ServiceBuilder::new().option_layer(cors(config)?);
        let server = Server::builder().set_config(limits).set_http_middleware(middleware);
        let server = server.build(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::InUse(*address),
            _ => ServeError::Listen(*address, error),
        })?;
        addresses.push(server.local_addr().map_err(|error| ServeError::Listen(*address, error))?);
        handles.push(server.start(module.clone()));
    }
    Ok((handles, addresses))
}

fn cors(config: &ServerConfig) -> Result<Option<CorsLayer>, ServeError> {
    let Some(origin) = &config.allow_origin else { return Ok(None) };
    let allowed = if origin == "*" {
        AllowOrigin::from(Any)
    } else {
        let origins: Result<Vec<HeaderValue>, _> = origin.split(',').map(|one| one.trim().parse()).collect();
        AllowOrigin::list(origins.map_err(|_| ServeError::Origin(origin.clone()))?)
    };
    let layer = CorsLayer::new().allow_origin(allowed).allow_headers([header::CONTENT_TYPE]);
    Ok(Some(layer.allow_methods([Method::GET, Method::POST])))
}

fn module(node: Arc<Node>) -> RpcModule<Arc<Node>> {
    let mut module = RpcModule::new(node);
    for name in super::NAMES {
        module
            .register_async_method(name, move |params, node, _| async move {
                let started = std::time::Instant::now();
                let args = Args::new(&params).map_err(ErrorObjectOwned::from)?;
                let answer = routes::dispatch(&node, name, args).await.map_err(ErrorObjectOwned::from);
                tracing::debug!(target: "rpc", name, ok = answer.is_ok(), elapsed = ?started.elapsed());
                answer
            })
            .expect("the table names each method once");
    }
    subscribe::register(&mut module);
    module
}

/// Ids of subscriptions: hex numbers, as geth's clients expect.
#[derive(Debug, Default)]
struct Ids(AtomicU64);

impl IdProvider for Ids {
    fn next_id(&self) -> SubscriptionId<'static> {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        SubscriptionId::Str(format!("{number:#034x}").into())
    }
}
