//! Tracers in JavaScript: beside the real anvil where it is right, as geth's documentation says where it is not, and what a
//! script cannot do to the node.

use foreblock_tests::{
    anvil::Anvil,
    node::{ALICE, Node},
    rpc::Rpc,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// `MSTORE(0, 42); SSTORE(1, SLOAD(1) + 2); STATICCALL(4); RETURN(0, 32)`, deployed by what stands before it.
const CONTRACT: &str =
    "0x6022600c60003960226000f3602a6000526001546002016001556000600060006000600461fffffa5060206000f300";

/// A script with these functions beside `fault` and `result`.
fn tracer(functions: &str, result: &str) -> String {
    format!("{{ seen: [], {functions} fault: function () {{}}, result: function (ctx, db) {{ return {result}; }} }}")
}

/// Deploys the contract and calls it; the call's hash.
fn called(rpc: &Rpc) -> String {
    let send = |tx: Value| rpc.call("eth_sendTransaction", json!([tx])).as_str().expect("a hash").to_owned();
    let deployed = send(json!({ "from": ALICE, "data": CONTRACT, "gas": "0x30d40" }));
    let contract = rpc.receipt(&deployed).expect("it is mined")["contractAddress"].clone();
    let hash = send(json!({ "from": ALICE, "to": contract, "data": "0x01020304", "gas": "0x186a0" }));
    assert_eq!(rpc.receipt(&hash).expect("it is mined")["status"], "0x1");
    hash
}

#[test]
fn scripts_see_what_they_see_in_anvil() {
    let (anvil, node) = (Anvil::start(&[]), Node::start(&[]));
    let hashes = [called(&anvil.rpc), called(&node.rpc)];
    let step = "step: function (log, db) { this.seen.push(VALUE); },";
    let steps = |value: &str| tracer(&step.replace("VALUE", value), "this.seen");
    let config = tracer("setup: function (config) { this.config = config; }, step: function () {},", "this.config");
    for (name, script) in [
        ("steps", tracer("n: 0, step: function () { this.n += 1; },", "this.n")),
        ("opcodes", steps("log.op.toString() + log.op.toNumber() + log.op.isPush()")),
        ("places", steps("[log.getPC(), log.getGas(), log.getDepth(), log.getRefund()]")),
        ("stack", steps("log.stack.length() > 0 ? log.stack.peek(0).toString(16) : ''")),
        ("memory", steps("log.memory.length() > 31 ? toHex(log.memory.slice(0, 32)) : ''")),
        (
            "contract",
            steps("toHex(log.contract.getAddress()) + toHex(log.contract.getInput()) + log.contract.getValue()"),
        ),
        ("state", steps("toHex(db.getState(log.contract.getAddress(), toWord('0x1')))")),
        (
            "accounts",
            tracer(
                "",
                "[db.getBalance(ctx.to) + '', db.getNonce(ctx.to), toHex(db.getCode(ctx.to)), db.exists(ctx.to)]",
            ),
        ),
        (
            "transaction",
            tracer(
                "",
                "[ctx.type, toHex(ctx.from), toHex(ctx.to), toHex(ctx.input), ctx.gas, ctx.gasUsed, ctx.value + '', ctx.block, toHex(ctx.output)]",
            ),
        ),
        (
            "helpers",
            tracer(
                "",
                "[isPrecompiled(toAddress('0x0000000000000000000000000000000000000001')), toHex(toWord('0x5')), toHex(slice(ctx.input, 1, 3))]",
            ),
        ),
        (
            "frames",
            tracer(
                "enter: function (frame) { this.seen.push([frame.getType(), toHex(frame.getTo()), frame.getGas()]); }, exit: function (result) { this.seen.push([result.getGasUsed(), result.getError()]); },",
                "this.seen",
            ),
        ),
        ("config", config),
    ] {
        let options = json!({ "tracer": script, "tracerConfig": { "depth": 3 } });
        let [theirs, ours] = [(&anvil.rpc, &hashes[0]), (&node.rpc, &hashes[1])]
            .map(|(rpc, hash)| rpc.try_call("debug_traceTransaction", json!([hash, options])));
        assert!(ours.as_ref().is_ok_and(|seen| !seen.is_null() && *seen != json!([])), "{name}: {ours:?}");
        assert_eq!(ours, theirs, "{name}");
    }
    let number = json!({ "tracer": tracer("", "bigInt(5).add(7).toString()") });
    assert_eq!(node.rpc("debug_traceTransaction", json!([hashes[1], number])), "12", "anvil 1.7 has no bigInt");
    // Not in anvil 1.7, which gives each step the cost of the one before.
    let costs = node.rpc("debug_traceTransaction", json!([hashes[1], { "tracer": steps("log.getCost()") }]));
    assert_eq!((&costs[0], &costs[2], &costs[4]), (&json!(3), &json!(6), &json!(2_100)), "{costs}");
}

#[test]
fn calls_and_blocks_are_traced_too() {
    let node = Node::start(&[]);
    let hash = called(&node.rpc);
    let to = node.rpc("eth_getTransactionByHash", json!([hash]))["to"].clone();
    let options = json!({ "tracer": tracer("n: 0, step: function () { this.n += 1; },", "this.n") });
    let expected = node.rpc("debug_traceTransaction", json!([hash, options]));
    assert!(expected.as_u64().is_some_and(|steps| steps > 15), "{expected}");
    assert_eq!(node.rpc("debug_traceCall", json!([{ "from": ALICE, "to": to }, "latest", options])), expected);
    let block = node.rpc("debug_traceBlockByNumber", json!(["latest", options]));
    assert_eq!(block, json!([{ "txHash": hash, "result": expected }]));
}

#[test]
fn what_is_no_tracer_and_what_throws_is_an_error_with_the_reason() {
    let node = Node::start(&[]);
    let hash = called(&node.rpc);
    for (name, script, words) in [
        ("half a script", "{ step: function( {".to_owned(), "SyntaxError"),
        ("no object", "5".to_owned(), "not a JS object"),
        ("an unknown name", "noSuchTracer".to_owned(), "noSuchTracer is not defined"),
        ("no result", "{ fault: function () {} }".to_owned(), "result()"),
        ("no fault", "{ result: function () {} }".to_owned(), "fault()"),
        ("enter alone", tracer("enter: function () {},", "1"), "both or none of enter() and exit()"),
        ("a setup that throws", tracer("setup: function () { throw new Error('boom'); },", "1"), "boom"),
        (
            "a step that throws",
            tracer("step: function () { throw new Error('boom'); },", "1"),
            "boom    in server-side tracer function 'step'",
        ),
        ("a late error", tracer("step: function (log) { if (log.getPC() > 9) nothing.at.all; },", "1"), "'step'"),
        ("a result that throws", tracer("", "nothing"), "in server-side tracer function 'result'"),
        (
            "an endless loop",
            tracer("step: function () { while (true) {} },", "1"),
            "limit    in server-side tracer function 'step'",
        ),
        ("an endless recursion", tracer("step: function () { var f = function () { f(); }; f(); },", "1"), "'step'"),
        ("a circle", tracer("", "(function () { var a = {}; a.a = a; return a; })()"), "cyclic"),
        ("an endless setup", tracer("setup: function () { for (;;) {} },", "1"), "setup"),
    ] {
        let error = node.try_rpc("debug_traceTransaction", json!([hash, { "tracer": script }])).expect_err(name);
        assert!(error.code == -32603 && error.message.contains(words), "{name}: {error:?}");
        assert!(!error.message.contains('\n'), "{name}: {error:?}");
    }
    // Each step takes its time, and none of them too much; together they take many times the request's.
    let count = "var count = function () { for (var i = 0; i < 100000; i++) {} };";
    let slow = tracer(&format!("step: function () {{ {count} count(); count(); count(); count(); count(); }},"), "1");
    let start = Instant::now();
    let options = json!({ "tracer": slow, "timeout": "20ms" });
    let error = node.try_rpc("debug_traceTransaction", json!([hash, options])).expect_err("it takes too long");
    assert!(error.message.contains("execution timeout") && error.message.contains("20ms"), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let error = node.try_rpc("debug_traceTransaction", json!([hash, { "tracer": slow, "timeout": "soon" }]));
    assert_eq!(error.unwrap_err().code, -32602);
    // The node goes on.
    assert_eq!(node.rpc("debug_traceTransaction", json!([hash, { "tracer": tracer("", "7") }])), 7);
}
