//! From flags to a validated configuration: the only place that makes the node's parts.

use super::{EngineFlagsError, flags::NodeFlags, genesis_file};
use crate::{
    accounts::{self, Accounts, AccountsError, wei},
    chain::{Block, Forked, Genesis, GenesisError, ImportError, Ledger, Spec, UnknownHardfork, wall},
    fork::{self, ForkError, OptionsError},
    inference::{Inference, NoOperator, Operators, OperatorsConfig, RecordError, Recorder, Replay, in_genesis},
    miner::Mining,
    node::{ForkConfig, Node, NodeConfig, Settings},
    pool::PoolLimits,
    print::Printing,
    rpc::ServerConfig,
};
use alloy_primitives::{Address, B256, U256};
use foreblock_engine::{
    Catalog, Engine, Kind, ModelDir,
    engine::Config as EngineConfig,
    model_dir::DirError,
    ort::{self, OrtError},
};
use foreblock_pre_executor::{
    Compute, Config as PreExecutorConfig, StartError, WatchLimits,
    agreement::OPERATORS_MAX,
    oip::{Client, ConnectError, RemoteOperator},
    operators::{FaultError, parse_faults},
};
use foreblock_precompile::{AddressError, ModelSlot, check_address, genesis::GenesisOperator};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// Chain id of devnets.
const CHAIN_ID: u64 = 31_337;
/// Gas limit of a block, as anvil.
const GAS_LIMIT: u64 = 30_000_000;
/// Base fee of the first block, wei, as anvil.
const BASE_FEE_WEI: u64 = 1_000_000_000;
/// Tip suggested, wei, as anvil.
const TIP_WEI: u128 = 1_000_000_000;
/// Gas price suggested before London, wei, as anvil.
const GAS_PRICE_WEI: u128 = 2_000_000_000;

