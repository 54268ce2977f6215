//! What a transaction must be to enter the pool. Messages are geth's and anvil's, for clients match on them.

use super::Mining;
use crate::{
    chain::{StateError, Transaction},
    node::Node,
    pool::{PoolError, Pooled},
};
use alloy_consensus::{Transaction as _, TxEnvelope, TxType};
use alloy_primitives::{B256, U256};
use revm::primitives::hardfork::SpecId;

/// A transaction that the node does not take.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId {
        /// Of the transaction.
        have: u64,
        /// Of this chain.
        want: u64,
    },
    /// The account has sent one with this nonce.
    #[error("nonce too low")]
    NonceTooLow,
    /// No nonce can follow.
    #[error("nonce has max value")]
    NonceMax,
    /// More gas than a block has.
    #[error("intrinsic gas too high -- tx.gas_limit > env.block.gas_limit")]
    GasTooHigh,
    /// Less gas than the transaction costs before it does anything.
    #[error("intrinsic gas too low")]
    GasTooLow,
    /// Over the limit of EIP-7825.
    #[error("transaction gas limit {0} is greater than the cap (16777216)")]
    GasOverCap(u64),
    /// The sender cannot pay.
    #[error("Insufficient funds for gas * price + value")]
    InsufficientFunds,
    /// Below the lowest price taken.
    #[error("max fee per gas less than block base fee")]
    FeeTooLow,
    /// A tip above the fee.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFee,
    /// The fork has no such transactions.
    #[error("transaction type {0} not supported before hardfork {1}")]
    Type(u8, &'static str),
    /// Blobs missing or too many.
    #[error("{0}")]
    Blobs(String),
    /// An EIP-7702 transaction without authorizations.
    #[error("EIP-7702 transaction has no authorizations")]
    NoAuthorizations,
    /// The sender's account cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The pool refuses it.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Node {
    /// Takes a transaction into the pool and, if the miner is automatic, into a block.
    pub fn submit(&self, tx: Transaction) -> Result<B256, AdmitError> {
        self.check(&tx)?;
        let hash = *tx.tx_hash();
        let replaced = self.pool(|pool| pool.add(tx))?;
        let Some(pooled) = self.pool(|pool| pool.get(&hash).cloned()) else { return Ok(hash) };
        self.scout(&pooled, replaced.map(|old| old.hash));
        self.announce_arrival(&pooled);
        if self.settings().mining.is_auto()
            && let Err(error) = self.mine_ready()
        {
            tracing::error!(%error, "mining failed");
        }
        Ok(hash)
    }

    /// Hands a transaction to the pre-executor, with those behind it that it makes executable. One with a gap before it
    /// waits for the transaction that closes the gap.
    fn scout(&self, pooled: &Pooled, replaces: Option<B256>) {
        let sender = pooled.sender();
        let Ok(nonce) = self.nonce(sender) else { return };
        let following = self.pool(|pool| {
            if pool.next_nonce(sender, nonce) <= pooled.tx.nonce() {
                return Vec::new();
            }
            pool.following(sender, pooled.tx.nonce())
        });
        for (at, next) in following.iter().enumerate() {
            self.inference.submit(next, replaces.filter(|_| at == 0));
        }
    }

    fn check(&self, tx: &Transaction) -> Result<(), AdmitError> {
        let plan = self.plan();
        let spec = plan.env.cfg_env.spec;
        let block = &plan.env.block_env;
        check_type(tx, spec)?;
        let chain_id = self.chain_id();
        if let Some(have) = tx.chain_id().filter(|id| *id != chain_id) {
            return Err(AdmitError::ChainId { have, want: chain_id });
        }
        let account = self.view().account_or_empty(tx.signer())?;
        let (nonce, balance) = (account.nonce, account.balance);
        if tx.nonce() < nonce {
            return Err(AdmitError::NonceTooLow);
        }
        if tx.nonce() == u64::MAX {
            return Err(AdmitError::NonceMax);
        }
        if !self.config.no_block_gas_limit && tx.gas_limit() > block.gas_limit {
            return Err(AdmitError::GasTooHigh);
        }
        if tx.gas_limit() > plan.env.cfg_env.tx_gas_limit_cap.unwrap_or(u64::MAX)
            || (self.config.tx_gas_limit && spec >= SpecId::OSAKA && tx.gas_limit() > OSAKA_GAS_CAP)
        {
            return Err(AdmitError::GasOverCap(tx.gas_limit()));
        }
        if tx.gas_limit() < intrinsic_gas(tx, spec) {
            return Err(AdmitError::GasTooLow);
        }
        self.check_fees(tx, balance, block.basefee)?;
        check_blobs(tx, plan.env.cfg_env.max_blobs_per_tx)
    }

    fn check_fees(&self, tx: &Transaction, balance: U256, base_fee: u64) -> Result<(), AdmitError> {
        if tx.max_priority_fee_per_gas().is_some_and(|tip| tip > tx.max_fee_per_gas()) {
            return Err(AdmitError::TipAboveFee);
        }
        // A block is made at once, so what cannot pay for it would never come back to the sender as an error.
        if self.settings().mining == Mining::Auto && tx.max_fee_per_gas() < u128::from(base_fee) {
            return Err(AdmitError::FeeTooLow);
        }
        if self.config.balance_checks && balance < cost(tx) {
            return Err(AdmitError::InsufficientFunds);
        }
        Ok(())
    }
}

