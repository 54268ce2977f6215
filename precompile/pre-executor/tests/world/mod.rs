//! A head with contracts that ask, and a model that counts.
#![allow(dead_code, unreachable_pub)] // each test binary uses a part

use alloy_evm::EvmEnv;
use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_pre_executor::{
    Compute, Config, Head, HeadState, PendingTransaction, PreExecutor, Unavailable, WriteSet, schedule::Prior,
};
use foreblock_precompile::{
    MODEL_REGISTRY_ADDRESS, ModelId, ModelSlot, Outcome, Profile, Request,
    abi::{DType, IInference, Tensor},
    model_storage_key,
};
use parking_lot::Mutex;
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv},
    database::{CacheDB, EmptyDBTyped},
    database_interface::ErasedError,
    primitives::hardfork::SpecId,
    state::AccountInfo,
};
use std::{sync::Arc, time::Duration};

pub const MODEL: ModelId = B256::repeat_byte(0x42);
/// Asks what its calldata says, `n` times, each time with the last output as input, and stores the end of the last output.
pub const ONCE: Address = address!("0x00000000000000000000000000000000000c0d01");
pub const FIVE_TIMES: Address = address!("0x00000000000000000000000000000000000c0d05");
/// The same with storage slot 1 for the input; calldata of one word writes the slot.
pub const FROM_SLOT: Address = address!("0x00000000000000000000000000000000000c0d54");
/// The same with the block's time for the input.
pub const FROM_TIME: Address = address!("0x00000000000000000000000000000000000c0d42");
/// Never ends.
pub const LOOP: Address = address!("0x00000000000000000000000000000000000c0dff");
/// Asks, and reverts with what came.
pub const REVERTING: Address = address!("0x00000000000000000000000000000000000c0dfd");
/// Calls `ONCE` as another contract would, ignoring failure.
pub const NESTED: Address = address!("0x00000000000000000000000000000000000c0d0e");

pub fn asking(before: &[u8], times: usize) -> Vec<u8> {
    let mut code = vec![0x36, 0x5f, 0x5f, 0x37]; // calldatacopy(0, 0, calldatasize)
    code.extend(before);
    for _ in 0..times {
        code.extend([0x5f, 0x5f, 0x36, 0x5f, 0x61, 0x1a, 0x0f, 0x5a, 0xfa, 0x50]); // staticcall(precompile); pop
        code.extend([0x60, 0x20, 0x3d, 0x03, 0x60, 0x20, 0x60, 0x44, 0x3e]); // the output is the next input
    }
    code.extend([0x60, 0x20, 0x36, 0x03, 0x51, 0x5f, 0x55]); // sstore(0, mload(calldatasize - 32))
    code
}

/// `mstore(calldatasize - 32, top of stack)`.
const TO_INPUT: [u8; 5] = [0x60, 0x20, 0x36, 0x03, 0x52];

fn from_slot() -> Vec<u8> {
    let asks = [asking(&[&[0x60, 0x01, 0x54][..], &TO_INPUT].concat(), 1), vec![0x00]].concat();
    let setter = 6 + 1 + asks.len() as u8;
    let head = [0x36, 0x60, 0x20, 0x14, 0x60, setter, 0x57];
    [&head[..], &asks, &[0x5b, 0x5f, 0x35, 0x60, 0x01, 0x55, 0x00]].concat()
}

fn nested() -> Vec<u8> {
    let to: Vec<u8> = [&[0x73][..], ONCE.as_slice()].concat();
    [&[0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x5f, 0x36, 0x5f, 0x5f][..], &to, &[0x5a, 0xf1, 0x50, 0x00]].concat()
}

pub type Db = CacheDB<EmptyDBTyped<ErasedError>>;

pub fn db() -> Db {
    let mut db = CacheDB::new(EmptyDBTyped::new());
    let slot =
        ModelSlot { gas_per_run: 5_000, max_input_bytes: 4_096, max_output_bytes: 4_096, profile: Profile::ExactF32 };
    db.insert_account_info(MODEL_REGISTRY_ADDRESS, AccountInfo { nonce: 1, ..Default::default() });
    db.insert_account_storage(MODEL_REGISTRY_ADDRESS, model_storage_key(MODEL).into(), slot.pack()).unwrap();
    let from_time = asking(&[&[0x42][..], &TO_INPUT].concat(), 1);
    let reverting = [asking(&[], 1), vec![0x5f, 0x5f, 0xfd]].concat();
    let codes = [
        (ONCE, asking(&[], 1)),
        (FIVE_TIMES, asking(&[], 5)),
        (FROM_SLOT, from_slot()),
        (FROM_TIME, from_time),
        (LOOP, vec![0x5b, 0x5f, 0x56]),
        (REVERTING, reverting),
        (NESTED, nested()),
    ];
    for (address, code) in codes {
        let info = AccountInfo { nonce: 1, ..Default::default() };
        db.insert_account_info(address, info.with_code(Bytecode::new_raw(code.into())));
    }
    for byte in 1..=100 {
        db.insert_account_info(sender(byte), AccountInfo::from_balance(U256::from(10).pow(U256::from(20))));
    }
    db
}

