//! Adapters for contracts that were written for other systems, placed where those contracts look for them.
//!
//! The code is checked in, as that of the registries, and `cargo xtask contracts` rebuilds and compares it. Sources, and a
//! table of what maps and what cannot: `contracts/src/compat` and the README of `contracts`.

use alloy_primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use foreblock_precompile::{
    ModelId,
    genesis::{CONTRACT_NONCE, GenesisAccount},
};

/// A system whose contracts are to run unmodified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Compat {
    /// OpenGradient's inference contract, at 0x…F4.
    OpenGradient,
    /// Ritual's ONNX precompile, at 0x0800.
    Ritual,
}

impl Compat {
    /// Where the system's contracts call.
    pub fn address(self) -> Address {
        match self {
            Self::OpenGradient => address!("0x00000000000000000000000000000000000000F4"),
            Self::Ritual => address!("0x0000000000000000000000000000000000000800"),
        }
    }

    fn code(self) -> Bytes {
        let artifact = match self {
            Self::OpenGradient => include_str!("../../artifacts/OpenGradientAdapter.hex"),
            Self::Ritual => include_str!("../../artifacts/RitualAdapter.hex"),
        };
        hex::decode(artifact.trim()).expect("the artifact is hex").into()
    }

    /// The adapter as an account of the genesis block, which knows these models by name.
    pub fn account(self, names: &[(String, ModelId)]) -> GenesisAccount {
        let storage = names.iter().map(|(name, id)| (name_storage_key(name), *id)).collect();
        GenesisAccount {
            address: self.address(),
            code: self.code(),
            nonce: CONTRACT_NONCE,
            balance: U256::ZERO,
            storage,
        }
    }
}

/// Where `ModelNames` keeps a name: a mapping from the name's hash at slot 0.
fn name_storage_key(name: &str) -> B256 {
    let mut preimage = [0; 64];
    preimage[..32].copy_from_slice(keccak256(name).as_slice());
    keccak256(preimage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::b256;

    #[test]
    fn a_name_lies_where_solidity_keeps_it() {
        // cast index bytes32 $(cast keccak volatility) 0
        let expected = b256!("0x3f61c194d2168e2996506a9d3412b326c884eee4a67f2df9233a7b712182817b");
        assert_eq!(name_storage_key("volatility"), expected);
    }

    #[test]
    fn adapters_have_code_and_names() {
        for system in [Compat::OpenGradient, Compat::Ritual] {
            let account = system.account(&[("a".into(), B256::repeat_byte(1))]);
            assert!(account.code.len() > 1_000 && account.storage.len() == 1, "{system:?}");
        }
    }
}
