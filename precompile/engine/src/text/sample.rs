//! Choosing a token, in integers only.
//!
//! Logits become integers of 1/65,536 once; equal logits are ordered by token id. Sampling weighs each token by
//! `2^(-d * log2(e) / temperature)`, with `d` its distance from the likeliest, in fixed point; draws are
//! `keccak256(key ‖ number of the token)`, so a draw depends on the request and its place in the answer only.

use std::{cmp::Reverse, collections::BinaryHeap};

use alloy_primitives::{B256, Keccak256, keccak256};

use super::request::TextRequest;

/// Fractional bits of canonical logits and of the temperature.
const LOGIT_BITS: u32 = 16;
/// `log2(e)` with 32 fractional bits.
const LOG2_E: u128 = 6_196_328_019;
/// The weight of the likeliest token; one too far away from it has none.
const WEIGHT_BITS: u32 = 40;
/// Bits of the fraction that a power of two is computed from.
const FRACTION_BITS: usize = 24;
const WAD: u128 = 1_000_000_000_000_000_000;

/// How tokens are chosen.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    /// In 1/65,536; 0 is greedy.
    temperature: u128,
    top_k: usize,
    top_p_wad: u128,
    key: B256,
}

/// A token that may be chosen, with its canonical logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) token: u32,
    pub(super) logit: i64,
}

/// A logit in 1/65,536, to nearest, ties to even. Logits are finite: a run whose outputs are not is a failure.
pub(super) fn canonical(logit: f32) -> i64 {
    // A product by a power of two is exact in doubles, and `as` saturates.
    (f64::from(logit) * f64::from(1u32 << LOGIT_BITS)).round_ties_even() as i64
}

impl Sampler {
    /// The sampler of a request. `input` is all that the contract sent, so that no two questions share their draws.
    pub(super) fn new(request: &TextRequest, input: &[u8]) -> Self {
        let wad = request.temperature_wad as u128;
        let nearest = ((wad << LOGIT_BITS) + WAD / 2) / WAD;
        let mut hasher = Keccak256::new();
        hasher.update(b"foreblock/draw/v1");
        hasher.update(keccak256(input));
        Self {
            // What rounds to nothing still samples, at the least temperature there is.
            temperature: if wad == 0 { 0 } else { nearest.max(1) },
            top_k: request.top_k as usize,
            top_p_wad: request.top_p_wad as u128,
            key: hasher.finalize(),
        }
    }

    /// The token chosen at place `place` of the answer; `None` where there is no candidate.
    pub(super) fn choose(&self, candidates: Vec<Candidate>, place: u64) -> Option<u32> {
        let best = *candidates.iter().reduce(|best, other| if before(other, best) { other } else { best })?;
        if self.temperature == 0 || self.top_k == 1 {
            return Some(best.token);
        }
        let weighed = candidates.into_iter().map(|candidate| (candidate, self.weight(&best, &candidate)));
        let weighed: Vec<Weighed> = weighed.filter(|(_, weight)| *weight > 0).map(Weighed::new).collect();
        let mut total: u128 = weighed.iter().map(|weighed| u128::from(weighed.weight)).sum();
        let mut ranking = Ranking { taken: Vec::new(), rest: weighed.into() };
        if self.top_k > 0 {
            total = ranking.keep(self.top_k);
        }
        // The likeliest that reach the share of top-p; all of them, where that is 1.
        let wanted = (total * self.top_p_wad).div_ceil(WAD);
        if wanted < total {
            let mut place = 0;
            total = 0;
            while total < wanted {
                total += u128::from(ranking.at(place)?.weight);
                place += 1;
            }
        }
        let (mut drawn, mut place) = ((u128::from(self.draw(place)) * total) >> 64, 0);
        loop {
            let Weighed { token, weight, .. } = *ranking.at(place)?;
            match drawn.checked_sub(u128::from(weight)) {
                Some(rest) => drawn = rest,
                None => return Some(token.0),
            }
            place += 1;
        }
    }

    fn weight(&self, best: &Candidate, candidate: &Candidate) -> u64 {
        let distance = best.logit.abs_diff(candidate.logit).min(1 << 48);
        // Nearly all distances are short, and 64 bits divide several times faster.
        let share = match (u32::try_from(distance), u64::try_from(self.temperature)) {
            (Ok(distance), Ok(temperature)) => ((u64::from(distance) << 32) / temperature).into(),
            _ => (u128::from(distance) << 32) / self.temperature,
        };
        let exponent = (share * LOG2_E) >> 32;
        match u32::try_from(exponent >> 32) {
            Ok(whole) if whole <= WEIGHT_BITS => half_power(exponent as u32) >> whole,
            _ => 0,
        }
    }

    fn draw(&self, place: u64) -> u64 {
        let mut hasher = Keccak256::new();
        hasher.update(self.key);
        hasher.update(place.to_be_bytes());
        u64::from_be_bytes(hasher.finalize()[..8].try_into().expect("8 of 32 bytes"))
    }
}

/// A candidate with its weight, ordered by logit, equal ones by token: the likeliest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Weighed {
    logit: i64,
    token: Reverse<u32>,
    weight: u64,
}

impl Weighed {
    fn new((candidate, weight): (Candidate, u64)) -> Self {
        Self { logit: candidate.logit, token: Reverse(candidate.token), weight }
    }
}

/// Candidates from the likeliest on, as far as they are asked for: a draw seldom goes far, and sorting all of a large vocabulary
/// takes longer than the rest.
struct Ranking {
    taken: Vec<Weighed>,
    rest: BinaryHeap<Weighed>,
}

