//! What a block carries: the outcomes that it used, each once, with what vouches for them.
//!
//! Encoded as RLP: a list of entries, ascending by request id, each `[id, code, data, signatures]`, where `code` is 0 and
//! `data` the output, or `code` is the failure's and `data` its reason, and `signatures` is 65 bytes for each signer.
//! The block's header commits to `keccak256` of that encoding through an EIP-7685 request of type [`REQUEST_TYPE`].

use crate::{
    Certificate, CertificateError, Committee, Failure, FailureCode, MemoryOutcomes, Outcome, RequestId,
    StatementDomain, Used,
};
use alloy_primitives::{B256, Bytes, Signature, keccak256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use std::collections::BTreeMap;

/// Type byte of the EIP-7685 request whose data is the list's hash.
pub const REQUEST_TYPE: u8 = 0x0f;

/// Longest encoded list that a block may carry, in bytes.
pub const LIST_BYTES_MAX: usize = 8 << 20;

const SIGNATURE_BYTES: usize = 65;

/// One outcome of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// The request.
    pub id: RequestId,
    /// Its outcome.
    pub outcome: Outcome,
    /// Who vouches for it.
    pub certificate: Certificate,
}

/// The outcomes of a block, ascending by request id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InferenceList {
    entries: Vec<ListEntry>,
}

/// Why a list, or a block with it, is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not the encoding of a list.
    #[error("the inference list does not decode: {0}")]
    Encoding(&'static str),
    /// Longer than a block may carry.
    #[error("the inference list is {0} bytes long, but a block may carry {LIST_BYTES_MAX}")]
    TooLong(usize),
    /// The header commits to another list.
    #[error("the inference list hashes to {actual}, but the header commits to {committed}")]
    Commitment {
        /// What the header says.
        committed: B256,
        /// What the list hashes to.
        actual: B256,
    },
    /// Two entries for one request.
    #[error("request {0} is listed twice")]
    Duplicate(RequestId),
    /// Entries do not ascend.
    #[error("request {0} is listed out of order: entries ascend by request id")]
    Unsorted(RequestId),
    /// An outcome that nobody, or not enough operators, vouch for.
    #[error("the certificate of request {id} does not count: {error}")]
    Certificate {
        /// The request.
        id: RequestId,
        /// Why.
        error: CertificateError,
    },
    /// Listed, but no transaction of the block used it.
    #[error("request {0} is listed, but no transaction used it")]
    Unused(RequestId),
    /// Used, but not listed. Executing with the list as the only source meets this as an invalid transaction.
    #[error("request {0} is used by a transaction, but not listed")]
    Missing(RequestId),
}

#[derive(RlpEncodable, RlpDecodable)]
struct WireEntry {
    id: B256,
    code: u16,
    data: Bytes,
    signatures: Bytes,
}

impl InferenceList {
    /// The list of a block whose transactions used these outcomes; repetitions fall together.
    pub fn new(used: impl IntoIterator<Item = (Used, Certificate)>) -> Self {
        let by_id: BTreeMap<_, _> =
            used.into_iter().map(|(used, certificate)| (used.id, (used, certificate))).collect();
        let entry = |(id, (used, certificate)): (RequestId, (Used, Certificate))| ListEntry {
            id,
            outcome: used.outcome,
            certificate,
        };
        Self { entries: by_id.into_iter().map(entry).collect() }
    }

    /// Ascending by request id.
    pub fn entries(&self) -> &[ListEntry] {
        &self.entries
    }

    /// RLP, see the module's text.
    pub fn encode(&self) -> Bytes {
        let wire: Vec<_> = self.entries.iter().map(WireEntry::from).collect();
        let mut out = Vec::new();
        wire.encode(&mut out);
        out.into()
    }

