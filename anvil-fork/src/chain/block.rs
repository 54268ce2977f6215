//! A block and all that belongs to it.

use super::World;
use alloy_consensus::{
    BlockBody, Header, ReceiptEnvelope, Transaction as _, TxEip4844Variant, TxEnvelope, transaction::Recovered,
};
use alloy_primitives::{B256, Bloom, Bytes};
use alloy_rpc_types_eth::TransactionInfo;
use foreblock_precompile::{Certificate, InferenceList, ListError, Outcome, RequestId, Used};

/// A transaction with its sender.
pub type Transaction = Recovered<TxEnvelope>;

/// A sealed block, its receipts, the state after it, and the outcomes that it used.
#[derive(Clone, Debug)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: B256,
    /// Transactions, in order, without blobs.
    pub transactions: Vec<Transaction>,
    /// One for each transaction.
    pub receipts: Vec<ReceiptEnvelope>,
    /// Price of a unit of blob gas, from Cancun on, wei.
    pub blob_gas_price: Option<u128>,
    /// State that the block was built on: its parent's, with what `anvil_set*` changed between the two.
    pub before: World,
    /// State after the block.
    pub world: World,
    /// Whether the two states are those, or were not in the file that the block came from.
    pub states_kept: bool,
    /// Outcomes used, by request id, each once: traces of this block have no other source.
    pub inferences: Vec<Used>,
    /// What vouches for each of them, in the same order.
    pub certificates: Vec<Certificate>,
    /// EIP-7685 requests, by type; the last commits to the inference list, if there is one.
    pub requests: Vec<Bytes>,
}

impl Block {
    /// The block that a chain begins with here: it has no transactions, or, where it is another chain's, none that anybody
    /// asks for here.
    pub fn first(header: Header, world: World) -> Self {
        Self {
            hash: header.hash_slow(),
            header,
            transactions: Vec::new(),
            receipts: Vec::new(),
            blob_gas_price: None,
            before: World::default(),
            world,
            states_kept: true,
            inferences: Vec::new(),
            certificates: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// As other nodes would get it.
    pub fn consensus(&self) -> alloy_consensus::Block<TxEnvelope> {
        let transactions = self.transactions.iter().map(|tx| tx.inner().clone()).collect();
        let withdrawals = self.header.withdrawals_root.map(|_| Default::default());
        alloy_consensus::Block::new(self.header.clone(), BlockBody { transactions, ommers: Vec::new(), withdrawals })
    }

    /// The same block without the states before and after it.
    pub(super) fn without_states(&self) -> Self {
        Self { before: World::default(), world: World::default(), states_kept: false, ..self.clone() }
    }

    /// The same block without its transactions, receipts and outcomes.
    pub(super) fn without_transactions(&self) -> Self {
        Self { transactions: Vec::new(), receipts: Vec::new(), inferences: Vec::new(), ..self.clone() }
    }

    /// Bloom over all logs.
    pub fn bloom(receipts: &[ReceiptEnvelope]) -> Bloom {
        receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom())
    }

    /// Gas that one transaction used.
    pub fn gas_used(&self, index: usize) -> u64 {
        let before = index.checked_sub(1).map_or(0, |before| self.receipts[before].cumulative_gas_used());
        self.receipts[index].cumulative_gas_used() - before
    }

    /// How many logs come before a transaction's first.
    pub fn logs_before(&self, index: usize) -> usize {
        self.receipts[..index].iter().map(|receipt| receipt.logs().len()).sum()
    }

    /// Where a transaction stands, as answers about it say.
    pub fn transaction_info(&self, index: usize) -> TransactionInfo {
        TransactionInfo {
            hash: Some(*self.transactions[index].tx_hash()),
            index: Some(index as u64),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            base_fee: self.header.base_fee_per_gas,
            block_timestamp: Some(self.header.timestamp),
        }
    }

    /// What the sender paid for a unit of gas.
    pub fn effective_gas_price(&self, index: usize) -> u128 {
        self.transactions[index].effective_gas_price(self.header.base_fee_per_gas)
    }

    /// What the block carries for who runs no models.
    ///
    /// # Errors
    /// [`ListError`] for an output that is not canonical, which no verified block has.
    pub fn inference_list(&self) -> Result<InferenceList, ListError> {
        InferenceList::new(self.inferences.iter().cloned().zip(self.certificates.iter().cloned()))
    }

    /// The outcome that this block used for a request.
    pub fn outcome(&self, id: RequestId) -> Option<&Outcome> {
        let at = self.inferences.binary_search_by_key(&id, |used| used.id).ok()?;
        Some(&self.inferences[at].outcome)
    }
}

/// The form that blocks carry: without blobs.
pub fn pool_form(tx: &Transaction) -> Transaction {
    let TxEnvelope::Eip4844(signed) = tx.inner() else { return tx.clone() };
    let (variant, signature, hash) = signed.clone().into_parts();
    let bare = TxEip4844Variant::TxEip4844(variant.into());
    let signed = alloy_consensus::Signed::new_unchecked(bare, signature, hash);
    Recovered::new_unchecked(TxEnvelope::Eip4844(signed), tx.signer())
}
