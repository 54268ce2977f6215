//! `eth_subscribe` and `inference_subscribe`.

use super::{logs, shape};
use crate::{inference, node::Node};
use alloy_primitives::B256;
use alloy_rpc_types_eth::{
    Filter,
    pubsub::{Params, SubscriptionKind},
};
use jsonrpsee::{
    RpcModule, SubscriptionMessage, core::server::PendingSubscriptionSink, core::server::SubscriptionSink,
    types::ErrorObjectOwned,
};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::broadcast::{Receiver, error::RecvError};

pub(super) fn register(module: &mut RpcModule<Arc<Node>>) {
    module
        .register_subscription("eth_subscribe", "eth_subscription", "eth_unsubscribe", |params, pending, node, _| {
            let mut params = params.sequence();
            let kind = params.next::<SubscriptionKind>().map_err(|error| error.to_string());
            let detail = params.optional_next::<Params>().ok().flatten();
            let node: Arc<Node> = node.as_ref().clone();
            async move {
                match kind {
                    Ok(kind) => follow(node, kind, detail, pending).await,
                    Err(error) => pending.reject(ErrorObjectOwned::owned(-32602, error, None::<()>)).await,
                }
            }
        })
        .expect("no other method has these names");
    module
        .register_subscription(
            "inference_subscribe",
            "inference_subscription",
            "inference_unsubscribe",
            |params, pending, node, _| {
                let only = params.sequence().optional_next::<B256>().map_err(|error| error.to_string());
                let node: Arc<Node> = node.as_ref().clone();
                async move {
                    match only {
                        Ok(only) => follow_inference(node, only, pending).await,
                        Err(error) => pending.reject(ErrorObjectOwned::owned(-32602, error, None::<()>)).await,
                    }
                }
            },
        )
        .expect("no other method has these names");
}

/// News of one transaction, or of all and of outcomes.
async fn follow_inference(node: Arc<Node>, only: Option<B256>, pending: PendingSubscriptionSink) {
    let news = node.inference.news();
    let Ok(sink) = pending.accept().await else { return };
    each(&sink, news, |event| inference::event(&event, only).into_iter().collect()).await;
}

async fn follow(node: Arc<Node>, kind: SubscriptionKind, detail: Option<Params>, pending: PendingSubscriptionSink) {
    let (heads, arrivals) = (node.heads(), node.arrivals());
    let Ok(sink) = pending.accept().await else { return };
    match (kind, detail) {
        (SubscriptionKind::NewHeads, _) => each(&sink, heads, |block| vec![shape::header(&block)]).await,
        (SubscriptionKind::Logs, detail) => {
            let filter = match detail {
                Some(Params::Logs(filter)) => *filter,
                _ => Filter::default(),
            };
            each(&sink, heads, |block| logs::of_block(&block, &filter)).await;
        }
        (SubscriptionKind::NewPendingTransactions, Some(Params::Bool(true))) => {
            each(&sink, arrivals, |pooled| vec![shape::pending(&pooled.tx)]).await;
        }
        (SubscriptionKind::NewPendingTransactions, _) => each(&sink, arrivals, |pooled| vec![pooled.hash]).await,
        // A devnet is never behind: there is one thing to say.
        _ => {
            send(&sink, &false).await;
            sink.closed().await;
        }
    }
}

async fn each<T: Clone, M: Serialize>(sink: &SubscriptionSink, mut news: Receiver<T>, shape: impl Fn(T) -> Vec<M>) {
    loop {
        let item = tokio::select! {
            () = sink.closed() => return,
            item = news.recv() => item,
        };
        match item {
            Ok(item) => {
                for message in shape(item) {
                    if !send(sink, &message).await {
                        return;
                    }
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn send<M: Serialize>(sink: &SubscriptionSink, message: &M) -> bool {
    let Ok(raw) = serde_json::value::to_raw_value(message) else { return false };
    sink.send(SubscriptionMessage::from(raw)).await.is_ok()
}
