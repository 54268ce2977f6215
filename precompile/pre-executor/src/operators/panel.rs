//! The panel: asks all operators, decides by the model's rule, keeps the certificates.

use super::{
    Operator,
    seat::{Answer, Seat, Task},
};
use crate::{
    Compute, Unavailable,
    agreement::{Agreed, Evidence, RawAnswer, SignedStatement, agree, choose, contradiction, equivocation, within},
    schedule::Prior,
};
use alloy_primitives::{Address, Bytes, I256, U256, map::B256Map};
use alloy_sol_types::SolValue;
use foreblock_precompile::{
    Certificate, Committee, ModelId, Outcome, Request, RequestId, StatementDomain,
    abi::{DType, Tensor},
};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
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

/// Limits of a panel.
#[derive(Clone, Copy, Debug)]
pub struct PanelConfig {
    /// Longest wait for a quorum's answers, and again for its signatures.
    pub patience: Duration,
    /// Certificates kept; the oldest leave first.
    pub certificates_max: usize,
    /// Pieces of evidence kept.
    pub evidence_max: usize,
}

impl Default for PanelConfig {
    fn default() -> Self {
        Self { patience: Duration::from_secs(30), certificates_max: 65_536, evidence_max: 1_024 }
    }
}

/// Gives a model's rule, `None` for a model that nobody knows.
type Rules = Arc<dyn Fn(ModelId) -> Option<Rule> + Send + Sync>;
/// Gives what is known of a model's cost.
type Priors = Arc<dyn Fn(ModelId) -> Option<Prior> + Send + Sync>;

/// Operators that decide together.
pub struct Panel {
    config: PanelConfig,
    domain: StatementDomain,
    committee: Committee,
    seats: Vec<Seat>,
    rules: Rules,
    priors: Priors,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    certificates: B256Map<Certificate>,
    order: VecDeque<RequestId>,
    evidence: VecDeque<Evidence>,
}

impl Panel {
    /// A panel of these operators, each with a thread of its own.
    pub fn new(
        config: PanelConfig,
        domain: StatementDomain,
        operators: impl IntoIterator<Item = Arc<dyn Operator>>,
        rules: impl Fn(ModelId) -> Option<Rule> + Send + Sync + 'static,
        priors: impl Fn(ModelId) -> Option<Prior> + Send + Sync + 'static,
    ) -> Self {
        let seats: Vec<_> = operators.into_iter().map(Seat::new).collect();
        let committee = Committee::new(seats.iter().map(|seat| seat.operator.address()));
        let (rules, priors): (Rules, Priors) = (Arc::new(rules), Arc::new(priors));
        Self { config, domain, committee, seats, rules, priors, kept: Mutex::default() }
    }

    /// Who decides.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Where its statements count.
    pub fn domain(&self) -> &StatementDomain {
        &self.domain
    }

    /// What vouches for an outcome that this panel returned.
    pub fn certificate(&self, id: RequestId) -> Option<Certificate> {
        self.kept.lock().certificates.get(&id).cloned()
    }

    /// What operators have signed against themselves, newest last.
    pub fn evidence(&self) -> Vec<Evidence> {
        self.kept.lock().evidence.iter().cloned().collect()
    }

    fn ask_all(&self, model: ModelId, inputs: &Arc<Vec<(RequestId, Bytes)>>, sign: bool) -> Receiver<Answer> {
        let (to, answers) = channel();
        for seat in &self.seats {
            seat.ask(Task::Answer { model, inputs: inputs.clone(), sign, to: to.clone() });
        }
        answers
    }

