//! The operators that a devnet runs in its own process.

use alloy_primitives::{Address, keccak256};
use alloy_signer_local::PrivateKeySigner;
use foreblock_engine::{Catalog, Engine};
use foreblock_pre_executor::{
    Compute,
    agreement::Evidence,
    oip::RemoteOperator,
    operators::{Fault, Faults, Found, LocalOperator, OneEngine, Operator, Panel, PanelConfig, Rule},
};
use foreblock_precompile::{ModelId, OPERATOR_REGISTRY_ADDRESS, Profile, StatementDomain, genesis::GenesisOperator};
use serde_json::{Value, json};
use std::{fmt, sync::Arc};

/// What the command line says of operators.
#[derive(Clone, Debug)]
pub struct OperatorsConfig {
    /// How many.
    pub count: usize,
    /// What is wrong with which.
    pub faults: Faults,
    /// Whether a quorum is asked first, and the others when it is late.
    pub hedge: bool,
    /// Whether they commit to their answers before they show them.
    pub commit_first: bool,
}

/// An operator that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no operator {given}: this node runs {count}, numbered from 1; start it with --operators to have more"
)]
pub struct NoOperator {
    given: String,
    count: usize,
}

/// The devnet's operators.
pub struct Operators {
    panel: Arc<Panel>,
    all: Vec<Arc<LocalOperator>>,
}

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operators").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

/// The key of a devnet's operator, counted from 1: public, as the accounts' keys are.
pub fn key(number: usize) -> PrivateKeySigner {
    let key = keccak256(format!("foreblock devnet operator {number}"));
    PrivateKeySigner::from_bytes(&key).expect("a hash below the curve's order is a key")
}

/// The operators as the genesis block registers them.
pub fn in_genesis(count: usize, remote: &[RemoteOperator]) -> Vec<GenesisOperator> {
    let operator =
        |number| GenesisOperator { address: key(number).address(), endpoint: format!("devnet operator {number}") };
    let elsewhere = |operator: &RemoteOperator| GenesisOperator {
        address: operator.address(),
        endpoint: operator.url().to_owned(),
    };
    (1..=count).map(operator).chain(remote.iter().map(elsewhere)).collect()
}

impl Operators {
    /// Operators here, who share what computes, and those elsewhere. `engine` knows the models.
    pub fn new(
        config: &OperatorsConfig,
        chain_id: u64,
        engine: &Engine,
        compute: Arc<dyn Compute>,
        remote: Vec<RemoteOperator>,
    ) -> Result<Self, NoOperator> {
        let domain = StatementDomain::new(chain_id);
        let shared: Arc<dyn Compute> = Arc::new(OneEngine::new(compute));
        let all: Vec<_> = (1..=config.count)
            .map(|number| Arc::new(LocalOperator::new(key(number), domain.clone(), shared.clone())))
            .collect();
        let PanelConfig { patience, certificates_max, evidence_max, .. } = PanelConfig::default();
        let OperatorsConfig { hedge, commit_first, .. } = *config;
        let habits = PanelConfig { patience, hedge, commit_first, certificates_max, evidence_max };
        let here = all.iter().map(|operator| operator.clone() as Arc<dyn Operator>);
        let elsewhere = remote.into_iter().map(|operator| Arc::new(operator.for_chain(chain_id)) as Arc<dyn Operator>);
        let seats = here.chain(elsewhere);
        let rules = {
            let catalog = engine.catalog().clone();
            move |model| rule(&catalog, model)
        };
        let priors = {
            let engine = engine.clone();
            move |model| Compute::prior(&engine, model)
        };
        let operators = Self { panel: Arc::new(Panel::new(habits, domain, seats, rules, priors)), all };
        for (number, fault) in &config.faults {
            let mut faults = operators.get(&number.to_string())?.faults();
            faults.push(*fault);
            operators.set_faults(&number.to_string(), faults)?;
        }
        Ok(operators)
    }

    /// Who decides.
    pub fn panel(&self) -> &Arc<Panel> {
        &self.panel
    }

    /// Has an operator, named by its number or address, misbehave so from now on.
    pub fn set_faults(&self, operator: &str, faults: Vec<Fault>) -> Result<(), NoOperator> {
        self.get(operator)?.set_faults(faults);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<&Arc<LocalOperator>, NoOperator> {
        let by_number = name.parse::<usize>().ok().and_then(|number| self.all.get(number.checked_sub(1)?));
        let by_address = || {
            let address: Address = name.parse().ok()?;
            self.all.iter().find(|operator| operator.address() == address)
        };
        by_number.or_else(by_address).ok_or_else(|| NoOperator { given: name.to_owned(), count: self.all.len() })
    }

    /// Who they are, and what is wrong with them.
    pub fn report(&self) -> Vec<Value> {
        let committee = self.panel.committee();
        let one = |(index, operator): (usize, &Arc<LocalOperator>)| {
            json!({
                "number": index + 1,
                "address": operator.address(),
                "active": committee.contains(operator.address()),
                "faults": operator.faults().iter().map(Fault::to_string).collect::<Vec<_>>(),
            })
        };
        self.all.iter().enumerate().map(one).collect()
    }

    /// What they signed against themselves, with the calldata for `OperatorRegistry` that takes their stake.
    pub fn evidence(&self) -> Vec<Value> {
        let one = |found: &Found| {
            let kind = match &found.evidence {
                Evidence::Equivocation { .. } => "equivocation",
                Evidence::Contradiction { .. } => "contradiction",
            };
            json!({
                "kind": kind,
                "operator": found.evidence.operator(),
                "model": found.model,
                "inputHash": found.input_hash,
                "to": OPERATOR_REGISTRY_ADDRESS,
                "data": found.calldata(),
            })
        };
        self.panel.evidence().iter().map(one).collect()
    }
}

fn rule(catalog: &Catalog, model: ModelId) -> Option<Rule> {
    let manifest = catalog.get(model).ok()?.manifest;
    Some(match manifest.profile() {
        Profile::ExactF32 | Profile::ExactI8 | Profile::ExactText => Rule::Exact,
        Profile::Tolerance => Rule::Tolerance(manifest.fields().tolerances.iter().map(|eps| f64::from(*eps)).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use foreblock_engine::engine::Config;
    use foreblock_pre_executor::operators::parse_faults;

    fn operators(count: usize, faults: &str) -> Result<Operators, NoOperator> {
        let engine = Engine::new(Catalog::new(None), Config::default());
        let faults = parse_faults(faults).unwrap();
        let config = OperatorsConfig { count, faults, hedge: false, commit_first: false };
        Operators::new(&config, 31_337, &engine, Arc::new(engine.clone()), Vec::new())
    }

    #[test]
    fn faults_are_for_operators_that_are_there() {
        let four = operators(4, "1:slow=3s,2:lie,2:slow=5ms").unwrap();
        assert_eq!(four.report()[1]["faults"], json!(["lie", "slow=5ms"]));
        four.set_faults(&key(2).address().to_string(), vec![]).unwrap();
        assert_eq!(four.report()[1]["faults"], json!([]));
        for missing in ["0", "5", "nobody"] {
            let error = four.set_faults(missing, vec![]).unwrap_err().to_string();
            assert!(error.contains(missing) && error.contains("--operators"), "{error}");
        }
        assert!(operators(1, "2:lie").is_err());
    }
}
