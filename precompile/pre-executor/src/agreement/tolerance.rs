//! Agreement of a tolerance model: a quorum pairwise within eps, and its medoid.

use alloy_primitives::Address;

/// Largest committee that [`choose`] takes: the search visits at most 3^(n/3) sets (Moon and Moser, 1965).
pub const OPERATORS_MAX: usize = 31;

/// What one operator computed, before quantisation.
#[derive(Clone, Debug, PartialEq)]
pub struct RawAnswer {
    /// Who.
    pub operator: Address,
    /// For each output of the model, its elements.
    pub outputs: Vec<Vec<f64>>,
}

/// The answer that a quorum can sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index of the medoid among the answers.
    pub medoid: usize,
    /// Indices of all answers in the set, ascending.
    pub set: Vec<usize>,
}

/// Whether two answers have the same form and differ by at most eps in every element; `tolerances` holds eps for each
/// output. This is also what an operator checks before it signs a proposal: is it within eps of what I computed?
pub fn within(one: &RawAnswer, other: &RawAnswer, tolerances: &[f64]) -> bool {
    distance(one, other, tolerances).is_some()
}

/// Largest difference in units of eps, if it is at most one.
fn distance(one: &RawAnswer, other: &RawAnswer, tolerances: &[f64]) -> Option<f64> {
    if one.outputs.len() != tolerances.len() || other.outputs.len() != tolerances.len() {
        return None;
    }
    let mut largest = 0.0f64;
    for ((one, other), eps) in one.outputs.iter().zip(&other.outputs).zip(tolerances) {
        if one.len() != other.len() {
            return None;
        }
        for (a, b) in one.iter().zip(other) {
            let difference = (a - b).abs();
            if difference.is_nan() || difference > *eps {
                return None;
            }
            largest = largest.max(if difference == 0.0 { 0.0 } else { difference / eps });
        }
    }
    Some(largest)
}

/// The largest set of answers pairwise within eps, if it reaches `quorum`, and its medoid: the answer whose distances to
/// the others of the set add up to least. Ties go to the set, and the answer, of the lowest addresses, so the choice does
/// not depend on the order of `answers`. Of several answers by one operator none counts.
///
/// With f faulty of 3f+1 operators and a quorum of 2f+1, at least f+1 members of the set are honest, so the medoid lies
/// within eps of what f+1 honest operators computed, whoever computed it.
pub fn choose(answers: &[RawAnswer], tolerances: &[f64], quorum: usize) -> Option<Choice> {
    let mut order: Vec<usize> = (0..answers.len()).collect();
    order.sort_by_key(|index| answers[*index].operator);
    let repeated =
        |index: &usize| answers.iter().filter(|other| other.operator == answers[*index].operator).count() > 1;
    order.retain(|index| !repeated(index));
    if order.len() > OPERATORS_MAX || quorum == 0 {
        return None;
    }
    let close: Vec<u32> = order
        .iter()
        .map(|one| {
            let near = |other: &&usize| *other != one && within(&answers[*one], &answers[**other], tolerances);
            let bits = order.iter().enumerate().filter(|(_, other)| near(other)).map(|(bit, _)| 1u32 << bit);
            bits.fold(0, |set, bit| set | bit)
        })
        .collect();
    // An answer that is not within eps of itself holds NaN.
    let sane = |bit: &usize| within(&answers[order[*bit]], &answers[order[*bit]], tolerances);
    let all = (0..order.len()).filter(sane).fold(0u32, |set, bit| set | 1 << bit);

    let mut best = 0u32;
    largest_clique(&close, 0, all, 0, &mut best);
    if (best.count_ones() as usize) < quorum {
        return None;
    }
    let members: Vec<usize> = (0..order.len()).filter(|bit| best >> bit & 1 == 1).map(|bit| order[bit]).collect();
    let spread = |one: usize| -> f64 {
        members.iter().filter_map(|other| distance(&answers[one], &answers[*other], tolerances)).sum()
    };
    let medoid = members.iter().copied().min_by(|a, b| spread(*a).total_cmp(&spread(*b)))?;
    let mut set = members;
    set.sort_unstable();
    Some(Choice { medoid, set })
}

/// Bron and Kerbosch (1973) with Tomita's pivot, on bit sets. Keeps the largest clique; among equals the one whose bits,
/// read from the lowest, come first.
fn largest_clique(close: &[u32], clique: u32, mut candidates: u32, mut excluded: u32, best: &mut u32) {
    if candidates == 0 && excluded == 0 {
        let larger = clique.count_ones() > best.count_ones();
        let earlier = clique.count_ones() == best.count_ones() && clique.reverse_bits() > best.reverse_bits();
        if larger || earlier {
            *best = clique;
        }
        return;
    }
    if clique.count_ones() + candidates.count_ones() < best.count_ones() {
        return;
    }
    let pivot = bits(candidates | excluded).max_by_key(|bit| (close[*bit] & candidates).count_ones());
    let skipped = pivot.map_or(0, |bit| close[bit]);
    for bit in bits(candidates & !skipped) {
        let one = 1 << bit;
        largest_clique(close, clique | one, candidates & close[bit], excluded & close[bit], best);
        candidates &= !one;
        excluded |= one;
    }
}

