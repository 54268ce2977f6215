//! What an operator signed against itself.

use super::{Agreed, Heard};
use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolCall;
use foreblock_precompile::{
    Committee, ModelId,
    abi::{IOperatorRegistry as Registry, SignedOutcome},
};

/// Enough for `OperatorRegistry` to take the operator's stake: it checks the same on chain with `ecrecover`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// One operator, one request, two outcomes.
    Equivocation {
        /// One statement.
        one: Heard,
        /// The other.
        other: Heard,
    },
    /// A statement against the certificate of an exact model: there is one right answer, and this is not it.
    Contradiction {
        /// The statement.
        said: Heard,
        /// What the committee agreed on.
        agreed: Agreed,
    },
}

impl Evidence {
    /// Who is guilty.
    pub fn operator(&self) -> Address {
        match self {
            Self::Equivocation { one: said, .. } | Self::Contradiction { said, .. } => said.operator(),
        }
    }

    /// Calldata of the transaction to `OperatorRegistry` that takes the stake. Of which model and input the request is
    /// proves that the model is exact.
    pub fn calldata(&self, model: ModelId, input_hash: B256) -> Bytes {
        let call = match self {
            Self::Equivocation { one, other } => {
                Registry::slashEquivocationCall { requestId: one.statement().id, a: signed(one), b: signed(other) }
                    .abi_encode()
            }
            Self::Contradiction { said, agreed } => Registry::slashContradictionCall {
                modelId: model,
                inputHash: input_hash,
                statement: signed(said),
                certifiedHash: agreed.outcome.hash(),
                signatures: agreed.certificate.signatures.iter().flat_map(|one| one.as_bytes()).collect(),
            }
            .abi_encode(),
        };
        call.into()
    }
}

fn signed(heard: &Heard) -> SignedOutcome {
    let statement = heard.statement();
    SignedOutcome { outcomeHash: statement.outcome.hash(), signature: statement.signature.as_bytes().into() }
}

/// Evidence, if one operator signed both statements and they differ on one request.
pub fn equivocation(one: &Heard, other: &Heard) -> Option<Evidence> {
    let same = one.operator() == other.operator() && one.statement().id == other.statement().id;
    let differs = one.statement().outcome != other.statement().outcome;
    (same && differs).then(|| Evidence::Equivocation { one: one.clone(), other: other.clone() })
}

/// Evidence, if an operator's statement speaks against what was agreed on. Only for exact models: within a tolerance,
/// honest operators differ.
pub fn contradiction(committee: &Committee, said: &Heard, agreed: &Agreed) -> Option<Evidence> {
    let about = said.statement().id == agreed.id && said.statement().outcome != agreed.outcome;
    let counts = committee.contains(said.operator()) && committee.accepts(&agreed.signers);
    (about && counts).then(|| Evidence::Contradiction { said: said.clone(), agreed: agreed.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::{SignedStatement, agree};
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use foreblock_precompile::{Outcome, RequestId, StatementDomain};

    const ID: RequestId = B256::repeat_byte(5);

    fn key(number: u8) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::with_last_byte(number)).unwrap()
    }

    fn says(chain: u64, number: u8, id: RequestId, text: &'static str) -> Heard {
        let outcome = Outcome::Output(text.into());
        let signature = key(number).sign_hash_sync(&StatementDomain::new(chain).digest(id, &outcome)).unwrap();
        Heard::check(SignedStatement { id, outcome, signature }, &StatementDomain::new(1)).unwrap()
    }

    #[test]
    fn equivocation_needs_one_signer_one_request_two_outcomes() {
        let yes = says(1, 1, ID, "yes");
        for (name, other, guilty) in [
            ("two outcomes", says(1, 1, ID, "no"), true),
            ("the same twice", says(1, 1, ID, "yes"), false),
            ("two operators", says(1, 2, ID, "no"), false),
            ("two requests", says(1, 1, B256::ZERO, "no"), false),
            ("another chain", says(2, 1, ID, "no"), false),
        ] {
            assert_eq!(equivocation(&yes, &other).is_some(), guilty, "{name}");
        }
    }

    #[test]
    fn a_contradiction_needs_a_certificate_that_counts() {
        let committee = Committee::new((1..=4).map(|number| key(number).address()));
        let votes: Vec<_> = [1, 2, 3].map(|number| says(1, number, ID, "yes")).into();
        let agreed = agree(ID, &committee, &votes).unwrap();
        let liar = says(1, 4, ID, "no");
        let found = contradiction(&committee, &liar, &agreed).unwrap();
        assert_eq!(found.operator(), key(4).address());

        let mut weak = agreed.clone();
        weak.signers.pop();
        assert_eq!(contradiction(&committee, &liar, &weak), None, "too few signatures");
        assert_eq!(contradiction(&committee, &votes[0], &agreed), None, "it agrees");
        assert_eq!(contradiction(&committee, &says(1, 9, ID, "no"), &agreed), None, "a stranger");
        assert_eq!(contradiction(&committee, &says(1, 4, B256::ZERO, "no"), &agreed), None, "elsewhere");
    }
}
