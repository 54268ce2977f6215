//! An operator in this process: a key and an engine.

use super::{Answer, Fault, Operator, Question, fault, numbers::stands_for};
use crate::{Certified, Compute, Store, StoreLimits, Unavailable, agreement::commitment};
use alloy_primitives::{Address, B256, Signature, keccak256, map::B256Map};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use foreblock_precompile::{Certificate, Outcome, Outcomes, RequestId, StatementDomain};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Own answers that are kept for endorsements and reveals.
const OWN_MAX: usize = 4_096;
/// How often a slow operator looks whether anybody still waits.
const LOOK: Duration = Duration::from_millis(20);

/// Signs what its engine computes, unless told to misbehave.
pub struct LocalOperator {
    key: PrivateKeySigner,
    domain: StatementDomain,
    engine: Arc<dyn Compute>,
    faults: RwLock<Vec<Fault>>,
    answered: AtomicU64,
    own: Mutex<Own>,
    endorsed: Store,
    endorsing: Mutex<()>,
}

/// What it computed last.
#[derive(Default)]
struct Own {
    answers: B256Map<Outcome>,
    order: VecDeque<RequestId>,
}

impl Own {
    fn keep(&mut self, id: RequestId, outcome: &Outcome) {
        if self.answers.contains_key(&id) {
            return;
        }
        self.answers.insert(id, outcome.clone());
        self.order.push_back(id);
        if self.order.len() > OWN_MAX {
            self.order.pop_front().map(|oldest| self.answers.remove(&oldest));
        }
    }
}

impl LocalOperator {
    /// An honest operator.
    pub fn new(key: PrivateKeySigner, domain: StatementDomain, engine: Arc<dyn Compute>) -> Self {
        let (faults, answered, own, endorsing) = Default::default();
        let endorsed = Store::in_memory(StoreLimits::default());
        Self { key, domain, engine, faults, answered, own, endorsed, endorsing }
    }

    /// The same operator, which keeps there what it endorses: its engine need not repeat itself, and signing another
    /// outcome for the same request after a restart would cost it its stake.
    pub fn remembering(self, endorsed: Store) -> Self {
        Self { endorsed, ..self }
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

    /// Its engine.
    pub fn engine(&self) -> &Arc<dyn Compute> {
        &self.engine
    }

    fn is_down(&self, faults: &[Fault], requests: u64) -> bool {
        let before = self.answered.fetch_add(requests, Ordering::Relaxed);
        faults.iter().any(|fault| match fault {
            Fault::Silent => true,
            Fault::Crash(after) => before >= *after,
            _ => false,
        })
    }

    /// Its outcomes, altered as its faults want it. Each is kept: an operator has one opinion of a request.
    fn compute(&self, question: &Question) -> Vec<Result<Outcome, Unavailable>> {
        let faults = self.faults();
        let late = faults.iter().map(|fault| if let Fault::Slow(time) = fault { *time } else { Duration::ZERO }).sum();
        if !waited(late, question) || self.is_down(&faults, question.inputs.len() as u64) {
            return vec![Err(Unavailable("the operator does not answer".into())); question.inputs.len()];
        }
        let answers = self.engine.run(question.model, &question.only_inputs());
        let mut own = self.own.lock();
        let said = |((id, _), answer): (&(RequestId, _), Result<Outcome, Unavailable>)| {
            // What it has signed is its answer from then on.
            if let Some(endorsed) = self.endorsed.get(*id) {
                return Ok(endorsed);
            }
            let lies = faults.iter().any(|fault| fault.alters(*id));
            let outcome = answer.map(|outcome| if lies { fault::altered(&outcome) } else { outcome })?;
            own.keep(*id, &outcome);
            Ok(outcome)
        };
        question.inputs.iter().zip(answers).map(said).collect()
    }

    fn sign(&self, id: RequestId, outcome: &Outcome) -> Result<Signature, Unavailable> {
        let digest = self.domain.digest(id, outcome);
        self.key.sign_hash_sync(&digest).map_err(|error| Unavailable(format!("the key cannot sign: {error}")))
    }

    /// Secret until it is revealed, and the same however often it is asked for.
    fn salt(&self, id: RequestId) -> B256 {
        keccak256([self.key.to_bytes().as_slice(), id.as_slice(), b"salt"].concat())
    }
}

/// Sleeps; whether anybody still waits after it.
fn waited(time: Duration, question: &Question) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if question.is_cancelled() {
            return false;
        }
        thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
    }
    true
}

impl Operator for LocalOperator {
    fn address(&self) -> Address {
        self.key.address()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn answer(&self, question: &Question, sign: bool) -> Vec<Result<Answer, Unavailable>> {
        let signed = |(outcome, (id, _)): (Result<Outcome, Unavailable>, &(RequestId, _))| {
            let outcome = outcome?;
            let signature = if sign { Some(self.sign(*id, &outcome)?) } else { None };
            Ok(Answer { outcome, signature })
        };
        self.compute(question).into_iter().zip(&question.inputs).map(signed).collect()
    }

    fn endorse(&self, question: &Question, id: RequestId, outcome: &Outcome) -> Result<Signature, Unavailable> {
        let refused = |why: &str| Err(Unavailable(format!("request {id}: the operator does not sign {why}")));
        let _one_at_a_time = self.endorsing.lock();
        match self.endorsed.get(id) {
            Some(endorsed) if endorsed == *outcome => return self.sign(id, outcome),
            Some(_) => return refused("a second outcome"),
            None => {}
        }
        let Some(answer) = self.own.lock().answers.get(&id).cloned() else {
            return refused("an outcome of a request that it did not answer");
        };
        if !stands_for(&answer, outcome, &question.tolerances) {
            return refused("an outcome outside the tolerance of its own");
        }
        let signature = self.sign(id, outcome)?;
        let certificate = Certificate { signatures: vec![signature] };
        let endorsed = Certified { outcome: outcome.clone(), certificate, signers: vec![self.address()] };
        match self.endorsed.put(&[(id, endorsed)]) {
            Ok(()) => Ok(signature),
            Err(error) => refused(&format!("what it cannot keep: {error}")),
        }
    }

    fn commit(&self, question: &Question) -> Vec<Result<B256, Unavailable>> {
        let commit = |(outcome, (id, _)): (Result<Outcome, Unavailable>, &(RequestId, _))| {
            Ok(commitment(*id, &outcome?, self.salt(*id), self.address()))
        };
        self.compute(question).into_iter().zip(&question.inputs).map(commit).collect()
    }

    fn reveal(&self, question: &Question) -> Vec<Result<(Answer, B256), Unavailable>> {
        let reveal = |(id, _): &(RequestId, _)| {
            let kept = self.own.lock().answers.get(id).cloned();
            let outcome = kept.ok_or_else(|| Unavailable(format!("the operator committed to no answer to {id}")))?;
            let signature = Some(self.sign(*id, &outcome)?);
            Ok((Answer { outcome, signature }, self.salt(*id)))
        };
        question.inputs.iter().map(reveal).collect()
    }
}
