//! What the node says of models and requests: `inference_models`, `inference_status`, `inference_pending`, `inference_subscribe`.

use super::Inference;
use crate::chain::{Block, Ledger};
use alloy_primitives::{B256, Bytes, U64};
use foreblock_engine::{Catalog, catalog::Entry, engine::State, golden::GOLDEN_FILE, manifest::profile_name};
use foreblock_pre_executor::{
    CallState, CallStatus, Event, Farewell, Phase, Source, TransactionStatus, schedule::State as Work,
};
use foreblock_precompile::abi::TensorSpec;
use serde_json::{Value, json};

/// The input of a model's first golden vector.
pub(super) fn sample_input(catalog: &Catalog, entry: &Entry) -> Option<Bytes> {
    let files = catalog.files(entry).ok()?;
    let vectors: Vec<Value> = serde_json::from_slice(files.get(GOLDEN_FILE)?).ok()?;
    vectors.first()?.get("input")?.as_str()?.parse().ok()
}

impl Inference {
    /// The models registered from genesis on, and whether they are loaded.
    pub fn models(&self) -> Vec<Value> {
        self.models.iter().map(|entry| self.model(entry)).collect()
    }

    fn model(&self, entry: &Entry) -> Value {
        let manifest = &entry.manifest;
        let tensors = |specs: &[TensorSpec]| -> Vec<Value> {
            let tensor =
                |spec: &TensorSpec| json!({ "name": spec.name, "elementType": spec.elementType, "shape": spec.shape });
            specs.iter().map(tensor).collect()
        };
        let facts = self.engine.as_ref().and_then(|engine| engine.facts(manifest.id()).ok());
        let state = facts.as_ref().map_or("not loaded".to_owned(), |facts| match &facts.state {
            State::NotLoaded => "not loaded".to_owned(),
            State::Loading => "loading".to_owned(),
            State::Ready => "ready".to_owned(),
            State::Failed(why) => format!("failed: {why}"),
        });
        let slot = manifest.slot();
        json!({
            "id": manifest.id(),
            "name": manifest.name(),
            "profile": profile_name(manifest.profile()),
            "gasPerRun": U64::from(slot.gas_per_run),
            "maxInputBytes": slot.max_input_bytes,
            "maxOutputBytes": slot.max_output_bytes,
            "inputs": tensors(manifest.inputs()),
            "outputs": tensors(manifest.outputs()),
            "engine": facts.as_ref().map(|facts| facts.engine.clone()),
            "state": state,
            "runMicros": facts.and_then(|facts| facts.run_time).map(|time| time.as_micros() as u64),
        })
    }

    /// Where the pre-executor stands.
    pub fn status(&self) -> Value {
        let metrics = self.pre_executor.metrics();
        json!({
            "precompile": self.address,
            "engine": self.engine_name(),
            "queue": metrics.queue,
            "computed": metrics.computed,
            "failed": metrics.failed,
            "givenUp": metrics.given_up,
            "buildHits": metrics.build_hits,
            "buildMisses": metrics.build_misses,
            "deviceMicros": metrics.device_us,
            "transactions": metrics.transactions,
            "simulations": metrics.watch.simulations,
            "simulationsSaved": metrics.watch.kept,
            "promised": metrics.admitted,
            "promisedNotReady": metrics.admitted_late,
        })
    }

    /// Where the inferences of the first `limit` pending transactions stand, in the builder's order.
    pub fn pending(&self, limit: usize) -> Vec<Value> {
        self.pre_executor.pending(limit).iter().map(|status| self.transaction(status)).collect()
    }

    /// Where a transaction's inferences stand: pending, included, given up or replaced; null where nothing is known of it.
    pub fn transaction_status(&self, ledger: &Ledger, hash: B256) -> Value {
        if let Some(status) = self.pre_executor.status(hash) {
            return self.transaction(&status);
        }
        if let Some((block, _)) = ledger.transaction(&hash) {
            return included(hash, block);
        }
        let Some(gone) = self.pre_executor.farewell(hash) else { return Value::Null };
        let phase = if matches!(gone, Farewell::Replaced(_)) { "replaced" } else { "expired" };
        json!({ "hash": hash, "phase": phase, "reason": gone.to_string() })
    }

    /// All numbers in the Prometheus text format.
    pub fn prometheus(&self) -> String {
        self.pre_executor.metrics().prometheus()
    }
}

/// The block's list is the only source of what its transactions used.
fn included(hash: B256, block: &Block) -> Value {
    json!({
        "hash": hash,
        "phase": "included",
        "block": U64::from(block.header.number),
        "inferencesOfBlock": block.inferences.iter().map(|used| used.id).collect::<Vec<_>>(),
    })
}

/// News for subscribers; of one transaction only, where one is named.
pub fn event(event: &Event, only: Option<B256>) -> Option<Value> {
    let (name, transaction, reason) = match event {
        Event::Outcome { request } => {
            return only.is_none().then(|| json!({ "event": "outcome", "request": request }));
        }
        Event::Ready { transaction } => ("ready", transaction, None),
        Event::Deferred { transaction, reason } => ("deferred", transaction, Some(reason)),
        Event::Expired { transaction, reason } => ("expired", transaction, Some(reason)),
    };
    let wanted = only.is_none_or(|only| only == *transaction);
    wanted.then(|| json!({ "event": name, "transaction": transaction, "reason": reason }))
}

impl Inference {
    fn transaction(&self, status: &TransactionStatus) -> Value {
        let (phase, reason) = match &status.phase {
            Phase::Scouting => ("scouting", None),
            Phase::Waiting => ("waiting", None),
            Phase::Ready => ("ready", None),
            Phase::Deferred(why) => ("deferred", Some(why.to_string())),
            Phase::Invalid(why) => ("invalid", Some(why.clone())),
        };
        json!({
            "hash": status.transaction,
            "sender": status.sender,
            "phase": phase,
            "reason": reason,
            "calls": status.calls.iter().map(|status| self.call(status)).collect::<Vec<_>>(),
            "predictedBlock": status.block.map(U64::from),
            "volatile": status.volatile,
            "simulations": status.simulations,
            "misses": status.misses,
            "ageMillis": status.age.as_millis() as u64,
        })
    }

    /// One request of a transaction; with tokens, while a language model answers it here.
    fn call(&self, status: &CallStatus) -> Value {
        let (state, source, place) = match status.state {
            CallState::Ready(Source::Disk) => ("ready", Some("disk"), None),
            CallState::Ready(Source::Memory) => ("ready", Some("memory"), None),
            CallState::Placed(place) if place.state == Work::Queued => ("queued", None, Some(place)),
            CallState::Placed(place) => ("running", None, Some(place)),
            CallState::Missing => ("missing", None, None),
        };
        let engine = self.engine.as_ref().filter(|_| state == "running");
        let progress = engine.and_then(|engine| engine.progress(status.model, status.request));
        json!({
            "request": status.request,
            "model": status.model,
            "state": state,
            "source": source,
            "position": place.map(|place| place.position),
            "predictedBlock": place.map(|place| U64::from(place.block)),
            "tokens": progress.map(|progress| json!({
                "prompt": progress.prompt, "read": progress.read, "written": progress.written, "most": progress.most,
            })),
        })
    }
}
