//! `anvil_impersonateSignature`: signatures that `ecrecover` finds to be of whom the user says.

use alloy_evm::precompiles::{DynPrecompile, Precompile, PrecompileInput, PrecompilesMap};
use alloy_primitives::{Address, B256, Bytes, map::HashMap};
use parking_lot::RwLock;
use revm::precompile::{PrecompileId, PrecompileResult, PrecompileStatus, u64_to_address};
use std::sync::Arc;

/// `r`, `s` and `v`, the last as 27 or 28.
type Key = [u8; 65];

/// Signatures with whose they are.
#[derive(Clone, Debug, Default)]
pub struct Signatures(Arc<RwLock<HashMap<Key, Address>>>);

impl Signatures {
    /// From now on, `signature` is of `address`, whatever was signed.
    pub fn impersonate(&self, mut signature: Key, address: Address) {
        if signature[64] < 27 {
            signature[64] += 27;
        }
        self.0.write().insert(signature, address);
    }

    /// Wraps the precompile that recovers signers, if anybody is impersonated.
    pub fn install(&self, precompiles: &mut PrecompilesMap) {
        if self.0.read().is_empty() {
            return;
        }
        let signatures = self.clone();
        precompiles.apply_precompile(&u64_to_address(1), |original| {
            let original = original?;
            Some(DynPrecompile::new_stateful(PrecompileId::EcRec, move |input| signatures.recover(&original, input)))
        });
    }

    /// Gas is that of the precompile, and so is the answer for everything else.
    fn recover(&self, original: &DynPrecompile, input: PrecompileInput<'_>) -> PrecompileResult {
        let signer = key(input.data).and_then(|key| self.0.read().get(&key).copied());
        let mut output = original.call(input)?;
        if let Some(signer) = signer.filter(|_| output.status == PrecompileStatus::Success) {
            output.bytes = Bytes::from(B256::left_padding_from(signer.as_slice()));
        }
        Ok(output)
    }
}

/// The signature in the precompile's input: hash, `v` as a word, `r`, `s`.
fn key(input: &[u8]) -> Option<Key> {
    let mut key = [0; 65];
    key[..64].copy_from_slice(input.get(64..128)?);
    key[64] = *input.get(63)?;
    Some(key)
}
