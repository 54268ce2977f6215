//! What operators are asked, and what they answer.

use alloy_primitives::{Bytes, Signature};
use foreblock_precompile::{ModelId, Outcome, Request, RequestId};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Inputs of one model, for all operators of a panel.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which model.
    pub model: ModelId,
    /// Each input with its request's id.
    pub inputs: Vec<(RequestId, Bytes)>,
    /// How far answers may lie apart, for each output; empty where they must be equal.
    pub tolerances: Vec<f64>,
    /// No answer is waited for after this.
    pub deadline: Instant,
    wanted: watch::Receiver<()>,
}

/// While it lives, somebody waits for the answers.
#[derive(Debug)]
pub struct Wanted(#[expect(dead_code, reason = "its drop is what operators notice")] watch::Sender<()>);

impl Question {
    /// A question, and the guard whose drop cancels it.
    pub fn new(model: ModelId, inputs: &[Bytes], tolerances: &[f64], patience: Duration) -> (Self, Wanted) {
        let (guard, wanted) = watch::channel(());
        let inputs = inputs.iter().map(|input| (Request::new(model, input.clone()).id, input.clone())).collect();
        let deadline = Instant::now() + patience;
        (Self { model, inputs, tolerances: tolerances.to_vec(), deadline, wanted }, Wanted(guard))
    }

    /// Whether nobody waits any more.
    pub fn is_cancelled(&self) -> bool {
        self.wanted.has_changed().is_err() || Instant::now() >= self.deadline
    }

    /// Ends when nobody waits any more.
    pub async fn cancelled(&self) {
        let mut wanted = self.wanted.clone();
        while wanted.changed().await.is_ok() {}
    }

    /// The same question about some of its inputs.
    pub fn about(&self, inputs: Vec<(RequestId, Bytes)>) -> Self {
        Self { inputs, ..self.clone() }
    }

    /// The inputs alone.
    pub fn only_inputs(&self) -> Vec<Bytes> {
        self.inputs.iter().map(|(_, input)| input.clone()).collect()
    }
}

/// What an operator says of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it computed.
    pub outcome: Outcome,
    /// Its signature over that, where it was asked for one.
    pub signature: Option<Signature>,
}
