//! Who vouches for an outcome.
//!
//! An operator signs the EIP-712 statement `Statement(bytes32 requestId,bytes32 outcomeHash)`, bound to the chain and to
//! its `OperatorRegistry`, so that it is worth nothing elsewhere. A certificate is enough of those signatures.

use crate::{OPERATOR_REGISTRY_ADDRESS, Outcome, RequestId};
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Signature, U256};
use alloy_sol_types::{Eip712Domain, SolStruct, sol};

sol! {
    /// What an operator signs: for this request, the outcome with this hash (see [`Outcome::hash`]).
    #[derive(Debug, PartialEq, Eq)]
    struct Statement {
        bytes32 requestId;
        bytes32 outcomeHash;
    }
}

/// Where statements count: name "Foreblock", version "1", this chain, its `OperatorRegistry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementDomain(Eip712Domain);

impl StatementDomain {
    /// The domain of a chain whose registry stands at [`OPERATOR_REGISTRY_ADDRESS`].
    pub fn new(chain_id: u64) -> Self {
        Self::at(chain_id, OPERATOR_REGISTRY_ADDRESS)
    }

    /// The domain of a chain whose registry stands elsewhere.
    pub fn at(chain_id: u64, registry: Address) -> Self {
        let (name, version) = ("Foreblock".into(), "1".into());
        Self(Eip712Domain::new(Some(name), Some(version), Some(U256::from(chain_id)), Some(registry), None))
    }

    /// The 32 bytes that are signed (EIP-712 `signing hash`).
    pub fn digest(&self, id: RequestId, outcome: &Outcome) -> B256 {
        Statement { requestId: id, outcomeHash: outcome.hash() }.eip712_signing_hash(&self.0)
    }
}

/// The operators that may vouch, n = 3f+1 of them, of which f may be faulty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    operators: Vec<Address>,
}

impl Committee {
    /// These operators; order and repetition do not matter.
    pub fn new(operators: impl IntoIterator<Item = Address>) -> Self {
        let mut operators: Vec<_> = operators.into_iter().collect();
        operators.sort_unstable();
        operators.dedup();
        Self { operators }
    }

    /// The operators, ascending.
    pub fn operators(&self) -> &[Address] {
        &self.operators
    }

    /// How many may be faulty: f = (n - 1) / 3, rounded down.
    pub fn faulty_max(&self) -> usize {
        self.operators.len().saturating_sub(1) / 3
    }

    /// How many must sign: n - f, which is 2f+1 where n = 3f+1. Any two such sets share an honest operator.
    pub fn quorum(&self) -> usize {
        (self.operators.len() - self.faulty_max()).max(1)
    }

    /// Whether these, ascending as a certificate's signers are, make a certificate: enough, and all of the committee.
    pub fn accepts(&self, signers: &[Address]) -> bool {
        signers.len() >= self.quorum()
            && signers.is_sorted_by(|one, next| one < next)
            && signers.iter().all(|signer| self.contains(*signer))
    }

    /// Whether this operator belongs to it.
    pub fn contains(&self, operator: Address) -> bool {
        self.operators.binary_search(&operator).is_ok()
    }
}

/// Signatures over one outcome, by ascending address of the signer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// 65 bytes each when encoded: r, s, v.
    pub signatures: Vec<Signature>,
}

/// Why a certificate does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Fewer signatures than the committee's quorum.
    #[error("{found} signatures, but the committee of {operators} needs {quorum}")]
    TooFew {
        /// Signatures in the certificate.
        found: usize,
        /// Signatures needed.
        quorum: usize,
        /// Size of the committee.
        operators: usize,
    },
    /// More signatures than operators.
    #[error("{found} signatures, but the committee has only {operators} operators")]
    TooMany {
        /// Signatures in the certificate.
        found: usize,
        /// Size of the committee.
        operators: usize,
    },
    /// No key can have made it, or its s is in the upper half (EIP-2), which would give one statement two signatures.
    #[error("signature {0} is not a valid signature of this statement")]
    Invalid(usize),
    /// The signer is not of the committee.
    #[error("signer {0} is not an operator at the parent block")]
    Stranger(Address),
    /// Signers do not ascend: one signs twice, or the order is not canonical.
    #[error("signer {0} is repeated or out of order")]
    Order(Address),
}

impl Certificate {
    /// Orders signatures as a certificate wants them. Signatures from which no key can be recovered are dropped, and of
    /// several by one operator the first is kept.
    pub fn assemble(digest: B256, signatures: impl IntoIterator<Item = Signature>) -> Self {
        let mut signed: Vec<_> = signatures
            .into_iter()
            .filter_map(|signature| Some((signature.recover_address_from_prehash(&digest).ok()?, signature)))
            .collect();
        signed.sort_by_key(|(signer, _)| *signer);
        signed.dedup_by_key(|(signer, _)| *signer);
        Self { signatures: signed.into_iter().map(|(_, signature)| signature).collect() }
    }

    /// Checks the signatures over `digest` against the committee, and returns the signers.
    pub fn verify(&self, digest: B256, committee: &Committee) -> Result<Vec<Address>, CertificateError> {
        let (found, quorum, operators) = (self.signatures.len(), committee.quorum(), committee.operators().len());
        if found < quorum {
            return Err(CertificateError::TooFew { found, quorum, operators });
        }
        if found > operators {
            return Err(CertificateError::TooMany { found, operators });
        }
        let mut signers: Vec<Address> = Vec::with_capacity(found);
        for (index, signature) in self.signatures.iter().enumerate() {
            let low_s = signature.normalize_s().is_none();
            let signer = signature.recover_address_from_prehash(&digest).ok().filter(|_| low_s);
            let signer = signer.ok_or(CertificateError::Invalid(index))?;
            if !committee.contains(signer) {
                return Err(CertificateError::Stranger(signer));
            }
            if signers.last().is_some_and(|last| *last >= signer) {
                return Err(CertificateError::Order(signer));
            }
            signers.push(signer);
        }
        Ok(signers)
    }
}
