//! From a plan and transactions to a sealed block, by alloy-evm's block executor.

use super::{Block, Ledger, Spec, Transaction, World, pool_form, turns::turns};
use crate::print::CONSOLE;
use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, ReceiptEnvelope, Transaction as _,
    proofs::{calculate_receipt_root, calculate_transaction_root},
};
use alloy_eips::{eip4895::Withdrawals, eip7685::Requests};
use alloy_evm::{
    Evm, EvmEnv, EvmFactory,
    block::{BlockExecutionError, BlockExecutor, BlockValidationError, StateDB},
    eth::{EthBlockExecutionCtx, EthBlockExecutor, receipt_builder::AlloyReceiptBuilder},
};
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{B256, Bytes};
use foreblock_pre_executor::{Hold, WriteSet};
use foreblock_precompile::{
    Certificate, ForeblockEvmFactory, InferenceList, MODEL_REGISTRY_ADDRESS, REQUEST_TYPE, Request, RequestId, Used,
    price,
};
use revm::database::{State, states::bundle_state::BundleRetention};
use std::{fmt, sync::Arc};

/// What is fixed about a block before its transactions are chosen.
#[derive(Clone, Debug)]
pub struct BlockPlan {
    /// Rules, limits and block fields that the EVM sees.
    pub env: EvmEnv,
    /// The block built on.
    pub parent: Arc<Block>,
    /// Calldata of the system call to `ModelRegistry` that moves the price of inference.
    pub start_block_call: Bytes,
    /// What vouches for the outcomes that the block uses.
    pub certificates: Certificates,
    /// Root of the parent beacon block, for EIP-4788.
    pub beacon_root: B256,
    /// Uncles, before the merge.
    pub ommers: Vec<Header>,
    /// Withdrawals, from Shanghai on; `None` is an empty list there.
    pub withdrawals: Option<Withdrawals>,
    /// Extra data of the header.
    pub extra_data: Bytes,
    /// Most transactions to take.
    pub transactions_max: usize,
}

/// Gives the certificate of an outcome.
#[derive(Clone)]
pub struct Certificates(Arc<dyn Fn(RequestId) -> Option<Certificate> + Send + Sync>);

impl Certificates {
    /// From wherever they are kept.
    pub fn new(get: impl Fn(RequestId) -> Option<Certificate> + Send + Sync + 'static) -> Self {
        Self(Arc::new(get))
    }

    /// The list of a block that used these outcomes, and each one's certificate.
    fn of(&self, used: &[Used]) -> Result<(InferenceList, Vec<Certificate>), BlockExecutionError> {
        let get = |used: &Used| {
            let gone = || BlockExecutionError::msg(format!("the certificate of request {} is gone", used.id));
            (self.0)(used.id).ok_or_else(gone)
        };
        let certificates = used.iter().map(get).collect::<Result<Vec<_>, _>>()?;
        let entries = used.iter().cloned().zip(certificates.iter().cloned());
        let list = InferenceList::new(entries).map_err(BlockExecutionError::other)?;
        Ok((list, certificates))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

/// A transaction that wants to be in the block.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The transaction, with blobs if it has any.
    pub tx: Arc<Transaction>,
    /// Its hash in the pool. Impersonated transactions have made-up signatures, so it is kept beside them.
    pub hash: B256,
}

/// Why a candidate is not in the block.
#[derive(Clone, Debug)]
pub enum Skip {
    /// It asked for an outcome that is not there yet: it stays in the pool.
    Missing(Request),
    /// No room left in this block: it stays in the pool.
    Full,
    /// A transaction before it from the same sender was skipped: it stays in the pool.
    Blocked,
    /// It is known to wait, or missed too often: it was not run, and stays in the pool.
    Held(Hold),
    /// It can never be valid: it leaves the pool.
    Invalid(String),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(request) => {
                write!(f, "it asks model {}, whose answer {} is not there", request.model, request.id)
            }
            Self::Full => f.write_str("the block has no room for it"),
            Self::Blocked => f.write_str("one before it from the same sender was left out"),
            Self::Held(hold) => hold.fmt(f),
            Self::Invalid(reason) => f.write_str(reason),
        }
    }
}

/// Who knows more of the outcomes than the block does.
pub trait Advice {
    /// Whether a candidate is left out without being run.
    fn hold(&self, _: B256) -> Option<Hold> {
        None
    }