impl Ranking {
    fn at(&mut self, place: usize) -> Option<&Weighed> {
        while self.taken.len() <= place {
            self.taken.push(self.rest.pop()?);
        }
        self.taken.get(place)
    }

    /// Forgets all but the first `count`; the weight of those.
    fn keep(&mut self, count: usize) -> u128 {
        self.at(count - 1);
        self.rest.clear();
        self.taken.iter().map(|weighed| u128::from(weighed.weight)).sum()
    }
}

/// Whether a token comes before another: the higher logit, or the lower id.
fn before(one: &Candidate, other: &Candidate) -> bool {
    (one.logit, other.token) > (other.logit, one.token)
}

/// `2^(-1/2), 2^(-1/4), …` with 62 fractional bits: each is the square root of the one before.
const ROOTS: [u128; FRACTION_BITS] = {
    let mut roots = [0; FRACTION_BITS];
    let mut root: u128 = 1 << 61;
    let mut i = 0;
    while i < FRACTION_BITS {
        root = (root << 62).isqrt();
        roots[i] = root;
        i += 1;
    }
    roots
};

/// `2^(40 - fraction / 2^32)`.
fn half_power(fraction: u32) -> u64 {
    let mut power: u128 = 1 << 62;
    for (bit, root) in ROOTS.iter().enumerate() {
        if fraction & (1 << (31 - bit)) != 0 {
            power = (power * root) >> 62;
        }
    }
    (power >> (62 - WEIGHT_BITS)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature_wad: i64, top_p_wad: i64, top_k: u32, input: &[u8]) -> Sampler {
        let request = TextRequest { temperature_wad, top_p_wad, top_k, ..TextRequest::new(vec![]) };
        Sampler::new(&request, input)
    }

    fn candidates(logits: &[f32]) -> Vec<Candidate> {
        logits.iter().zip(0..).map(|(logit, token)| Candidate { token, logit: canonical(*logit) }).collect()
    }

    const ONE: i64 = WAD as i64;

    #[test]
    fn equal_logits_are_ordered_by_token() {
        let greedy = sampler(0, ONE, 0, b"");
        assert_eq!(greedy.choose(candidates(&[1.0, 3.0, 3.0, 2.0]), 0), Some(1));
        let mut turned = candidates(&[1.0, 3.0, 3.0, 2.0]);
        turned.reverse();
        assert_eq!(greedy.choose(turned, 0), Some(1));
        assert_eq!(greedy.choose(vec![], 0), None);
    }

    #[test]
    fn logits_nearer_than_the_grid_are_equal() {
        assert_eq!(canonical(1.0), 65_536);
        assert_eq!(canonical(1.0 + f32::EPSILON), 65_536);
        assert_eq!(canonical(-0.5 / 65_536.0), 0, "ties to even");
        assert_eq!(canonical(f32::MAX), i64::MAX);
    }

    #[test]
    fn powers_are_those_of_two() {
        for (fraction, expected) in
            [(0, 1.0), (1u32 << 31, 0.5f64.sqrt()), (1 << 30, 0.5f64.powf(0.25)), (u32::MAX, 0.5)]
        {
            let got = half_power(fraction) as f64 / (1u64 << WEIGHT_BITS) as f64;
            assert!((got - expected).abs() < 1e-7, "{fraction}: {got}, expected {expected}");
        }
    }

    #[test]
    fn draws_follow_the_softmax() {
        let sampler = sampler(ONE / 2, ONE, 0, b"input");
        let logits = [0.0f32, 0.5, -1.0, 0.25];
        let weights: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) * 2.0).exp()).collect();
        let draws = 20_000;
        let mut counts = [0; 4];
        for place in 0..draws {
            counts[sampler.choose(candidates(&logits), place).unwrap() as usize] += 1;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            let expected = weight / weights.iter().sum::<f64>();
            let got = f64::from(*count) / draws as f64;
            assert!((got - expected).abs() < 0.015, "{counts:?}: {got}, expected {expected}");
        }
    }

    #[test]
    fn top_k_and_top_p_leave_the_rest_out() {
        let logits = [3.0f32, 2.9, 2.8, -4.0];
        let drawn = |sampler: &Sampler| -> std::collections::BTreeSet<u32> {
            (0..500).filter_map(|place| sampler.choose(candidates(&logits), place)).collect()
        };
        assert_eq!(drawn(&sampler(ONE, ONE, 2, b"x")), [0, 1].into());
        assert_eq!(drawn(&sampler(ONE, ONE / 10, 0, b"x")), [0].into());
        assert_eq!(drawn(&sampler(ONE, ONE / 2, 0, b"x")), [0, 1].into());
        assert_eq!(drawn(&sampler(ONE, ONE, 0, b"x")), [0, 1, 2].into(), "the fourth has a weight of 1 in 1,600");
        assert_eq!(drawn(&sampler(1, ONE, 0, b"x")), [0].into(), "hardly any temperature");
    }

    #[test]
    fn another_input_draws_otherwise() {
        let draws = |input: &[u8]| -> Vec<_> {
            let sampler = sampler(ONE, ONE, 0, input);
            (0..64).map(|place| sampler.choose(candidates(&[0.0; 8]), place)).collect()
        };
        assert_eq!(draws(b"one"), draws(b"one"));
        assert_ne!(draws(b"one"), draws(b"two"));
    }
}
