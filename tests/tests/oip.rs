//! Operators whose engine is somebody else's server: MLServer and KServe, as they come from PyPI, with ONNX Runtime behind them.

use foreblock_tests::{
    network::{Operator, PRECOMPILE, ask, calldata},
    node::Node,
    oip::OipServer,
    tools::{foreblock, onnxruntime, succeed, workspace},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

fn volatility() -> PathBuf {
    workspace().join("precompile/engine/models/volatility/model.onnx")
}

/// The number that a transaction got, in WAD, and who signed it.
fn entry(node: &Node, hash: &str) -> (i128, usize) {
    let receipt = node.receipt(hash);
    assert_eq!(receipt["status"], "0x1");
    let list = node.rpc("inference_getList", json!([receipt["blockNumber"]]));
    let entry = &list["entries"][0];
    let signatures = entry["signatures"].as_array().map_or(0, Vec::len);
    (number(&entry["output"]), signatures)
}

/// The single number of an output is the last word of its tensor.
fn number(output: &Value) -> i128 {
    let output = output.as_str().unwrap_or_else(|| panic!("no output: {output}"));
    i128::from_str_radix(&output[output.len() - 32..], 16).expect("a positive number")
}

/// What a node answers by `eth_call`, in WAD.
fn call(node: &Node, model: &str, question: i64) -> i128 {
    let call = json!({ "to": PRECOMPILE, "data": calldata(&node.model_id(model), 16, question) });
    let output = node.rpc("eth_call", json!([call, "latest"]));
    number(&output)
}

#[test]
fn mlserver_answers_for_an_operator_and_a_transaction_uses_it() {
    let mut server = OipServer::mlserver("volatility", &volatility());
    server.wait();
    let operator = Operator::start(&["--engine", &server.url()]);
    operator.wait();
    let node = Node::start(&["--operator", &operator.url(), "--call-timeout", "5"]);
    let exact = Node::start(&[]);
    let (answer, signatures) = entry(&node, &ask(&node, "volatility", 1));
    assert_eq!(signatures, 1, "the operator vouches for what its server said");
    let difference = (answer - call(&exact, "volatility", 1)).abs();
    assert!(difference < 100_000_000_000, "{difference} is not what floats of another engine differ by");

    // The server has one model. Others get no outcome, and the operator says why.
    let call = json!({ "to": PRECOMPILE, "data": calldata(&node.model_id("risk"), 9, 1) });
    let error = node.try_rpc("eth_call", json!([call, "latest"])).unwrap_err().message;
    let why = format!("{} gives no usable answer for model risk", server.url());
    assert!(error.contains("no 1 of 1 operators agree") && error.contains(&why), "{error}");
}

/// A web server, whatever it is asked.
fn web_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1_024]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 9\r\n\r\n<p>hi</p>");
        }
    });
    address
}

#[test]
fn html_from_an_engine_makes_no_block() {
    let operator = Operator::start(&["--engine", &format!("oip://{}", web_server())]);
    operator.wait();
    let node = Node::start(&["--operator", &operator.url(), "--call-timeout", "3"]);
    let waiting = ask(&node, "volatility", 1);
    let call = json!({ "to": PRECOMPILE, "data": calldata(&node.model_id("volatility"), 16, 1) });
    let error = node.try_rpc("eth_call", json!([call, "latest"])).unwrap_err().message;
    assert!(error.contains("is it a gRPC server of the Open Inference Protocol"), "{error}");
    node.rpc("evm_mine", json!([]));
    assert!(node.rpc("eth_getTransactionReceipt", json!([waiting])).is_null());
    let phase = node.rpc("inference_status", json!([waiting]))["phase"].clone();
    assert_ne!(phase, "ready", "it waits for an outcome");
}

/// A model that only a tolerance fits, in a data folder.
fn certified(folder: &Path) {
    let library = onnxruntime();
    let mut certify = Command::new(foreblock());
    certify.args(["model", "--data-dir"]).arg(folder.join("data")).arg("--onnxruntime").arg(library);
    certify.arg("certify").arg(volatility()).args(["--name", "loose", "--profile", "tolerance"]);
    succeed(certify.arg("--out").arg(folder.join("loose")));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

#[test]
fn four_engines_agree_on_a_tolerance_model() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    certified(folder.path());
    let published = folder.path().join("loose/model.onnx");
    let mut servers = [OipServer::mlserver("loose", &published), OipServer::kserve("loose", &published)];
    servers.iter_mut().for_each(OipServer::wait);
    let library = onnxruntime();
    let library = library.to_str().expect("a path in UTF-8");
    let engines: [&[&str]; 4] = [
        &["--engine", "exact"],
        &["--engine", "ort", "--onnxruntime", library],
        &["--engine", &servers[0].url()],
        &["--engine", &servers[1].url()],
    ];
    let data = folder.path().join("data");
    let mut operators = engines.map(|engine| Operator::start_with(engine, |own| copy(&data, own)));
    operators.iter().for_each(Operator::wait);
    let urls: Vec<String> = operators.iter().map(Operator::url).collect();
    let flags: Vec<&str> = urls.iter().flat_map(|url| ["--operator", url]).collect();
    let node = Node::start_with(&flags, |own| copy(&data, own));
    let exact = Node::start(&[]);
    for question in 1..=3 {
        let (answer, signatures) = entry(&node, &ask(&node, "loose", question));
        assert!(signatures >= 3, "{signatures} of four signed what one of them computed");
        let difference = (answer - call(&exact, "volatility", question)).abs();
        assert!(difference < 100_000_000_000, "{difference} is not what floats of another engine differ by");
    }

    // Without the exact engine three stay, two of them elsewhere: all of them must sign, and do.
    operators[0].kill();
    assert_eq!(entry(&node, &ask(&node, "loose", 4)).1, 3, "{}", node.log());
}
