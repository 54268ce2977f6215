//! Texts on a node. Those that take longer than a block, or more gas than one has left, come into a later one; and a text
//! becomes a vector.

use alloy_primitives::{B256, Bytes, hex};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_engine::{Catalog, Engine, engine::Config, text::TextRequest, wire};
use foreblock_precompile::{
    Outcome,
    abi::{DType, IInference, Tensor},
};
use foreblock_tests::{
    network,
    node::{Node, PATIENCE},
    rpc::{RpcError, number},
    tools::{foreblock, python, succeed},
};
use serde_json::{Value, json};
use std::{path::Path, process::Command, time::Instant};

const MODEL: &str = "tiny-chat";
/// Most tokens of a long answer. Nearly all have as many: at the highest temperature hardly any token ends one.
const LONG: u32 = 120;
/// Those of a shorter one.
const SHORT: u32 = 40;
const TEMPERATURE_WAD: i64 = 9_000_000_000_000_000_000;
/// Gas of a transaction that asks for a long one, and for a shorter one.
const GAS: [u64; 2] = [1_000_000, 450_000];

/// A question that no other number asks, whose answer is long.
fn question(number: usize, tokens: u32) -> TextRequest {
    TextRequest {
        tokens_max: tokens,
        prompt_tokens_max: 60,
        temperature_wad: TEMPERATURE_WAD,
        seed: number as i64,
        ..TextRequest::new(vec![("user".into(), format!("Write a positive text about film {number}."))])
    }
}

fn ask(node: &Node, account: usize, question: &TextRequest) -> String {
    let accounts = node.rpc("eth_accounts", json!([]));
    network::send(
        node,
        accounts[account].as_str().expect("an account"),
        MODEL,
        question.to_wire(),
        GAS[usize::from(question.tokens_max == SHORT)],
    )
}

fn status(node: &Node, hash: &str) -> Value {
    node.rpc("inference_status", json!([hash]))
}

/// What an engine of this process answers.
fn expected(question: &TextRequest) -> Bytes {
    let engine = Engine::new(Catalog::new(None), Config { threads: 1, ..Config::default() });
    let id = engine.catalog().find(MODEL).expect("it is bundled").manifest.id();
    match engine.run(id, &[question.to_wire()]).pop() {
        Some(Ok(Outcome::Output(output))) => output,
        other => panic!("no answer: {other:?}"),
    }
}

fn outputs(node: &Node, block: &Value) -> Vec<Bytes> {
    let list = node.rpc("inference_getList", json!([block]));
    let entries = list["entries"].as_array().expect("a list").iter();
    entries.map(|entry| hex::decode(entry["output"].as_str().expect("an output")).expect("hex").into()).collect()
}

/// Tokens read and written, as the node tells them of a transaction's only call.
fn progress(status: &Value) -> Option<(u64, u64)> {
    let tokens = &status["calls"][0]["tokens"];
    tokens.is_object().then(|| {
        let count = |key: &str| tokens[key].as_u64().unwrap_or_else(|| panic!("{key} in {tokens}"));
        assert!(count("read") <= count("prompt") && count("written") <= count("most"), "{tokens}");
        assert_eq!(count("most"), u64::from(LONG));
        (count("read"), count("written"))
    })
}

/// Mines blocks while the answer is in the making until it is ready; how many were mined meanwhile, and what was told of it.
fn mine_meanwhile(node: &Node, hash: &str) -> (usize, Vec<(u64, u64)>) {
    let (mut blocks, mut told) = (0, Vec::new());
    let end = Instant::now() + 4 * PATIENCE;
    loop {
        let now = status(node, hash);
        if now["phase"] == "ready" {
            return (blocks, told);
        }
        assert!(Instant::now() < end, "no answer: {now}\n{}", node.log());
        let before = told.len();
        told.extend(progress(&now));
        if told.len() > before && told[before].1 > 0 && blocks < 3 {
            let block = node.rpc("evm_mine", json!([]));
            // Where it is still being written, the block was built without it.
            if let Some(after) = progress(&status(node, hash)) {
                assert!(node.rpc("eth_getTransactionReceipt", json!([hash])).is_null(), "included unfinished: {block}");
                told.push(after);
                blocks += 1;
            }
        }
    }
}

#[test]
fn a_text_that_takes_longer_than_blocks_comes_into_a_later_one() {
    let node = Node::start(&["--no-mining"]);
    // A machine that writes 120 tokens between two requests of a client is given further questions.
    for attempt in 0..12 {
        let question = question(attempt, LONG);
        let hash = ask(&node, 0, &question);
        let (blocks, told) = mine_meanwhile(&node, &hash);
        assert!(told.is_sorted(), "what is read and written only grows: {told:?}");
        node.rpc("evm_mine", json!([]));
        let receipt = node.receipt(&hash);
        assert_eq!(receipt["status"], "0x1");
        assert_eq!(outputs(&node, &receipt["blockNumber"]), [expected(&question)]);
        if blocks > 1 {
            return;
        }
    }
    panic!("no block was mined while a text was written");
}