/// EIP-7825.
const OSAKA_GAS_CAP: u64 = 1 << 24;

/// The most that a transaction can take from its sender, wei.
fn cost(tx: &Transaction) -> U256 {
    let gas = U256::from(tx.gas_limit()).saturating_mul(U256::from(tx.max_fee_per_gas()));
    let blobs =
        U256::from(tx.blob_gas_used().unwrap_or(0)).saturating_mul(U256::from(tx.max_fee_per_blob_gas().unwrap_or(0)));
    gas.saturating_add(blobs).saturating_add(tx.value())
}

fn check_type(tx: &Transaction, spec: SpecId) -> Result<(), AdmitError> {
    let (since, name) = match tx.tx_type() {
        TxType::Legacy => return Ok(()),
        TxType::Eip2930 => (SpecId::BERLIN, "berlin"),
        TxType::Eip1559 => (SpecId::LONDON, "london"),
        TxType::Eip4844 => (SpecId::CANCUN, "cancun"),
        TxType::Eip7702 => (SpecId::PRAGUE, "prague"),
    };
    if spec < since {
        return Err(AdmitError::Type(tx.tx_type() as u8, name));
    }
    if tx.authorization_list().is_some_and(<[_]>::is_empty) {
        return Err(AdmitError::NoAuthorizations);
    }
    Ok(())
}

fn intrinsic_gas(tx: &Transaction, spec: SpecId) -> u64 {
    let (accounts, slots) = tx
        .access_list()
        .map_or((0, 0), |list| (list.0.len() as u64, list.0.iter().map(|item| item.storage_keys.len() as u64).sum()));
    let authorizations = tx.authorization_list().map_or(0, |list| list.len() as u64);
    let gas = revm::interpreter::gas::calculate_initial_tx_gas(
        spec,
        tx.input(),
        tx.is_create(),
        accounts,
        slots,
        authorizations,
        None,
    );
    gas.initial_total_gas().max(gas.floor_gas())
}

fn check_blobs(tx: &Transaction, blobs_max: Option<u64>) -> Result<(), AdmitError> {
    let TxEnvelope::Eip4844(signed) = tx.inner() else { return Ok(()) };
    let hashes = tx.blob_versioned_hashes().unwrap_or_default();
    if hashes.is_empty() {
        return Err(AdmitError::Blobs("blob transaction has no blobs".to_owned()));
    }
    if blobs_max.is_some_and(|max| hashes.len() as u64 > max) {
        return Err(AdmitError::Blobs(format!("too many blobs in transaction: have {}", hashes.len())));
    }
    let Some(with_blobs) = signed.tx().as_with_sidecar() else {
        return Err(AdmitError::Blobs("blob transaction has no sidecar: send it in its network form".to_owned()));
    };
    let settings = alloy_consensus::EnvKzgSettings::default();
    with_blobs.validate_blob(settings.get()).map_err(|error| AdmitError::Blobs(error.to_string()))
}