    fn decide_exact(&self, model: ModelId, inputs: &Arc<Vec<(RequestId, Bytes)>>) -> Vec<Option<Agreed>> {
        let answers = self.ask_all(model, inputs, true);
        let mut statements: Vec<Vec<SignedStatement>> = vec![Vec::new(); inputs.len()];
        let mut agreed: Vec<Option<Agreed>> = vec![None; inputs.len()];
        let end = Instant::now() + self.config.patience;
        while agreed.iter().any(Option::is_none) {
            let Ok(answer) = answers.recv_timeout(end.saturating_duration_since(Instant::now())) else { break };
            for (index, outcome) in answer.outcomes.into_iter().enumerate().take(inputs.len()) {
                let Ok((_, Some(statement))) = outcome else { continue };
                statements[index].push(statement);
                if agreed[index].is_none() {
                    let said = statements[index].iter().map(|statement| (&statement.outcome, statement.signature));
                    agreed[index] = agree(inputs[index].0, &self.domain, &self.committee, said);
                }
            }
        }
        for (statements, agreed) in statements.iter().zip(&agreed) {
            self.keep_evidence(statements, agreed.as_ref());
        }
        agreed
    }

    fn keep_evidence(&self, statements: &[SignedStatement], agreed: Option<&Agreed>) {
        let twice = statements.iter().enumerate().flat_map(|(index, one)| {
            statements[index + 1..].iter().filter_map(move |other| equivocation(&self.domain, one, other))
        });
        let against = agreed.into_iter().flat_map(|agreed| {
            statements.iter().filter_map(|said| contradiction(&self.domain, &self.committee, said, agreed))
        });
        let mut kept = self.kept.lock();
        kept.evidence.extend(twice.chain(against));
        while kept.evidence.len() > self.config.evidence_max {
            kept.evidence.pop_front();
        }
    }

    fn decide_tolerance(
        &self,
        model: ModelId,
        inputs: &Arc<Vec<(RequestId, Bytes)>>,
        tolerances: &[f64],
    ) -> Vec<Option<Agreed>> {
        let answers = self.ask_all(model, inputs, false);
        let mut said: Vec<Vec<(Address, Outcome)>> = vec![Vec::new(); inputs.len()];
        let mut chosen: Vec<Option<Outcome>> = vec![None; inputs.len()];
        let end = Instant::now() + self.config.patience;
        while chosen.iter().any(Option::is_none) {
            let Ok(answer) = answers.recv_timeout(end.saturating_duration_since(Instant::now())) else { break };
            for (index, outcome) in answer.outcomes.into_iter().enumerate().take(inputs.len()) {
                let Ok((outcome, _)) = outcome else { continue };
                said[index].push((answer.operator, outcome));
                if chosen[index].is_none() {
                    chosen[index] = choose_outcome(&said[index], tolerances, self.committee.quorum());
                }
            }
        }
        self.endorse(inputs, &said, &chosen, tolerances)
    }

    /// The second step: those whose own answer lies within the tolerance of the chosen one sign it.
    fn endorse(
        &self,
        inputs: &[(RequestId, Bytes)],
        said: &[Vec<(Address, Outcome)>],
        chosen: &[Option<Outcome>],
        tolerances: &[f64],
    ) -> Vec<Option<Agreed>> {
        let (to, statements) = channel();
        for (index, outcome) in chosen.iter().enumerate() {
            let Some(outcome) = outcome else { continue };
            for (operator, own) in &said[index] {
                let Some(seat) = self.seats.iter().find(|seat| seat.operator.address() == *operator) else { continue };
                if stands_for(own, outcome, tolerances) {
                    let id = inputs[index].0;
                    seat.ask(Task::Endorse { index, id, outcome: outcome.clone(), to: to.clone() });
                }
            }
        }
        drop(to);
        let mut signed: Vec<Vec<SignedStatement>> = vec![Vec::new(); inputs.len()];
        let mut agreed: Vec<Option<Agreed>> = vec![None; inputs.len()];
        let end = Instant::now() + self.config.patience;
        while chosen.iter().zip(&agreed).any(|(chosen, agreed)| chosen.is_some() && agreed.is_none()) {
            let Ok((index, statement)) = statements.recv_timeout(end.saturating_duration_since(Instant::now())) else {
                break;
            };
            signed[index].push(statement);
            let said = signed[index].iter().map(|statement| (&statement.outcome, statement.signature));
            agreed[index] = agree(inputs[index].0, &self.domain, &self.committee, said);
        }
        agreed
    }

