//! A JSON-RPC client for tests.

use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Longest wait for a node to answer, and for a receipt.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A node's JSON-RPC over HTTP.
#[derive(Clone, Debug)]
pub struct Rpc {
    agent: ureq::Agent,
    port: u16,
}

/// What a node answers to a call that fails.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    /// JSON-RPC error code.
    pub code: i64,
    /// Its message.
    pub message: String,
    /// Its data: for a revert the revert data, in hex.
    pub data: Value,
}

impl Rpc {
    /// Of the node at this port.
    pub fn new(port: u16) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        Self { agent: agent.into(), port }
    }

    /// HTTP is served here.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// WebSocket is served here.
    pub fn socket_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// One call.
    pub fn try_call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut response =
            self.agent.post(self.url()).send_json(&body).unwrap_or_else(|error| panic!("{method}: {error}"));
        let body = response.body_mut().with_config().limit(1 << 30);
        let mut answer: Value = body.read_json().unwrap_or_else(|error| panic!("{method}: {error}"));
        match answer.get("error") {
            None => Ok(answer["result"].take()),
            Some(error) => Err(RpcError {
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
                data: error["data"].clone(),
            }),
        }
    }

    /// What is served under a URL, here or elsewhere, as text.
    pub fn get(&self, url: &str) -> String {
        let mut response = self.agent.get(url).call().unwrap_or_else(|error| panic!("{url}: {error}"));
        response.body_mut().read_to_string().unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// One call that must succeed.
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error:?}"))
    }

    /// The receipt of a transaction, as soon as it is mined; `None` where it is not in time.
    pub fn receipt(&self, hash: &str) -> Option<Value> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let receipt = self.call("eth_getTransactionReceipt", json!([hash]));
            if !receipt.is_null() {
                return Some(receipt);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Waits until the node answers, and says whether it did in time.
    pub fn wait(&self) -> bool {
        let end = Instant::now() + PATIENCE;
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] });
        while self.agent.post(self.url()).send_json(&body).is_err() {
            if Instant::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

/// A number as JSON-RPC writes it, in hex.
pub fn number(value: &Value) -> u128 {
    let text = value.as_str().unwrap_or_else(|| panic!("no number: {value}"));
    u128::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("no number: {value}"))
}
