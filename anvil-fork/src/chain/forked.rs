//! The first block of a chain that goes on from another's: that block, with Foreblock's accounts in its state.

use super::{Account, Block, Genesis, GenesisError, Ledger, Spec, World};
use crate::fork::{Origin, Replay, Upstream, UpstreamError};
use alloy_primitives::{Address, KECCAK256_EMPTY};
use foreblock_precompile::genesis::CONTRACT_NONCE;
use revm::bytecode::Bytecode;
use std::sync::Arc;

/// A chain that has just been forked.
#[derive(Debug)]
pub struct Forked {
    /// The fork block, and all that was on the chain before it.
    pub ledger: Ledger,
    /// The rules of the forked chain, if it is a public one; else those given.
    pub spec: Spec,
    /// What has to be built first.
    pub replay: Option<Replay>,
}

impl Genesis {
    /// Puts what would be in the first block on top of another chain's block instead. The accounts' other fields stay what
    /// they are there.
    pub fn on(&self, origin: Origin, spec: Spec) -> Result<Forked, GenesisError> {
        let Origin { upstream, header, hash, replay } = origin;
        let world = self.overlay(&upstream)?;
        // The upstream's hash, whatever else its header has.
        let block = Block { hash, ..Block::first(header, world) };
        Ok(Forked { ledger: Ledger::forking(block, Arc::new(upstream)), spec, replay })
    }

    fn overlay(&self, upstream: &Upstream) -> Result<World, GenesisError> {
        let contracts = self.inference_contracts();
        let deployer = self.create2_deployer.then_some(super::genesis::CREATE2_DEPLOYER);
        let funded = self.funded.iter().map(|(address, _)| *address);
        let addresses: Vec<Address> =
            contracts.iter().map(|contract| contract.address).chain(funded).chain(deployer).collect();
        upstream.prefetch(&addresses)?;

        let mut world = World::default();
        for contract in contracts {
            let code = Bytecode::new_raw(contract.code);
            let remote = upstream.account(contract.address)?;
            if remote.code_hash != KECCAK256_EMPTY && remote.code_hash != code.hash_slow() {
                return Err(Arc::new(UpstreamError::Occupied(contract.address)).into());
            }
            let mut account = known(upstream, contract.address)?;
            account.code_hash = world.put_code(code);
            account.nonce = account.nonce.max(CONTRACT_NONCE);
            account.balance = account.balance.max(contract.balance);
            contract.storage.into_iter().for_each(|(key, value)| account.set_slot(key.into(), value.into()));
            world.put(account);
        }
        if let Some(deployer) = deployer
            && upstream.account(deployer)?.code_hash == KECCAK256_EMPTY
        {
            let mut account = known(upstream, deployer)?;
            account.code_hash = world.put_code(Bytecode::new_raw(super::genesis::CREATE2_DEPLOYER_CODE));
            account.nonce = account.nonce.max(CONTRACT_NONCE);
            world.put(account);
        }
        for (address, balance) in &self.funded {
            let mut account = known(upstream, *address)?;
            account.balance = *balance;
            world.put(account);
        }
        self.put_alloc(&mut world)?;
        Ok(world)
    }
}

/// The account as it is on the forked chain, whose storage only that chain knows.
fn known(upstream: &Upstream, address: Address) -> Result<Account, GenesisError> {
    let remote = upstream.account(address)?;
    Ok(Account {
        nonce: remote.nonce,
        balance: remote.balance,
        code_hash: remote.code_hash,
        storage_known: false,
        ..Account::new(address)
    })
}
