//! Accounts whose keys the node holds: made from a mnemonic, for development only.

use alloy_primitives::{Address, B256, U256};
use alloy_signer_local::{
    PrivateKeySigner,
    coins_bip39::{English, Mnemonic},
};
use rand::SeedableRng;
use std::collections::BTreeMap;

/// The mnemonic of every Ethereum devnet.
pub const TEST_MNEMONIC: &str = "test test test test test test test test test test test junk";

/// The path of BIP-44 to which the account's number is added.
pub const DERIVATION_PATH: &str = "m/44'/60'/0'/0/";

/// Keys that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// A phrase that is no mnemonic, or a path that is none.
    #[error(
        "mnemonic or derivation path is invalid: {0}; a mnemonic has 12, 15, 18, 21 or 24 words of the BIP-39 list"
    )]
    Mnemonic(String),
}

/// A new phrase of so many words.
pub fn random_phrase(words: usize) -> Result<String, AccountsError> {
    let drawn = Mnemonic::<English>::new_with_count(&mut rand::rngs::StdRng::from_entropy(), words);
    drawn.map(|drawn| drawn.to_phrase()).map_err(|error| AccountsError::Mnemonic(error.to_string()))
}

/// The phrase that anvil makes from a number.
pub fn seeded_phrase(seed: u64) -> String {
    Mnemonic::<English>::new(&mut rand::rngs::StdRng::seed_from_u64(seed)).to_phrase()
}

/// Accounts in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    order: Vec<Address>,
    signers: BTreeMap<Address, PrivateKeySigner>,
}

impl Accounts {
    /// The first `count` accounts of a mnemonic.
    pub fn from_mnemonic(phrase: &str, path: &str, count: u32) -> Result<Self, AccountsError> {
        let invalid = |error: &dyn std::fmt::Display| AccountsError::Mnemonic(error.to_string());
        let mnemonic = Mnemonic::<English>::new_from_phrase(phrase).map_err(|error| invalid(&error))?;
        // Stretching the phrase takes a millisecond, so it is done once: BIP-32 goes on from the master key.
        let master = mnemonic.master_key(None).map_err(|error| invalid(&error))?;
        let mut accounts = Self::default();
        for number in 0..count {
            let path = format!("{}/{number}", path.trim_end_matches('/'));
            let key = master.derive_path(path.as_str()).map_err(|error| invalid(&error))?;
            let key: &alloy_signer::k256::ecdsa::SigningKey = key.as_ref();
            accounts.add(PrivateKeySigner::from_signing_key(key.clone()));
        }
        Ok(accounts)
    }

    /// Adds a key.
    pub fn add(&mut self, signer: PrivateKeySigner) {
        let address = signer.address();
        if self.signers.insert(address, signer).is_none() {
            self.order.push(address);
        }
    }

    /// Addresses, in order.
    pub fn addresses(&self) -> &[Address] {
        &self.order
    }

    /// The key of an address.
    pub fn signer(&self, address: &Address) -> Option<&PrivateKeySigner> {
        self.signers.get(address)
    }

    /// Address and private key of each, in order.
    pub fn keys(&self) -> impl Iterator<Item = (Address, B256)> {
        self.order.iter().filter_map(|address| Some((*address, self.signers.get(address)?.to_bytes())))
    }
}

/// `ether` in wei.
pub fn wei(ether: u64) -> U256 {
    U256::from(ether) * U256::from(10).pow(U256::from(18))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{address, b256};

    #[test]
    fn the_test_mnemonic_gives_the_accounts_that_everybody_knows() {
        let accounts = Accounts::from_mnemonic(TEST_MNEMONIC, DERIVATION_PATH, 10).unwrap();
        let (first, key) = accounts.keys().next().unwrap();
        assert_eq!(first, address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
        assert_eq!(key, b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"));
        assert_eq!(accounts.addresses()[9], address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"));
        assert!(Accounts::from_mnemonic("test test", DERIVATION_PATH, 1).is_err());
    }
}
