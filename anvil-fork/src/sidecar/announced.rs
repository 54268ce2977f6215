//! How the node says which transactions come into its pool: by itself over a WebSocket, in a filter that is asked, or not at all.

use super::node;
use crate::fork::{Feed, Heads, UpstreamError};
use alloy_primitives::B256;
use std::time::Duration;

/// Longest time between two looks at a node that says by itself what is new.
const QUIET_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Way {
    /// Not begun, or broken off.
    Nothing,
    Feed(Feed),
    Filter(String),
}

/// The pool's news.
#[derive(Debug)]
pub(super) struct Announced {
    way: Way,
    /// Whether the node takes subscriptions, and whether it knows filters, as far as is known.
    subscribes: bool,
    filters: bool,
}

impl Announced {
    pub(super) fn new() -> Self {
        Self { way: Way::Nothing, subscribes: true, filters: true }
    }

    /// What the node says of its pool has to be agreed on anew.
    pub(super) fn forget(&mut self) {
        self.way = Way::Nothing;
    }

    /// Whether the node says what is new, so that its whole pool need not be read each time.
    pub(super) fn any(&self) -> bool {
        !matches!(self.way, Way::Nothing)
    }

    /// The same in a word, for people.
    pub(super) fn way(&self) -> &'static str {
        match self.way {
            Way::Nothing => "whole pool",
            Way::Feed(_) => "subscription",
            Way::Filter(_) => "filter",
        }
    }

    /// Until the next look: `poll`, or until the node says something.
    pub(super) fn wait(&mut self, poll: Duration) {
        match &mut self.way {
            Way::Feed(feed) => feed.wait(QUIET_MAX.max(poll)),
            Way::Filter(_) | Way::Nothing => std::thread::sleep(poll),
        }
    }

    /// Hashes since the last time; `None` where some may have come unsaid, so that the whole pool has to be read.
    pub(super) fn new_hashes(&mut self, heads: &Heads) -> Result<Option<Vec<B256>>, UpstreamError> {
        let said = match &mut self.way {
            Way::Nothing => None,
            Way::Feed(feed) => feed.take(),
            Way::Filter(filter) => match node::filter_changes(heads, filter) {
                Ok(hashes) => Some(hashes),
                // The node forgot it.
                Err(UpstreamError::Refused { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        if said.is_none() {
            self.way = Way::Nothing;
            self.begin(heads)?;
        }
        Ok(said)
    }

    fn begin(&mut self, heads: &Heads) -> Result<(), UpstreamError> {
        if self.subscribes {
            match heads.feed() {
                Ok(Some(feed)) => {
                    self.way = Way::Feed(feed);
                    return Ok(());
                }
                Ok(None) => self.subscribes = false,
                Err(UpstreamError::Refused { message, .. }) => {
                    tracing::warn!(message, "the node takes no subscriptions: it is asked again and again");
                    self.subscribes = false;
                }
                Err(error) => return Err(error),
            }
        }
        if self.filters {
            match node::new_filter(heads) {
                Ok(filter) => self.way = Way::Filter(filter),
                Err(UpstreamError::Refused { message, .. }) => {
                    tracing::warn!(message, "the node has no filters: its whole pool is read each time");
                    self.filters = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork::{ForkOptions, ForkPoint, url};
    use jsonrpsee::{
        RpcModule, SubscriptionMessage,
        server::{Server, ServerHandle},
    };
    use std::{net::SocketAddr, time::Instant};

    const PATIENCE: Duration = Duration::from_secs(30);

    fn hash(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    /// A node that announces two transactions to whoever subscribes, or has them in a filter.
    async fn node(address: &str, subscribes: bool) -> (SocketAddr, ServerHandle) {
        let mut module = RpcModule::new(());
        module.register_method("eth_chainId", |_, _, _| "0x7").unwrap();
        module.register_method("eth_newPendingTransactionFilter", |_, _, _| "0x1").unwrap();
        module.register_method("eth_getFilterChanges", |_, _, _| [hash(1), hash(2)]).unwrap();
        if subscribes {
            module
                .register_subscription(
                    "eth_subscribe",
                    "eth_subscription",
                    "eth_unsubscribe",
                    |params, pending, _, _| {
                        let pool = params.one::<String>().is_ok_and(|kind| kind == "newPendingTransactions");
                        async move {
                            let Ok(sink) = pending.accept().await else { return };
                            for said in [hash(1), hash(2)].into_iter().filter(|_| pool) {
                                let message = serde_json::value::to_raw_value(&said).unwrap();
                                let _ = sink.send(SubscriptionMessage::from(message)).await;
                            }
                            sink.closed().await;
                        }
                    },
                )
                .unwrap();
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match Server::builder().build(address).await {
                Ok(server) => return (server.local_addr().unwrap(), server.start(module)),
                // The server before it lets go of its port a moment after it was told to stop.
                Err(error) => assert!(Instant::now() < end, "{address}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn heads(scheme: &str, address: SocketAddr) -> Heads {
        let (url, _) = url(&format!("{scheme}://{address}")).unwrap();
        let mut options = ForkOptions::new(vec![url], ForkPoint::Latest);
        (options.retries, options.backoff) = (1, Duration::from_millis(1));
        Heads::connect(options).unwrap()
    }

    /// What is announced until both hashes were there.
    fn both(announced: &mut Announced, heads: &Heads) {
        let (mut seen, end) = (Vec::new(), Instant::now() + PATIENCE);
        while seen.len() < 2 {
            assert!(Instant::now() < end, "only {seen:?}");
            announced.wait(Duration::from_millis(5));
            seen.extend(announced.new_hashes(heads).unwrap().unwrap());
        }
        assert_eq!(seen, [hash(1), hash(2)]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_subscription_that_breaks_off_is_made_anew_and_the_whole_pool_is_read_once() {
        let (address, server) = node("127.0.0.1:0", true).await;
        let heads = heads("ws", address);
        let mut announced = Announced::new();
        assert_eq!(announced.new_hashes(&heads).unwrap(), None, "what came before is in the pool");
        assert_eq!(announced.way(), "subscription");
        both(&mut announced, &heads);
        assert_eq!(announced.new_hashes(&heads).unwrap(), Some(vec![]));

        server.stop().unwrap();
        let end = Instant::now() + PATIENCE;
        while announced.new_hashes(&heads).is_ok() {
            assert!(Instant::now() < end, "the node is gone, and nobody notices");
            announced.wait(Duration::from_millis(5));
        }
        let (_, _server) = node(&address.to_string(), true).await;
        assert_eq!(announced.new_hashes(&heads).unwrap(), None, "what came meanwhile is in the pool");
        both(&mut announced, &heads);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_without_subscriptions_is_asked_by_filter() {
        let (address, _server) = node("127.0.0.1:0", false).await;
        for scheme in ["ws", "http"] {
            let heads = heads(scheme, address);
            let mut announced = Announced::new();
            assert_eq!(announced.new_hashes(&heads).unwrap(), None);
            assert_eq!(announced.way(), "filter", "{scheme}");
            both(&mut announced, &heads);
        }
    }
}
