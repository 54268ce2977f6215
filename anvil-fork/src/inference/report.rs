//! What the node says of models and requests: `inference_models`, `inference_status`.

use super::Inference;
use alloy_primitives::{B256, Bytes, U64};
use foreblock_engine::{Catalog, catalog::Entry, engine::State, golden::GOLDEN_FILE, manifest::profile_name};
use foreblock_pre_executor::{CallState, CallStatus, Phase, Source, TransactionStatus};
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
        let transactions: Vec<Value> = self.pre_executor.pending().iter().map(transaction).collect();
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
            "transactions": transactions,
        })
    }

    /// Where a transaction's inferences stand; null where it is not waiting.
    pub fn transaction_status(&self, hash: B256) -> Value {
        self.pre_executor.status(hash).as_ref().map_or(Value::Null, transaction)
    }

    /// All numbers in the Prometheus text format.
    pub fn prometheus(&self) -> String {
        self.pre_executor.metrics().prometheus()
    }
}

fn transaction(status: &TransactionStatus) -> Value {
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
        "calls": status.calls.iter().map(call).collect::<Vec<_>>(),
        "predictedBlock": status.block.map(U64::from),
        "simulations": status.simulations,
        "ageMillis": status.age.as_millis() as u64,
    })
}

fn call(status: &CallStatus) -> Value {
    let (state, position) = match status.state {
        CallState::Ready(Source::Disk) => ("stored", None),
        CallState::Ready(Source::Memory) => ("ready", None),
        CallState::Placed(place) => ("queued", Some(place.position)),
        CallState::Missing => ("missing", None),
    };
    json!({ "request": status.request, "model": status.model, "state": state, "position": position })
}
