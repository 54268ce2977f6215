//! Which answer is valid: pure functions of the answers, never of the order in which they came.
//!
//! | profile | what counts |
//! | --- | --- |
//! | exact | one outcome that a quorum signed, byte for byte |
//! | tolerance | a quorum of raw answers pairwise within eps; of it the medoid, an answer that somebody computed, quantised after the choice and signed by a quorum in a second step |
//!
//! A committee has n = 3f+1 operators and a quorum of 2f+1 ([`Committee::quorum`]). Not a coordinate-wise median, and no
//! rounding before the vote: neither gives agreement.
//!
//! [`Committee::quorum`]: foreblock_precompile::Committee::quorum

mod commitment;
mod evidence;
mod exact;
mod statement;
mod tolerance;

pub use commitment::{commitment, fits};
pub use evidence::{Evidence, contradiction, equivocation};
pub use exact::{Agreed, agree};
pub use statement::{Heard, SignedStatement};
pub use tolerance::{Choice, OPERATORS_MAX, RawAnswer, choose, within};