    /// A candidate missed this outcome. True if it is there now, so that the candidate can be run again at once.
    fn missed(&self, _: B256, _: &Request) -> bool {
        false
    }

    /// Whether an outcome that was missed has come meanwhile.
    fn is_there(&self, _: RequestId) -> bool {
        false
    }
}

/// Nobody does.
#[derive(Clone, Copy, Debug)]
pub struct NoAdvice;

impl Advice for NoAdvice {}

/// A sealed block, and the candidates that are not in it.
#[derive(Debug)]
pub struct Built {
    /// The block.
    pub block: Block,
    /// Candidates left out, by pool hash.
    pub skipped: Vec<(B256, Skip)>,
    /// What the block changed.
    pub writes: WriteSet,
    /// Whether a transaction called the console's address.
    pub called_console: bool,
}

struct Executed {
    world: World,
    transactions: Vec<Transaction>,
    receipts: Vec<ReceiptEnvelope>,
    inferences: Vec<Used>,
    requests: Requests,
    gas_used: u64,
    blob_gas_used: u64,
    skipped: Vec<(B256, Skip)>,
    writes: WriteSet,
    called_console: bool,
}

/// Executes candidates in their order and seals what fits. Never waits: a missing outcome skips its transaction.
pub fn build(
    ledger: &Ledger,
    spec: &Spec,
    factory: &ForeblockEvmFactory,
    plan: &BlockPlan,
    candidates: impl IntoIterator<Item = Candidate>,
    advice: &dyn Advice,
) -> Result<Built, BlockExecutionError> {
    let mut executed = execute(ledger, spec, factory, plan, candidates, advice)?;
    let (list, certificates) = plan.certificates.of(&executed.inferences)?;
    if let Some(commitment) = list.commitment() {
        executed.requests.push_request_with_type(REQUEST_TYPE, commitment);
    }
    let header = header(spec, plan, &executed);
    let block = Block {
        hash: header.hash_slow(),
        header,
        transactions: executed.transactions,
        receipts: executed.receipts,
        blob_gas_price: plan.env.block_env.blob_excess_gas_and_price.map(|blob| blob.blob_gasprice),
        before: ledger.world.clone(),
        world: executed.world,
        states_kept: true,
        inferences: executed.inferences,
        certificates,
        requests: executed.requests.take(),
    };
    let Executed { skipped, writes, called_console, .. } = executed;
    Ok(Built { block, skipped, writes, called_console })
}

fn execute(
    ledger: &Ledger,
    spec: &Spec,
    factory: &ForeblockEvmFactory,
    plan: &BlockPlan,
    candidates: impl IntoIterator<Item = Candidate>,
    advice: &dyn Advice,
) -> Result<Executed, BlockExecutionError> {
    let mut state = State::builder().with_database_ref(ledger.view()).with_bundle_update().build();
    let evm = factory.create_evm(&mut state, plan.env.clone());
    let mut executor = EthBlockExecutor::new(evm, context(plan), spec, AlloyReceiptBuilder::default());
    executor.apply_pre_execution_changes()?;
    // Without models there is nothing whose price could move, and a touch of nobody's account is a change before EIP-161.
    if !plan.start_block_call.is_empty() {
        start_inference(&mut executor, &plan.start_block_call)?;
    }

    let blob_gas_max = spec.blobs(timestamp(plan)).map_or(0, |blobs| blobs.max_blob_gas_per_block());
    let mut blob_gas = 0;
    let (mut transactions, mut inferences) = (Vec::new(), Vec::new());
    let skipped = turns(candidates, advice, |candidate| {
        let tx = pool_form(&candidate.tx);
        let tx_blob_gas = tx.blob_gas_used().unwrap_or(0);
        if transactions.len() >= plan.transactions_max || blob_gas + tx_blob_gas > blob_gas_max {
            return Ok(Some(Skip::Full));
        }
        match executor.execute_transaction(&tx) {
            Ok(_) => {
                inferences.extend(executor.evm().take_used());
                transactions.push(tx);
                blob_gas += tx_blob_gas;
                Ok(None)
            }
            Err(error) => match executor.evm().take_missing() {
                Some(request) => Ok(Some(Skip::Missing(request))),
                None => reason(error).map(Some),
            },
        }
    })?;
    let (evm, result) = executor.finish()?;
    drop(evm);

    let called_console = state.cache.accounts.contains_key(&CONSOLE);
    state.merge_transitions(BundleRetention::PlainState);
    let mut world = ledger.world.clone();
    let bundle = state.take_bundle();
    let writes = WriteSet::of_bundle(&bundle);
    world.apply(bundle, ledger.upstream().is_some());
    inferences.sort_by_key(|used: &Used| used.id);
    inferences.dedup_by_key(|used| used.id);
    Ok(Executed {
        world,
        transactions,
        receipts: result.receipts,
        inferences,
        requests: result.requests,
        gas_used: result.gas_used,
        blob_gas_used: result.blob_gas_used,
        skipped,
        writes,
        called_console,
    })
}