pub fn sender(byte: u8) -> Address {
    Address::left_padding_from(&[0xe0, byte])
}

pub fn env(block: u64) -> EvmEnv {
    let cfg_env = CfgEnv::<SpecId>::default().with_spec_and_mainnet_gas_params(SpecId::PRAGUE);
    let timestamp = U256::from(1_800_000_000 + 12 * block);
    EvmEnv {
        cfg_env,
        block_env: BlockEnv { gas_limit: 30_000_000, number: U256::from(block), timestamp, ..Default::default() },
    }
}

pub fn head(block: u64, state: &Db, writes: Option<WriteSet>) -> Head {
    let state: HeadState = Arc::new(state.clone());
    Head { block, env: env(block), state, seal_in: Duration::from_secs(2), slot: Duration::from_secs(2), writes }
}

/// An input whose content is one word.
pub fn input(word: U256) -> Bytes {
    vec![Tensor { dtype: DType::U8, shape: vec![32], data: word.to_be_bytes_vec().into() }].abi_encode().into()
}

pub fn request(word: u64) -> Request {
    Request::new(MODEL, input(U256::from(word)))
}

/// Calldata that asks for a word.
pub fn asks(word: u64) -> Bytes {
    IInference::runCall { modelId: MODEL, input: input(U256::from(word)) }.abi_encode().into()
}

pub fn tx(from: u8, nonce: u64, to: Address, data: Bytes) -> PendingTransaction {
    let env =
        TxEnv::builder().caller(sender(from)).nonce(nonce).to(to).gas_limit(1_000_000).gas_price(10 + u128::from(from));
    let env = env.data(data).chain_id(Some(1)).build().unwrap();
    let hash = alloy_primitives::keccak256([&[from][..], &nonce.to_be_bytes(), to.as_slice(), &env.data].concat());
    PendingTransaction { hash, env, replaces: None }
}

/// A model that adds one to its input, keeps what it ran, and does what a test wants to see.
#[derive(Default)]
pub struct AddOne {
    pub ran: Mutex<Vec<U256>>,
    pub takes: Duration,
    /// Runs that crash first.
    pub crashes: Mutex<u32>,
    pub unavailable: bool,
    /// The builder may run it, and it is predicted to take this long.
    pub at_once_us: Option<u64>,
}

impl Compute for AddOne {
    fn run(&self, _: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        std::thread::sleep(self.takes);
        {
            let mut crashes = self.crashes.lock();
            if *crashes > 0 {
                *crashes -= 1;
                drop(crashes);
                panic!("the model crashed");
            }
        }
        if self.unavailable {
            return vec![Err(Unavailable("the model's file is not there".to_owned())); inputs.len()];
        }
        let answer = |bytes: &Bytes| {
            let word = U256::from_be_slice(&bytes[bytes.len() - 32..]);
            self.ran.lock().push(word);
            Ok(Outcome::Output(input(word + U256::from(1))))
        };
        inputs.iter().map(answer).collect()
    }

    fn prior(&self, _: ModelId) -> Option<Prior> {
        let single_us = self.at_once_us.unwrap_or_else(|| (self.takes.as_micros() as u64).max(100));
        Some(Prior { single_us, rows_max: 1 })
    }

    fn at_once(&self, _: ModelId) -> bool {
        self.at_once_us.is_some()
    }
}

pub fn start(model: AddOne, workers: usize) -> (PreExecutor, Arc<AddOne>) {
    let model = Arc::new(model);
    let mut config = Config::default();
    config.limits.workers = workers;
    config.limits.backoff_us = 1_000;
    let compute: Arc<dyn Compute> = model.clone();
    (PreExecutor::start(config, compute).unwrap(), model)
}

pub const SOON: Duration = Duration::from_secs(10);
