//! What the sidecar answers, whoever asks and over whichever transport.

use crate::{conformance, inference::Operators};
use alloy_primitives::{Address, B256, Bytes};
use foreblock_pre_executor::{PreExecutor, Store, Wanted};
use foreblock_precompile::{
    Committee, InferenceList, ListEntry, ModelId, Outcome, Outcomes, Request, RequestId, check_input,
};
use foreblock_sidecar::{
    Answers, Welcome,
    frame::{Noted, Reason, VERSION},
};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// How the node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Health {
    /// Not asked yet.
    #[default]
    Unknown,
    /// It answers.
    Well,
    /// It does not.
    Silent(String),
    /// Another chain's node stands at its address.
    OtherChain(u64),
}

/// What was seen of the node last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) health: Health,
    /// Its last block.
    pub(super) head: Option<u64>,
    /// Transactions of its pool that are watched.
    pub(super) pending: usize,
    /// How it says what is new.
    pub(super) news: &'static str,
}

/// The pre-executor behind a socket.
pub struct Sidecar {
    welcome: Welcome,
    node: String,
    pre_executor: PreExecutor,
    store: Arc<Store>,
    operators: Operators,
    seen: Mutex<Seen>,
    lookups: AtomicU64,
    hits: AtomicU64,
}

impl std::fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sidecar").field("welcome", &self.welcome).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Sidecar {
    /// Beside the node at `node`, of this chain.
    pub fn new(
        node: &str,
        chain_id: u64,
        precompile: Address,
        pre_executor: PreExecutor,
        operators: Operators,
    ) -> Arc<Self> {
        let store = pre_executor.store();
        store.set_committee(operators.panel().committee());
        let (seen, lookups, hits) = Default::default();
        let welcome = Welcome { chain_id, precompile };
        Arc::new(Self { welcome, node: node.to_owned(), pre_executor, store, operators, seen, lookups, hits })
    }

    /// Who computes.
    pub fn pre_executor(&self) -> &PreExecutor {
        &self.pre_executor
    }

    /// The operators of the node's state decide from now on; those of this process where the state has none.
    pub(super) fn set_committee(&self, committee: Committee) {
        let panel = self.operators.panel();
        let committee = if committee.operators().is_empty() { panel.seated() } else { committee };
        if committee != panel.committee() {
            tracing::info!(operators = committee.operators().len(), quorum = committee.quorum(), "operators changed");
            panel.set_committee(committee.clone());
            self.store.set_committee(committee);
        }
    }

    pub(super) fn set_seen(&self, now: Seen) {
        let mut seen = self.seen.lock();
        if seen.health != now.health {
            match &now.health {
                Health::Well => tracing::info!(node = self.node, head = now.head, news = now.news, "watching"),
                Health::Silent(reason) => tracing::warn!(node = self.node, reason, "the node does not answer"),
                Health::OtherChain(told) => tracing::error!(
                    node = self.node,
                    told,
                    expected = self.welcome.chain_id,
                    "the node is of another chain: nothing is looked up until it is of the right one"
                ),
                Health::Unknown => {}
            }
        }
        *seen = now;
    }

    fn is_other_chain(&self) -> bool {
        matches!(self.seen.lock().health, Health::OtherChain(_))
    }

    /// All numbers in the Prometheus text format.
    pub fn prometheus(&self) -> String {
        let mut text = self.pre_executor.metrics().prometheus();
        let rows = [
            ("lookups_total", "outcomes asked for by clients", self.lookups.load(Relaxed)),
            ("hits_total", "of these, that were there", self.hits.load(Relaxed)),
        ];
        for (name, help, value) in rows {
            let name = format!("foreblock_sidecar_{name}");
            text += &format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
        }
        text
    }
}

impl Answers for Sidecar {
    fn welcome(&self) -> Welcome {
        self.welcome
    }

    fn lookup(&self, id: RequestId) -> Option<Outcome> {
        let found = if self.is_other_chain() { None } else { self.store.get(id) };
        self.lookups.fetch_add(1, Relaxed);
        self.hits.fetch_add(u64::from(found.is_some()), Relaxed);
        found
    }

    fn wanted(&self, transaction: B256, model: ModelId, input: Bytes) -> Result<Noted, (Reason, String)> {
        if self.is_other_chain() {
            return Err((Reason::Unavailable, "the node beside this sidecar is of another chain now".into()));
        }
        if let Err(error) = check_input(&input) {
            return Err((Reason::Unsupported, error.to_string()));
        }
        let request = Request::new(model, input);
        Ok(match self.pre_executor.want(transaction, &request) {
            Ok(Wanted::There) => Noted::There,
            Ok(Wanted::Queued) => Noted::Queued,
            Err(refused) => {
                tracing::debug!(%refused, request = %request.id, "a wanted request is not taken");
                Noted::NotTaken
            }
        })
    }

    fn list(&self, used: Vec<RequestId>) -> Result<Bytes, (Reason, String)> {
        if self.is_other_chain() {
            return Err((Reason::Unavailable, "the node beside this sidecar is of another chain now".into()));
        }
        let entry = |id: RequestId| {
            let missing = || (Reason::Missing, format!("request {id} has no outcome that counts before the operators"));
            let found = self.store.certified(id).ok_or_else(missing)?;
            Ok(ListEntry { id, outcome: found.outcome, certificate: found.certificate })
        };
        let entries = used.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let list = InferenceList::new(entries).map_err(|error| (Reason::Unsupported, error.to_string()))?;
        Ok(if list.entries().is_empty() { Bytes::new() } else { list.encode() })
    }

    fn status(&self) -> Bytes {
        let seen = self.seen.lock();
        let (node, reason) = match &seen.health {
            Health::Unknown => ("unknown", None),
            Health::Well => ("well", None),
            Health::Silent(reason) => ("silent", Some(reason.clone())),
            Health::OtherChain(told) => ("other chain", Some(format!("it is of chain {told}"))),
        };
        let (head, pending, news) = (seen.head, seen.pending, seen.news);
        drop(seen);
        let metrics = self.pre_executor.metrics();
        let status = json!({
            "schema": VERSION,
            "chainId": self.welcome.chain_id,
            "precompile": self.welcome.precompile,
            "node": node,
            "reason": reason,
            "head": head,
            "pending": pending,
            "news": news,
            "queue": metrics.queue,
            "computed": metrics.computed,
            "failed": metrics.failed,
            "simulations": metrics.watch.simulations,
            "lookups": self.lookups.load(Relaxed),
            "hits": self.hits.load(Relaxed),
        });
        status.to_string().into_bytes().into()
    }

    fn examine(&self, question: &[u8]) -> Result<Bytes, (Reason, String)> {
        conformance::examine(question).map_err(|error| (Reason::Unsupported, error.to_string()))
    }
}
