//! Whoever produces the blocks, behind its RPC. Nothing that comes from it is believed here but its form.

use crate::chain::AccountFile;
use alloy_consensus::{Block, TxEnvelope};
use alloy_primitives::{Address, Bytes, U64};
use alloy_rlp::Decodable;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read, bytes: a block, its list as hex, or the state of the first block.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A producer that gives nothing that could be verified.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// Nobody there, or the connection broke.
    #[error("the producer at {url} does not answer {method}: {reason}; is it running, and is the address right?")]
    Silent {
        /// Where.
        url: String,
        /// What was asked.
        method: &'static str,
        /// What the network said.
        reason: String,
    },
    /// It says that it cannot.
    #[error("the producer at {url} refuses {method}: {reason}")]
    Refused {
        /// Where.
        url: String,
        /// What was asked.
        method: &'static str,
        /// What it said.
        reason: String,
    },
    /// A file of --tls-ca that is none.
    #[error("cannot trust {}: {reason}; expected the certificate of an authority, PEM", path.display())]
    Authority {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else than was asked for.
    #[error("the producer at {url} answers {method} with something else: {reason}")]
    Nonsense {
        /// Where.
        url: String,
        /// What was asked.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl ProducerError {
    /// Whether it may be otherwise later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Silent { .. })
    }
}

/// What a follower begins with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The chain's id.
    pub chain_id: U64,
    /// Name of the rules in force.
    pub hardfork: String,
    /// Where the precompile stands.
    pub precompile: Address,
    /// RLP of the first block.
    pub block: Bytes,
    /// The state after it.
    pub accounts: BTreeMap<Address, AccountFile>,
}

/// A block, as the producer gives it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Header and transactions.
    pub block: Block<TxEnvelope>,
    /// The encoded inference list; empty where there is none.
    pub list: Bytes,
    /// EIP-7685 requests that the header's hash is of.
    pub requests: Vec<Bytes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListAnswer {
    encoded: Bytes,
    requests: Vec<Bytes>,
}

/// The producer's RPC over HTTP.
#[derive(Debug)]
pub struct Producer {
    url: String,
    agent: ureq::Agent,
}

impl Producer {
    /// The one at this address; for `https`, the system's authorities are trusted, or the one in this file instead.
    /// Connections are kept and used again.
    ///
    /// # Errors
    /// [`ProducerError::Authority`] if the file holds no certificate.
    pub fn new(url: &str, authority: Option<&Path>) -> Result<Self, ProducerError> {
        let roots = authority.map_or(Ok(RootCerts::PlatformVerifier), roots)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
        Ok(Self { url: url.to_owned(), agent: config.tls_config(tls).build().into() })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Number of its head.
    pub fn latest(&self) -> Result<u64, ProducerError> {
        Ok(self.ask::<U64>("eth_blockNumber", json!([]))?.to())
    }

    /// The first block whose state it has, and that state.
    pub fn start(&self) -> Result<Start, ProducerError> {
        self.ask("inference_getStart", json!([]))
    }

    /// The block with this number.
    pub fn block(&self, number: u64) -> Result<Fetched, ProducerError> {
        const RAW: &str = "debug_getRawBlock";
        let id = json!([U64::from(number)]);
        let raw: Bytes = self.ask(RAW, id.clone())?;
        let block = decode_block(&raw).map_err(|reason| self.nonsense(RAW, reason))?;
        let ListAnswer { encoded, requests } = self.ask("inference_getList", id)?;
        Ok(Fetched { block, list: encoded, requests })
    }

    fn nonsense(&self, method: &'static str, reason: impl ToString) -> ProducerError {
        ProducerError::Nonsense { url: self.url.clone(), method, reason: reason.to_string() }
    }

    pub(crate) fn ask<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, ProducerError> {
        let silent = |reason: String| ProducerError::Silent { url: self.url.clone(), method, reason };
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut response = self.agent.post(&self.url).send_json(&body).map_err(|error| silent(error.to_string()))?;
        let mut text = Vec::new();
        let reader = response.body_mut().as_reader().take(ANSWER_BYTES_MAX + 1);
        std::io::BufReader::new(reader).read_to_end(&mut text).map_err(|error| silent(error.to_string()))?;
        if text.len() as u64 > ANSWER_BYTES_MAX {
            return Err(self.nonsense(method, format!("more than {ANSWER_BYTES_MAX} bytes")));
        }
        let mut answer: Value = serde_json::from_slice(&text).map_err(|error| self.nonsense(method, error))?;
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            let reason = error["message"].as_str().unwrap_or_default().to_owned();
            return Err(ProducerError::Refused { url: self.url.clone(), method, reason });
        }
        serde_json::from_value(answer["result"].take()).map_err(|error| self.nonsense(method, error))
    }
}

fn roots(path: &Path) -> Result<RootCerts, ProducerError> {
    let bad = |reason: String| ProducerError::Authority { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let item = |item: Result<PemItem<'static>, ureq::Error>| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(bad(error.to_string()))),
    };
    let found: Vec<_> = parse_pem(&pem).filter_map(item).collect::<Result<_, _>>()?;
    if found.is_empty() { Err(bad("there is no certificate in it".to_owned())) } else { Ok(found.into()) }
}

/// A block from its RLP, all of it.
pub(super) fn decode_block(raw: &[u8]) -> Result<Block<TxEnvelope>, String> {
    let mut rest = raw;
    let block =
        Block::<TxEnvelope>::decode(&mut rest).map_err(|error| format!("the block does not decode: {error}"))?;
    if rest.is_empty() { Ok(block) } else { Err("bytes follow the block".to_owned()) }
}
