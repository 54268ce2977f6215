//! An operator's place in the panel: a thread of its own and a bounded queue, so that a slow operator holds up nobody.

use super::Operator;
use crate::{Unavailable, agreement::SignedStatement};
use alloy_primitives::{Address, Bytes};
use foreblock_precompile::{ModelId, Outcome, RequestId};
use std::{
    sync::{
        Arc,
        mpsc::{Sender, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

/// Questions that may wait for one operator. Beyond, it is skipped: it is too slow to help.
const QUEUE_MAX: usize = 64;

/// What the panel wants of an operator.
pub(super) enum Task {
    /// Compute and, for an exact model, sign.
    Answer { model: ModelId, inputs: Arc<Vec<(RequestId, Bytes)>>, sign: bool, to: Sender<Answer> },
    /// Sign what was chosen.
    Endorse { index: usize, id: RequestId, outcome: Outcome, to: Sender<(usize, SignedStatement)> },
}

/// One operator's answer to all inputs of a question.
pub(super) struct Answer {
    pub(super) operator: Address,
    pub(super) outcomes: Vec<Result<(Outcome, Option<SignedStatement>), Unavailable>>,
}

pub(super) struct Seat {
    pub(super) operator: Arc<dyn Operator>,
    queue: SyncSender<Task>,
}

impl Seat {
    pub(super) fn new(operator: Arc<dyn Operator>) -> Self {
        let (queue, tasks) = sync_channel::<Task>(QUEUE_MAX);
        let member = operator.clone();
        // Ends when the panel, which holds the sender, is dropped.
        thread::spawn(move || tasks.iter().for_each(|task| work(&*member, task)));
        Self { operator, queue }
    }

    /// Whether the operator will get to it.
    pub(super) fn ask(&self, task: Task) -> bool {
        !matches!(self.queue.try_send(task), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))
    }
}

fn work(operator: &dyn Operator, task: Task) {
    let statement = |id: RequestId, outcome: &Outcome| {
        let signature = operator.sign(id, outcome)?;
        Ok(SignedStatement { id, outcome: outcome.clone(), signature })
    };
    // Whoever asked may have what it needs already, and be gone: a failed send means that nobody waits.
    match task {
        Task::Answer { model, inputs, sign, to } => {
            let only: Vec<Bytes> = inputs.iter().map(|(_, input)| input.clone()).collect();
            let outcomes = operator.compute(model, &only);
            let signed = outcomes.into_iter().zip(inputs.iter()).map(|(outcome, (id, _))| {
                let outcome = outcome?;
                let signed = if sign { Some(statement(*id, &outcome)?) } else { None };
                Ok((outcome, signed))
            });
            let _ = to.send(Answer { operator: operator.address(), outcomes: signed.collect() });
        }
        Task::Endorse { index, id, outcome, to } => {
            if let Ok(statement) = statement(id, &outcome) {
                let _ = to.send((index, statement));
            }
        }
    }
}
