//! Which engine answers: ONNX Runtime where it is chosen, in a process that may die; and a disk that is full.

use foreblock_tests::{
    node::{ALICE, Node},
    tools::{cast, finish, foreblock, onnxruntime, succeed},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PRECOMPILE: &str = "0x0000000000000000000000000000000000001a0f";
/// What the card of the volatility model states, in WAD.
const CARD_ERROR: i128 = 100_000_000_000;

/// `run(volatility, returns)` as calldata; all 16 returns are the same, in thousandths.
fn question(node: &Node, thousandths: u64) -> String {
    let word = format!("{:064x}", u128::from(thousandths) * 1_000_000_000_000_000);
    let tensors = format!("[(0,[1,16],0x{})]", word.repeat(16));
    let input = succeed(cast().args(["abi-encode", "f((uint8,uint32[],bytes)[])", &tensors]));
    succeed(cast().args(["calldata", "run(bytes32,bytes)", &node.model_id("volatility"), input.trim()])).trim().into()
}

/// The model's answer by `eth_call`, in WAD.
fn ask(node: &Node, thousandths: u64) -> i128 {
    let call = json!({ "to": PRECOMPILE, "data": question(node, thousandths) });
    let answer = node.rpc("eth_call", json!([call, "latest"]));
    let answer = answer.as_str().expect("an answer in hex");
    // The single number is the last word of the tensor's data.
    i128::from_str_radix(&answer[answer.len() - 32..], 16).expect("a positive number")
}

/// Sends a question as a transaction and returns its receipt.
fn send(node: &Node, thousandths: u64) -> Value {
    let tx = json!({ "from": ALICE, "to": PRECOMPILE, "data": question(node, thousandths), "gas": "0x7a120" });
    node.receipt(node.rpc("eth_sendTransaction", json!([tx])).as_str().expect("a hash"))
}

/// A node on ONNX Runtime.
fn on_onnx_runtime() -> Node {
    let library = onnxruntime();
    Node::start(&["--engine", "ort", "--onnxruntime", library.to_str().expect("a path in UTF-8")])
}

/// Processes of the node that run native code.
fn native_workers(node: &Node) -> Vec<u32> {
    let printed = finish(Command::new("pgrep").args(["-P", &node.pid().to_string()])).stdout;
    String::from_utf8_lossy(&printed).lines().filter_map(|line| line.trim().parse().ok()).collect()
}

#[test]
fn onnx_runtime_answers_where_it_is_chosen() {
    let (exact, ort) = (Node::start(&[]), on_onnx_runtime());
    assert!(ort.log().contains("onnxruntime"), "the banner says which engine answers:\n{}", ort.log());
    for thousandths in [1, 7, 30] {
        let (exact, ort) = (ask(&exact, thousandths), ask(&ort, thousandths));
        assert!((exact - ort).abs() <= CARD_ERROR, "{exact} by the exact engine, {ort} by ONNX Runtime");
    }
    assert_eq!(send(&ort, 9)["status"], "0x1");
    assert!(!native_workers(&ort).is_empty(), "native code runs in a process of its own");
    assert!(native_workers(&exact).is_empty(), "the exact engine needs none");
}

#[test]
fn a_crash_of_onnx_runtime_costs_a_retry_and_no_answer() {
    let node = on_onnx_runtime();
    let before = ask(&node, 1);
    let workers = native_workers(&node);
    assert!(!workers.is_empty());
    for worker in &workers {
        succeed(Command::new("kill").args(["-9", &worker.to_string()]));
    }
    assert_eq!(send(&node, 2)["status"], "0x1");
    assert_eq!(ask(&node, 1), before);
    assert!(native_workers(&node).iter().all(|worker| !workers.contains(worker)), "a new process serves");
}

#[test]
fn a_wrong_or_missing_onnx_runtime_is_said_clearly() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let text = folder.path().join("libonnxruntime.so");
    std::fs::write(&text, "this is no library").expect("a file can be written");
    for (library, expected) in [(folder.path().join("absent.so"), "not found"), (text, "cannot be used")] {
        let mut command = Command::new(foreblock());
        command.args(["--port", "0", "--engine", "ort", "--onnxruntime"]).arg(&library);
        command.arg("--data-dir").arg(folder.path()).stdin(Stdio::null());
        let output = finish(&mut command);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{library:?} is accepted");
        assert!(stderr.contains(expected) && stderr.contains("foreblock setup"), "{stderr}");
    }
}

/// A limit on the size of files stands for the full disk: beyond it the system refuses each write (`EFBIG`).
#[test]
fn a_full_disk_is_said_and_the_node_goes_on() {
    let node = Node::start_under(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"], &[]);
    assert_eq!(send(&node, 1)["status"], "0x1");
    // Some room for the log, which is a file, too.
    let limit = format!("--fsize={}", node.log().len() + 8_192);
    succeed(Command::new("prlimit").args(["--pid", &node.pid().to_string(), &limit]));
    for thousandths in 2..12 {
        assert_eq!(send(&node, thousandths)["status"], "0x1", "{}", node.log());
    }
    let end = Instant::now() + Duration::from_secs(10);
    while !node.log().contains("is the disk full?") {
        assert!(Instant::now() < end, "the log says nothing of the disk:\n{}", node.log());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(node.rpc("eth_chainId", json!([])), "0x7a69");
}

#[test]
fn a_data_folder_that_cannot_be_made_is_said_clearly() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file can be written");
    let mut command = Command::new(foreblock());
    let output = finish(command.args(["--port", "0", "--data-dir"]).arg(Path::new(&file).join("data")));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("file/data") && stderr.contains("check that the path"), "{stderr}");
}