/// Flags that do not make a node.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Accounts.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// Rules.
    #[error(transparent)]
    Hardfork(#[from] UnknownHardfork),
    /// Genesis.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// A genesis file that cannot be read.
    #[error("genesis file {0}: {1}")]
    GenesisFile(PathBuf, String),
    /// Models.
    #[error(transparent)]
    Models(#[from] DirError),
    /// The precompile.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An operator that --fault names and that is not there.
    #[error(transparent)]
    Operator(#[from] NoOperator),
    /// Too many operators, or none.
    #[error("{0} operators: expected 1 to {OPERATORS_MAX} with those elsewhere")]
    Operators(usize),
    /// A file of outcomes.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// An operator or engine elsewhere.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Faults that cannot be read.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The file of --import cannot be read.
    #[error("cannot read {0}: {1}; --import takes the file that `geth export` writes")]
    ImportFile(PathBuf, std::io::Error),
    /// The file of --import is refused.
    #[error("--import: {0}")]
    Import(#[from] ImportError),
    /// The forked chain.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// Flags of forking.
    #[error(transparent)]
    ForkFlags(#[from] OptionsError),
    /// ONNX Runtime was asked for and does not serve.
    #[error("--engine ort: {0}")]
    OnnxRuntime(#[source] OrtError),
    /// Workers.
    #[error(transparent)]
    Start(#[from] StartError),
    /// This process's engine.
    #[error(transparent)]
    Engine(#[from] EngineFlagsError),
}

/// A node's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// How it listens.
    pub server: ServerConfig,
    /// Accounts.
    pub accounts: Accounts,
    /// Where the chain is loaded from, if the file is there.
    pub load_state: Option<PathBuf>,
    /// Whether it is an error if there is no such file.
    pub load_state_required: bool,
    /// Where the chain is written.
    pub dump_state: Option<PathBuf>,
    /// How often, beside at the end.
    pub dump_interval: Option<Duration>,
    /// Where accounts and keys are written.
    pub config_out: Option<PathBuf>,
    /// The phrase that the accounts are made from.
    pub mnemonic: String,
    flags: NodeFlags,
    spec: Spec,
    init: Option<alloy_genesis::Genesis>,
    engine: EngineConfig,
    operators: OperatorsConfig,
    fork: ForkConfig,
    data_dir: PathBuf,
}

impl Config {
    /// Checks what the user typed.
    pub fn new(flags: NodeFlags) -> Result<Self, ConfigError> {
        let mnemonic = match (&flags.mnemonic, flags.mnemonic_random, flags.mnemonic_seed_unsafe) {
            (Some(phrase), ..) => phrase.clone(),
            (_, Some(words), _) => accounts::random_phrase(words)?,
            (_, _, Some(seed)) => accounts::seeded_phrase(seed),
            (None, None, None) => accounts::TEST_MNEMONIC.to_owned(),
        };
        let accounts = Accounts::from_mnemonic(&mnemonic, &flags.derivation_path, flags.accounts)?;
        let init = flags.init.as_deref().map(genesis_file::read).transpose()?;
        let mut spec = match &init {
            Some(file) => genesis_file::spec(file),
            None => Spec::up_to(CHAIN_ID, &flags.hardfork)?,
        };
        if let Some(chain_id) = flags.chain_id {
            spec.set_chain_id(chain_id);
        }
        check_address(flags.precompile, spec.evm_spec(flags.number, wall()))?;
        let engine = flags.engine.config()?;
        let operators = OperatorsConfig {
            count: flags.operators.unwrap_or(u8::from(flags.remote_operators.is_empty())).into(),
            hedge: flags.hedge,
            faults: parse_faults(&flags.fault)?,
            commit_first: flags.commit_reveal,
        };
        Ok(Self {
            server: server(&flags),
            accounts,
            mnemonic,
            load_state: flags.state.clone().or_else(|| flags.load_state.clone()),
            load_state_required: flags.load_state.is_some(),
            dump_state: flags.state.clone().or_else(|| flags.dump_state.clone()),
            dump_interval: flags.state_interval.map(Duration::from_secs),
            config_out: flags.config_out.clone(),
            data_dir: flags.engine.folder()?,
            fork: ForkConfig {
                options: flags.fork.options()?,
                spec_given: init.is_some() || flags.hardfork != "latest",
                chain_id_given: init.is_some() || flags.chain_id.is_some(),
                gas_limit_given: flags.gas_limit.is_some(),
            },
            flags,
            spec,
            init,
            engine,
            operators,
        })
    }

    /// Makes the node.
    pub fn start(&self) -> Result<Arc<Node>, ConfigError> {
        if self.engine.kind == Kind::Ort {
            // Said now rather than by the first transaction that waits for it.
            ort::probe(&self.engine.ort).map_err(ConfigError::OnnxRuntime)?;
        }
        let catalog = Catalog::new(Some(ModelDir::new(&self.data_dir)));
        let (models, broken) = catalog.list()?;
        for error in broken {
            tracing::warn!(%error, "a model is left out");
        }
        let remote = self.remote_operators()?;
        let seats = self.operators.count + remote.len();
        if seats == 0 || seats > OPERATORS_MAX {
            return Err(ConfigError::Operators(seats));
        }
        let mut genesis = self.genesis(Inference::slots(&models), in_genesis(self.operators.count, &remote));
        let names = Inference::names(&models);
        genesis.contracts = self.flags.compat.iter().map(|system| system.account(&names)).collect();
        let Forked { ledger, spec, replay } = match &self.fork.options {
            Some(options) => fork::fork(options, &genesis, &self.spec, &self.fork)?,
            None => {
                let ledger = Ledger::starting_with(genesis.block(&self.spec)?);
                Forked { ledger, spec: self.spec.clone(), replay: None }
            }
        };
        let pre_executor = PreExecutorConfig {
            data_dir: self.flags.engine.store()?,
            address: self.flags.precompile,
            // Whatever the pool takes is watched: to watch less would drop what it took.
            watch: WatchLimits { transactions_max: PoolLimits::default().transactions_max, ..Default::default() },
            ..Default::default()
        };
        let patience = Duration::from_secs(self.flags.call_timeout);
        let engine = Engine::new(catalog, self.engine.clone());
        let compute = self.compute(&engine)?;
        let operators = Operators::new(&self.operators, spec.chain_id(), &engine, compute, remote)?;
        let inference = Inference::start(engine, models, operators, pre_executor, patience)?;
        let mut settings = self.settings(&genesis);
        if self.fork.options.is_some() {
            // A fork goes on as its chain would.
            settings.next_base_fee = self.flags.block_base_fee_per_gas;
            settings.gas_limit = self.flags.gas_limit.unwrap_or(ledger.head().header.gas_limit);
        }
        let ledger = ledger.keeping(self.flags.prune_history, self.flags.transaction_block_keeper);
        let config = self.node_config(genesis);
        let node = Node::new(config, settings, self.accounts.clone(), inference, spec, ledger);
        if let Some(replay) = replay {
            node.replay(replay)?;
        }
        if let Some(path) = &self.flags.import {
            let bytes = std::fs::read(path).map_err(|error| ConfigError::ImportFile(path.clone(), error))?;
            let height = node.import(&bytes)?;
            tracing::info!(height, "imported");
        }
        Ok(node)
    }

    /// Makes a node that follows: its chain begins with `first`, and it computes nothing.
    pub fn start_following(
        &self,
        producer: &str,
        spec: Spec,
        precompile: Address,
        first: Block,
    ) -> Result<Arc<Node>, ConfigError> {
        let genesis = self.genesis(Vec::new(), Vec::new());
        let settings = self.settings(&genesis);
        let config = NodeConfig { producer: Some(producer.to_owned()), ..self.node_config(genesis) };
        let pre_executor = PreExecutorConfig { address: precompile, ..Default::default() };
        let inference = Inference::following(pre_executor, Duration::from_secs(self.flags.call_timeout))?;
        let accounts = Accounts::from_mnemonic(&self.mnemonic, &self.flags.derivation_path, 0)?;
        Ok(Node::new(config, settings, accounts, inference, spec, Ledger::starting_with(first)))
    }

    /// What computes for the operators of this process.
    fn compute(&self, engine: &Engine) -> Result<Arc<dyn Compute>, ConfigError> {
        if let Some(path) = &self.flags.replay {
            return Ok(Arc::new(Replay::new(path)?));
        }
        let computes = self.flags.engine.compute(engine, &self.flags.tls)?;
        Ok(match &self.flags.record {
            Some(path) => Arc::new(Recorder::new(computes, path)?),
            None => computes,
        })
    }

    /// Operators elsewhere, each of whom has said who it is.
    fn remote_operators(&self) -> Result<Vec<RemoteOperator>, ConnectError> {
        let tls = self.flags.tls.tls();
        let one = |url: &String| RemoteOperator::introduce(Client::new(url, &tls)?);
        self.flags.remote_operators.iter().map(one).collect()
    }

    /// The rules.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What the user typed.
    pub fn flags(&self) -> &NodeFlags {
        &self.flags
    }

    fn genesis(&self, models: Vec<(B256, ModelSlot)>, operators: Vec<GenesisOperator>) -> Genesis {
        let flags = &self.flags;
        let balance = wei(flags.balance);
        let mut genesis = Genesis {
            number: flags.number,
            timestamp: flags.timestamp.unwrap_or_else(wall),
            gas_limit: flags.gas_limit.unwrap_or(GAS_LIMIT),
            base_fee: flags.block_base_fee_per_gas.unwrap_or(BASE_FEE_WEI),
            coinbase: Address::ZERO,
            exact: flags.import.is_some(),
            create2_deployer: !flags.disable_default_create2_deployer,
            funded: self.accounts.addresses().iter().map(|address| (*address, balance)).collect(),
            alloc: Vec::new(),
            difficulty: U256::ZERO,
            extra_data: Default::default(),
            mix_hash: B256::ZERO,
            nonce: 0,
            precompile: flags.precompile,
            models,
            operators,
            contracts: Vec::new(),
        };
        if let Some(file) = &self.init {
            genesis_file::apply(file, &mut genesis);
        }
        genesis
    }

    fn settings(&self, genesis: &Genesis) -> Settings {
        let flags = &self.flags;
        Settings {
            coinbase: genesis.coinbase,
            gas_limit: genesis.gas_limit,
            // As anvil: the first block after genesis has the same base fee.
            next_base_fee: Some(genesis.base_fee),
            next_prevrandao: None,
            no_base_fee: flags.block_base_fee_per_gas == Some(0),
            min_gas_price_wei: flags.gas_price.unwrap_or(GAS_PRICE_WEI),
            auto_impersonate: flags.auto_impersonate,
            impersonated: Default::default(),
            mining: match (flags.no_mining, flags.mixed_mining, flags.block_time) {
                (true, ..) => Mining::Manual,
                (_, true, Some(time)) => Mining::Mixed(time),
                (_, _, Some(time)) => Mining::Interval(time),
                (_, _, None) => Mining::Auto,
            },
            logging: true,
        }
    }

    fn node_config(&self, genesis: Genesis) -> NodeConfig {
        let flags = &self.flags;
        NodeConfig {
            order: flags.order,
            balance_checks: !flags.disable_pool_balance_checks,
            memory_max: flags.memory_limit,
            dump_states: flags.preserve_historical_states,
            transactions_max: flags.max_transactions.unwrap_or(usize::MAX),
            code_size_max: if flags.disable_code_size_limit { Some(usize::MAX) } else { flags.code_size_limit },
            no_block_gas_limit: flags.disable_block_gas_limit,
            tx_gas_limit: flags.enable_tx_gas_limit,
            suggested_tip_wei: if flags.disable_min_priority_fee { 0 } else { TIP_WEI },
            slots_in_an_epoch: flags.slots_in_an_epoch,
            producer: None,
            printing: Printing {
                console: !flags.disable_console_log && !flags.quiet,
                traces: flags.print_traces && !flags.quiet,
            },
            genesis,
            fork: self.fork.clone(),
        }
    }
}

fn server(flags: &NodeFlags) -> ServerConfig {
    let defaults = ServerConfig::default();
    ServerConfig {
        addresses: flags.host.iter().map(|host| SocketAddr::new(*host, flags.port)).collect(),
        allow_origin: (!flags.no_cors).then(|| flags.allow_origin.clone()),
        request_bytes_max: if flags.no_request_size_limit { u32::MAX } else { flags.request_size_limit },
        batch_max: flags.batch_limit,
        ipc: flags.ipc.clone(),
        ..defaults
    }
}
