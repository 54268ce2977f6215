//! The command line: what was typed becomes a validated configuration, which makes the parts.

mod audit;
mod config;
mod conformance;
mod engine_flags;
mod flags;
mod follow;
mod fork_flags;
mod genesis_file;
mod node;
mod operator;
mod sidecar;
mod tools;

pub use audit::{AuditFlags, run as run_audit};
pub use config::{Config, ConfigError};
pub use conformance::{ConformanceFlags, run as run_conformance};
pub use engine_flags::{EngineFlags, EngineFlagsError};
pub use flags::{Command, Flags, NodeFlags};
pub use follow::run as run_follower;
pub use fork_flags::ForkFlags;
pub use node::run as run_node;
pub use operator::{OperatorFlags, TlsFlags, run as run_operator};
pub use sidecar::{SidecarFlags, run as run_sidecar};
pub use tools::{BenchCommand, ModelCommand, ModelFlags, bench, doctor, model, setup};
