//! Whether a block is valid: its list, the certificates, and what executing it with that list gives.

use super::Fetched;
use crate::{
    chain::{Block, BlockPlan, Candidate, Certificates, Ledger, NoAdvice, Skip, StateError, build},
    inference::Inference,
    node::Node,
};
use alloy_consensus::{Header, transaction::SignerRecoverable};
use alloy_eips::eip7685::Requests;
use alloy_evm::block::BlockExecutionError;
use alloy_primitives::{Address, B256, Bytes, map::B256Map};
use foreblock_precompile::{
    Certificate, Committee, ForeblockEvmFactory, InferenceList, ListError, OPERATOR_REGISTRY_ADDRESS, REQUEST_TYPE,
    RequestId, StatementDomain,
};
use revm::database_interface::DatabaseRef;
use std::{fmt::Display, sync::Arc};

/// Why a block is invalid.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// It goes on from another block.
    #[error(
        "it builds on {found}, but the last verified block is {expected}: the producer went back, or this is another chain"
    )]
    Parent {
        /// The verified head.
        expected: B256,
        /// What the header says.
        found: B256,
    },
    /// A signature from which no sender can be recovered.
    #[error(
        "transaction {0} has no valid signature: impersonated accounts (anvil_impersonateAccount) cannot be followed"
    )]
    Sender(B256),
    /// The requests are not those of the header.
    #[error("the EIP-7685 requests hash to {actual}, but the header says {committed}")]
    Requests {
        /// In the header.
        committed: B256,
        /// Of what came.
        actual: B256,
    },
    /// A request of the list's type that is no hash, or two of them.
    #[error("the header's request of type 0x0f is not one hash of 32 bytes")]
    Commitment,
    /// Nobody may vouch.
    #[error(
        "OperatorRegistry has no operators in the parent's state, so nobody can vouch for the block's {0} outcomes"
    )]
    NoOperators(usize),
    /// The list.
    #[error(transparent)]
    List(#[from] ListError),
    /// A transaction that cannot be in this block.
    #[error("transaction {0} cannot be included: {1}")]
    Transaction(B256, String),
    /// Executing it gives another header.
    #[error("executing it gives {field} {actual}, but the header says {claimed}")]
    Header {
        /// Which part.
        field: &'static str,
        /// In the header.
        claimed: String,
        /// As computed here.
        actual: String,
    },
    /// The executor stopped.
    #[error("executing it failed: {0}")]
    Execution(#[from] BlockExecutionError),
    /// The parent's state cannot be read here.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a block claims: the list that its header commits to, and who may vouch for that.
#[derive(Debug)]
pub struct Claim {
    /// Its list.
    pub list: InferenceList,
    /// Where its statements count.
    pub domain: StatementDomain,
    /// The operators at its parent.
    pub committee: Committee,
}

impl Claim {
    /// Who signed each outcome of the list, if these suffice.
    pub fn signers(&self) -> Result<Vec<Vec<Address>>, Invalid> {
        let outcomes = self.list.entries().len();
        if self.committee.operators().is_empty() && outcomes > 0 {
            return Err(Invalid::NoOperators(outcomes));
        }
        Ok(self.list.verify_certificates(&self.domain, &self.committee)?)
    }
}

/// A block that is valid.
#[derive(Debug)]
pub struct Verified {
    /// With the state after it.
    pub block: Block,
    /// Its list.
    pub list: InferenceList,
    /// Who vouches for each entry of the list.
    pub signers: Vec<Vec<Address>>,
}

/// Verifies blocks. It holds no state: that is the ledger's.
#[derive(Debug)]
pub struct Verifier<'a> {
    node: &'a Node,
}

impl<'a> Verifier<'a> {
    /// With the rules of this node.
    pub fn new(node: &'a Node) -> Self {
        Self { node }
    }

    /// Whether `fetched` is the next block of `ledger`, and what comes of it.
    pub fn verify(&self, ledger: &Ledger, fetched: &Fetched) -> Result<Verified, Invalid> {
        let claim = self.claim(ledger, fetched)?;
        let signers = claim.signers()?;
        let block = self.execute(ledger, &fetched.block.header, candidates(fetched)?, &claim.list)?;
        Ok(Verified { block, list: claim.list, signers })
    }

    /// What `fetched` claims, if it goes on from the head.
    pub fn claim(&self, ledger: &Ledger, fetched: &Fetched) -> Result<Claim, Invalid> {
        let header = &fetched.block.header;
        let parent = ledger.head();
        if header.parent_hash != parent.hash || header.number != parent.header.number + 1 {
            return Err(Invalid::Parent { expected: parent.hash, found: header.parent_hash });
        }
        let list = list(header, fetched)?;
        let view = ledger.view();
        let committee = Committee::read(|key| view.storage_ref(OPERATOR_REGISTRY_ADDRESS, key))?;
        Ok(Claim { list, domain: StatementDomain::new(self.node.chain_id()), committee })
    }

    /// The block that comes of executing these transactions with this list as the only source, if that is the one that the
    /// header says and the whole list was used. Who vouches for the list is not asked.
    pub fn execute(
        &self,
        ledger: &Ledger,
        header: &Header,
        transactions: Vec<Candidate>,
        list: &InferenceList,
    ) -> Result<Block, Invalid> {
        let factory = ForeblockEvmFactory::new(Arc::new(list.outcomes())).with_address(self.node.inference.address());
        let plan = self.plan(header, ledger.head().clone(), list);
        let built = build(ledger, &self.node.spec(), &factory, &plan, transactions, &NoAdvice)?;
        if let Some((hash, skip)) = built.skipped.into_iter().next() {
            return Err(skipped(hash, skip));
        }
        list.verify_used(built.block.inferences.iter().map(|used| used.id))?;
        same_header(header, &built.block.header)?;
        Ok(built.block)
    }

    /// The block's own plan: what its header fixes.
    fn plan(&self, header: &Header, parent: Arc<Block>, list: &InferenceList) -> BlockPlan {
        let certificates: B256Map<Certificate> =
            list.entries().iter().map(|entry| (entry.id, entry.certificate.clone())).collect();
        BlockPlan {
            env: self.node.env_of_header(header),
            start_block_call: Inference::start_block_call(&parent),
            beacon_root: header.parent_beacon_block_root.unwrap_or_default(),
            ommers: Vec::new(),
            withdrawals: None,
            parent,
            certificates: Certificates::new(move |id: RequestId| certificates.get(&id).cloned()),
            extra_data: header.extra_data.clone(),
            transactions_max: usize::MAX,
        }
    }
}

/// The list, if it is the one that the header commits to.
fn list(header: &Header, fetched: &Fetched) -> Result<InferenceList, Invalid> {
    let Some(committed) = header.requests_hash else {
        // Before Prague the list stands beside the block, and no header commits to it.
        let none = fetched.list.is_empty();
        return Ok(if none { InferenceList::default() } else { InferenceList::decode(&fetched.list)? });
    };
    Ok(InferenceList::decode_committed(&fetched.list, commitment(committed, &fetched.requests)?)?)
}

/// Its transactions, each with its sender.
pub fn candidates(fetched: &Fetched) -> Result<Vec<Candidate>, Invalid> {
    let candidate = |tx: &alloy_consensus::TxEnvelope| {
        let hash = *tx.tx_hash();
        let tx = tx.clone().try_into_recovered().map_err(|_| Invalid::Sender(hash))?;
        Ok(Candidate { tx: Arc::new(tx), hash })
    };
    fetched.block.body.transactions.iter().map(candidate).collect()
}

/// The list's hash among the requests that the header commits to.
fn commitment(committed: B256, requests: &[Bytes]) -> Result<Option<B256>, Invalid> {
    let actual = Requests::new(requests.to_vec()).requests_hash();
    if actual != committed {
        return Err(Invalid::Requests { committed, actual });
    }
    let mut ours = requests.iter().filter(|request| request.first() == Some(&REQUEST_TYPE));
    let Some(request) = ours.next() else { return Ok(None) };
    match (B256::try_from(&request[1..]), ours.next()) {
        (Ok(hash), None) => Ok(Some(hash)),
        _ => Err(Invalid::Commitment),
    }
}

fn skipped(hash: B256, skip: Skip) -> Invalid {
    match skip {
        Skip::Missing(request) => ListError::Missing(request.id).into(),
        other => Invalid::Transaction(hash, other.to_string()),
    }
}

fn same_header(claimed: &Header, actual: &Header) -> Result<(), Invalid> {
    fn same<T: PartialEq + Display>(field: &'static str, claimed: T, actual: T) -> Result<(), Invalid> {
        if claimed == actual {
            return Ok(());
        }
        Err(Invalid::Header { field, claimed: claimed.to_string(), actual: actual.to_string() })
    }
    let zero = B256::ZERO;
    same("transactions root", claimed.transactions_root, actual.transactions_root)?;
    same("gas used", claimed.gas_used, actual.gas_used)?;
    same("receipts root", claimed.receipts_root, actual.receipts_root)?;
    same("state root", claimed.state_root, actual.state_root)?;
    same("requests hash", claimed.requests_hash.unwrap_or(zero), actual.requests_hash.unwrap_or(zero))?;
    same("block hash", claimed.hash_slow(), actual.hash_slow())
}
