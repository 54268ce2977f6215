//! Commit before reveal: where answers are paid, an operator must not copy another's.
//!
//! Each operator first says `keccak256(requestId ‖ outcomeHash ‖ salt ‖ executor)`. Answers are shown once the commitments of
//! a quorum are there; one that fits no commitment made before that does not count. The executor is in the commitment, so that
//! a copied commitment is worth nothing to who copied it.

use alloy_primitives::{Address, B256, keccak256};
use foreblock_precompile::{Outcome, RequestId};

/// What an operator says before anybody shows an answer.
pub fn commitment(id: RequestId, outcome: &Outcome, salt: B256, executor: Address) -> B256 {
    keccak256([id.as_slice(), outcome.hash().as_slice(), salt.as_slice(), executor.as_slice()].concat())
}

/// Whether an answer that is shown now is the one that was committed to.
pub fn fits(committed: B256, id: RequestId, outcome: &Outcome, salt: B256, executor: Address) -> bool {
    commitment(id, outcome, salt, executor) == committed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_fits_one_request_outcome_salt_and_executor() {
        let (id, salt, executor) = (B256::repeat_byte(1), B256::repeat_byte(2), Address::repeat_byte(3));
        let (yes, no) = (Outcome::Output("yes".into()), Outcome::Output("no".into()));
        let committed = commitment(id, &yes, salt, executor);
        assert!(fits(committed, id, &yes, salt, executor));
        for (name, other) in [
            ("request", fits(committed, B256::ZERO, &yes, salt, executor)),
            ("outcome", fits(committed, id, &no, salt, executor)),
            ("salt", fits(committed, id, &yes, B256::ZERO, executor)),
            ("copied by another executor", fits(committed, id, &yes, salt, Address::repeat_byte(4))),
        ] {
            assert!(!other, "{name}");
        }
    }
}
