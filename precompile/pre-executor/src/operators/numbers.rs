//! Outcomes of tolerance models as numbers that can be near one another.

use crate::agreement::{RawAnswer, choose, within};
use alloy_primitives::{Address, I256, U256};
use alloy_sol_types::SolValue;
use foreblock_precompile::{
    Outcome,
    abi::{DType, Tensor},
};

/// The outcome of a tolerance model that a quorum can stand for: the medoid of close outputs, or a failure that a quorum
/// names in the same words.
pub(super) fn choose_outcome(said: &[(Address, Outcome)], tolerances: &[f64], quorum: usize) -> Option<Outcome> {
    let same = |outcome: &Outcome| said.iter().filter(|(_, other)| other == outcome).count();
    if let Some((_, failure)) = said.iter().find(|(_, own)| matches!(own, Outcome::Failed(_)) && same(own) >= quorum) {
        return Some(failure.clone());
    }
    let outputs: Vec<_> = said.iter().filter_map(|(who, own)| Some((raw(*who, own)?, own))).collect();
    let answers: Vec<RawAnswer> = outputs.iter().map(|(raw, _)| raw.clone()).collect();
    let choice = choose(&answers, tolerances, quorum)?;
    Some(outputs[choice.medoid].1.clone())
}

/// Whether an operator whose own answer is `own` may sign `chosen`.
pub fn stands_for(own: &Outcome, chosen: &Outcome, tolerances: &[f64]) -> bool {
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
