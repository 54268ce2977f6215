//! A block as the node builds it, from recovered transactions to the header: 200 transactions that ask and whose outcomes are there,
//! against 200 that call a contract which returns the same output.

use crate::{
    blocks::{TRANSACTIONS, constant_code, input, output},
    evm::scouted,
};
use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, transaction::SignerRecoverable};
use alloy_primitives::{Address, B256, Bytes, TxKind};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use clap::Parser;
use foreblock::{
    chain::{BlockPlan, Candidate, Certificates, NoAdvice, build},
    cli::{Config, Flags},
    node::Node,
};
use foreblock_engine::Catalog;
use foreblock_precompile::{Certificate, ForeblockEvmFactory, ModelId, PRECOMPILE_ADDRESS, abi::IInference};
use foreblock_tests::{
    bench::{Report, Target, best_seconds},
    node::ALICE_KEY,
};
use std::sync::Arc;

const CHAIN: u64 = 31_337;
const SAMPLES: usize = 40;
/// Returns its input: the least that any precompile does.
const IDENTITY: Address = Address::with_last_byte(4);

pub(crate) fn run(report: &mut Report) {
    let flags = ["foreblock", "--no-mining", "--gas-limit", "1000000000", "--timestamp", "1"];
    let node = Config::new(Flags::parse_from(flags).node).expect("good flags").start().expect("a node starts");
    let constant = deploy(&node);
    let model = Catalog::new(None).find("volatility").expect("it is bundled").manifest.id();
    let answers = (0..TRANSACTIONS).map(|number| (input(number), output()));
    let factory = ForeblockEvmFactory::new(Arc::new(scouted(model, answers)));
    let certificates = Certificates::new(|_| Some(Certificate::default()));
    let plan = BlockPlan { certificates, ..node.plan() };
    let (ledger, spec) = (node.ledger(), node.spec());
    let block = |candidates: &[Candidate]| {
        let built = build(&ledger, &spec, &factory, &plan, candidates.to_vec(), &NoAdvice);
        built.expect("the block executes").block
    };
    let (asking, plain) = (candidates(PRECOMPILE_ADDRESS, model), candidates(constant, model));
    assert_eq!((block(&asking).inferences.len(), block(&plain).transactions.len()), (200, 200), "all are included");
    let echo = candidates(IDENTITY, model);
    let (mut hit, mut same, mut echoed) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
    // In turns, so that both see the same machine.
    for _ in 0..SAMPLES {
        hit = hit.min(best_seconds(1, 1, || block(&asking)));
        same = same.min(best_seconds(1, 1, || block(&plain)));
        echoed = echoed.min(best_seconds(1, 1, || block(&echo)));
    }
    let measure = "block of 200 with outcomes ready / with the outputs as constants, whole build";
    report.row(measure, hit / same, Target::AtMost(1.05));
    report.row("  the block with outcomes ready (ms)", hit * 1e3, Target::Shown);
    report.row(
        "  a block that calls the identity precompile with the same / with constants",
        echoed / same,
        Target::Shown,
    );
}

/// A contract that returns the output whatever it is asked.
fn deploy(node: &Node) -> Address {
    let runtime = constant_code();
    let [high, low] = (runtime.len() as u16).to_be_bytes();
    // PUSH2 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN; then the code.
    let code = [&[0x61, high, low, 0x80, 0x60, 10, 0x5f, 0x39, 0x5f, 0xf3][..], &runtime].concat();
    let tx = signed(0, TxKind::Create, code.into());
    node.submit(tx.try_into_recovered().expect("it is signed")).expect("the pool takes it");
    node.mine().expect("a block is mined");
    alice().address().create(0)
}

fn alice() -> PrivateKeySigner {
    ALICE_KEY.parse().expect("a key")
}

fn signed(nonce: u64, to: TxKind, input: Bytes) -> TxEnvelope {
    let fee = 100_000_000_000;
    let tx =
        TxEip1559 { chain_id: CHAIN, nonce, gas_limit: 500_000, max_fee_per_gas: fee, to, input, ..Default::default() };
    let signature = alice().sign_hash_sync(&tx.signature_hash()).expect("a key signs");
    tx.into_signed(signature).into()
}

fn candidates(to: Address, model: ModelId) -> Vec<Candidate> {
    let candidate = |number: u64| {
        let call = IInference::runCall { modelId: model, input: input(number) }.abi_encode();
        let tx = signed(1 + number, to.into(), call.into());
        let hash: B256 = *tx.tx_hash();
        Candidate { tx: Arc::new(tx.try_into_recovered().expect("it is signed")), hash }
    };
    (0..TRANSACTIONS).map(candidate).collect()
}
