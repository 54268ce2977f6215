//! What happened inside a transaction, by revm-inspectors. Mined transactions are run again on the state before them,
//! with their block's inference list as the only source of outcomes.

mod geth;
mod inference;
mod javascript;
mod otterscan;
mod parity;
mod stage;

pub use geth::{Traced, geth};
pub use otterscan::{creation, internal_operations, involves};
pub use parity::{localized, replayed};
pub use stage::Stage;
pub(crate) use stage::transaction;