    fn keep(&self, id: RequestId, certificate: Certificate) {
        let mut kept = self.kept.lock();
        if kept.certificates.insert(id, certificate).is_none() {
            kept.order.push_back(id);
        }
        while kept.order.len() > self.config.certificates_max {
            if let Some(oldest) = kept.order.pop_front() {
                kept.certificates.remove(&oldest);
            }
        }
    }
}

impl Compute for Panel {
    fn run(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let Some(rule) = (self.rules)(model) else {
            return vec![Err(Unavailable(format!("no operator serves model {model}"))); inputs.len()];
        };
        let asked: Arc<Vec<(RequestId, Bytes)>> =
            Arc::new(inputs.iter().map(|input| (Request::new(model, input.clone()).id, input.clone())).collect());
        let decided = match rule {
            Rule::Exact => self.decide_exact(model, &asked),
            Rule::Tolerance(tolerances) => self.decide_tolerance(model, &asked, &tolerances),
        };
        let outcome = |(agreed, (id, _)): (Option<Agreed>, &(RequestId, Bytes))| {
            let quorum = self.committee.quorum();
            let missing =
                || Unavailable(format!("no {quorum} of {} operators agree on request {id}", self.seats.len()));
            let Agreed { outcome, certificate } = agreed.ok_or_else(missing)?;
            self.keep(*id, certificate);
            Ok(outcome)
        };
        decided.into_iter().zip(asked.iter()).map(outcome).collect()
    }

    fn prior(&self, model: ModelId) -> Option<Prior> {
        (self.priors)(model)
    }
}

/// The outcome of a tolerance model that a quorum can stand for: the medoid of close outputs, or a failure that a quorum
/// names in the same words.
fn choose_outcome(said: &[(Address, Outcome)], tolerances: &[f64], quorum: usize) -> Option<Outcome> {
    let same = |outcome: &Outcome| said.iter().filter(|(_, other)| other == outcome).count();
    if let Some((_, failure)) = said.iter().find(|(_, own)| matches!(own, Outcome::Failed(_)) && same(own) >= quorum) {
        return Some(failure.clone());
    }
    let outputs: Vec<_> = said.iter().filter_map(|(who, own)| Some((raw(*who, own)?, own))).collect();
    let answers: Vec<RawAnswer> = outputs.iter().map(|(raw, _)| raw.clone()).collect();
    let choice = choose(&answers, tolerances, quorum)?;
    Some(outputs[choice.medoid].1.clone())
}

fn stands_for(own: &Outcome, chosen: &Outcome, tolerances: &[f64]) -> bool {
    match (raw(Address::ZERO, own), raw(Address::ZERO, chosen)) {
        (Some(own), Some(chosen)) => within(&own, &chosen, tolerances),
        _ => own == chosen,
    }
}

/// An output's numbers, each tensor in units of its own dtype (1e-18 for WAD, which is how tolerances are stated). Text is no
/// number to be close to, so that a tolerance model that writes text never agrees.
fn raw(operator: Address, outcome: &Outcome) -> Option<RawAnswer> {
    let Outcome::Output(output) = outcome else { return None };
    let tensors = Vec::<Tensor>::abi_decode(output).ok()?;
    let numbers = |tensor: &Tensor| {
        let wide = matches!(tensor.dtype, DType::Wad | DType::Int);
        wide.then(|| tensor.data.chunks_exact(32).map(|word| number(U256::from_be_slice(word))).collect())
    };
    Some(RawAnswer { operator, outputs: tensors.iter().map(numbers).collect::<Option<_>>()? })
}

fn number(word: U256) -> f64 {
    let (sign, magnitude) = I256::from_raw(word).into_sign_and_abs();
    let magnitude = f64::from(magnitude);
    if sign.is_negative() { -magnitude } else { magnitude }
}
