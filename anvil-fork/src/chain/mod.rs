//! Blocks, receipts and state.

mod block;
mod build;
mod clock;
mod compat;
mod dump;
mod forked;
mod genesis;
mod import;
mod ledger;
mod spec;
mod states;
mod trie;
mod turns;
mod view;
mod world;

pub use block::{Block, Transaction, pool_form};
pub use build::{Advice, BlockPlan, Built, Candidate, Certificates, NoAdvice, Skip, build};
pub use clock::{Clock, TimestampError, wall};
pub use compat::Compat;
pub use dump::{AccountFile, DumpError, accounts_file, dump, load, world_of};
pub use forked::Forked;
pub use genesis::{Genesis, GenesisError};
pub use import::{FileBlock, ImportError, decode as decode_blocks, import};
pub use ledger::{Ledger, Snapshot};
pub use spec::{Spec, UnknownHardfork};
pub use view::{StateError, View};
pub use world::{Account, Slot, World};
