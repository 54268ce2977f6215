//! A chain that goes on: its node's JSON-RPC, and its state at one block after the other.

use super::{
    Feed, ForkOptions, Upstream, UpstreamError,
    client::{Client, malformed},
    error::shortened,
    origin::takes_hashes,
};
use alloy_primitives::{B256, U256};
use moka::sync::Cache;
use revm::bytecode::Bytecode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json, value::RawValue};
use std::sync::{Arc, OnceLock};

/// Code kept in memory, bytes.
const CODE_BYTES_MAX: u64 = 64 << 20;

/// A node that is watched.
#[derive(Debug)]
pub struct Heads {
    client: Arc<Client>,
    options: ForkOptions,
    chain_id: u64,
    codes: Cache<B256, Bytecode>,
    by_hash: OnceLock<bool>,
}

impl Heads {
    /// Connects to a node, which must say what chain it is of.
    pub fn connect(options: ForkOptions) -> Result<Self, UpstreamError> {
        let client = Client::new(&options)?;
        let chain_id = client.chain_id()?;
        let code_bytes = |_: &B256, code: &Bytecode| u32::try_from(code.len()).unwrap_or(u32::MAX);
        let codes = Cache::builder().weigher(code_bytes).max_capacity(CODE_BYTES_MAX).build();
        Ok(Self { client: Arc::new(client), options, chain_id, codes, by_hash: OnceLock::new() })
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Where the node is.
    pub fn url(&self) -> &str {
        self.options.url()
    }

    /// Subscribes to heads and to the pool; `None` where the node is asked by HTTP.
    pub fn feed(&self) -> Result<Option<Feed>, UpstreamError> {
        self.client.feed()
    }

    /// One answer, of the expected form.
    pub fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        expected: &'static str,
        params: Value,
    ) -> Result<T, UpstreamError> {
        read(method, expected, &self.client.ask(method, params)?)
    }

    /// The answers to one method's questions, asked at once.
    pub fn ask_each<T: DeserializeOwned>(
        &self,
        method: &'static str,
        expected: &'static str,
        params: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<T>, UpstreamError> {
        let answers = self.client.ask_all(params.into_iter().map(|params| (method, params)).collect())?;
        answers.iter().map(|answer| read(method, expected, answer)).collect()
    }

    /// The chain's id as the node says now: another one stands behind the same address when it was started anew.
    pub fn told_chain_id(&self) -> Result<u64, UpstreamError> {
        let id: U256 = self.ask("eth_chainId", "a number", json!([]))?;
        u64::try_from(id).map_err(|_| malformed("eth_chainId", "a number below 2^64", &id.to_string()))
    }

    /// The state after a block; code that was read at another is known already.
    pub fn state(&self, number: u64, hash: B256) -> Upstream {
        let by_hash = *self.by_hash.get_or_init(|| takes_hashes(&self.client, hash));
        let pin = if by_hash { json!({ "blockHash": hash }) } else { json!(format!("{number:#x}")) };
        Upstream::of_head(
            self.client.clone(),
            self.options.clone(),
            self.chain_id,
            (number, hash),
            pin,
            self.codes.clone(),
        )
    }
}

fn read<T: DeserializeOwned>(method: &str, expected: &'static str, answer: &RawValue) -> Result<T, UpstreamError> {
    serde_json::from_str(answer.get()).map_err(|error| UpstreamError::Malformed {
        method: method.to_owned(),
        expected,
        got: format!("{} ({error})", shortened(answer.get())),
    })
}
