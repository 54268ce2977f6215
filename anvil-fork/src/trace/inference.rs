//! What a trace says of the precompile's calls: which model was asked, what came of it, what it cost and who computed it.

use super::Traced;
use crate::{node::Node, rpc::RpcError};
use alloy_primitives::{Address, Bytes, U64, hex, map::HashMap};
use alloy_rpc_types_trace::geth::GethTrace;
use alloy_sol_types::SolInterface;
use foreblock_precompile::{ModelId, Outcome, Request, RequestId, Used, abi::IInference::IInferenceCalls};
use serde_json::{Map, Value, json};

/// What a transaction's labels are made of.
pub(super) struct Labels<'a> {
    node: &'a Node,
    /// As frames name it.
    precompile: String,
    used: HashMap<RequestId, &'a Used>,
}

impl<'a> Labels<'a> {
    pub(super) fn new(node: &'a Node, precompile: Address, used: &'a [Used]) -> Self {
        let used = used.iter().map(|used| (used.id, used)).collect();
        Self { node, precompile: hex::encode_prefixed(precompile), used }
    }

    /// Puts the field into call frames; other traces stay as they are.
    pub(super) fn put(&self, trace: GethTrace) -> Result<Traced, RpcError> {
        let path = match &trace {
            GethTrace::CallTracer(_) => None,
            GethTrace::MuxTracer(_) => Some("callTracer"),
            _ => return Ok(Traced::Plain(trace.into())),
        };
        let mut value = serde_json::to_value(trace).map_err(|error| RpcError::Internal(error.to_string()))?;
        match path {
            None => self.label(&mut value),
            Some(name) => value.get_mut(name).into_iter().for_each(|frame| self.label(frame)),
        }
        Ok(Traced::Labelled(value))
    }

    fn label(&self, frame: &mut Value) {
        for call in frame.get_mut("calls").and_then(Value::as_array_mut).into_iter().flatten() {
            self.label(call);
        }
        if frame["to"].as_str() == Some(&self.precompile)
            && let Some(label) = self.of(frame)
        {
            frame["inference"] = label;
        }
    }

    fn of(&self, frame: &Value) -> Option<Value> {
        let input: Bytes = frame["input"].as_str()?.parse().ok()?;
        let (method, request) = match IInferenceCalls::abi_decode(&input).ok()? {
            IInferenceCalls::run(call) => ("run", Request::new(call.modelId, call.input)),
            IInferenceCalls::runOr(call) => ("runOr", Request::new(call.modelId, call.input)),
            IInferenceCalls::model(call) => {
                return Some(json!({ "method": "model", "model": call.modelId, "name": self.name(call.modelId) }));
            }
        };
        let mut label = json!({
            "method": method,
            "model": request.model,
            "name": self.name(request.model),
            "requestId": request.id,
            "gasUsed": frame["gasUsed"],
        });
        let fields = label.as_object_mut()?;
        match self.used.get(&request.id) {
            Some(used) => self.came_of(fields, used),
            // The model was not asked: an error of the caller's, or past the deadline.
            None if frame.get("error").is_some() => drop(fields.insert("status".to_owned(), "refused".into())),
            None => drop(fields.insert("status".to_owned(), "fallback".into())),
        }
        Some(label)
    }

    fn came_of(&self, fields: &mut Map<String, Value>, used: &Used) {
        match &used.outcome {
            Outcome::Output(_) => drop(fields.insert("status".to_owned(), "output".into())),
            Outcome::Failed(failure) => {
                fields.insert("status".to_owned(), "failed".into());
                fields.insert("code".to_owned(), json!(failure.code as u16));
                fields.insert("reason".to_owned(), json!(failure.reason));
            }
        }
        fields.insert("inferenceGas".to_owned(), json!(U64::from(used.inference_gas)));
        fields.insert("computedBy".to_owned(), json!(self.node.inference.signers(used.id)));
    }

    fn name(&self, model: ModelId) -> Option<&str> {
        let entry = self.node.inference.entries().iter().find(|entry| entry.manifest.id() == model)?;
        Some(entry.manifest.name())
    }
}