fn bits(set: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |bit| set >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answers(values: &[f64]) -> Vec<RawAnswer> {
        let answer = |(index, value): (usize, &f64)| RawAnswer {
            operator: Address::with_last_byte(index as u8 + 1),
            outputs: vec![vec![*value]],
        };
        values.iter().enumerate().map(answer).collect()
    }

    #[test]
    fn the_medoid_is_somebodys_answer() {
        for (name, values, expected) in [
            ("all equal: the lowest address", &[1.0, 1.0, 1.0, 1.0][..], Some((0, vec![0, 1, 2, 3]))),
            ("of the two in the middle the lower address", &[1.0, 1.4, 1.9, 1.5], Some((1, vec![0, 1, 2, 3]))),
            ("a liar is left out", &[1.0, 9.0, 1.2, 1.1], Some((3, vec![0, 2, 3]))),
            ("a chain is no set", &[1.0, 1.9, 2.8, 3.7], None),
            ("two camps", &[1.0, 1.1, 5.0, 5.1], None),
            ("NaN is nobody's neighbour", &[f64::NAN, 1.0, 1.1, 1.2], Some((2, vec![1, 2, 3]))),
            ("NaN makes no quorum", &[f64::NAN, f64::NAN, f64::NAN, 1.0], None),
            ("infinity neither", &[f64::INFINITY, f64::INFINITY, f64::INFINITY, 1.0], None),
        ] {
            let choice = choose(&answers(values), &[1.0], 3);
            assert_eq!(choice.map(|choice| (choice.medoid, choice.set)), expected, "{name}");
        }
    }

    #[test]
    fn forms_must_match_and_operators_speak_once() {
        let mut other_form = answers(&[1.0, 1.0, 1.0]);
        other_form[0].outputs = vec![vec![1.0, 1.0]];
        assert_eq!(choose(&other_form, &[1.0], 3), None);
        let mut twice = answers(&[1.0, 1.0, 1.0]);
        twice[1].operator = twice[0].operator;
        assert_eq!(choose(&twice, &[1.0], 2), None);
        assert_eq!(choose(&answers(&[1.0; 32]), &[1.0], 3), None, "more operators than the search takes");
        assert_eq!(choose(&[], &[1.0], 1), None);
    }

    #[test]
    fn a_zero_tolerance_wants_equal_values() {
        assert_eq!(choose(&answers(&[1.0, 1.0, 1.0]), &[0.0], 3).unwrap().medoid, 0);
        assert_eq!(choose(&answers(&[1.0, 1.0, 1.0 + f64::EPSILON]), &[0.0], 3), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        /// Honest answers lie within eps of the truth's both sides; f faulty ones lie anywhere. Whatever is chosen is
        /// within eps of f+1 honest answers, it is found whenever the honest ones agree, and order changes nothing.
        #[test]
        fn f_faulty_never_pull_the_choice_away(
            f in 1usize..=3,
            honest in prop::collection::vec(-0.5f64..=0.5, 10),
            faulty in prop::collection::vec(prop_oneof![-2.0f64..=2.0, -1.6f64..=-0.4, Just(f64::NAN), Just(1e300)], 3),
            shuffle in any::<prop::sample::Index>(),
        ) {
            let values: Vec<f64> = honest[..2 * f + 1].iter().chain(&faulty[..f]).copied().collect();
            let all = answers(&values);
            let choice = choose(&all, &[1.0], 2 * f + 1).expect("the honest ones agree");
            let chosen = &all[choice.medoid];
            let honest_near = all[..2 * f + 1].iter().filter(|answer| within(answer, chosen, &[1.0])).count();
            prop_assert!(honest_near > f, "only {honest_near} honest answers near");

            let mut rotated = all.clone();
            rotated.rotate_left(shuffle.index(all.len()));
            let again = choose(&rotated, &[1.0], 2 * f + 1).unwrap();
            prop_assert_eq!(rotated[again.medoid].operator, chosen.operator);
        }

        /// The search finds a set exactly when trying all subsets does.
        #[test]
        fn the_search_agrees_with_trying_everything(values in prop::collection::vec(-2.0f64..=2.0, 1..9), quorum in 1usize..6) {
            let all = answers(&values);
            let fits = |set: u32| bits(set).all(|a| bits(set).all(|b| within(&all[a], &all[b], &[1.0])));
            let largest = (1u32..1 << all.len()).filter(|set| fits(*set)).map(u32::count_ones).max().unwrap_or(0) as usize;
            let chosen = choose(&all, &[1.0], quorum);
            prop_assert_eq!(chosen.map(|choice| choice.set.len()), (largest >= quorum).then_some(largest));
        }
    }
}
