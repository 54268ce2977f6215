//! Gas of the precompile: a function of the model and of input and output sizes only, never of hit, miss, batch or
//! device. What a run costs is multiplied by the block's price of inference gas ([`crate::price`]).

/// Every call: dispatch, one lookup by request id and the request id's own hash. Equal to `ECRECOVER`'s 3,000, since an
/// outcome's certificate is checked by one recovery per signer when a block is verified.
pub const BASE: u64 = 3_000;

/// Each started 32-byte word of `input`: `KECCAK256`'s 6 for the request id, 3 for the copy that reads it (both Yellow
/// Paper, appendix G), 3 for the canonical check.
pub const INPUT_WORD: u64 = 12;

/// Each started 32-byte word of returned `output`: `KECCAK256`'s 6 for the outcome's hash, 3 for the copy, and 128 for
/// the bytes that the block carries, at EIP-2028's 4 gas for a zero byte (a WAD number is mostly sign extension).
pub const OUTPUT_WORD: u64 = 137;

/// Each started word of a fallback or other data that is only copied.
pub const COPY_WORD: u64 = 3;

/// First read in a transaction of a model's registry slot, and of the price's (EIP-2929 `COLD_SLOAD_COST`).
pub const COLD_SLOT: u64 = 2_100;

/// Later reads of them (EIP-2929 `WARM_STORAGE_READ_COST`).
pub const WARM_SLOT: u64 = 100;

/// Part of every run, whatever the model: scheduling, dispatch and signing at the operators.
pub const RUN_BASE: u64 = 2_000;

/// Multiply-adds bought by one gas. A core does about 25 of them a nanosecond and a gas pays for about 10 ns of
/// execution, so 250 would buy the time of the builder's core; operators run beside the block, eight deep.
pub const MULTIPLY_ADDS_PER_GAS: u64 = 2_000;

/// Bytes moved that are bought by one gas, by the same reckoning at 12 GB/s.
pub const BYTES_PER_GAS: u64 = 1_000;

/// Tokens of a prompt that cost as much as one of an answer: a prompt is read many tokens at a time.
pub const PROMPT_TOKENS_PER_TOKEN: u64 = 4;

/// Most tokens of an answer that a call pays for: what asks for more fails. No token is less than a byte of the answer.
pub const ANSWER_TOKENS_MAX: u64 = 5_120;

/// Gas of one run of a model, as `ModelRegistry.gasPerRun` computes it too.
pub const fn per_run(multiply_adds: u64, bytes_moved: u64) -> u64 {
    RUN_BASE + multiply_adds.div_ceil(MULTIPLY_ADDS_PER_GAS) + bytes_moved.div_ceil(BYTES_PER_GAS)
}

/// `per_word` for each started word of `len` bytes.
pub const fn words(len: usize, per_word: u64) -> u64 {
    (len as u64).div_ceil(32).saturating_mul(per_word)
}
