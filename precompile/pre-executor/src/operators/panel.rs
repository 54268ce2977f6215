//! The panel: asks its operators, decides by the model's rule, keeps certificates and evidence.

use super::{Operator, Question, rounds::Round, seat::Seat};
use crate::{
    Compute, Unavailable,
    agreement::{Agreed, Evidence},
    schedule::Prior,
    store::Certified,
};
use alloy_primitives::{B256, Bytes, keccak256, map::B256Map};
use foreblock_precompile::{Committee, ModelId, Outcome, RequestId, StatementDomain};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// By which rule answers of a model count.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Equal bytes.
    Exact,
    /// Within eps, for each output, in WAD.
    Tolerance(Vec<f64>),
}

/// Limits and habits of a panel.
#[derive(Clone, Copy, Debug)]
pub struct PanelConfig {
    /// Longest wait for a certificate.
    pub patience: Duration,
    /// Ask a quorum first, and the others once it is later than 95 % of answers were.
    pub hedge: bool,
    /// Commit before reveal, for operators that are paid per answer.
    pub commit_first: bool,
    /// Certificates kept until they are in the store; the oldest leave first.
    pub certificates_max: usize,
    /// Pieces of evidence kept.
    pub evidence_max: usize,
}

impl Default for PanelConfig {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            hedge: false,
            commit_first: false,
            certificates_max: 65_536,
            evidence_max: 1_024,
        }
    }
}

/// Evidence, with what `OperatorRegistry` wants to know beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The request's model.
    pub model: ModelId,
    /// keccak256 of its input.
    pub input_hash: B256,
    /// What was signed.
    pub evidence: Evidence,
}

impl Found {
    /// Calldata of the transaction to `OperatorRegistry`.
    pub fn calldata(&self) -> Bytes {
        self.evidence.calldata(self.model, self.input_hash)
    }
}

/// Gives a model's rule, `None` for a model that nobody knows.
type Rules = Arc<dyn Fn(ModelId) -> Option<Rule> + Send + Sync>;
/// Gives what is known of a model's cost.
type Priors = Arc<dyn Fn(ModelId) -> Option<Prior> + Send + Sync>;

/// Operators that decide together.
pub struct Panel {
    pub(super) config: PanelConfig,
    pub(super) domain: StatementDomain,
    pub(super) seats: Vec<Seat>,
    committee: RwLock<Committee>,
    rules: Rules,
    priors: Priors,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    certified: B256Map<Certified>,
    order: VecDeque<RequestId>,
    evidence: VecDeque<Found>,
    latencies: VecDeque<Duration>,
    turn: usize,
}

/// Answers whose times are remembered.
const LATENCIES_MAX: usize = 128;
/// Before this many were heard, a hedge comes after [`FIRST_HEDGE`].
const LATENCIES_MIN: usize = 16;
const FIRST_HEDGE: Duration = Duration::from_millis(100);

impl Panel {
    /// A panel of these operators, each with a thread of its own. Its committee is these, until it is told otherwise.
    pub fn new(
        config: PanelConfig,
        domain: StatementDomain,
        operators: impl IntoIterator<Item = Arc<dyn Operator>>,
        rules: impl Fn(ModelId) -> Option<Rule> + Send + Sync + 'static,
        priors: impl Fn(ModelId) -> Option<Prior> + Send + Sync + 'static,
    ) -> Self {
        let seats: Vec<_> = operators.into_iter().map(Seat::new).collect();
        let committee = RwLock::new(Committee::new(seats.iter().map(|seat| seat.operator.address())));
        let (rules, priors): (Rules, Priors) = (Arc::new(rules), Arc::new(priors));
        Self { config, domain, seats, committee, rules, priors, kept: Mutex::default() }
    }

    /// Who decides.
    pub fn committee(&self) -> Committee {
        self.committee.read().clone()
    }

    /// The operators of the chain's present state decide from now on, whether they have a seat here or not.
    pub fn set_committee(&self, committee: Committee) {
        *self.committee.write() = committee;
    }

