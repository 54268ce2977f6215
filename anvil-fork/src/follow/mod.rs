//! A node that runs no model: it takes blocks from a producer, verifies each with the block's inference list as the only
//! source of outcomes, and serves what it verified. At the first invalid block it stops.

mod producer;
mod verify;

pub use producer::{Fetched, Producer, ProducerError, Start};
pub use verify::{Claim, Invalid, Verified, Verifier, candidates};

use crate::{chain::Block, node::Node};
use alloy_primitives::B256;
use std::{sync::Arc, thread, time::Duration};

/// How often the producer is asked for news.
const LOOK: Duration = Duration::from_millis(200);
/// Pause after the producer did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a follower stops.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// A block that no honest node accepts.
    #[error(
        "block {number} ({hash}) of {url} is invalid: {error}\nThe last block that was verified is {last} ({last_hash}). This follower stops here."
    )]
    Invalid {
        /// Who gave it.
        url: String,
        /// Its number.
        number: u64,
        /// The hash of its header.
        hash: B256,
        /// The last good one.
        last: u64,
        /// Its hash.
        last_hash: B256,
        /// What is wrong.
        error: Box<Invalid>,
    },
    /// An answer that makes no sense.
    #[error(transparent)]
    Producer(#[from] ProducerError),
}

/// The header of a block that came as RLP.
///
/// # Errors
/// What is wrong with the bytes.
pub fn header_of(raw: &[u8]) -> anyhow::Result<alloy_consensus::Header> {
    Ok(producer::decode_block(raw).map_err(anyhow::Error::msg)?.header)
}

/// Follows until there is an invalid block; a producer that does not answer is asked again.
pub fn follow(node: &Arc<Node>, producer: &Producer) -> Result<(), Stopped> {
    loop {
        match catch_up(node, producer) {
            Ok(()) => thread::sleep(LOOK),
            Err(Stopped::Producer(error)) if error.is_passing() => {
                tracing::warn!(%error, "asking again");
                thread::sleep(PAUSE);
            }
            Err(stopped) => return Err(stopped),
        }
    }
}

/// Verifies all blocks that the producer has beyond the head.
pub fn catch_up(node: &Arc<Node>, producer: &Producer) -> Result<(), Stopped> {
    let latest = producer.latest()?;
    while node.head().header.number < latest {
        let head = node.head();
        let fetched = producer.block(head.header.number + 1)?;
        accept(node, &fetched).map_err(|error| Stopped::Invalid {
            url: producer.url().to_owned(),
            number: head.header.number + 1,
            hash: fetched.block.header.hash_slow(),
            last: head.header.number,
            last_hash: head.hash,
            error: Box::new(error),
        })?;
    }
    Ok(())
}

/// Verifies a block and makes it the head.
pub fn accept(node: &Arc<Node>, fetched: &Fetched) -> Result<Arc<Block>, Invalid> {
    let verifier = Verifier::new(node);
    let verified = verifier.verify(&node.ledger(), fetched)?;
    node.inference.learn(&verified.list, verified.signers);
    let block = node.change(|chain| {
        chain.clock.sealed(verified.block.header.timestamp);
        chain.ledger.push(verified.block)
    });
    tracing::info!(
        number = block.header.number,
        transactions = block.transactions.len(),
        inferences = block.inferences.len(),
        "verified block"
    );
    node.announce_head(Some(block.clone()), None);
    Ok(block)
}
