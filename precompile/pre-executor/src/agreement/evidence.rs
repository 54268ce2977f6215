//! What an operator signed against itself.

use super::Agreed;
use alloy_primitives::{Address, Signature};
use foreblock_precompile::{Committee, Outcome, RequestId, StatementDomain};

/// An outcome and an operator's signature over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatement {
    /// The request.
    pub id: RequestId,
    /// What the operator says it resolves to.
    pub outcome: Outcome,
    /// Over [`StatementDomain::digest`].
    pub signature: Signature,
}

impl SignedStatement {
    /// Who signed, if anybody can have.
    pub fn signer(&self, domain: &StatementDomain) -> Option<Address> {
        self.signature.recover_address_from_prehash(&domain.digest(self.id, &self.outcome)).ok()
    }
}

/// Enough for `OperatorRegistry` to take the operator's stake: it checks the same on chain with `ecrecover`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// One operator, one request, two outcomes.
    Equivocation {
        /// Who.
        operator: Address,
        /// One statement.
        one: SignedStatement,
        /// The other.
        other: SignedStatement,
    },
    /// A statement against the certificate of an exact model: there is one right answer, and this is not it.
    Contradiction {
        /// Who.
        operator: Address,
        /// The statement.
        statement: SignedStatement,
        /// What the committee agreed on.
        agreed: Agreed,
    },
}

/// Evidence, if one operator signed both statements and they differ on one request.
pub fn equivocation(domain: &StatementDomain, one: &SignedStatement, other: &SignedStatement) -> Option<Evidence> {
    let operator = one.signer(domain)?;
    let differs = one.id == other.id && one.outcome != other.outcome;
    (differs && other.signer(domain) == Some(operator)).then(|| Evidence::Equivocation {
        operator,
        one: one.clone(),
        other: other.clone(),
    })
}

/// Evidence, if the statement speaks against a valid certificate. Only for exact models: within a tolerance, honest
/// operators differ.
pub fn contradiction(
    domain: &StatementDomain,
    committee: &Committee,
    statement: &SignedStatement,
    agreed: &Agreed,
) -> Option<Evidence> {
    let operator = statement.signer(domain).filter(|operator| committee.contains(*operator))?;
    agreed.certificate.verify(domain.digest(statement.id, &agreed.outcome), committee).ok()?;
    (agreed.outcome != statement.outcome).then(|| Evidence::Contradiction {
        operator,
        statement: statement.clone(),
        agreed: agreed.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::agree;
    use alloy_primitives::B256;
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;

    const ID: RequestId = B256::repeat_byte(5);

    fn key(number: u8) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::with_last_byte(number)).unwrap()
    }

    fn says(domain: &StatementDomain, number: u8, id: RequestId, text: &'static str) -> SignedStatement {
        let outcome = Outcome::Output(text.into());
        let signature = key(number).sign_hash_sync(&domain.digest(id, &outcome)).unwrap();
        SignedStatement { id, outcome, signature }
    }

    #[test]
    fn equivocation_needs_one_signer_one_request_two_outcomes() {
        let domain = StatementDomain::new(1);
        let yes = says(&domain, 1, ID, "yes");
        for (name, other, guilty) in [
            ("two outcomes", says(&domain, 1, ID, "no"), true),
            ("the same twice", says(&domain, 1, ID, "yes"), false),
            ("two operators", says(&domain, 2, ID, "no"), false),
            ("two requests", says(&domain, 1, B256::ZERO, "no"), false),
            ("another chain", says(&StatementDomain::new(2), 1, ID, "no"), false),
        ] {
            assert_eq!(equivocation(&domain, &yes, &other).is_some(), guilty, "{name}");
        }
    }

    #[test]
    fn a_contradiction_needs_a_valid_certificate() {
        let domain = StatementDomain::new(1);
        let committee = Committee::new((1..=4).map(|number| key(number).address()));
        let votes: Vec<_> = [1, 2, 3].map(|number| says(&domain, number, ID, "yes")).into();
        let agreed = agree(ID, &domain, &committee, votes.iter().map(|vote| (&vote.outcome, vote.signature))).unwrap();
        let liar = says(&domain, 4, ID, "no");
        let found = contradiction(&domain, &committee, &liar, &agreed).unwrap();
        assert!(matches!(found, Evidence::Contradiction { operator, .. } if operator == key(4).address()));

        let mut weak = agreed.clone();
        weak.certificate.signatures.pop();
        assert_eq!(contradiction(&domain, &committee, &liar, &weak), None, "too few signatures");
        assert_eq!(contradiction(&domain, &committee, &votes[0], &agreed), None, "it agrees");
        assert_eq!(contradiction(&domain, &committee, &says(&domain, 9, ID, "no"), &agreed), None, "a stranger");
        assert_eq!(contradiction(&domain, &committee, &says(&domain, 4, B256::ZERO, "no"), &agreed), None, "elsewhere");
    }
}
