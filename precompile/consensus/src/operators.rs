//! The storage of `OperatorRegistry`, as block verification reads it and a genesis block writes it.
//!
//! | slot | content |
//! | --- | --- |
//! | 0 | number of active operators; their addresses from `keccak256(0)` on |
//! | 1 | mapping of accounts to `Operator`: stake 128 bits, freeAt 64, place 32, banned 8; then the endpoint |
//! | 2 | mapping of accounts and models to whether the one serves the other |
//! | 5 | how many have a stake |

use crate::{Committee, ModelId};
use alloc::{string::String, vec::Vec};
use alloy_primitives::{Address, B256, U256, keccak256};

/// Most operators that the registry takes; a longer list was not written by it.
pub const OPERATORS_MAX: usize = 128;

/// Stake of an operator of a genesis block, wei: the registry's least.
pub(crate) const GENESIS_STAKE_WEI: u128 = 1_000_000_000_000_000_000;

/// Longest endpoint of an operator of a genesis block, bytes: what one storage slot holds.
pub const GENESIS_ENDPOINT_BYTES_MAX: usize = 31;

const ACTIVE: u64 = 0;
const ALL: u64 = 1;
const SERVES: u64 = 2;
const STAKED: u64 = 5;

/// An operator that is registered in the genesis block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisOperator {
    /// Whose signatures count.
    pub address: Address,
    /// Where it is reached; cut at [`GENESIS_ENDPOINT_BYTES_MAX`].
    pub endpoint: String,
}

impl Committee {
    /// The active operators of a state, read slot by slot; nobody where the registry is not there.
    ///
    /// # Errors
    /// What `storage` fails with.
    pub fn read<E>(mut storage: impl FnMut(U256) -> Result<U256, E>) -> Result<Self, E> {
        let count = storage(U256::from(ACTIVE))?.saturating_to::<usize>().min(OPERATORS_MAX);
        let first = first_operator();
        let operators = (0..count).map(|at| Ok(address(storage(first.wrapping_add(U256::from(at)))?)));
        Ok(Self::new(operators.collect::<Result<Vec<_>, E>>()?))
    }
}

/// The registry's storage with these operators, all of whom serve these models.
pub(crate) fn genesis_storage(operators: &[GenesisOperator], models: &[ModelId]) -> Vec<(B256, B256)> {
    let mut storage = Vec::new();
    if operators.is_empty() {
        return storage;
    }
    let count = B256::from(U256::from(operators.len()));
    storage.extend([(slot(ACTIVE), count), (slot(STAKED), count)]);
    for (at, operator) in operators.iter().enumerate() {
        let word: B256 = operator.address.into_word();
        storage.push((first_operator().wrapping_add(U256::from(at)).into(), word));
        let account = mapped(word, slot(ALL));
        let packed: U256 = U256::from(GENESIS_STAKE_WEI) | U256::from(at + 1) << 192;
        storage.push((account, packed.into()));
        storage.push((next(account), short_string(&operator.endpoint)));
        let serves = mapped(word, slot(SERVES));
        storage.extend(models.iter().map(|model| (mapped(*model, serves), B256::with_last_byte(1))));
    }
    storage
}

fn slot(number: u64) -> B256 {
    U256::from(number).into()
}

fn next(slot: B256) -> B256 {
    U256::from_be_bytes(slot.0).wrapping_add(U256::ONE).into()
}

fn first_operator() -> U256 {
    keccak256(slot(ACTIVE)).into()
}

fn mapped(key: B256, mapping: B256) -> B256 {
    keccak256([key, mapping].concat())
}

fn address(word: U256) -> Address {
    Address::from_word(word.into())
}

/// Solidity's form of a string of up to 31 bytes: the bytes, then twice the length in the last byte.
fn short_string(text: &str) -> B256 {
    let mut end = text.len().min(GENESIS_ENDPOINT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut word = B256::right_padding_from(&text.as_bytes()[..end]);
    word.0[31] = 2 * end as u8;
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn what_genesis_writes_is_read_back() {
        let operators: Vec<_> = [3u8, 1, 2]
            .map(|byte| GenesisOperator { address: Address::repeat_byte(byte), endpoint: "in this node".into() })
            .into();
        let storage: HashMap<_, _> = genesis_storage(&operators, &[B256::ZERO]).into_iter().collect();
        let read = |key: U256| Ok::<U256, ()>(storage.get(&B256::from(key)).copied().unwrap_or_default().into());
        let expected = Committee::new(operators.iter().map(|operator| operator.address));
        assert_eq!(Committee::read(read), Ok(expected));
        assert_eq!(Committee::read(|_| Ok::<_, ()>(U256::ZERO)), Ok(Committee::new([])), "no registry, nobody");
    }

    #[test]
    fn a_length_that_the_registry_cannot_have_written_is_bounded() {
        let mut reads = 0;
        let committee = Committee::read(|_| {
            reads += 1;
            Ok::<_, ()>(U256::MAX - U256::from(reads))
        });
        assert!(committee.unwrap().operators().len() <= OPERATORS_MAX && reads == 1 + OPERATORS_MAX);
    }
}
