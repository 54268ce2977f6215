//! What the user typed: plain data, with anvil's names and defaults.

use super::{
    AuditFlags, BenchCommand, ConformanceFlags, EngineFlags, ForkFlags, ModelCommand, OperatorFlags, SidecarFlags,
    TlsFlags,
};
use crate::{accounts, chain::Compat, pool::Order};
use clap::{Args, Parser, Subcommand};
use std::{net::IpAddr, path::PathBuf};

/// An Ethereum devnet whose contracts use machine-learning models in the same transaction.
#[derive(Clone, Debug, Parser)]
#[command(name = "foreblock", version, about, args_conflicts_with_subcommands = true)]
pub struct Flags {
    /// What to do; starts a node where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The node's flags.
    #[command(flatten)]
    pub node: NodeFlags,
}

/// What else there is to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Start a node; the same as without a command.
    Node(Box<NodeFlags>),
    /// Add, list, show, run, verify, fetch and remove models.
    Model {
        /// Where models are and what runs them.
        #[command(flatten)]
        place: EngineFlags,
        /// What to do.
        #[command(subcommand)]
        command: ModelCommand,
    },
    /// Fetch ONNX Runtime, by package name and pinned by hash.
    Setup {
        /// Where it goes.
        #[command(flatten)]
        place: EngineFlags,
        /// For NVIDIA devices.
        #[arg(long)]
        cuda: bool,
    },
    /// Follow a producer: verify its blocks without running a model, and serve what was verified.
    Follow {
        /// The producer's RPC, http://HOST:PORT.
        url: String,
        /// Hash that the first block must have; without it, the producer is believed once
        #[arg(long, value_name = "HASH")]
        checkpoint: Option<alloy_primitives::B256>,
        /// The node's flags; those of accounts, mining and inference have no meaning here.
        #[command(flatten)]
        node: Box<NodeFlags>,
    },
    /// Measure how fast this machine answers.
    Bench {
        /// Where to look.
        #[command(flatten)]
        place: EngineFlags,
        /// What to measure.
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Run a share of a chain's outcomes again and say what differs.
    Audit(Box<AuditFlags>),
    /// Compute and sign outcomes for nodes elsewhere.
    Operator(Box<OperatorFlags>),
    /// Find and compute what an unmodified client's pending transactions will ask, and answer its precompile.
    Sidecar(Box<SidecarFlags>),
    /// Ask an implementation of the precompile every case of the conformance suite.
    Conformance(ConformanceFlags),
    /// Say what is found on this machine, and what is missing.
    Doctor {
        /// What to look at.
        #[command(flatten)]
        place: EngineFlags,
    },
    /// Print a shell's completions.
    #[command(visible_alias = "com")]
    Completions {
        /// Which shell's.
        shell: clap_complete::Shell,
    },
    /// What a node starts to run models in ONNX Runtime; not for people.
    #[command(name = "worker", hide = true)]
    Worker,
}

/// Flags of a node.
#[derive(Args, Clone, Debug)]
pub struct NodeFlags {
    /// Number of dev accounts
    #[arg(long, short, default_value_t = 10, value_name = "NUM")]
    pub accounts: u32,
    /// Balance of each dev account, in Ether
    #[arg(long, default_value_t = 10_000, value_name = "NUM")]
    pub balance: u64,
    /// BIP-39 phrase that the accounts are made from; the usual test phrase where it is not given
    #[arg(long, short, conflicts_with_all = ["mnemonic_random", "mnemonic_seed_unsafe"])]
    pub mnemonic: Option<String>,
    /// Draw a phrase of 12, 15, 18, 21 or 24 words [default: 12]
    #[arg(long, value_name = "WORDS", num_args = 0..=1, default_missing_value = "12", conflicts_with = "mnemonic_seed_unsafe")]
    pub mnemonic_random: Option<usize>,
    /// Make the phrase from a number: anybody can do so again, so nothing of value may be on its accounts
    #[arg(long, visible_alias = "mnemonic-seed", value_name = "SEED")]
    pub mnemonic_seed_unsafe: Option<u64>,
    /// Threads that serve requests; 0 is one for each core
    #[arg(long, short = 'j', visible_alias = "jobs", value_name = "THREADS")]
    pub threads: Option<usize>,
    /// Derivation path of the accounts, without the account's number
    #[arg(long, default_value = accounts::DERIVATION_PATH)]
    pub derivation_path: String,

