//! The dynamic-fee example as a hook of Uniswap v4's own pool manager, which npm has compiled: deployed and initialised by the
//! example's script, then swapped with for 18 days.

use foreblock_tests::{
    contract::{call, script_with, send},
    node::{ALICE, Node},
    tools::{foreblock, npm, succeed},
};
use serde_json::{Value, json};
use std::{fs, process::Command};

const DAY_SECONDS: u64 = 86_400;
const DYNAMIC_FEE: &str = "8388608";
/// Limits of the price, one step within Uniswap's own.
const LOWEST: &str = "4295128740";
const HIGHEST: &str = "1461446703485210103287273052203988822378723970341";
const PLENTY: &str = "0xffffffffffffffffffffffffffffffff";
const KEY: &str = "(address,address,uint24,int24,address)";

/// Creates one of the contracts that `@uniswap/v4-core` holds as bytecode; its constructor takes one word.
fn create(node: &Node, name: &str, word: &str) -> String {
    let file = npm().join(format!("@uniswap/v4-core/out/{name}.sol/{name}.json"));
    let artifact: Value = serde_json::from_slice(&fs::read(file).expect("an artifact")).expect("an artifact is JSON");
    let code = artifact["bytecode"]["object"].as_str().expect("bytecode");
    let data = format!("{code}{:0>64}", word.trim_start_matches("0x"));
    let hash = node.rpc("eth_sendTransaction", json!([{ "from": ALICE, "data": data }]));
    let receipt = node.receipt(hash.as_str().expect("a hash"));
    receipt["contractAddress"].as_str().expect("an address").to_owned()
}

/// The pool that the script opened, and what is needed to trade with it.
struct Pool {
    manager: String,
    swaps: String,
    hook: String,
    id: String,
    key: String,
}

fn open(node: &Node) -> Pool {
    let manager = create(node, "PoolManager", ALICE);
    let mut tokens = [create(node, "TestERC20", PLENTY), create(node, "TestERC20", PLENTY)];
    let (liquidity, swaps) =
        (create(node, "PoolModifyLiquidityTest", &manager), create(node, "PoolSwapTest", &manager));
    for (token, spender) in tokens.iter().flat_map(|token| [(token, &liquidity), (token, &swaps)]) {
        send(node, token, "approve(address,uint256)", &[spender, PLENTY]);
    }
    let variables = [("POOL_MANAGER", manager.as_str()), ("TOKEN0", &tokens[0]), ("TOKEN1", &tokens[1])];
    let returned = script_with(node, "examples/dynamic-fee", "script/Deploy.s.sol", &variables);
    let value = |name: &str| returned[name]["value"].as_str().expect("the script returns it").to_owned();
    let (hook, id) = (value("hook"), value("poolId"));

    tokens.sort();
    let key = format!("({},{},{DYNAMIC_FEE},60,{hook})", tokens[0], tokens[1]);
    let zero = format!("0x{:064}", 0);
    let position = format!("(-60000,60000,1000000000000000000000,{zero})");
    let modify = format!("modifyLiquidity({KEY},(int24,int24,int256,bytes32),bytes)");
    assert_eq!(send(node, &liquidity, &modify, &[&key, &position, "0x"])["status"], "0x1");
    Pool { manager, swaps, hook, id, key }
}

impl Pool {
    /// Sells so much of one token and returns the fee that Uniswap took, in hundredths of a basis point.
    fn swap(&self, node: &Node, zero_for_one: bool, amount: u128) -> u64 {
        let swap = format!("swap({KEY},(bool,int256,uint160),(bool,bool),bytes)");
        let params = format!("({zero_for_one},-{amount},{})", if zero_for_one { LOWEST } else { HIGHEST });
        let receipt = send(node, &self.swaps, &swap, &[&self.key, &params, "(false,false)", "0x"]);
        assert_eq!(receipt["status"], "0x1");
        let logs = receipt["logs"].as_array().expect("logs");
        let swapped = logs
            .iter()
            .find(|log| log["address"].as_str() == Some(&self.manager) && log["topics"][1].as_str() == Some(&self.id));
        let data = swapped.and_then(|log| log["data"].as_str()).unwrap_or_else(|| panic!("no swap in {receipt}"));
        u64::from_str_radix(&data[data.len() - 6..], 16).expect("the last word is the fee")
    }

    /// What the model is asked, as the hook says it.
    fn returns(&self, node: &Node) -> Vec<f64> {
        let data = format!(
            "{}{}",
            succeed(foreblock_tests::tools::cast().args(["sig", "returnsOf(bytes32)"])).trim(),
            &self.id[2..]
        );
        let answer = node.rpc("eth_call", json!([{ "to": self.hook, "data": data }, "latest"]));
        let words = answer.as_str().expect("hex").as_bytes()[2..].chunks(64).skip(2);
        let low = |word: &[u8]| u128::from_str_radix(std::str::from_utf8(&word[32..]).expect("hex"), 16).expect("hex");
        words.map(|word| low(word) as i128 as f64 / 1e18).collect()
    }
}

#[test]
fn swaps_pay_the_fee_that_the_model_makes_of_the_pools_own_days() {
    let node = Node::start(&[]);
    let pool = open(&node);
    let mut fees = Vec::new();
    for day in 0..18u64 {
        node.rpc("evm_increaseTime", json!([DAY_SECONDS + 60]));
        fees.push(pool.swap(&node, day % 2 == 0, 10u128.pow(18) * (10 + u128::from(day))));
    }
    assert!(fees[..16].iter().all(|fee| *fee == 3_000), "before there are 16 returns: {fees:?}");

    let returns = pool.returns(&node);
    assert_eq!(returns.len(), 16);
    assert!(returns.iter().all(|step| (0.001..0.2).contains(&step.abs())), "{returns:?}");
    let mut run = Command::new(foreblock());
    run.args(["model", "--data-dir"]).arg(node.data_dir()).args(["run", "volatility", "--json", "--input"]);
    let printed = succeed(run.arg(json!({ "log_returns": [returns] }).to_string()));
    let printed: Value = serde_json::from_str(&printed).expect("the command prints JSON");
    let volatility: f64 = printed["outputs"][0]["digits"][0].as_str().expect("digits").parse::<f64>().unwrap() / 1e18;
    let expected = 500.0 + volatility * 1e6 / 10.0;
    assert!((fees[17] as f64 - expected.min(20_000.0)).abs() <= 1.0, "{fees:?}, expected {expected}");
    assert_ne!(fees[17], 3_000);
    assert_eq!(call(&node, &pool.hook, "feeOf(bytes32)(uint24)", &[&pool.id]), fees[17].to_string());
    // The same day: no question, the same fee.
    assert_eq!(pool.swap(&node, true, 10u128.pow(18)), fees[17]);
}