    /// Reads and checks the form: canonical encoding, ascending ids.
    pub fn decode(encoded: &[u8]) -> Result<Self, ListError> {
        if encoded.len() > LIST_BYTES_MAX {
            return Err(ListError::TooLong(encoded.len()));
        }
        let mut rest = encoded;
        let wire = Vec::<WireEntry>::decode(&mut rest).map_err(|_| ListError::Encoding("expected RLP of entries"))?;
        if !rest.is_empty() {
            return Err(ListError::Encoding("bytes follow the last entry"));
        }
        let entries = wire.into_iter().map(ListEntry::try_from).collect::<Result<Vec<_>, _>>()?;
        for pair in entries.windows(2) {
            match pair[0].id.cmp(&pair[1].id) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Err(ListError::Duplicate(pair[1].id)),
                std::cmp::Ordering::Greater => return Err(ListError::Unsorted(pair[1].id)),
            }
        }
        Ok(Self { entries })
    }

    /// `keccak256` of the encoding, part of the EIP-7685 request. A block without inference has neither.
    pub fn commitment(&self) -> Option<B256> {
        (!self.entries.is_empty()).then(|| keccak256(self.encode()))
    }

    /// Checks the header's commitment.
    pub fn verify_commitment(&self, committed: Option<B256>) -> Result<(), ListError> {
        let actual = self.commitment();
        if actual == committed {
            return Ok(());
        }
        let shown = |hash: Option<B256>| hash.unwrap_or_default();
        Err(ListError::Commitment { committed: shown(committed), actual: shown(actual) })
    }

    /// Checks every certificate against the operators at the parent block.
    pub fn verify_certificates(&self, domain: &StatementDomain, committee: &Committee) -> Result<(), ListError> {
        for ListEntry { id, outcome, certificate } in &self.entries {
            certificate
                .verify(domain.digest(*id, outcome), committee)
                .map_err(|error| ListError::Certificate { id: *id, error })?;
        }
        Ok(())
    }

    /// Checks, after execution, that the block used the listed outcomes and no others.
    pub fn verify_used(&self, used: impl IntoIterator<Item = RequestId>) -> Result<(), ListError> {
        let mut listed: BTreeMap<_, _> = self.entries.iter().map(|entry| (entry.id, false)).collect();
        for id in used {
            *listed.get_mut(&id).ok_or(ListError::Missing(id))? = true;
        }
        match listed.into_iter().find(|(_, used)| !used) {
            Some((id, _)) => Err(ListError::Unused(id)),
            None => Ok(()),
        }
    }

    /// The list as an outcome source: what verification and traces of mined blocks execute with, and nothing else.
    pub fn outcomes(&self) -> MemoryOutcomes {
        self.entries.iter().map(|entry| (entry.id, entry.outcome.clone())).collect()
    }
}

impl From<&ListEntry> for WireEntry {
    fn from(entry: &ListEntry) -> Self {
        let (code, data) = match &entry.outcome {
            Outcome::Output(output) => (0, output.clone()),
            Outcome::Failed(failure) => (failure.code as u16, failure.reason.clone().into_bytes().into()),
        };
        let signatures: Vec<u8> =
            entry.certificate.signatures.iter().flat_map(|signature| signature.as_bytes()).collect();
        Self { id: entry.id, code, data, signatures: signatures.into() }
    }
}

impl TryFrom<WireEntry> for ListEntry {
    type Error = ListError;

    fn try_from(wire: WireEntry) -> Result<Self, ListError> {
        let outcome = match wire.code {
            0 => Outcome::Output(wire.data),
            code => Outcome::Failed(failure(code, &wire.data)?),
        };
        let (signatures, rest) = wire.signatures.as_chunks::<SIGNATURE_BYTES>();
        if !rest.is_empty() {
            return Err(ListError::Encoding("signatures are 65 bytes each"));
        }
        let signatures = signatures
            .iter()
            .map(|raw| Signature::from_raw_array(raw).map_err(|_| ListError::Encoding("a signature's v is 27 or 28")))
            .collect::<Result<Vec<_>, _>>()?;
        // `from_raw_array` reads v = 0 and 1, too; one signature must not have two encodings.
        if signatures
            .iter()
            .zip(wire.signatures.chunks(SIGNATURE_BYTES))
            .any(|(signature, raw)| signature.as_bytes() != raw)
        {
            return Err(ListError::Encoding("a signature's v is 27 or 28"));
        }
        Ok(Self { id: wire.id, outcome, certificate: Certificate { signatures } })
    }
}

fn failure(code: u16, reason: &[u8]) -> Result<Failure, ListError> {
    let code = FailureCode::try_from(code).map_err(|_| ListError::Encoding("an unknown failure code"))?;
    let reason = std::str::from_utf8(reason).map_err(|_| ListError::Encoding("a failure's reason is not UTF-8"))?;
    if reason.len() > Failure::MAX_REASON_BYTES {
        return Err(ListError::Encoding("a failure's reason is too long"));
    }
    Ok(Failure::new(code, reason))
}
