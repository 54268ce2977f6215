//! Where an answer may go: the automaton of a constraint, and how far from its end each state is.
//!
//! A token is allowed where its bytes lead to a state from which the answer can still be finished within what is left of
//! tokens and bytes. So a constrained answer never stops half-way.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use foreblock_precompile::Failure;
use regex_automata::{
    Anchored, MatchKind,
    dfa::{Automaton, StartKind, dense},
    nfa::thompson,
    util::{primitives::StateID, syntax},
};

use super::{constraint::refused, vocabulary::Vocabulary};

/// Bytes that an automaton may take.
const AUTOMATON_BYTES_MAX: usize = 16 << 20;
/// Longest expression, in bytes.
const PATTERN_BYTES_MAX: usize = 64 << 10;
/// Depth of nested groups in an expression.
const NEST_MAX: u32 = 64;
/// Automata that are kept, and steps that each keeps: about 100 MB at the most.
const KNOWN_MAX: usize = 4;
const STEPS_MAX: usize = 1 << 20;

/// The automata of the last expressions: a contract asks in the same way again and again.
#[derive(Default)]
pub(super) struct Known(Mutex<VecDeque<(String, Arc<Paths>)>>);

impl Known {
    /// The automaton of an expression, made where it is not known.
    pub(super) fn paths(&self, pattern: &str) -> Result<Arc<Paths>, Failure> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, paths)) = lock().iter().find(|(known, _)| known == pattern) {
            return Ok(paths.clone());
        }
        let paths = Arc::new(Paths::compile(pattern)?);
        let mut known = lock();
        known.truncate(KNOWN_MAX - 1);
        known.push_front((pattern.to_owned(), paths.clone()));
        Ok(paths)
    }
}

/// An automaton over bytes.
pub(super) struct Paths {
    automaton: dense::DFA<Vec<u32>>,
    start: StateID,
    distances: Distances,
    /// Steps from the states that answers came to, for the vocabulary of the model.
    steps: Mutex<BTreeMap<StateID, Arc<Vec<Step>>>>,
}

/// Fewest bytes from a state to an end, for each state that has one.
struct Distances {
    /// By number of the state.
    bytes: Vec<u32>,
    /// Ids of states are their numbers times a power of two.
    shift: usize,
}

impl Distances {
    /// What stands for no end.
    const NONE: u32 = u32::MAX;

    fn get(&self, state: StateID) -> Option<u32> {
        self.bytes.get(state.as_usize() >> self.shift).copied().filter(|bytes| *bytes != Self::NONE)
    }
}

/// A token from some state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) token: u32,
    bytes: u32,
    /// Fewest bytes to an end after it.
    distance: u32,
}

impl Step {
    /// Every byte is a token of its own, so as many tokens as bytes always do.
    fn fits(&self, tokens_left: u32, bytes_left: u32) -> bool {
        self.distance < tokens_left && self.bytes + self.distance <= bytes_left
    }
}

/// Where an answer is.
#[derive(Clone)]
pub(super) struct Place {
    paths: Arc<Paths>,
    state: StateID,
}

impl Paths {
    /// The automaton of an expression that must match as a whole.
    pub(super) fn compile(pattern: &str) -> Result<Self, Failure> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(refused(format!("the expression is longer than {PATTERN_BYTES_MAX} bytes")));
        }
        let built = dense::Builder::new()
            .syntax(syntax::Config::new().nest_limit(NEST_MAX))
            .thompson(thompson::Config::new().nfa_size_limit(Some(AUTOMATON_BYTES_MAX)))
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .match_kind(MatchKind::All)
                    .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
                    .determinize_size_limit(Some(AUTOMATON_BYTES_MAX)),
            )
            .build(pattern);
        // The library's words may change with its version, so they are no part of the reason.
        let automaton = built.map_err(|_| refused("the expression does not parse, or its automaton is too large"))?;
        let start = automaton.universal_start_state(Anchored::Yes);
        let start = start
            .ok_or_else(|| refused("the expression must not use ^, $ or word boundaries: it matches as a whole"))?;
        let distances = distances(&automaton, start);
        if distances.get(start).is_none() {
            return Err(refused("nothing matches the expression"));
        }
        Ok(Self { automaton, start, distances, steps: Mutex::default() })
    }

    /// Whether a text matches.
    #[cfg(test)]
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let state = text.iter().fold(self.start, |state, byte| self.automaton.next_state(state, *byte));
        self.distances.get(state) == Some(0)
    }

    /// The tokens that lead from `state` to where an end can be reached.
    fn steps(&self, state: StateID, vocabulary: &Vocabulary) -> Arc<Vec<Step>> {
        let known = self.steps.lock().unwrap_or_else(PoisonError::into_inner).get(&state).cloned();
        if let Some(steps) = known {
            return steps;
        }
        let mut steps = Vec::new();
        // States along the token before; tokens that begin alike follow each other.
        let (mut along, mut before): (Vec<StateID>, &[u8]) = (vec![state], &[]);
        for (token, bytes) in vocabulary.sorted() {
            let common = before.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            before = bytes;
            if common >= along.len() {
                continue; // It begins with what led nowhere.
            }
            along.truncate(common + 1);
            for byte in &bytes[common..] {
                let next = self.automaton.next_state(along[along.len() - 1], *byte);
                if self.distances.get(next).is_none() {
                    break;
                }
                along.push(next);
            }
            if let Some(distance) = along.get(bytes.len()).and_then(|state| self.distances.get(*state)) {
                steps.push(Step { token, bytes: bytes.len() as u32, distance });
            }
        }
        let steps = Arc::new(steps);
        let mut known = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if (known.len() + 1) * vocabulary.len() > STEPS_MAX {
            known.clear();
        }
        known.insert(state, steps.clone());
        steps
    }
}

