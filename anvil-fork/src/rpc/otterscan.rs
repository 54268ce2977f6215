//! `ots_*`: what the block explorer Otterscan asks.

use super::{Args, Reply, RpcError, at, shape};
use crate::{
    chain::{Block, Ledger},
    node::Node,
    trace::{self, Stage},
};
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_types_trace::{
    otterscan::{
        BlockDetails, ContractCreator, InternalIssuance, InternalOperation, OtsBlockTransactions, OtsReceipt,
        OtsTransactionReceipt, TraceEntry, TransactionsWithReceipts,
    },
    parity::LocalizedTransactionTrace,
};
use std::{collections::VecDeque, sync::Arc};

/// Level of Otterscan's interface that these methods follow.
const API_LEVEL: u64 = 8;
/// Most transactions of a page.
const PAGE_MAX: usize = 1_000;

pub(super) async fn api_level(_: &Arc<Node>, _: Args) -> Reply<u64> {
    Ok(API_LEVEL)
}

pub(super) async fn has_code(node: &Arc<Node>, mut args: Args) -> Reply<bool> {
    let address: Address = args.take("address")?;
    let view = at::view(node, args.optional("block")?)?;
    let info = revm::DatabaseRef::basic_ref(&view, address)?;
    Ok(info.is_some_and(|info| !info.is_empty_code_hash()))
}

/// A look into a mined transaction; `None` where it is not mined.
fn staged<T>(node: &Node, hash: B256, look: impl FnOnce(&mut Stage, &Block, usize) -> Reply<T>) -> Reply<Option<T>> {
    let ledger = node.ledger();
    let Some((block, index)) = ledger.transaction(&hash) else { return Ok(None) };
    tokio::task::block_in_place(|| {
        look(&mut Stage::of_transaction(node, &ledger, block, index)?, block, index).map(Some)
    })
}

pub(super) async fn internal_operations(node: &Arc<Node>, mut args: Args) -> Reply<Vec<InternalOperation>> {
    let found = staged(node, args.take("transaction hash")?, trace::internal_operations)?;
    found.ok_or_else(|| RpcError::NotFound("transaction not found".to_owned()))
}

pub(super) async fn trace_transaction(node: &Arc<Node>, mut args: Args) -> Reply<Vec<TraceEntry>> {
    let Some(traces) = staged(node, args.take("transaction hash")?, trace::localized)? else { return Ok(Vec::new()) };
    Ok(traces.iter().filter_map(|found| TraceEntry::from_transaction_trace(&found.trace)).collect())
}

/// What a transaction that failed returned; empty for one that did not.
pub(super) async fn transaction_error(node: &Arc<Node>, mut args: Args) -> Reply<Bytes> {
    let traces = staged(node, args.take("transaction hash")?, trace::localized)?.unwrap_or_default();
    let first = traces.first().filter(|first| first.trace.error.is_some());
    Ok(first.and_then(|first| first.trace.result.as_ref()).map(|result| result.output().clone()).unwrap_or_default())
}

pub(super) async fn block_details(node: &Arc<Node>, mut args: Args) -> Reply<BlockDetails> {
    let number = args.block_number()?;
    Ok(details(&*mined(node, number.into())?))
}

pub(super) async fn block_details_by_hash(node: &Arc<Node>, mut args: Args) -> Reply<BlockDetails> {
    let hash: B256 = args.take("block hash")?;
    Ok(details(&*mined(node, hash.into())?))
}

fn mined(node: &Node, id: BlockId) -> Reply<Arc<Block>> {
    match at::find(node, &node.ledger(), Some(id)) {
        Some(at::At::Mined(block)) => Ok(block),
        Some(at::At::Pending) => Ok(node.head()),
        None => Err(RpcError::NotFound("block not found".to_owned())),
    }
}

fn details(block: &Block) -> BlockDetails {
    let fee = |index: usize| U256::from(block.gas_used(index)) * U256::from(block.effective_gas_price(index));
    let fees = (0..block.transactions.len()).map(fee).sum();
    BlockDetails::new(shape::block(block, false), InternalIssuance::default(), fees)
}

pub(super) async fn block_transactions(node: &Arc<Node>, mut args: Args) -> Reply<OtsBlockTransactions> {
    let number = args.block_number()?;
    let (page, size): (usize, usize) = (args.take("page")?, args.take("page size")?);
    let block = mined(node, number.into())?;
    let from = page.saturating_mul(size).min(block.transactions.len());
    let to = from.saturating_add(size.min(PAGE_MAX)).min(block.transactions.len());
    let mut shaped = shape::block(&block, true);
    let full = shaped.transactions.as_transactions().unwrap_or_default()[from..to].to_vec();
    shaped.transactions = alloy_rpc_types_eth::BlockTransactions::Full(full);
    let receipts = (from..to).map(|index| receipt(&block, index)).collect();
    let fullblock =
        alloy_rpc_types_trace::otterscan::OtsBlock { transaction_count: block.transactions.len(), block: shaped };
    Ok(OtsBlockTransactions { fullblock, receipts })
}