#[test]
fn a_blocks_gas_bounds_the_texts_in_it() {
    const BLOCK_GAS: u128 = 700_000;
    let node = Node::start(&["--no-mining", "--gas-limit", &BLOCK_GAS.to_string()]);
    let models = node.rpc("inference_models", json!([]));
    let model = models.as_array().unwrap().iter().find(|model| model["name"] == MODEL).unwrap();
    let gas_of_token = number(&model["gasPerRun"]);

    // What no block has room for is refused when it is sent.
    let data = network::calldata(&node.model_id("volatility"), 16, 1);
    let accounts = node.rpc("eth_accounts", json!([]));
    let tx =
        json!({ "from": accounts[9], "to": network::PRECOMPILE, "data": data, "gas": format!("{:#x}", BLOCK_GAS + 1) });
    let refused = node.try_rpc("eth_sendTransaction", json!([tx])).unwrap_err();
    assert!(refused.message.contains("gas"), "{refused:?}");

    let asked: Vec<String> = (0..6).map(|account| ask(&node, account, &question(100 + account, SHORT))).collect();
    let end = Instant::now() + 4 * PATIENCE;
    while !asked.iter().all(|hash| status(&node, hash)["phase"] == "ready") {
        assert!(Instant::now() < end, "not ready: {}\n{}", node.rpc("inference_pending", json!([])), node.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut used_blocks = 0;
    let mut included = 0;
    while included < asked.len() {
        node.rpc("evm_mine", json!([]));
        let block = node.block("latest");
        let outputs = outputs(&node, &block["number"]);
        let tokens: u128 = outputs.iter().map(tokens).sum();
        assert!(tokens * gas_of_token <= number(&block["gasUsed"]), "each token is paid for: {block}");
        assert!(number(&block["gasUsed"]) <= BLOCK_GAS, "{block}");
        assert!(!outputs.is_empty(), "a block with room for a text has one: {block}");
        (used_blocks, included) = (used_blocks + 1, included + outputs.len());
    }
    assert!(used_blocks > 1, "they take more gas than one block has");
    for hash in &asked {
        assert_eq!(node.receipt(hash)["status"], "0x1");
    }
}

/// Tokens that an answer is charged for.
fn tokens(output: &Bytes) -> u128 {
    let facts = wire::read(output).expect("tensors")[0].data.clone();
    let fact = |index: usize| u64::from_be_bytes(facts[32 * index + 24..32 * index + 32].try_into().expect("8 bytes"));
    (fact(2).div_ceil(4) + fact(3)).into()
}

/// An encoder whose tokens are words, each with a vector of two numbers; the vector of a text is their mean.
const ENCODER: &str = r#"import json, pathlib, sys, numpy as np, onnx
from onnx import helper as h, numpy_helper as n, TensorProto as t
folder = pathlib.Path(sys.argv[1])
table = np.array([[9, 9], [1, 0], [0, 1], [-1, 0.5], [3, 4], [-3, 7]], np.float32)
graph = h.make_graph([h.make_node('Gather', ['table', 'input_ids'], ['last_hidden_state'])], 'encoder',
    [h.make_tensor_value_info('input_ids', t.INT64, [1, 's'])],
    [h.make_tensor_value_info('last_hidden_state', t.FLOAT, [1, 's', 2])], [n.from_array(table, 'table')])
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid('', 18)], ir_version=8), folder / 'encoder.onnx')
words = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', 'good', 'bad']
special = lambda i: {'id': i, 'content': words[i], 'single_word': False, 'lstrip': False, 'rstrip': False, 'normalized': False, 'special': True}
tokenizer = {'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [special(i) for i in range(3)], 'normalizer': None,
    'pre_tokenizer': {'type': 'BertPreTokenizer'}, 'post_processor': {'type': 'BertProcessing', 'sep': ['[SEP]', 2], 'cls': ['[CLS]', 1]},
    'decoder': None, 'model': {'type': 'WordLevel', 'vocab': {word: i for i, word in enumerate(words)}, 'unk_token': '[UNK]'}}
(folder / 'tokenizer.json').write_text(json.dumps(tokenizer))
(folder / 'embedding.json').write_text(json.dumps({'max_length': 8, 'pooling': 'mean', 'normalize': False}))"#;

fn add_encoder(data: &Path) {
    std::fs::create_dir_all(data).unwrap();
    succeed(python().args(["-c", ENCODER]).arg(data));
    let file = |name: &str| data.join(name);
    let mut add = Command::new(foreblock());
    add.args(["model", "--data-dir"]).arg(data).arg("add").arg(file("encoder.onnx"));
    succeed(add.arg("--file").arg(file("tokenizer.json")).arg("--file").arg(file("embedding.json")));
}

#[test]
fn a_text_becomes_a_vector_in_a_call() {
    const WAD: i64 = 1_000_000_000_000_000_000;
    let node = Node::start_with(&[], add_encoder);
    let model: B256 = node.model_id("encoder").parse().unwrap();
    let vector = |text: &str| {
        let tensor = Tensor { dtype: DType::Text, shape: vec![], data: text.as_bytes().to_vec().into() };
        let call = IInference::runCall { modelId: model, input: vec![tensor].abi_encode().into() };
        let data = hex::encode_prefixed(call.abi_encode());
        let returned = node.try_rpc("eth_call", json!([{ "to": network::PRECOMPILE, "data": data }, "latest"]))?;
        let returned = hex::decode(returned.as_str().expect("bytes")).expect("hex");
        let output = IInference::runCall::abi_decode_returns(&returned).expect("bytes");
        let words = wire::read(&output).expect("tensors")[0].data.clone();
        Ok::<Vec<i64>, RpcError>(
            words.chunks(32).map(|word| i64::from_be_bytes(word[24..].try_into().unwrap())).collect(),
        )
    };
    // [CLS] good bad [SEP]
    assert_eq!(vector("good bad").unwrap(), [WAD / 4, 3 * WAD]);
    let refused = vector("good good good good good good good").unwrap_err();
    assert!(refused.data.to_string().contains(&hex::encode("the model takes 8")), "{refused:?}");
}