/// Fewest bytes to an end, for each state that can be reached and has one.
fn distances(automaton: &dense::DFA<Vec<u32>>, start: StateID) -> Distances {
    let bytes: Vec<u8> = automaton.byte_classes().representatives(0..=255).filter_map(|unit| unit.as_u8()).collect();
    let mut before: BTreeMap<StateID, Vec<StateID>> = BTreeMap::from([(start, Vec::new())]);
    let mut queue = VecDeque::from([start]);
    let mut ends = VecDeque::new();
    while let Some(state) = queue.pop_front() {
        if automaton.is_match_state(automaton.next_eoi_state(state)) {
            ends.push_back((state, 0));
        }
        for byte in &bytes {
            let next = automaton.next_state(state, *byte);
            if automaton.is_dead_state(next) || automaton.is_quit_state(next) {
                continue;
            }
            let known = before.entry(next).or_insert_with(|| {
                queue.push_back(next);
                Vec::new()
            });
            if known.last() != Some(&state) {
                known.push(state);
            }
        }
    }
    let shift = automaton.stride2();
    let last = before.keys().next_back().map_or(0, |state| state.as_usize() >> shift);
    let mut distances = Distances { bytes: vec![Distances::NONE; last + 1], shift };
    // From the ends backwards, so that the first time is the shortest way.
    while let Some((state, distance)) = ends.pop_front() {
        let known = &mut distances.bytes[state.as_usize() >> shift];
        if *known == Distances::NONE {
            *known = distance;
            ends.extend(before[&state].iter().map(|earlier| (*earlier, distance + 1)));
        }
    }
    distances
}

impl Place {
    /// Where answers start; fails where none can be finished within these limits.
    pub(super) fn start(paths: Arc<Paths>, tokens_max: u32, bytes_max: u32) -> Result<Self, Failure> {
        let (least, most) = (paths.distances.get(paths.start).unwrap_or(Distances::NONE), tokens_max.min(bytes_max));
        if least > most {
            return Err(refused(format!(
                "the shortest answer has {least} bytes: {most} tokens and bytes are not enough"
            )));
        }
        let state = paths.start;
        Ok(Self { paths, state })
    }

    /// Whether the answer may end here.
    pub(super) fn is_end(&self) -> bool {
        self.paths.distances.get(self.state) == Some(0)
    }

    /// The tokens that may come next, with this many tokens and bytes left.
    pub(super) fn allowed(&self, vocabulary: &Vocabulary, tokens_left: u32, bytes_left: u32) -> Vec<u32> {
        let steps = self.paths.steps(self.state, vocabulary);
        steps.iter().filter(|step| step.fits(tokens_left, bytes_left)).map(|step| step.token).collect()
    }

    /// Whether any token may.
    pub(super) fn goes_on(&self, vocabulary: &Vocabulary, tokens_left: u32, bytes_left: u32) -> bool {
        self.paths.steps(self.state, vocabulary).iter().any(|step| step.fits(tokens_left, bytes_left))
    }

    /// Goes on by the bytes of a token that is allowed.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        self.state = bytes.iter().fold(self.state, |state, byte| self.paths.automaton.next_state(state, *byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_are_no_use_say_so() {
        for (pattern, words) in [
            ("(", "does not parse"),
            (r"(?:\w{100}){100}", "too large"),
            ("^yes$", "as a whole"),
            (r"(?-u:\bword\b)", "as a whole"),
            (r"\bword\b", "does not parse"),
            (r"[a&&b]", "nothing matches"),
            (&"x".repeat(70_000), "longer than"),
        ] {
            let failure = Paths::compile(pattern).err().unwrap_or_else(|| panic!("{pattern} compiles"));
            assert!(failure.reason.contains(words), "{pattern}: {failure}");
        }
    }

    #[test]
    fn automata_are_made_once_and_the_last_are_kept() {
        let known = Known::default();
        let first = known.paths("a").unwrap();
        assert!(Arc::ptr_eq(&first, &known.paths("a").unwrap()));
        (0..KNOWN_MAX).for_each(|number| drop(known.paths(&number.to_string()).unwrap()));
        assert!(!Arc::ptr_eq(&first, &known.paths("a").unwrap()), "others took its place");
        assert!(known.paths("(").is_err());
        assert_eq!(known.0.lock().unwrap().len(), KNOWN_MAX);
    }

    #[test]
    fn distances_are_the_fewest_bytes() {
        for (pattern, distance) in [("", 0), ("abc", 3), ("a|bcd", 1), ("(?:ab)*", 0), ("é", 2), ("x{3,}y", 4)] {
            let paths = Paths::compile(pattern).unwrap();
            assert_eq!(paths.distances.get(paths.start), Some(distance), "{pattern}");
        }
        let paths = Arc::new(Paths::compile("abc").unwrap());
        assert!(Place::start(paths.clone(), 3, 3).is_ok());
        let failure = Place::start(paths, 2, 64).err().unwrap();
        assert!(failure.reason.contains("3 bytes: 2 tokens"), "{failure}");
    }
}
