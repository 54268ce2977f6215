//! What verifying a block of inferences costs, beside executing it with the outputs as constants, and beside a block whose
//! transactions call a contract of constants.

use super::CHAIN;
use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, transaction::SignerRecoverable};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolValue};
use clap::Parser;
use foreblock::{
    chain::{Block, BlockPlan, Built, Candidate, Certificates, NoAdvice, build},
    cli::{Config, Flags},
    follow::{Fetched, Verifier, candidates},
    node::Node,
};
use foreblock_precompile::{
    Certificate, ForeblockEvmFactory, Outcome, Outcomes, PRECOMPILE_ADDRESS,
    abi::{DType, IInference, Tensor},
};
use foreblock_tests::node::ALICE_KEY;
use rustix::time::{ClockId, clock_gettime};
use std::{
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Transactions in the block.
pub(super) const TRANSACTIONS: u64 = 200;
const SAMPLES: usize = 100;
/// Signatures take much longer than all else, so they are measured less often.
const SIGNATURES_EVERY: usize = 20;

/// Seconds of processor time, each the best of [`SAMPLES`].
pub(super) struct Costs {
    /// Recovering the senders of the block's transactions, which every execution begins with.
    pub(super) senders: f64,
    /// Reading the list and what the header says of it.
    pub(super) read: f64,
    /// The operators' signatures.
    pub(super) signatures: f64,
    /// Executing the block with its list, and comparing what comes of it with the header.
    pub(super) execute: f64,
    /// Executing the same block where every request has the same output: no list, no hash of an input.
    pub(super) constants: f64,
    /// Executing a block whose transactions call a contract that returns a constant, and comparing.
    pub(super) contract: f64,
}

impl Costs {
    fn worst() -> Self {
        let worst = f64::MAX;
        Self { senders: worst, read: worst, signatures: worst, execute: worst, constants: worst, contract: worst }
    }
}

/// One output for everything.
struct Constant(Outcome);

impl Outcomes for Constant {
    fn get(&self, _: B256) -> Option<Outcome> {
        Some(self.0.clone())
    }

    /// The last number of a question is in no other.
    fn id(&self, _: B256, input: &[u8]) -> B256 {
        B256::from_slice(&input[input.len() - 32..])
    }
}

/// Executes transactions on the head of a follower, asking only `factory`.
fn execute(follower: &Node, factory: &ForeblockEvmFactory, transactions: Vec<Candidate>) -> Built {
    let certificates = Certificates::new(|_| Some(Certificate::default()));
    let plan = BlockPlan { certificates, ..follower.plan() };
    let built = build(&follower.ledger(), &follower.spec(), factory, &plan, transactions, &NoAdvice);
    built.expect("the block executes")
}

/// A producer with nothing but the contract of constants, and what it takes to follow it from there.
struct Chain {
    config: Config,
    producer: Arc<Node>,
    constants: Address,
    nonce: u64,
}

impl Chain {
    fn new(output: &Bytes) -> Self {
        let flags = ["foreblock", "--operators", "4", "--no-mining", "--gas-limit", "1000000000", "--timestamp", "1"];
        let config = Config::new(Flags::parse_from(flags).node).expect("good flags");
        let producer = config.start().expect("a node starts");
        let mut chain = Self { config, producer, constants: Address::ZERO, nonce: 0 };
        let alice: PrivateKeySigner = ALICE_KEY.parse().expect("a key");
        chain.constants = alice.address().create(0);
        chain.send(TxKind::Create, returning(&IInference::runCall::abi_encode_returns(output)));
        chain.producer.mine().expect("a block is mined");
        chain
    }

    fn send(&mut self, to: TxKind, data: Vec<u8>) -> B256 {
        let tx = TxEip1559 {
            chain_id: CHAIN,
            nonce: self.nonce,
            gas_limit: 500_000,
            max_fee_per_gas: 100_000_000_000,
            to,
            input: data.into(),
            ..Default::default()
        };
        self.nonce += 1;
        let key: PrivateKeySigner = ALICE_KEY.parse().expect("a key");
        let signature = key.sign_hash_sync(&tx.signature_hash()).expect("a key signs");
        let tx: TxEnvelope = tx.into_signed(signature).into();
        let hash = *tx.tx_hash();
        self.producer.submit(tx.try_into_recovered().expect("it is signed")).expect("the pool takes it");
        hash
    }

    /// A follower at the head, and the next block, whose transactions all call `to`.
    fn next(&mut self, to: Address) -> (Arc<Node>, Fetched) {
        let parent = self.producer.head();
        let first = Block::first(parent.header.clone(), parent.world.clone());
        let spec = (*self.producer.spec()).clone();
        let follower = self.config.start_following("http://producer", spec, PRECOMPILE_ADDRESS, first);
        let model = super::bundled();
        let hashes: Vec<_> = (0..TRANSACTIONS)
            .map(|at| {
                let call = IInference::runCall { modelId: model, input: returns(at) };
                self.send(to.into(), call.abi_encode())
            })
            .collect();
        let end = Instant::now() + Duration::from_secs(60);
        let ledger = self.producer.ledger();
        let ready = |hash| self.producer.inference.transaction_status(&ledger, hash)["phase"] == "ready";
        while !hashes.iter().all(|hash| ready(*hash)) {
            assert!(Instant::now() < end, "not all outcomes are there");
            thread::sleep(Duration::from_millis(20));
        }
        let block = self.producer.mine().expect("a block is mined");
        assert_eq!(block.transactions.len() as u64, TRANSACTIONS);
        let list = block.inference_list().expect("its outcomes are canonical").encode();
        let list = if block.inferences.is_empty() { Bytes::new() } else { list };
        let fetched = Fetched { block: block.consensus(), list, requests: block.requests.clone() };
        (follower.expect("a follower starts"), fetched)
    }
}

/// Sixteen returns that no other question has: what the volatility model takes.
fn returns(question: u64) -> Bytes {
    let day = |day: u64| U256::from((day + 1) * 1_000_000_000_000_000 + question).to_be_bytes::<32>();
    let data: Vec<u8> = (0..16).flat_map(day).collect();
    vec![Tensor { dtype: DType::Wad, shape: vec![1, 16], data: data.into() }].abi_encode().into()
}

/// Code that deploys a contract which returns `data` whatever it is asked.
fn returning(data: &[u8]) -> Vec<u8> {
    let [high, low] = (data.len() as u16).to_be_bytes();
    // PUSH2 length, PUSH1 12, PUSH0, CODECOPY, PUSH2 length, PUSH0, RETURN; then the data.
    let runtime = [&[0x61, high, low, 0x60, 12, 0x5f, 0x39, 0x61, high, low, 0x5f, 0xf3][..], data].concat();
    let [high, low] = (runtime.len() as u16).to_be_bytes();
    // PUSH2 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN; then the code.
    [&[0x61, high, low, 0x80, 0x60, 10, 0x5f, 0x39, 0x5f, 0xf3][..], &runtime].concat()
}

/// Verifying a block is one thread's work, so its processor time is what it costs, whatever else runs on the machine.
fn seconds<T>(run: impl FnOnce() -> T) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    black_box(run());
    now() - start
}

