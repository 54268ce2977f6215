//! Flags of forking, and what they mean.

use super::ConfigError;
use crate::fork::{ForkOptions, ForkPoint, OptionsError};
use alloy_primitives::B256;
use clap::Args;
use std::{path::PathBuf, time::Duration};

/// Flags of forking, with anvil's names.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Fork config")]
pub struct ForkFlags {
    /// Go on from another chain, read from this endpoint; several are asked in turn, and stand in for each other
    #[arg(long, short = 'f', visible_alias = "rpc-url", value_name = "URL")]
    pub fork_url: Vec<String>,
    /// Block to fork at; if negative, so many before the last
    #[arg(
        long,
        value_name = "BLOCK",
        requires = "fork_url",
        allow_hyphen_values = true,
        conflicts_with = "fork_transaction_hash"
    )]
    pub fork_block_number: Option<i64>,
    /// Fork after this transaction: its block is built again up to it
    #[arg(long, value_name = "TRANSACTION", requires = "fork_url")]
    pub fork_transaction_hash: Option<B256>,
    /// Id of the forked chain, so that it need not be asked; an endpoint of another chain is refused
    #[arg(long, value_name = "CHAIN", requires = "fork_url")]
    pub fork_chain_id: Option<u64>,
    /// Header sent with each request, such as "User-Agent: test-agent"
    #[arg(long, value_name = "HEADERS", requires = "fork_url")]
    pub fork_header: Vec<String>,
    /// Milliseconds to wait for an answer; 45,000 where it is not given
    #[arg(long, value_name = "MS", requires = "fork_url")]
    pub timeout: Option<u64>,
    /// Further attempts at what may pass; 5 where it is not given
    #[arg(long, value_name = "NUM", requires = "fork_url")]
    pub retries: Option<u32>,
    /// Milliseconds before another attempt; 1,000 where it is not given
    #[arg(long, value_name = "BACKOFF", requires = "fork_url")]
    pub fork_retry_backoff: Option<u64>,
    /// Compute units a second that the provider allows; 330 where it is not given
    #[arg(long, value_name = "CUPS", alias = "cups", requires = "fork_url")]
    pub compute_units_per_second: Option<u64>,
    /// The provider has no limit
    #[arg(long, visible_alias = "no-rpc-rate-limit", requires = "fork_url")]
    pub no_rate_limit: bool,
    /// Keep nothing of what was read
    #[arg(long, requires = "fork_url")]
    pub no_storage_caching: bool,
    /// Where to keep what was read; the user's cache folder where it is not given, nothing for endpoints on this machine
    #[arg(long, value_name = "PATH", requires = "fork_url", conflicts_with = "no_storage_caching")]
    pub fork_cache: Option<PathBuf>,
}

impl ForkFlags {
    /// What to fork, if anything.
    pub(super) fn options(&self) -> Result<Option<ForkOptions>, ConfigError> {
        if self.fork_url.is_empty() {
            return Ok(None);
        }
        let (mut urls, mut at_url) = (Vec::new(), None);
        for text in &self.fork_url {
            let (url, block) = crate::fork::url(text)?;
            if at_url.is_some() && block.is_some() && at_url != block {
                return Err(OptionsError::Contradiction("several --fork-url name different blocks: name one").into());
            }
            at_url = at_url.or(block);
            urls.push(url);
        }
        let local = urls.iter().all(crate::fork::is_local);
        let mut options = ForkOptions::new(urls, self.point(at_url)?);
        options.chain_id = self.fork_chain_id;
        for text in &self.fork_header {
            let (name, value) = crate::fork::header(text)?;
            options.headers.append(name, value);
        }
        options.timeout = self.timeout.map_or(options.timeout, Duration::from_millis);
        options.retries = self.retries.unwrap_or(options.retries);
        options.backoff = self.fork_retry_backoff.map_or(options.backoff, Duration::from_millis);
        if let Some(units) = self.compute_units_per_second {
            options.compute_units_per_second = units.max(1);
        }
        if self.no_rate_limit {
            options.compute_units_per_second = u64::MAX;
        }
        let by_default = || dirs::cache_dir().filter(|_| !local).map(|folder| folder.join("foreblock/rpc"));
        options.cache = self.fork_cache.clone().or_else(by_default).filter(|_| !self.no_storage_caching);
        Ok(Some(options))
    }

    fn point(&self, at_url: Option<u64>) -> Result<ForkPoint, OptionsError> {
        let both = "--fork-url names a block, and so does another flag: name it once";
        match (self.fork_transaction_hash, self.fork_block_number, at_url) {
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => Err(OptionsError::Contradiction(both)),
            (Some(hash), ..) => Ok(ForkPoint::Transaction(hash)),
            (_, Some(number), _) => Ok(match u64::try_from(number) {
                Ok(number) => ForkPoint::Number(number),
                Err(_) => ForkPoint::Back(number.unsigned_abs()),
            }),
            (_, _, Some(number)) => Ok(ForkPoint::Number(number)),
            (None, None, None) => Ok(ForkPoint::Latest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Flags;
    use clap::Parser;

    fn options(args: &[&str]) -> Result<ForkOptions, String> {
        let flags = Flags::try_parse_from([&["foreblock"], args].concat()).map_err(|error| error.to_string())?;
        flags.node.fork.options().map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn the_fork_point_is_a_number_a_distance_a_transaction_or_the_head() {
        let hash = B256::repeat_byte(7);
        for (args, point) in [
            (&["--fork-url", "http://h"] as &[_], ForkPoint::Latest),
            (&["-f", "http://h@12"], ForkPoint::Number(12)),
            (&["--rpc-url", "http://h", "--fork-block-number", "12"], ForkPoint::Number(12)),
            (&["-f", "http://h", "--fork-block-number", "-3"], ForkPoint::Back(3)),
            (&["-f", "http://h", "--fork-transaction-hash", &hash.to_string()], ForkPoint::Transaction(hash)),
        ] {
            assert_eq!(options(args).unwrap().point, point, "{args:?}");
        }
        for args in [
            &["-f", "http://h@12", "--fork-block-number", "12"] as &[_],
            &["-f", "http://h@1", "-f", "http://g@2"],
            &["-f", "ftp://h"],
            &["-f", "http://h", "--fork-header", "nonsense"],
            &["--fork-block-number", "12"],
        ] {
            assert!(options(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn nodes_on_this_machine_are_not_cached_unless_a_folder_is_named() {
        assert_eq!(options(&["-f", "http://127.0.0.1:8545"]).unwrap().cache, None);
        let named = options(&["-f", "http://localhost:8545", "--fork-cache", "/x"]).unwrap();
        assert_eq!(named.cache, Some("/x".into()));
        assert_eq!(options(&["-f", "https://node.example", "--no-storage-caching"]).unwrap().cache, None);
        assert_eq!(options(&["-f", "http://h", "--no-rate-limit"]).unwrap().compute_units_per_second, u64::MAX);
    }
}
