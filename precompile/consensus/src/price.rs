//! The price of inference gas, in execution gas: a second base fee.
//!
//! It moves as EIP-4844's blob base fee does: the *excess* of past blocks over a target sets it, by an exponential, and a
//! block raises it by at most an eighth. Its floor is one execution gas for one inference gas, for EIP-7918's reason:
//! inference never costs less than the execution that it replaces. It is charged by the precompile as gas, so that a
//! transaction still has one `maxFeePerGas`.
//!
//! The excess stands in storage slot 1 of `ModelRegistry`. As with EIP-4788, a system call at the start of each block
//! updates it, from what the block before ran: any node derives it, and the precompile reads it as an `SLOAD`.
//! `InferencePrice.sol` holds the same numbers.

use crate::abi::IModelRegistry;
use alloy_primitives::{Address, Bytes, U256, address};
use alloy_sol_types::SolCall;

/// Inference gas a block that leaves the price as it is: 60 G multiply-adds, about three seconds of one core.
pub const TARGET: u64 = 30_000_000;

/// What a block counts at most. One block then moves the excess by at most [`TARGET`].
pub const COUNTED_MAX: u64 = 2 * TARGET;

/// `TARGET / ln(1.125)`, rounded up: a full block raises the price by at most an eighth, as EIP-1559 and EIP-4844 do.
pub const UPDATE_FRACTION: u64 = 254_710_000;

/// At twenty fractions the price is e^20: nobody buys, and no sum below overflows.
pub const EXCESS_MAX: u64 = 20 * UPDATE_FRACTION;

/// The price's unit: a millionth of an execution gas for one inference gas.
pub const ONE: u64 = 1_000_000;

/// Storage slot of the excess in `ModelRegistry`.
pub const EXCESS_SLOT: U256 = U256::ONE;

/// Caller of system calls (EIP-4788).
pub const SYSTEM_ADDRESS: Address = address!("0xfffffffffffffffffffffffffffffffffffffffe");

/// Calldata of the system call to `ModelRegistry` at the start of a block whose parent ran `inference_gas`: the sum of
/// `gasPerRun` over the parent's inference list, each request once.
pub fn start_block_call(inference_gas: u64) -> Bytes {
    IModelRegistry::startBlockCall { inferenceGas: U256::from(inference_gas) }.abi_encode().into()
}

/// The excess after a block that ran `inference_gas`.
pub const fn next_excess(excess: u64, inference_gas: u64) -> u64 {
    let counted = if inference_gas < COUNTED_MAX { inference_gas } else { COUNTED_MAX };
    let next = excess.saturating_add(counted).saturating_sub(TARGET);
    if next < EXCESS_MAX { next } else { EXCESS_MAX }
}

/// Millionths of an execution gas for one inference gas: `ONE * e^(excess / UPDATE_FRACTION)`, by EIP-4844's
/// `fake_exponential`. An excess above [`EXCESS_MAX`], which no block makes, counts as that.
pub const fn price(excess: u64) -> u64 {
    let excess = if excess < EXCESS_MAX { excess } else { EXCESS_MAX } as u128;
    let fraction = UPDATE_FRACTION as u128;
    let mut output = 0u128;
    let mut term = ONE as u128 * fraction;
    let mut i = 1u128;
    while term > 0 {
        output += term;
        term = term * excess / (fraction * i);
        i += 1;
    }
    (output / fraction) as u64
}

/// Execution gas for `inference_gas` at this excess, rounded up.
pub const fn execution_gas(inference_gas: u64, excess: u64) -> u64 {
    let gas = (inference_gas as u128 * price(excess) as u128).div_ceil(ONE as u128);
    if gas > u64::MAX as u128 { u64::MAX } else { gas as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_moves_by_at_most_an_eighth_and_never_falls_below_one() {
        assert_eq!(price(0), ONE);
        assert_eq!(price(next_excess(0, u64::MAX)), 1_124_997, "as InferencePrice.t.sol has it");
        let mut excess = 0;
        for _ in 0..300 {
            let next = next_excess(excess, u64::MAX);
            assert!(price(next) as u128 * 1_000 <= price(excess) as u128 * 1_125 + 1_000, "at {excess}");
            assert!(next >= excess);
            excess = next;
        }
        assert_eq!((excess, price(excess) / ONE), (EXCESS_MAX, 485_165_195));
        while excess > 0 {
            let next = next_excess(excess, 0);
            assert!(next < excess && price(next) >= ONE);
            excess = next;
        }
        assert_eq!(next_excess(0, TARGET), 0);
    }

    #[test]
    fn gas_is_rounded_up_and_cannot_overflow() {
        for (name, inference_gas, excess, expected) in [
            ("floor", 2_001, 0, 2_001),
            ("one full block", 1_000_000, TARGET, 1_124_997),
            ("rounded up", 1, TARGET, 2),
            ("nothing", 0, EXCESS_MAX, 0),
            ("absurd", u64::MAX, EXCESS_MAX, u64::MAX),
        ] {
            assert_eq!(execution_gas(inference_gas, excess), expected, "{name}");
        }
    }
}