    /// Who sits here.
    pub fn seated(&self) -> Committee {
        Committee::new(self.seats.iter().map(|seat| seat.operator.address()))
    }

    /// Where its statements count.
    pub fn domain(&self) -> &StatementDomain {
        &self.domain
    }

    /// What operators have signed against themselves, newest last.
    pub fn evidence(&self) -> Vec<Found> {
        self.kept.lock().evidence.iter().cloned().collect()
    }

    pub(super) fn keep_evidence(&self, model: ModelId, input: &Bytes, evidence: impl IntoIterator<Item = Evidence>) {
        let mut kept = self.kept.lock();
        for evidence in evidence {
            let found = Found { model, input_hash: keccak256(input), evidence };
            if !kept.evidence.contains(&found) {
                kept.evidence.push_back(found);
            }
        }
        while kept.evidence.len() > self.config.evidence_max {
            kept.evidence.pop_front();
        }
    }

    fn keep(&self, agreed: &Agreed) {
        let Agreed { id, outcome, certificate, signers } = agreed.clone();
        let mut kept = self.kept.lock();
        if kept.certified.insert(id, Certified { outcome, certificate, signers }).is_none() {
            kept.order.push_back(id);
        }
        while kept.order.len() > self.config.certificates_max {
            kept.order.pop_front().map(|oldest| kept.certified.remove(&oldest));
        }
    }

    /// Where the next question begins, so that with hedging all operators have work.
    pub(super) fn turn(&self) -> usize {
        let mut kept = self.kept.lock();
        kept.turn = kept.turn.wrapping_add(1);
        kept.turn
    }

    pub(super) fn note_latency(&self, time: Duration) {
        let mut kept = self.kept.lock();
        kept.latencies.push_back(time);
        if kept.latencies.len() > LATENCIES_MAX {
            kept.latencies.pop_front();
        }
    }

    /// The time in which 95 % of answers came.
    pub(super) fn hedge_after(&self) -> Duration {
        let mut times: Vec<Duration> = self.kept.lock().latencies.iter().copied().collect();
        if times.len() < LATENCIES_MIN {
            return FIRST_HEDGE;
        }
        times.sort_unstable();
        times[times.len() * 95 / 100]
    }
}

impl Compute for Panel {
    fn run(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let tolerances = match (self.rules)(model) {
            Some(Rule::Exact) => Vec::new(),
            Some(Rule::Tolerance(tolerances)) => tolerances,
            None => return vec![Err(Unavailable(format!("no operator serves model {model}"))); inputs.len()],
        };
        let started = Instant::now();
        let (question, wanted) = Question::new(model, inputs, &tolerances, self.config.patience);
        let committee = self.committee();
        let round = Round::new(self, &committee, Arc::new(question));
        let decided = round.decide();
        // Whoever still computes need not.
        drop(wanted);
        tracing::debug!(%model, inputs = inputs.len(), elapsed = ?started.elapsed(), "decided");
        let why = round.reason().map_or_else(String::new, |reason| format!("; one of them: {reason}"));
        let outcome = |(agreed, (id, _)): (Option<Agreed>, &(RequestId, Bytes))| {
            let (quorum, operators, seats) = (committee.quorum(), committee.operators().len(), self.seats.len());
            let missing = || {
                let here =
                    if seats == operators { String::new() } else { format!(" ({seats} are asked by this node)") };
                Unavailable(format!("no {quorum} of {operators} operators agree on request {id}{here}{why}"))
            };
            let agreed = agreed.ok_or_else(missing)?;
            self.keep(&agreed);
            Ok(agreed.outcome)
        };
        decided.into_iter().zip(round.inputs()).map(outcome).collect()
    }

    fn prior(&self, model: ModelId) -> Option<Prior> {
        (self.priors)(model)
    }

    fn certified(&self, id: RequestId, outcome: Outcome) -> Certified {
        let kept = self.kept.lock().certified.get(&id).filter(|kept| kept.outcome == outcome).cloned();
        // Only an outcome that was pushed out by 65,536 newer ones has none any more: then it does not count.
        kept.unwrap_or_else(|| outcome.into())
    }
}
