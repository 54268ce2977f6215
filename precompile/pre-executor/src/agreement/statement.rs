//! What operators say, before and after it is known who said it.

use alloy_primitives::{Address, Signature};
use foreblock_precompile::{Outcome, RequestId, StatementDomain};

/// An outcome and a signature over it, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatement {
    /// The request.
    pub id: RequestId,
    /// What the operator says it resolves to.
    pub outcome: Outcome,
    /// Over [`StatementDomain::digest`].
    pub signature: Signature,
}

/// A statement whose signer is known. Recovering a key is what costs time in agreement, so it is done once a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    operator: Address,
    statement: SignedStatement,
}

impl Heard {
    /// Recovers the signer. `None` where no key can have made the signature, or where its s is in the upper half
    /// (EIP-2). A statement for another chain or registry has another, unknown signer.
    pub fn check(statement: SignedStatement, domain: &StatementDomain) -> Option<Self> {
        let digest = domain.digest(statement.id, &statement.outcome);
        let low_s = statement.signature.normalize_s().is_none();
        let operator = statement.signature.recover_address_from_prehash(&digest).ok().filter(|_| low_s)?;
        Some(Self { operator, statement })
    }

    /// The statement of an operator whose key is in this process: there is nothing to recover.
    pub fn own(operator: Address, statement: SignedStatement) -> Self {
        Self { operator, statement }
    }

    /// Who signed.
    pub fn operator(&self) -> Address {
        self.operator
    }

    /// What was signed.
    pub fn statement(&self) -> &SignedStatement {
        &self.statement
    }
}
