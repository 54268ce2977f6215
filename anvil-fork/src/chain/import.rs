//! Blocks from a file: each is built again from its header's inputs and its transactions, and everything that follows from
//! these must be what the header says.

use super::{BlockPlan, Built, Candidate, Certificates, Ledger, NoAdvice, Spec, Transaction, build};
use alloy_consensus::{Header, TxEnvelope, proofs::calculate_withdrawals_root, transaction::SignerRecoverable};
use alloy_evm::{EvmEnv, block::BlockExecutionError};
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{B256, Bytes, U256};
use alloy_rlp::Decodable;
use foreblock_precompile::ForeblockEvmFactory;
use revm::context_interface::block::BlobExcessGasAndPrice;
use std::{fmt::Debug, sync::Arc};

/// A block as geth exports it.
pub type FileBlock = alloy_consensus::Block<TxEnvelope>;

/// A file that is no chain, or not one on this genesis.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No RLP.
    #[error(
        "entry {0} of the file is no RLP of a block: {1}; expected blocks one after another, as `geth export` writes them"
    )]
    Rlp(usize, alloy_rlp::Error),
    /// A block that does not follow the one before.
    #[error("block {number} does not follow: its {field} is {got}, expected {expected}")]
    Follows {
        /// The block's number, as its header says.
        number: u64,
        /// Which field of its header.
        field: &'static str,
        /// What it says.
        got: String,
        /// What the block before makes of it.
        expected: String,
    },
    /// A block whose execution gives something else than its header says.
    #[error("block {number} is not what its header says: {field} is {got} after execution, the header says {expected}")]
    Differs {
        /// The block's number.
        number: u64,
        /// Which field of its header.
        field: &'static str,
        /// What execution gives.
        got: String,
        /// What the header says.
        expected: String,
    },
    /// A transaction that cannot be in the block.
    #[error("transaction {1} of block {0} is invalid: {2}")]
    Transaction(u64, B256, String),
    /// The executor.
    #[error("block {0} could not be executed: {1}")]
    Execution(u64, BlockExecutionError),
}

/// The blocks of a file. The first block, number 0, may be in it, and is left out.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<FileBlock>, ImportError> {
    let mut blocks = Vec::new();
    while !bytes.is_empty() {
        let at = blocks.len();
        blocks.push(FileBlock::decode(&mut bytes).map_err(|error| ImportError::Rlp(at, error))?);
    }
    blocks.retain(|block| block.header.number > 0);
    Ok(blocks)
}

/// Adds a block to the chain, after checking all of it. `env` is the EVM's configuration for its number and time.
pub fn import(
    ledger: &mut Ledger,
    spec: &Spec,
    factory: &ForeblockEvmFactory,
    env: EvmEnv,
    block: FileBlock,
) -> Result<(), ImportError> {
    let FileBlock { header, body } = block;
    let number = header.number;
    follows(&header, ledger, spec)?;
    let mut candidates = Vec::with_capacity(body.transactions.len());
    for tx in body.transactions {
        let hash = *tx.tx_hash();
        let invalid = |_| ImportError::Transaction(number, hash, "its signature is not valid".to_owned());
        let signer = tx.recover_signer().map_err(invalid)?;
        candidates.push(Candidate { tx: Arc::new(Transaction::new_unchecked(tx, signer)), hash });
    }
    let plan = BlockPlan {
        env: filled(env, &header, spec),
        parent: ledger.head().clone(),
        start_block_call: Bytes::new(),
        certificates: Certificates::new(|_| None),
        beacon_root: header.parent_beacon_block_root.unwrap_or_default(),
        ommers: body.ommers,
        withdrawals: body.withdrawals,
        extra_data: header.extra_data.clone(),
        transactions_max: usize::MAX,
    };
    let withdrawals_root = plan.withdrawals.as_ref().map(|withdrawals| calculate_withdrawals_root(withdrawals));
    let Built { mut block, skipped, .. } = build(ledger, spec, factory, &plan, candidates, &NoAdvice)
        .map_err(|error| ImportError::Execution(number, error))?;
    if let Some((hash, skip)) = skipped.into_iter().next() {
        return Err(ImportError::Transaction(number, hash, skip.to_string()));
    }
    let got = &block.header;
    differs(number, "the gas used", &got.gas_used, &header.gas_used)?;
    differs(number, "the transactions' root", &got.transactions_root, &header.transactions_root)?;
    // Before Byzantium receipts held the state's root after each transaction, and nobody computes these any more.
    if spec.is_byzantium_active_at_block(number) {
        differs(number, "the receipts' root", &got.receipts_root, &header.receipts_root)?;
    }
    differs(number, "the logs' bloom", &got.logs_bloom, &header.logs_bloom)?;
    differs(number, "the withdrawals' root", &withdrawals_root, &header.withdrawals_root)?;
    differs(number, "the blob gas used", &got.blob_gas_used, &header.blob_gas_used)?;
    differs(number, "the requests' hash", &got.requests_hash, &header.requests_hash)?;
    differs(number, "the state root", &got.state_root, &header.state_root)?;
    block.hash = header.hash_slow();
    block.header = header;
    ledger.push(block);
    Ok(())
}

fn filled(mut env: EvmEnv, header: &Header, spec: &Spec) -> EvmEnv {
    let block = &mut env.block_env;
    block.beneficiary = header.beneficiary;
    block.gas_limit = header.gas_limit;
    block.basefee = header.base_fee_per_gas.unwrap_or(0);
    block.difficulty = header.difficulty;
    block.prevrandao = Some(header.mix_hash);
    block.number = U256::from(header.number);
    let price = header.excess_blob_gas.zip(spec.blobs(header.timestamp));
    block.blob_excess_gas_and_price = price.map(|(excess_blob_gas, params)| BlobExcessGasAndPrice {
        excess_blob_gas,
        blob_gasprice: params.calc_blob_fee(excess_blob_gas),
    });
    env
}

/// What the header must say after the block before it.
fn follows(header: &Header, ledger: &Ledger, spec: &Spec) -> Result<(), ImportError> {
    let parent = ledger.head();
    let number = header.number;
    let same = |field, got: &dyn Debug, expected: &dyn Debug, holds: bool| match holds {
        true => Ok(()),
        false => {
            Err(ImportError::Follows { number, field, got: format!("{got:?}"), expected: format!("{expected:?}") })
        }
    };
    same("parent hash", &header.parent_hash, &parent.hash, header.parent_hash == parent.hash)?;
    let next = parent.header.number + 1;
    same("number", &number, &next, number == next)?;
    let earliest = format!("more than {}", parent.header.timestamp);
    same("timestamp", &header.timestamp, &earliest, header.timestamp > parent.header.timestamp)?;
    if parent.header.base_fee_per_gas.is_some() {
        let fee = parent.header.next_block_base_fee(spec.base_fees());
        same("base fee", &header.base_fee_per_gas, &fee, header.base_fee_per_gas == fee)?;
    }
    if let Some(params) = spec.blobs(header.timestamp).filter(|_| parent.header.excess_blob_gas.is_some()) {
        let excess = parent.header.next_block_excess_blob_gas(params);
        same("excess blob gas", &header.excess_blob_gas, &excess, header.excess_blob_gas == excess)?;
    }
    Ok(())
}

fn differs<T: Debug + PartialEq>(number: u64, field: &'static str, got: &T, expected: &T) -> Result<(), ImportError> {
    if got == expected {
        return Ok(());
    }
    Err(ImportError::Differs { number, field, got: format!("{got:?}"), expected: format!("{expected:?}") })
}
