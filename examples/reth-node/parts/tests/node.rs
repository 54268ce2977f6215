//! Two nodes of stock block executors: one computes, builds and commits; the other has the list, and no models.

#[path = "../../../../precompile/consensus/tests/world/mod.rs"]
mod world;

use alloy_eips::eip7685::Requests;
use alloy_evm::{
    EvmFactory,
    block::{BlockExecutionError, BlockExecutor, BlockExecutorFactory, BlockValidationError},
    eth::{EthBlockExecutorFactory, receipt_builder::AlloyReceiptBuilder, spec::EthSpec},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use foreblock_pre_executor::{Compute, Config, Unavailable, schedule::Prior};
use foreblock_precompile::{
    ForeblockEvmFactory, InferenceList, ListEntry, ListError, MemoryOutcomes, ModelId, Outcome, REQUEST_TYPE, Request,
};
use foreblock_reth_parts::{BlockContext, Certify, InferenceExecutorFactory, Lists, NextBlock, NodeRead, Watcher};
use revm::{
    database::{CacheDB, EmptyDB, State},
    database_interface::DatabaseRef,
};
use std::{
    convert::Infallible,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use world::{CALL, MODEL, NOW, PROXY, SLOT, context, db, env, input, run, signed};

const PATIENCE: Duration = Duration::from_secs(60);
const BLOCK: B256 = B256::repeat_byte(0xb1);

/// A model whose answer is its input.
struct Echo;

impl Compute for Echo {
    fn run(&self, _: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        inputs.iter().map(|input| Ok(Outcome::Output(input.clone()))).collect()
    }

    fn prior(&self, _: ModelId) -> Option<Prior> {
        Some(Prior { single_us: 1, rows_max: 1 })
    }
}

#[derive(Debug)]
struct Genesis(CacheDB<EmptyDB>);

impl NodeRead for Genesis {
    type Error = Infallible;

    fn account(&self, address: Address) -> Result<Option<(u64, U256, Option<B256>)>, Infallible> {
        let account = self.0.basic_ref(address)?;
        Ok(account.map(|account| (account.nonce, account.balance, Some(account.code_hash))))
    }

    fn code(&self, hash: B256) -> Result<Option<Bytes>, Infallible> {
        Ok(Some(self.0.code_by_hash_ref(hash)?.original_bytes()))
    }

    fn slot(&self, address: Address, key: B256) -> Result<U256, Infallible> {
        self.0.storage_ref(address, key.into())
    }

    fn block_hash(&self, number: u64) -> Result<B256, Infallible> {
        self.0.block_hash_ref(number)
    }
}

type Stock = EthBlockExecutorFactory<AlloyReceiptBuilder, EthSpec, ForeblockEvmFactory>;
type Node = InferenceExecutorFactory<Stock>;

fn node(factory: ForeblockEvmFactory, certify: Certify, lists: &Arc<Lists>) -> Node {
    let stock = EthBlockExecutorFactory::new(AlloyReceiptBuilder::default(), EthSpec::mainnet(), factory);
    InferenceExecutorFactory::new(stock, certify, lists.clone())
}

/// A node that has no models and no outcomes.
fn verifier(lists: &Arc<Lists>) -> Node {
    let nothing = || Arc::new(MemoryOutcomes::default());
    let watcher = Watcher::start(Config::default(), Arc::new(Echo)).unwrap();
    node(ForeblockEvmFactory::new(nothing()), watcher.certify(), lists)
}

/// What comes of a block of a transaction that asks about `sizes[..]`, each from nonce 0 on, and a payment; what is not valid is left out.
fn execute(
    node: &Node,
    context: BlockContext<<Stock as BlockExecutorFactory>::ExecutionCtx<'_>>,
    sizes: &[usize],
) -> Result<(usize, Requests), BlockExecutionError> {
    let mut state = State::builder().with_database(db(CALL)).with_bundle_update().build();
    let evm = node.evm_factory().create_evm(&mut state, env());
    let mut executor = node.create_executor(evm, context);
    executor.apply_pre_execution_changes()?;
    let mut nonce = 0;
    for size in sizes {
        match executor.execute_transaction(&signed(nonce, PROXY, run(&input(*size)).into())) {
            Ok(_) => nonce += 1,
            Err(BlockExecutionError::Validation(BlockValidationError::InvalidTx { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    executor.execute_transaction(&signed(nonce, Address::repeat_byte(7), Bytes::new()))?;
    let result = executor.apply_post_execution_changes()?;
    Ok((result.receipts.len(), result.requests))
}

fn id(size: usize) -> B256 {
    Request::new(MODEL, input(size)).id
}

/// A pre-executor that was told of a head and of a transaction, and has its outcome.
fn watching() -> Watcher {
    let watcher = Watcher::start(Config::default(), Arc::new(Echo)).unwrap();
    let next = NextBlock {
        chain_id: 1,
        fork: "Prague".into(),
        number: 1,
        timestamp: NOW,
        gas_limit: 30_000_000,
        base_fee: 0,
        beneficiary: Address::ZERO,
        prevrandao: B256::ZERO,
        blobs: Some((0, 1)),
    };
    let unknown = NextBlock { fork: "Nonsense".into(), ..next.clone() };
    let slot = Duration::from_secs(12);
    assert!(watcher.head(&unknown, Genesis(db(CALL)), slot, slot).unwrap_err().to_string().contains("Nonsense"));
    watcher.head(&next, Genesis(db(CALL)), slot, slot).unwrap();
    let asking = signed(0, PROXY, run(&input(3)).into());
    watcher.came(*asking.tx_hash(), &asking);
    let end = Instant::now() + PATIENCE;
    while watcher.outcomes().get(id(3)).is_none() {
        assert!(Instant::now() < end, "the request is not computed");
        thread::sleep(Duration::from_millis(2));
    }
    watcher
}

#[test]
fn what_one_node_built_another_verifies_with_its_list_and_nothing_else() {
    let (watcher, lists) = (watching(), Arc::new(Lists::default()));
    let builder = node(ForeblockEvmFactory::new(watcher.outcomes()), watcher.certify(), &lists);
    // Nobody has asked about 4 bytes before: that transaction is left out, and the block goes on.
    let (included, requests) = execute(&builder, builder.building(context(), B256::ZERO), &[3, 4]).unwrap();
    assert_eq!(included, 2);
    let list = lists.sealed(BLOCK, requests.iter()).expect("the block commits to a list");
    assert_eq!(list.entries().iter().map(|entry| entry.id).collect::<Vec<_>>(), [id(3)]);
    let last = [&[REQUEST_TYPE], list.commitment().unwrap().as_slice()].concat();
    assert_eq!(requests.last().map(|request| request.to_vec()), Some(last));
    assert_eq!(lists.gas(BLOCK), SLOT.gas_per_run, "what moves the next block's price");

    let received = Arc::new(Lists::default());
    received.insert(BLOCK, InferenceList::decode(&list.encode()).unwrap());
    let other = verifier(&received);
    let verified = execute(&other, other.verifying(context(), B256::ZERO, BLOCK), &[3]).unwrap();
    assert_eq!((verified.0, verified.1.requests_hash()), (included, requests.requests_hash()));
    assert_eq!(received.gas(BLOCK), SLOT.gas_per_run);
}

#[test]
fn a_block_with_another_list_or_none_is_not_valid() {
    let entry =
        |size| ListEntry { id: id(size), outcome: Outcome::Output(input(size)), certificate: Default::default() };
    let with = |entries: Vec<ListEntry>| {
        let lists = Arc::new(Lists::default());
        lists.insert(BLOCK, InferenceList::new(entries).unwrap());
        let node = verifier(&lists);
        execute(&node, node.verifying(context(), B256::ZERO, BLOCK), &[3])
    };
    let right = with(vec![entry(3)]).unwrap();
    assert_eq!(right.0, 2);
    assert_eq!(with(vec![]).unwrap().0, 1, "without a list the transaction is invalid");
    assert!(with(vec![entry(4)]).unwrap_err().to_string().contains(&ListError::Unused(id(4)).to_string()));
    assert!(with(vec![entry(3), entry(4)]).unwrap_err().to_string().contains(&ListError::Unused(id(4)).to_string()));
    let altered = with(vec![ListEntry { outcome: Outcome::Output(input(9)), ..entry(3) }]).unwrap();
    assert_ne!(altered.1.requests_hash(), right.1.requests_hash(), "the header commits to the outcomes");
}
