//! What can go wrong between this node and the chain that it forks.

use alloy_primitives::Address;
use serde_json::Value;

/// An upstream that did not say what was asked. Nothing is assumed in place of its answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No answer at all, after all retries and endpoints.
    #[error("the forked chain's node did not answer {method}: {why}")]
    Silent {
        /// What was asked.
        method: String,
        /// The last endpoint's failure.
        why: String,
    },
    /// A JSON-RPC error.
    #[error("the forked chain's node refused {method} with error {code}: {message}{}", advice(.message))]
    Refused {
        /// What was asked.
        method: String,
        /// JSON-RPC error code.
        code: i64,
        /// Its message.
        message: String,
        /// Its data.
        data: Option<Value>,
    },
    /// An answer of another shape.
    #[error(
        "the forked chain's node answered {method} with {got}, which is not {expected}; nothing is assumed instead"
    )]
    Malformed {
        /// What was asked.
        method: String,
        /// What should have come.
        expected: &'static str,
        /// What came, shortened.
        got: String,
    },
    /// A block that the chain does not have.
    #[error("the forked chain has no block {0}: choose another with --fork-block-number")]
    NoBlock(String),
    /// A transaction that the chain does not have in a block.
    #[error("the forked chain has no mined transaction {0}: choose another with --fork-transaction-hash")]
    NoTransaction(String),
    /// Somebody else's contract where the precompile or a registry has to stand.
    #[error(
        "the forked chain has another contract at {0}, where Foreblock's has to stand: choose another --precompile"
    )]
    Occupied(Address),
    /// The client could not be made.
    #[error("no client for the forked chain's node can be made: {0}")]
    Client(String),
    /// The disk cache.
    #[error(
        "the fork's cache {0} cannot be used: {1}; name another folder with --fork-cache, or pass --no-storage-caching"
    )]
    Cache(std::path::PathBuf, String),
}

/// What to do about the refusals that everybody meets once.
fn advice(message: &str) -> &'static str {
    let message = message.to_ascii_lowercase();
    let pruned =
        ["missing trie node", "header not found", "historical state", "state not available", "pruned", "archive"];
    if pruned.iter().any(|sign| message.contains(sign)) {
        "; it does not keep the fork block's state: use an archive node, or fork at a later block"
    } else {
        ""
    }
}

/// The beginning of a text that may be long, or may be a page.
pub(super) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 120;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("`{}…`", &line[..at]),
        None => format!("`{line}`"),
    }
}