    /// Port to listen on; 0 takes a free one
    #[arg(
        long,
        short,
        default_value_t = 8545,
        env = "FOREBLOCK_PORT",
        value_name = "NUM",
        help_heading = "Server options"
    )]
    pub port: u16,
    /// Addresses to listen on
    #[arg(
        long,
        default_value = "127.0.0.1",
        env = "ANVIL_IP_ADDR",
        value_name = "IP_ADDR",
        value_delimiter = ',',
        help_heading = "Server options"
    )]
    pub host: Vec<IpAddr>,
    /// Origins that browsers may call from
    #[arg(long, default_value = "*", help_heading = "Server options")]
    pub allow_origin: String,
    /// No CORS headers
    #[arg(long, conflicts_with = "allow_origin", help_heading = "Server options")]
    pub no_cors: bool,
    /// Take requests of any length
    #[arg(long, conflicts_with = "request_size_limit", help_heading = "Server options")]
    pub no_request_size_limit: bool,
    /// Longest request, bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20, help_heading = "Server options")]
    pub request_size_limit: u32,
    /// Most requests in a batch
    #[arg(long, value_name = "NUM", default_value_t = 5_000, help_heading = "Server options")]
    pub batch_limit: u32,
    /// Serve a Unix socket, too
    #[arg(
        long,
        visible_alias = "ipcpath",
        value_name = "PATH",
        num_args = 0..=1,
        default_missing_value = "/tmp/anvil.ipc",
        help_heading = "Server options"
    )]
    pub ipc: Option<PathBuf>,

    /// Forking.
    #[command(flatten)]
    pub fork: ForkFlags,

    /// Seconds between blocks; without it each transaction is mined at once
    #[arg(long, short, visible_alias = "blockTime", value_name = "SECONDS", value_parser = seconds, conflicts_with = "no_mining", help_heading = "Mining")]
    pub block_time: Option<std::time::Duration>,
    /// Mine at once and on the interval of --block-time
    #[arg(long, requires = "block_time", help_heading = "Mining")]
    pub mixed_mining: bool,
    /// Mine only when asked
    #[arg(long, visible_alias = "no-mine", help_heading = "Mining")]
    pub no_mining: bool,
    /// Order of transactions in a block: fees or fifo
    #[arg(long, default_value = "fees", help_heading = "Mining")]
    pub order: Order,
    /// Most transactions in a block
    #[arg(long, help_heading = "Mining")]
    pub max_transactions: Option<usize>,
    /// Slots in an epoch: how far `safe` and `finalized` lie behind
    #[arg(long, default_value_t = 32, help_heading = "Mining")]
    pub slots_in_an_epoch: u64,

    /// The chain's id
    #[arg(long, visible_alias = "chain", value_name = "CHAIN_ID", help_heading = "Environment")]
    pub chain_id: Option<u64>,
    /// Rules of this hardfork, from the first block on
    #[arg(long, default_value = "latest", help_heading = "Environment")]
    pub hardfork: String,
    /// Gas limit of a block
    #[arg(long, alias = "block-gas-limit", help_heading = "Environment")]
    pub gas_limit: Option<u64>,
    /// No limit on the gas of a block
    #[arg(long, visible_alias = "no-gas-limit", conflicts_with = "gas_limit", help_heading = "Environment")]
    pub disable_block_gas_limit: bool,
    /// Apply EIP-7825: no transaction above 16,777,216 gas
    #[arg(long, visible_alias = "tx-gas-limit", help_heading = "Environment")]
    pub enable_tx_gas_limit: bool,
    /// Gas price suggested before London, wei
    #[arg(long, help_heading = "Environment")]
    pub gas_price: Option<u128>,
    /// Base fee of the first block, wei
    #[arg(long, visible_alias = "base-fee", value_name = "FEE", help_heading = "Environment")]
    pub block_base_fee_per_gas: Option<u64>,
    /// Suggest no tip
    #[arg(long, visible_alias = "no-priority-fee", help_heading = "Environment")]
    pub disable_min_priority_fee: bool,
    /// Longest code of a contract, bytes
    #[arg(long, value_name = "BYTES", help_heading = "Environment")]
    pub code_size_limit: Option<usize>,
    /// No limit on the code of a contract
    #[arg(
        long,
        visible_alias = "no-code-size-limit",
        conflicts_with = "code_size_limit",
        help_heading = "Environment"
    )]
    pub disable_code_size_limit: bool,
    /// Anybody may send for anybody
    #[arg(long, visible_alias = "auto-unlock", help_heading = "Environment")]
    pub auto_impersonate: bool,
    /// Take transactions whose sender cannot pay
    #[arg(long, help_heading = "Environment")]
    pub disable_pool_balance_checks: bool,
    /// Most memory of one execution, bytes
    #[arg(long, value_name = "BYTES", help_heading = "Environment")]
    pub memory_limit: Option<u64>,
    /// Do not print what contracts log with console.log
    #[arg(long, visible_alias = "no-console-log", help_heading = "Environment")]
    pub disable_console_log: bool,
    /// Print the calls of each transaction and eth_call
    #[arg(long, visible_alias = "enable-trace-printing", help_heading = "Environment")]
    pub print_traces: bool,
    /// Taken for compatibility: steps are recorded when a trace is asked for, always
    #[arg(long, visible_alias = "tracing", help_heading = "Environment")]
    pub steps_tracing: bool,
    /// Kind of network
    #[arg(long, short, default_value = "ethereum", value_parser = ["ethereum"], help_heading = "Environment")]
    pub network: String,
    /// Leave the deterministic deployment proxy (CREATE2) out of the first block
    #[arg(long, visible_alias = "no-create2", help_heading = "Environment")]
    pub disable_default_create2_deployer: bool,
    /// Time of the first block, unix seconds
    #[arg(long, value_name = "NUM", help_heading = "Environment")]
    pub timestamp: Option<u64>,
    /// Number of the first block
    #[arg(long, value_name = "NUM", default_value_t = 0, help_heading = "Environment")]
    pub number: u64,
    /// Genesis file in geth's format
    #[arg(long, value_name = "PATH", help_heading = "Environment")]
    pub init: Option<PathBuf>,

    /// Load the chain from this file if it is there, and write it there at the end
    #[arg(long, value_name = "PATH", conflicts_with_all = ["load_state", "dump_state"], help_heading = "State")]
    pub state: Option<PathBuf>,
    /// Load the chain from this file
    #[arg(long, value_name = "PATH", help_heading = "State")]
    pub load_state: Option<PathBuf>,
    /// Write the chain to this file at the end
    #[arg(long, value_name = "PATH", help_heading = "State")]
    pub dump_state: Option<PathBuf>,
    /// Write the states of all blocks, not only the last one's
    #[arg(long, help_heading = "State")]
    pub preserve_historical_states: bool,
    /// Execute the blocks of this file (RLP, as geth exports them) after the --init genesis, and check every root
    #[arg(long, value_name = "PATH", requires = "init", conflicts_with_all = ["fork_url", "load_state", "state"], help_heading = "State")]
    pub import: Option<PathBuf>,
    /// Keep the states of this many past blocks only; of the head only where no number is given
    #[arg(long, value_name = "NUM", num_args = 0..=1, default_missing_value = "0", help_heading = "State")]
    pub prune_history: Option<usize>,
    /// Keep the transactions of this many blocks only
    #[arg(long, value_name = "NUM", help_heading = "State")]
    pub transaction_block_keeper: Option<usize>,
    /// Taken for compatibility: states share what is equal, and stay in memory
    #[arg(long, value_name = "NUM", help_heading = "State")]
    pub max_persisted_states: Option<usize>,
    /// Taken for compatibility: nothing is written there, see --max-persisted-states
    #[arg(long, value_name = "PATH", help_heading = "State")]
    pub cache_path: Option<PathBuf>,
    /// Seconds between writes of the chain
    #[arg(long, short, value_name = "SECONDS", help_heading = "State")]
    pub state_interval: Option<u64>,
    /// Write accounts and keys to this file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "State")]
    pub config_out: Option<PathBuf>,

    /// What computes
    #[command(flatten, next_help_heading = "Inference")]
    pub engine: EngineFlags,
    /// Where the precompile stands; must end in 0F
    #[arg(long, value_name = "ADDRESS", default_value_t = foreblock_precompile::PRECOMPILE_ADDRESS, help_heading = "Inference")]
    pub precompile: alloy_primitives::Address,
    /// Operators in this process: 1, or none where --operator names others; 3f+1 bear f that misbehave
    #[arg(long, value_name = "NUM", value_parser = clap::value_parser!(u8).range(0..=31), help_heading = "Inference")]
    pub operators: Option<u8>,
    /// Operators elsewhere (`foreblock operator`): oip://HOST:PORT, or https://HOST:PORT with TLS
    #[arg(long = "operator", value_name = "URL", help_heading = "Inference")]
    pub remote_operators: Vec<String>,
    /// Write outcomes to this file as they are computed
    #[arg(long, value_name = "FILE", help_heading = "Inference")]
    pub record: Option<PathBuf>,
    /// Take outcomes from this file, and compute none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "remote_operators"], help_heading = "Inference")]
    pub replay: Option<PathBuf>,
    /// Ask as many operators as must agree, and the others only when those are late
    #[arg(long, help_heading = "Inference")]
    pub hedge: bool,
    /// TLS towards operators
    #[command(flatten)]
    pub tls: TlsFlags,
    /// How operators misbehave, such as 1:slow=3s,2:lie,3:crash@10,4:flip=0.01
    #[arg(long, value_name = "FAULTS", default_value = "", hide_default_value = true, help_heading = "Inference")]
    pub fault: String,
    /// Operators commit to their answers before they show them, as where answers are paid
    #[arg(long, help_heading = "Inference")]
    pub commit_reveal: bool,
    /// Contracts written for these run unmodified: their calls are adapted at the addresses that they use
    #[arg(long, value_name = "SYSTEMS", value_delimiter = ',', value_enum, help_heading = "Inference")]
    pub compat: Vec<Compat>,
    /// Longest that eth_call and eth_estimateGas wait for models, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, help_heading = "Inference")]
    pub call_timeout: u64,
    /// Serve Prometheus metrics at this address, under /metrics
    #[arg(long, value_name = "ADDRESS", help_heading = "Inference")]
    pub metrics: Option<std::net::SocketAddr>,

    /// More in the log: -v, -vv
    #[arg(long, short, action = clap::ArgAction::Count, help_heading = "Display options")]
    pub verbosity: u8,
    /// Log in colour
    #[arg(long, value_name = "COLOR", default_value = "auto", value_parser = ["auto", "always", "never"], help_heading = "Display options")]
    pub color: String,
    /// Log lines as JSON
    #[arg(long, help_heading = "Display options")]
    pub json: bool,
    /// No banner and no log
    #[arg(long, short, alias = "silent", help_heading = "Display options")]
    pub quiet: bool,
}

