//! One line a block: what is in it, what was deferred, and why.

use crate::chain::{Block, Skip};
use alloy_primitives::B256;
use foreblock_pre_executor::Hold;
use std::{collections::BTreeMap, fmt::Write};

/// Hashes that one part of the line names at most.
const NAMED_MAX: usize = 4;

/// Says that a block was mined.
pub(super) fn mined(block: &Block, skipped: &[(B256, Skip)]) {
    let hashes = block.transactions.iter().map(|tx| *tx.tx_hash());
    tracing::info!(
        number = block.header.number,
        transactions = block.transactions.len(),
        gas = block.header.gas_used,
        inferences = block.inferences.len(),
        included = named(hashes),
        deferred = skipped.len(),
        why = why(skipped),
        "mined block"
    );
    for (hash, skip) in skipped {
        tracing::debug!(%hash, reason = %skip, "deferred");
    }
}

/// The first hashes, shortened, and how many more there are.
fn named(hashes: impl ExactSizeIterator<Item = B256>) -> String {
    let more = hashes.len().saturating_sub(NAMED_MAX);
    let first: Vec<String> = hashes.take(NAMED_MAX).map(|hash| hash.to_string()[..10].to_owned()).collect();
    let mut text = first.join(" ");
    if more > 0 {
        let _ = write!(text, " +{more}");
    }
    text
}

/// The reasons, each once, with those that it holds for.
fn why(skipped: &[(B256, Skip)]) -> String {
    let mut by_reason: BTreeMap<(u8, &str), Vec<B256>> = BTreeMap::new();
    for (hash, skip) in skipped {
        by_reason.entry(kind(skip)).or_default().push(*hash);
    }
    let part = |((_, kind), hashes): (&(u8, &str), &Vec<B256>)| {
        format!("{} {kind} ({})", hashes.len(), named(hashes.iter().copied()))
    };
    by_reason.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn kind(skip: &Skip) -> (u8, &'static str) {
    match skip {
        Skip::Held(Hold::Waits(_)) => (0, "wait for an outcome"),
        Skip::Missing(_) => (1, "asked for something new"),
        Skip::Held(Hold::BackedOff { .. }) => (2, "missed too often"),
        Skip::Blocked => (3, "behind another of the sender"),
        Skip::Full => (4, "without room"),
        Skip::Invalid(_) => (5, "invalid and dropped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_named_once_with_some_of_its_transactions() {
        let hash = |byte| B256::repeat_byte(byte);
        let waits = |byte| (hash(byte), Skip::Held(Hold::Waits(B256::ZERO)));
        let skipped: Vec<_> = (1..=6).map(waits).chain([(hash(7), Skip::Blocked)]).collect();
        assert_eq!(
            why(&skipped),
            "6 wait for an outcome (0x01010101 0x02020202 0x03030303 0x04040404 +2), \
             1 behind another of the sender (0x07070707)"
        );
        assert_eq!(why(&[]), "");
    }
}