fn receipt(block: &Block, index: usize) -> OtsTransactionReceipt {
    let receipt = shape::receipt(block, index).inner.map_inner(|inner| OtsReceipt {
        status: inner.status(),
        cumulative_gas_used: inner.cumulative_gas_used(),
        r#type: inner.tx_type() as u8,
        logs_bloom: Some(*inner.logs_bloom()),
        logs: Some(inner.logs().to_vec()),
    });
    OtsTransactionReceipt { receipt, timestamp: Some(block.header.timestamp) }
}

/// A page of transactions, newest first.
struct Page {
    size: usize,
    found: VecDeque<(Arc<Block>, usize)>,
}

impl Page {
    /// Of this block, all transactions that `address` takes part in: a block is never divided between pages.
    fn involving(
        node: &Node,
        ledger: &Ledger,
        block: &Arc<Block>,
        address: Address,
    ) -> Reply<Vec<(Arc<Block>, usize)>> {
        if block.transactions.is_empty() {
            return Ok(Vec::new());
        }
        let mut stage = Stage::of_block(node, ledger, block)?;
        let mut found = Vec::new();
        for index in 0..block.transactions.len() {
            let traces: Vec<LocalizedTransactionTrace> = trace::localized(&mut stage, block, index)?;
            if trace::involves(&traces, address) {
                found.push((block.clone(), index));
            }
        }
        Ok(found)
    }

    fn answer(self, first_page: bool, last_page: bool) -> TransactionsWithReceipts {
        TransactionsWithReceipts {
            txs: self.found.iter().map(|(block, index)| shape::transaction(block, *index)).collect(),
            receipts: self.found.iter().map(|(block, index)| receipt(block, *index)).collect(),
            first_page,
            last_page,
        }
    }
}

/// What a search starts from.
struct Search {
    address: Address,
    block: u64,
    page: Page,
}

impl Search {
    fn new(mut args: Args) -> Reply<Self> {
        let address = args.take("address")?;
        let block = args.number("block number")?.ok_or_else(|| RpcError::params("block number is missing"))?;
        let size = args.take::<usize>("page size")?.clamp(1, PAGE_MAX);
        Ok(Self { address, block, page: Page { size, found: VecDeque::new() } })
    }
}

/// Transactions in blocks below `block`, or from the head down where that is 0.
pub(super) async fn search_before(node: &Arc<Node>, args: Args) -> Reply<TransactionsWithReceipts> {
    let Search { address, block, mut page } = Search::new(args)?;
    let ledger = node.ledger();
    // Genesis has no transactions.
    let (first, head) = (ledger.first().header.number.max(1), ledger.head().header.number);
    let newest = if block == 0 { head } else { block.saturating_sub(1).min(head) };
    tokio::task::block_in_place(|| {
        let mut numbers = (first..=newest).rev();
        while page.found.len() < page.size {
            let Some(block) = numbers.next().and_then(|number| ledger.block(number)) else { break };
            page.found.extend(Page::involving(node, &ledger, block, address)?.into_iter().rev());
        }
        let last_page = numbers.next().is_none();
        Ok(page.answer(block == 0 || block > head, last_page))
    })
}

/// Transactions in blocks above `block`, or from the first one up where that is 0; the page is newest first, too.
pub(super) async fn search_after(node: &Arc<Node>, args: Args) -> Reply<TransactionsWithReceipts> {
    let Search { address, block, mut page } = Search::new(args)?;
    let ledger = node.ledger();
    let (first, head) = (ledger.first().header.number.max(1), ledger.head().header.number);
    let oldest = if block == 0 { first } else { block.saturating_add(1).max(first) };
    tokio::task::block_in_place(|| {
        let mut numbers = oldest..=head;
        while page.found.len() < page.size {
            let Some(block) = numbers.next().and_then(|number| ledger.block(number)) else { break };
            for found in Page::involving(node, &ledger, block, address)? {
                page.found.push_front(found);
            }
        }
        let first_page = numbers.next().is_none();
        Ok(page.answer(first_page, block <= first))
    })
}

pub(super) async fn by_sender_and_nonce(node: &Arc<Node>, mut args: Args) -> Reply<Option<B256>> {
    let sender: Address = args.take("address")?;
    let nonce = args.number("nonce")?.ok_or_else(|| RpcError::params("nonce is missing"))?;
    Ok(super::transactions::find_by_nonce(&node.ledger(), sender, nonce)
        .map(|(block, index)| *block.transactions[index].tx_hash()))
}

pub(super) async fn contract_creator(node: &Arc<Node>, mut args: Args) -> Reply<Option<ContractCreator>> {
    let address: Address = args.take("address")?;
    let ledger = node.ledger();
    tokio::task::block_in_place(|| {
        let has_code = |world: &crate::chain::World| {
            world.account(&address).is_some_and(|account| account.code_hash != revm::primitives::KECCAK_EMPTY)
        };
        // Only blocks whose state has the code where the one before has not are run again.
        for block in ledger.blocks().filter(|block| has_code(&block.world) && !has_code(&block.before)) {
            if let Some(creator) = trace::creation(node, &ledger, block, address)? {
                return Ok(Some(creator));
            }
        }
        Ok(None)
    })
}
