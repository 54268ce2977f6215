//! Blocks, transactions, receipts and logs in the form that JSON-RPC gives them.

use crate::chain::{Block, Transaction};
use alloy_consensus::{ReceiptEnvelope, Sealed, Transaction as _, TxEnvelope, TxReceipt};
use alloy_primitives::{Address, U256};
use alloy_rlp::Encodable;
use alloy_rpc_types_eth as rpc;
use alloy_rpc_types_eth::{BlockTransactions, TransactionInfo, TransactionReceipt};
use serde::Serialize;

pub(super) fn header(block: &Block) -> rpc::Header {
    let size = U256::from(block.consensus().length());
    let sealed = Sealed::new_unchecked(block.header.clone(), block.hash);
    rpc::Header::from_consensus(sealed, Some(U256::ZERO), Some(size))
}

pub(super) fn block(block: &Block, full: bool) -> rpc::Block {
    let transactions = if full {
        BlockTransactions::Full((0..block.transactions.len()).map(|index| transaction(block, index)).collect())
    } else {
        BlockTransactions::Hashes(block.transactions.iter().map(|tx| *tx.tx_hash()).collect())
    };
    let withdrawals = block.header.withdrawals_root.map(|_| Default::default());
    rpc::Block { header: header(block), uncles: Vec::new(), transactions, withdrawals }
}

pub(super) fn transaction(block: &Block, index: usize) -> rpc::Transaction {
    rpc::Transaction::from_transaction(block.transactions[index].clone(), block.transaction_info(index))
}

pub(super) fn pending(tx: &Transaction) -> rpc::Transaction {
    let tx = crate::chain::pool_form(tx);
    rpc::Transaction::from_transaction(tx, TransactionInfo::default())
}

/// A receipt with its block's time, which anvil's have as a number and `cast` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    #[serde(flatten)]
    pub(super) inner: TransactionReceipt,
    block_timestamp: u64,
}

pub(super) fn receipts(block: &Block) -> Vec<Receipt> {
    let mut logs_before = 0;
    (0..block.receipts.len())
        .map(|index| {
            let shaped = receipt_after(block, index, logs_before);
            logs_before += block.receipts[index].logs().len();
            shaped
        })
        .collect()
}

pub(super) fn receipt(block: &Block, index: usize) -> Receipt {
    receipt_after(block, index, block.logs_before(index))
}

fn receipt_after(block: &Block, index: usize, logs_before: usize) -> Receipt {
    let tx = &block.transactions[index];
    let from = tx.signer();
    let logs = block.receipts[index].logs().iter().enumerate();
    let logs: Vec<rpc::Log> = logs.map(|(at, found)| log(block, index, logs_before + at, found.clone())).collect();
    let with_logs = alloy_consensus::ReceiptWithBloom {
        receipt: alloy_consensus::Receipt {
            status: block.receipts[index].status_or_post_state(),
            cumulative_gas_used: block.receipts[index].cumulative_gas_used(),
            logs,
        },
        logs_bloom: *block.receipts[index].logs_bloom(),
    };
    let inner = match &block.receipts[index] {
        ReceiptEnvelope::Legacy(_) => ReceiptEnvelope::Legacy(with_logs),
        ReceiptEnvelope::Eip2930(_) => ReceiptEnvelope::Eip2930(with_logs),
        ReceiptEnvelope::Eip1559(_) => ReceiptEnvelope::Eip1559(with_logs),
        ReceiptEnvelope::Eip4844(_) => ReceiptEnvelope::Eip4844(with_logs),
        ReceiptEnvelope::Eip7702(_) => ReceiptEnvelope::Eip7702(with_logs),
    };
    let blob_gas_used = tx.blob_gas_used();
    let inner = TransactionReceipt {
        inner,
        transaction_hash: *tx.tx_hash(),
        transaction_index: Some(index as u64),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        gas_used: block.gas_used(index),
        effective_gas_price: block.effective_gas_price(index),
        blob_gas_used,
        blob_gas_price: blob_gas_used.and(block.blob_gas_price),
        from,
        to: tx.to(),
        contract_address: created(tx, from),
    };
    Receipt { inner, block_timestamp: block.header.timestamp }
}

fn created(tx: &TxEnvelope, from: Address) -> Option<Address> {
    tx.is_create().then(|| from.create(tx.nonce()))
}

pub(super) fn log(block: &Block, index: usize, log_index: usize, inner: alloy_primitives::Log) -> rpc::Log {
    rpc::Log {
        inner,
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash: Some(*block.transactions[index].tx_hash()),
        transaction_index: Some(index as u64),
        log_index: Some(log_index as u64),
        removed: false,
    }
}

/// A header that is in no chain.
pub(super) fn simulated_header(header: alloy_consensus::Header, hash: alloy_primitives::B256) -> rpc::Header {
    rpc::Header::from_consensus(Sealed::new_unchecked(header, hash), None, None)
}