/// Measures in turns, so that what else the machine does meets all alike.
pub(super) fn costs(output: &Bytes) -> Costs {
    let (mut asking, mut constant) = (Chain::new(output), Chain::new(output));
    let constants = constant.constants;
    let (asked, listed) = asking.next(PRECOMPILE_ADDRESS);
    let (plain, unlisted) = constant.next(constants);
    let (asked_ledger, plain_ledger) = (asked.ledger(), plain.ledger());
    let (verifier, plain_verifier) = (Verifier::new(&asked), Verifier::new(&plain));
    let claim = verifier.claim(&asked_ledger, &listed).expect("the list is the header's");
    assert_eq!(claim.list.entries().len() as u64, TRANSACTIONS, "each transaction asks something else");
    let plain_claim = plain_verifier.claim(&plain_ledger, &unlisted).expect("there is no list");
    let [asking, calling] = [&listed, &unlisted].map(|block| candidates(block).expect("all are signed"));
    let factory = ForeblockEvmFactory::new(Arc::new(Constant(Outcome::Output(output.clone()))));
    assert_eq!(execute(&asked, &factory, asking.clone()).block.inferences.len() as u64, TRANSACTIONS);

    let verify = || verifier.execute(&asked_ledger, &listed.block.header, asking.clone(), &claim.list);
    let contract = || plain_verifier.execute(&plain_ledger, &unlisted.block.header, calling.clone(), &plain_claim.list);
    let mut costs = Costs::worst();
    for sample in 0..SAMPLES {
        let best = |known: &mut f64, seconds: f64| *known = known.min(seconds);
        best(&mut costs.read, seconds(|| verifier.claim(&asked_ledger, &listed).expect("it is the header's")));
        best(&mut costs.execute, seconds(|| verify().expect("it is valid")));
        best(&mut costs.constants, seconds(|| execute(&asked, &factory, asking.clone())));
        best(&mut costs.contract, seconds(|| contract().expect("it is valid")));
        if sample % SIGNATURES_EVERY == 0 {
            best(&mut costs.senders, seconds(|| candidates(&listed).expect("all are signed")));
            best(&mut costs.signatures, seconds(|| claim.signers().expect("they suffice")));
        }
    }
    costs
}