/// The system call of Foreblock, after those of Ethereum. A chain whose registry has no code is left as it is.
fn start_inference<'a, DB: StateDB + 'a>(
    executor: &mut impl BlockExecutor<Evm: Evm<DB = DB>>,
    calldata: &Bytes,
) -> Result<(), BlockExecutionError> {
    let evm = executor.evm_mut();
    let done = evm
        .transact_system_call(price::SYSTEM_ADDRESS, MODEL_REGISTRY_ADDRESS, calldata.clone())
        .map_err(|error| BlockExecutionError::msg(format!("system call to ModelRegistry: {error}")))?;
    evm.db_mut().commit(done.state);
    Ok(())
}

fn context(plan: &BlockPlan) -> EthBlockExecutionCtx<'_> {
    EthBlockExecutionCtx {
        parent_hash: plan.parent.hash,
        parent_beacon_block_root: Some(plan.beacon_root),
        ommers: &plan.ommers,
        withdrawals: plan.withdrawals.as_ref().map(|list| std::borrow::Cow::Borrowed(list.as_slice())),
        extra_data: plan.extra_data.clone(),
        tx_count_hint: None,
        slot_number: None,
    }
}

fn timestamp(plan: &BlockPlan) -> u64 {
    plan.env.block_env.timestamp.saturating_to()
}

/// What a stock executor's refusal means for the pool. Errors that are not the transaction's fault stop the block.
fn reason(error: BlockExecutionError) -> Result<Skip, BlockExecutionError> {
    match error {
        BlockExecutionError::Validation(BlockValidationError::TransactionGasLimitMoreThanAvailableBlockGas {
            ..
        }) => Ok(Skip::Full),
        BlockExecutionError::Validation(BlockValidationError::InvalidTx { error, .. }) => {
            Ok(Skip::Invalid(error.to_string()))
        }
        other => Err(other),
    }
}

fn header(spec: &Spec, plan: &BlockPlan, executed: &Executed) -> Header {
    let block = &plan.env.block_env;
    let time = timestamp(plan);
    let number = block.number.saturating_to();
    let cancun = spec.is_cancun_active_at_timestamp(time);
    Header {
        parent_hash: plan.parent.hash,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: block.beneficiary,
        state_root: executed.world.root(),
        transactions_root: calculate_transaction_root(
            &executed.transactions.iter().map(|tx| tx.inner()).collect::<Vec<_>>(),
        ),
        receipts_root: calculate_receipt_root(&executed.receipts),
        logs_bloom: Block::bloom(&executed.receipts),
        difficulty: block.difficulty,
        number,
        gas_limit: block.gas_limit,
        gas_used: executed.gas_used,
        timestamp: time,
        extra_data: plan.extra_data.clone(),
        mix_hash: block.prevrandao.unwrap_or_default(),
        base_fee_per_gas: spec.is_london_active_at_block(number).then_some(block.basefee),
        withdrawals_root: spec.is_shanghai_active_at_timestamp(time).then_some(EMPTY_ROOT_HASH),
        blob_gas_used: cancun.then_some(executed.blob_gas_used),
        excess_blob_gas: cancun.then(|| block.blob_excess_gas_and_price.map_or(0, |blob| blob.excess_blob_gas)),
        parent_beacon_block_root: cancun.then_some(plan.beacon_root),
        requests_hash: spec.is_prague_active_at_timestamp(time).then(|| executed.requests.requests_hash()),
        ..Default::default()
    }
}
