//! An outcome with what vouches for it.

use alloy_primitives::Address;
use foreblock_precompile::{Certificate, Committee, Outcome};

/// An outcome, its certificate, and who signed that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// What the request resolves to.
    pub outcome: Outcome,
    /// What vouches for it; empty where nobody signs outcomes.
    pub certificate: Certificate,
    /// The signers, ascending: kept so that no lookup recovers keys.
    pub signers: Vec<Address>,
}

impl Certified {
    /// Whether it counts before these operators; before nobody in particular, everything does.
    pub fn counts(&self, committee: Option<&Committee>) -> bool {
        committee.is_none_or(|committee| committee.accepts(&self.signers))
    }
}

impl From<Outcome> for Certified {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, certificate: Certificate::default(), signers: Vec::new() }
    }
}
