//! What a block carries: the outcomes that it used, each once, with what vouches for them.
//!
//! Encoded as RLP: a list of entries, ascending by request id, each `[id, code, data, signatures]`, where `code` is 0 and
//! `data` the output without its padding (`compact.rs` has the table), or `code` is the failure's and `data` its reason,
//! and `signatures` is 65 bytes for each signer. The block's header commits to `keccak256` of that encoding through an
//! EIP-7685 request of type [`REQUEST_TYPE`].

use crate::{
    Certificate, CertificateError, Committee, Failure, FailureCode, InputError, MemoryOutcomes, Outcome, RequestId,
    StatementDomain, Used, check_input,
    compact::{compact, expand},
};
use alloc::{collections::BTreeMap, vec::Vec};
use alloy_primitives::{Address, B256, Bytes, Signature, keccak256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

/// Type byte of the EIP-7685 request whose data is the list's hash.
pub const REQUEST_TYPE: u8 = 0x0f;

/// Longest encoded list that a block may carry, in bytes.
pub const LIST_BYTES_MAX: usize = 8 << 20;

/// Longest that all outputs of a list may be once they are padded again, in bytes.
const OUTPUT_BYTES_MAX: usize = 8 * LIST_BYTES_MAX;

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
    /// An output that is not canonical.
    #[error("the output of request {id} is not canonical: {error}")]
    Output {
        /// The request.
        id: RequestId,
        /// Why.
        error: InputError,
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
    /// The list of a block whose transactions used these outcomes; repetitions fall together. An output that is not the
    /// canonical `abi.encode(Tensor[])`, which no engine makes, has no place in a block.
    pub fn new(entries: impl IntoIterator<Item = impl Into<ListEntry>>) -> Result<Self, ListError> {
        let by_id: BTreeMap<_, ListEntry> =
            entries.into_iter().map(Into::into).map(|entry: ListEntry| (entry.id, entry)).collect();
        let entries: Vec<_> = by_id.into_values().collect();
        for ListEntry { id, outcome, .. } in &entries {
            if let Outcome::Output(output) = outcome {
                check_input(output).map_err(|error| ListError::Output { id: *id, error })?;
            }
        }
        Ok(Self { entries })
    }

    /// Ascending by request id.
    pub fn entries(&self) -> &[ListEntry] {
        &self.entries
    }

    /// RLP, see the module's text.
    pub fn encode(&self) -> Bytes {
        let wire: Vec<_> = self.entries.iter().map(WireEntry::from).collect();
        let mut out = Vec::with_capacity(wire.length());
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
        let mut left = OUTPUT_BYTES_MAX;
        let entries = wire.into_iter().map(|entry| entry.read(&mut left)).collect::<Result<Vec<_>, _>>()?;
        for pair in entries.windows(2) {
            match pair[0].id.cmp(&pair[1].id) {
                core::cmp::Ordering::Less => {}
                core::cmp::Ordering::Equal => return Err(ListError::Duplicate(pair[1].id)),
                core::cmp::Ordering::Greater => return Err(ListError::Unsorted(pair[1].id)),
            }
        }
        Ok(Self { entries })
    }

    /// `keccak256` of the encoding, part of the EIP-7685 request. A block without inference has neither.
    pub fn commitment(&self) -> Option<B256> {
        (!self.entries.is_empty()).then(|| keccak256(self.encode()))
    }

    /// Reads a list, empty bytes for none, and checks that the header commits to these very bytes: what came need not be
    /// encoded again to be hashed.
    pub fn decode_committed(encoded: &[u8], committed: Option<B256>) -> Result<Self, ListError> {
        let list = if encoded.is_empty() { Self::default() } else { Self::decode(encoded)? };
        let actual = (!list.entries.is_empty()).then(|| keccak256(encoded));
        if actual == committed {
            return Ok(list);
        }
        let shown = |hash: Option<B256>| hash.unwrap_or_default();
        Err(ListError::Commitment { committed: shown(committed), actual: shown(actual) })
    }

    /// Checks every certificate against the operators at the parent block, and returns who signed each entry.
    pub fn verify_certificates(
        &self,
        domain: &StatementDomain,
        committee: &Committee,
    ) -> Result<Vec<Vec<Address>>, ListError> {
        let signers = |ListEntry { id, outcome, certificate }: &ListEntry| {
            let signers = certificate.verify(domain.digest(*id, outcome), committee);
            signers.map_err(|error| ListError::Certificate { id: *id, error })
        };
        self.entries.iter().map(signers).collect()
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

/// A list says nothing of models and gas: whoever executes the block knows them.
impl From<(Used, Certificate)> for ListEntry {
    fn from((used, certificate): (Used, Certificate)) -> Self {
        Self { id: used.id, outcome: used.outcome, certificate }
    }
}

impl From<&ListEntry> for WireEntry {
    fn from(entry: &ListEntry) -> Self {
        let (code, data) = match &entry.outcome {
            Outcome::Output(output) => (0, compact(output).expect("a list holds canonical outputs only").into()),
            Outcome::Failed(failure) => (failure.code as u16, failure.reason.clone().into_bytes().into()),
        };
        let signatures: Vec<u8> =
            entry.certificate.signatures.iter().flat_map(|signature| signature.as_bytes()).collect();
        Self { id: entry.id, code, data, signatures: signatures.into() }
    }
}

impl WireEntry {
    /// The entry; its output, once padded, may take what is `left`.
    fn read(self, left: &mut usize) -> Result<ListEntry, ListError> {
        let outcome = match self.code {
            0 => {
                let output =
                    expand(&self.data, *left).ok_or(ListError::Encoding("an output is not in compact form"))?;
                *left = left.saturating_sub(output.len());
                Outcome::Output(output)
            }
            code => Outcome::Failed(failure(code, &self.data)?),
        };
        let certificate = Certificate { signatures: read_signatures(&self.signatures)? };
        Ok(ListEntry { id: self.id, outcome, certificate })
    }
}

fn read_signatures(encoded: &[u8]) -> Result<Vec<Signature>, ListError> {
    let (raw, rest) = encoded.as_chunks::<SIGNATURE_BYTES>();
    if !rest.is_empty() {
        return Err(ListError::Encoding("signatures are 65 bytes each"));
    }
    const BAD_V: ListError = ListError::Encoding("a signature's v is 27 or 28");
    let read = |raw: &[u8; SIGNATURE_BYTES]| {
        let signature = Signature::from_raw_array(raw).map_err(|_| BAD_V)?;
        // `from_raw_array` reads v = 0 and 1, too; one signature must not have two encodings.
        if signature.as_bytes() == *raw { Ok(signature) } else { Err(BAD_V) }
    };
    raw.iter().map(read).collect()
}

fn failure(code: u16, reason: &[u8]) -> Result<Failure, ListError> {
    let code = FailureCode::try_from(code).map_err(|_| ListError::Encoding("an unknown failure code"))?;
    let reason = core::str::from_utf8(reason).map_err(|_| ListError::Encoding("a failure's reason is not UTF-8"))?;
    if reason.len() > Failure::MAX_REASON_BYTES {
        return Err(ListError::Encoding("a failure's reason is too long"));
    }
    Ok(Failure::new(code, reason))
}
