//! An operator in this process: a key and an engine.

use super::{Fault, Operator, fault};
use crate::{Compute, Unavailable};
use alloy_primitives::{Address, Bytes, Signature};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use foreblock_precompile::{ModelId, Outcome, Request, RequestId, StatementDomain};
use parking_lot::RwLock;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Signs what its engine computes, unless told to misbehave.
pub struct LocalOperator {
    key: PrivateKeySigner,
    domain: StatementDomain,
    engine: Arc<dyn Compute>,
    faults: RwLock<Vec<Fault>>,
    answered: AtomicU64,
}

impl LocalOperator {
    /// An honest operator.
    pub fn new(key: PrivateKeySigner, domain: StatementDomain, engine: Arc<dyn Compute>) -> Self {
        Self { key, domain, engine, faults: RwLock::default(), answered: AtomicU64::new(0) }
    }

    /// Misbehaves so from now on; none makes it honest again, also after a crash.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.answered.store(0, Ordering::Relaxed);
        *self.faults.write() = faults;
    }

    /// How it misbehaves.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.read().clone()
    }

    fn is_down(&self, faults: &[Fault], requests: u64) -> bool {
        let before = self.answered.fetch_add(requests, Ordering::Relaxed);
        faults.iter().any(|fault| match fault {
            Fault::Silent => true,
            Fault::Crash(after) => before >= *after,
            _ => false,
        })
    }
}

impl Operator for LocalOperator {
    fn address(&self) -> Address {
        self.key.address()
    }

    fn compute(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let faults = self.faults();
        for fault in &faults {
            if let Fault::Slow(time) = fault {
                thread::sleep(*time);
            }
        }
        if self.is_down(&faults, inputs.len() as u64) {
            return vec![Err(Unavailable("the operator does not answer".into())); inputs.len()];
        }
        let answers = self.engine.run(model, inputs);
        let altered = |(input, answer): (&Bytes, Result<Outcome, Unavailable>)| {
            let id = Request::new(model, input.clone()).id;
            let lies = faults.iter().any(|fault| fault.alters(id));
            answer.map(|outcome| if lies { fault::altered(&outcome) } else { outcome })
        };
        inputs.iter().zip(answers).map(altered).collect()
    }

    fn sign(&self, id: RequestId, outcome: &Outcome) -> Result<Signature, Unavailable> {
        let digest = self.domain.digest(id, outcome);
        self.key.sign_hash_sync(&digest).map_err(|error| Unavailable(format!("the key cannot sign: {error}")))
    }
}
