//! What consensus reads of the tensors of text models: for how many tokens a call pays in advance, and how many there were.
//!
//! A request's first tensor is `parameters`, `Int[7]`, whose first element is the most tokens of the answer and whose last
//! the most of the prompt; an output's first tensor is `facts`, `Int[4]`, whose third and fourth are the tokens of prompt
//! and answer. Both stand at a fixed place, since `abi.encode(Tensor[])` has one form.

use crate::{Outcome, gas, input::is_first_ints};

const WORD: usize = 32;
/// Elements of `parameters`.
const PARAMETERS: usize = 7;
const ANSWER_TOKENS_MAX: usize = 0;
const PROMPT_TOKENS_MAX: usize = 6;
/// Elements of `facts`.
const FACTS: usize = 4;
const PROMPT_TOKENS: usize = 2;
const ANSWER_TOKENS: usize = 3;

/// Tokens that a request pays for in advance; `None` where its first tensor is not `Int[7]`. Each of the prompt costs
/// [`gas::PROMPT_TOKENS_PER_TOKEN`] times less than one of the answer.
pub(crate) fn reserved(input: &[u8]) -> Option<u64> {
    let answer = number(input, PARAMETERS, ANSWER_TOKENS_MAX)?.min(gas::ANSWER_TOKENS_MAX);
    Some(prompt_reserved(input)? + answer)
}

/// What is paid for the prompt: the most tokens that the request allows, which are never more than the input has bytes.
fn prompt_reserved(input: &[u8]) -> Option<u64> {
    Some(prompt(number(input, PARAMETERS, PROMPT_TOKENS_MAX)?.min(input.len() as u64)))
}

/// Tokens that are kept of those paid for in advance: a failure keeps the prompt's.
pub(crate) fn used(input: &[u8], outcome: &Outcome) -> u64 {
    let reserved = reserved(input).unwrap_or(0);
    let used = match outcome {
        Outcome::Failed(_) => prompt_reserved(input),
        Outcome::Output(output) => number(output, FACTS, PROMPT_TOKENS)
            .zip(number(output, FACTS, ANSWER_TOKENS))
            .map(|(read, written)| prompt(read).saturating_add(written)),
    };
    used.map_or(reserved, |used| used.min(reserved))
}

fn prompt(tokens: u64) -> u64 {
    tokens.div_ceil(gas::PROMPT_TOKENS_PER_TOKEN)
}

/// An element of the first tensor, where that is an `Int` vector of `length`; what does not fit 64 bits, a negative number
/// too, is the largest that does.
fn number(tensors: &[u8], length: usize, index: usize) -> Option<u64> {
    let data = is_first_ints(tensors, length)?;
    let word = tensors.get(data + index * WORD..data + (index + 1) * WORD)?;
    let (high, low) = word.split_at(WORD - 8);
    let fits = high.iter().all(|byte| *byte == 0);
    Some(if fits { u64::from_be_bytes(low.try_into().ok()?) } else { u64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, FailureCode};
    use alloy_primitives::{I256, U256};

    /// `abi.encode(Tensor[])` of one `Int` vector.
    fn ints(values: &[i64]) -> Vec<u8> {
        let head = [32, 1, 32, 1, 96, 160, 1, values.len() as u64, 32 * values.len() as u64];
        let words = head.iter().map(|word| U256::from(*word));
        let values = values.iter().map(|value| I256::try_from(*value).unwrap().into_raw());
        words.chain(values).flat_map(|word| word.to_be_bytes::<32>()).collect()
    }

    #[test]
    fn the_answer_is_paid_for_in_advance_and_the_rest_comes_back() {
        let input = ints(&[100, 0, 0, 0, 0, 0, 50]);
        assert_eq!(crate::check_input(&input), Ok(()));
        assert_eq!(reserved(&input), Some(13 + 100));
        let output = Outcome::Output(ints(&[0, 0, 41, 7]).into());
        assert_eq!(used(&input, &output), 11 + 7);
        let failed = Outcome::Failed(Failure::new(FailureCode::InvalidText, "empty"));
        assert_eq!(used(&input, &failed), 13);
    }

    #[test]
    fn no_prompt_is_paid_for_beyond_the_bytes_that_were_sent() {
        let bytes = ints(&[0; PARAMETERS]).len() as u64;
        for (most, paid) in [(0, 0), (1, 1), (bytes as i64 - 1, bytes - 1), (i64::MAX, bytes), (-1, bytes)] {
            let input = ints(&[7, 0, 0, 0, 0, 0, most]);
            assert_eq!(reserved(&input), Some(paid.div_ceil(4) + 7), "{most}");
        }
    }

    #[test]
    fn nothing_costs_more_than_was_paid() {
        let input = ints(&[3, 0, 0, 0, 0, 0, 9]);
        for output in [ints(&[0, 0, i64::MAX, i64::MAX]), ints(&[0, 0, -1, -1]), ints(&[1]), vec![]] {
            assert_eq!(Some(used(&input, &Outcome::Output(output.into()))), reserved(&input));
        }
        for parameters in [ints(&[-1, 0, 0, 0, 0, 0, 8]), ints(&[i64::MAX, 0, 0, 0, 0, 0, 8])] {
            assert_eq!(reserved(&parameters), Some(2 + gas::ANSWER_TOKENS_MAX));
        }
        for other in [ints(&[1, 2]), ints(&[1; PARAMETERS - 1]), vec![], vec![0; 64]] {
            assert_eq!(reserved(&other), None);
        }
    }
}
