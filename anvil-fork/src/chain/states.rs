//! States of past blocks in a file: each as what it changes of the one before.

use super::{Account, Block, DumpError, View, World, world::Slot};
use alloy_primitives::{Address, B256, Bytes, U256, map::AddressMap};
use revm::bytecode::Bytecode;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What a state changes; `None` is an account that is gone.
type Changes = BTreeMap<Address, Option<AccountChange>>;

/// The two states of a block.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct StatesFile {
    before: Changes,
    after: Changes,
}

#[derive(Debug, Deserialize, Serialize)]
struct AccountChange {
    nonce: u64,
    balance: U256,
    storage_known: bool,
    /// Whether nothing stays of what was there.
    #[serde(default)]
    whole: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<Bytes>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    storage: BTreeMap<B256, B256>,
}

/// The states of these blocks, oldest first, as far as they are kept: those after a gap are not, since each needs the one
/// before.
pub(super) fn write<'a>(
    blocks: impl Iterator<Item = &'a Arc<Block>>,
    view: &View,
) -> Result<Vec<StatesFile>, DumpError> {
    let (mut last, mut files) = (World::default(), Vec::new());
    for block in blocks.take_while(|block| block.states_kept) {
        let before = changes(&last, &block.before, view)?;
        let after = changes(&block.before, &block.world, view)?;
        files.push(StatesFile { before, after });
        last = block.world.clone();
    }
    Ok(files)
}

/// Gives blocks the states of a file.
pub(super) fn read(files: Vec<StatesFile>, blocks: &mut [Block]) -> Result<(), DumpError> {
    let mut world = World::default();
    for (file, block) in files.into_iter().zip(blocks) {
        apply(&mut world, file.before)?;
        block.before = world.clone();
        apply(&mut world, file.after)?;
        block.world = world.clone();
        block.states_kept = true;
    }
    Ok(())
}

fn changes(older: &World, newer: &World, view: &View) -> Result<Changes, DumpError> {
    let (gone, there) = newer.differences(older);
    let mut old: AddressMap<&Account> = gone.into_iter().map(|account| (account.address, account)).collect();
    let mut changes = Changes::new();
    for account in there {
        let change = account_change(old.remove(&account.address), account, newer, view)?;
        changes.insert(account.address, Some(change));
    }
    changes.extend(old.into_keys().map(|address| (address, None)));
    Ok(changes)
}

fn account_change(
    old: Option<&Account>,
    new: &Account,
    world: &World,
    view: &View,
) -> Result<AccountChange, DumpError> {
    let mut storage: BTreeMap<B256, B256> = BTreeMap::new();
    let mut put = |slot: &Slot, value: U256| {
        storage.insert(slot.key.into(), value.into());
    };
    if let Some(old) = old {
        let (gone, there) = new.storage.differences(&old.storage);
        gone.into_iter().for_each(|slot| put(slot, U256::ZERO));
        there.into_iter().for_each(|slot| put(slot, slot.value));
    } else {
        new.storage.values().for_each(|slot| put(slot, slot.value));
    }
    let same_code = old.is_some_and(|old| old.code_hash == new.code_hash);
    let code = || match world.code(&new.code_hash) {
        Some(code) => Ok(code),
        None => view.code_of(new.address, new.code_hash),
    };
    Ok(AccountChange {
        nonce: new.nonce,
        balance: new.balance,
        storage_known: new.storage_known,
        whole: old.is_none(),
        code: if same_code { None } else { Some(code()?.original_bytes()) },
        storage,
    })
}

fn apply(world: &mut World, changes: Changes) -> Result<(), DumpError> {
    for (address, change) in changes {
        let Some(change) = change else {
            world.remove(&address);
            continue;
        };
        let known = world.account(&address).filter(|_| !change.whole).cloned();
        let mut account = known.unwrap_or_else(|| Account::new(address));
        account.nonce = change.nonce;
        account.balance = change.balance;
        account.storage_known = change.storage_known;
        if let Some(code) = change.code {
            let code = Bytecode::new_raw_checked(code).map_err(|error| DumpError::Code(address, error.to_string()))?;
            account.code_hash = world.put_code(code);
        }
        change.storage.into_iter().for_each(|(key, value)| account.set_slot(key.into(), value.into()));
        world.put(account);
    }
    Ok(())
}