pub(super) fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let expected = || format!("`{text}` is no time: expected seconds above 0, such as 12 or 0.5");
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    let time = std::time::Duration::try_from_secs_f64(seconds).map_err(|_| expected())?;
    if time.is_zero() { Err(expected()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    #[test]
    fn the_documented_flags_are_those_that_are_there() {
        let page = include_str!("../../../docs/flags.md");
        let rows = |state: &str| -> BTreeSet<String> {
            let rows = page.lines().filter(|line| line.starts_with("| `--"));
            let rows = rows.filter(|line| line.split('|').nth(2).is_some_and(|cell| cell.trim() == state));
            let names = rows.flat_map(|line| line.split('|').nth(1).unwrap_or_default().split(','));
            names.map(|name| name.trim().trim_matches('`').trim_start_matches("--").to_owned()).collect()
        };
        let command = Flags::command();
        let flags = command.get_arguments().filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version"));
        let taken: BTreeSet<String> = flags
            .flat_map(|flag| {
                let aliases = flag.get_visible_aliases().unwrap_or_default().into_iter();
                flag.get_long().into_iter().chain(aliases).map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        let documented: BTreeSet<String> = &(&rows("done") | &rows("taken")) | &rows("ours");
        assert_eq!(&documented - &taken, BTreeSet::new(), "docs/flags.md says that these are there");
        assert_eq!(&taken - &documented, BTreeSet::new(), "docs/flags.md lacks these");
        assert_eq!(&rows("no") & &taken, BTreeSet::new(), "docs/flags.md says that these are not there");
    }

    #[test]
    fn the_flags_are_consistent_and_have_anvils_defaults() {
        Flags::command().debug_assert();
        let flags = Flags::parse_from(["foreblock"]).node;
        assert_eq!((flags.port, flags.accounts, flags.balance), (8545, 10, 10_000));
        assert_eq!(flags.host, [IpAddr::from([127, 0, 0, 1])]);
        let flags = Flags::parse_from(["foreblock", "--block-time", "0.5", "--mixed-mining"]).node;
        assert_eq!(flags.block_time, Some(std::time::Duration::from_millis(500)));
        assert!(Flags::try_parse_from(["foreblock", "--block-time", "0"]).is_err());
        assert!(Flags::try_parse_from(["foreblock", "--block-time", "1", "--no-mining"]).is_err());
    }
}
