//! What to fork from, and how patiently.

use alloy_primitives::B256;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use std::{path::PathBuf, time::Duration};

/// Where the local chain begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkPoint {
    /// After the last block.
    Latest,
    /// After this block.
    Number(u64),
    /// So many blocks before the last.
    Back(u64),
    /// After this transaction, whose block is built again up to it.
    Transaction(B256),
}

/// From flags, or from `anvil_reset`.
#[derive(Clone, Debug)]
pub struct ForkOptions {
    /// Endpoints of one chain, asked in turn; what one fails at, the next is asked.
    pub urls: Vec<Url>,
    /// Where the local chain begins.
    pub point: ForkPoint,
    /// The chain's id, if it must not be asked.
    pub chain_id: Option<u64>,
    /// Sent with each request.
    pub headers: HeaderMap,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Further attempts at what may pass: timeouts, lost connections, limits, broken answers.
    pub retries: u32,
    /// Pause before another attempt.
    pub backoff: Duration,
    /// Compute units a second that the provider allows.
    pub compute_units_per_second: u64,
    /// Folder of what was read before; `None` keeps nothing.
    pub cache: Option<PathBuf>,
}

/// Flags that name no upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A URL that is none.
    #[error(
        "--fork-url `{0}` is not a URL: expected such as http://localhost:8545, or http://localhost:8545@1400000: {1}"
    )]
    Url(String, String),
    /// A header that is none.
    #[error("--fork-header `{0}` is not a header: expected `Name: value`")]
    Header(String),
    /// Flags that contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl ForkOptions {
    /// Patience as anvil has it, no cache.
    pub fn new(urls: Vec<Url>, point: ForkPoint) -> Self {
        Self {
            urls,
            point,
            chain_id: None,
            headers: HeaderMap::new(),
            timeout: Duration::from_secs(45),
            retries: 5,
            backoff: Duration::from_secs(1),
            compute_units_per_second: 330,
            cache: None,
        }
    }

    /// The first endpoint.
    pub fn url(&self) -> &str {
        self.urls.first().map_or("", |url| url.as_str().trim_end_matches('/'))
    }
}

/// A URL, which may end in `@block`.
pub fn url(text: &str) -> Result<(Url, Option<u64>), OptionsError> {
    let block = text.rsplit_once('@').and_then(|(url, block)| Some((url, block.parse::<u64>().ok()?)));
    let (address, block) = block.map_or((text, None), |(url, block)| (url, Some(block)));
    let wrong = |why: &str| OptionsError::Url(text.to_owned(), why.to_owned());
    // `localhost:8545` would parse as a URL with the scheme `localhost`.
    let whole = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&whole).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https" | "ws") {
        return Err(wrong("only http, https and ws are spoken"));
    }
    Ok((url, block))
}

/// Whether a node runs on this machine. Such nodes are often started anew, or edited.
pub fn is_local(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0"))
}

/// `Name: value`.
pub fn header(text: &str) -> Result<(HeaderName, HeaderValue), OptionsError> {
    let wrong = || OptionsError::Header(text.to_owned());
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = name.trim().parse().map_err(|_| wrong())?;
    Ok((name, value.trim().parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_may_name_a_block_and_lack_a_scheme() {
        for (text, address, block) in [
            ("http://localhost:8545", "http://localhost:8545/", None),
            ("localhost:8545@1400000", "http://localhost:8545/", Some(1_400_000)),
            ("https://user:pass@host/key", "https://user:pass@host/key", None),
        ] {
            let (url, at) = url(text).unwrap();
            assert_eq!((url.as_str(), at), (address, block), "{text}");
        }
        assert!(url("ws://localhost:8546").is_ok());
        assert!(url("wss://localhost").unwrap_err().to_string().contains("http, https and ws"));
        assert!(url("http://").is_err());
    }

    #[test]
    fn headers_have_a_name_and_a_value() {
        let (name, value) = header("User-Agent: test-agent").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("user-agent", "test-agent"));
        assert!(header("nonsense").unwrap_err().to_string().contains("nonsense"));
    }
}
