//! One answer in the making: what the model is given next, and what comes of its logits.

use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use foreblock_precompile::Failure;

use super::{
    constraint::{Constraint, refused},
    decoder::{Cache, Pass},
    paths::Place,
    request::{Answer, Finish, TextRequest},
    sample::{Candidate, Sampler, canonical},
    vocabulary::Vocabulary,
};

/// Tokens of a prompt in one pass. Part of what defines an answer: passes never depend on what else runs.
const PASS_TOKENS: usize = 64;

/// An answer in the making.
pub(super) struct Generation {
    request: TextRequest,
    /// keccak256 of what the contract sent.
    input: B256,
    vocabulary: Arc<Vocabulary>,
    sampler: Sampler,
    guide: Option<(Constraint, Place)>,
    ends: Arc<[u32]>,
    prompt: Vec<u32>,
    /// Tokens of the prompt that the cache holds.
    passed: usize,
    cache: Cache,
    tokens: Vec<u32>,
    text: Vec<u8>,
    /// For certification: the hash of the logits before each token.
    logits: Option<Vec<B256>>,
}

/// How far an answer is, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// keccak256 of the request's input.
    pub input: B256,
    /// Tokens of the prompt that were read.
    pub read: u32,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Tokens of the answer so far.
    pub written: u32,
    /// Most tokens of the answer.
    pub most: u32,
}

/// A finished answer, with the hashes of its logits where they were wanted.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    pub(super) answer: Answer,
    pub(super) tokens: Vec<u32>,
    pub(super) logits: Vec<B256>,
}

impl Generation {
    /// Ready to start. `input` is all that the contract sent.
    pub(super) fn new(
        request: TextRequest,
        input: &[u8],
        prompt: Vec<u32>,
        vocabulary: Arc<Vocabulary>,
        ends: Arc<[u32]>,
        cache: Cache,
    ) -> Result<Self, Failure> {
        let constraint = Constraint::read(&request.constraint)?;
        if constraint.is_some() && !request.stops.is_empty() {
            return Err(refused("a constrained answer ends by itself: send it without stop sequences"));
        }
        let guide = constraint.map(|constraint| {
            let paths = vocabulary.paths(&constraint.pattern())?;
            let place = Place::start(paths, request.tokens_max, request.bytes_max)?;
            Ok((constraint, place))
        });
        let (guide, sampler) = (guide.transpose()?, Sampler::new(&request, input));
        let (tokens, text, passed, logits, input) = (Vec::new(), Vec::new(), 0, None, keccak256(input));
        Ok(Self { request, input, vocabulary, sampler, guide, ends, prompt, passed, cache, tokens, text, logits })
    }

    /// Notes the hash of the logits before each token.
    pub(super) fn noting_logits(self) -> Self {
        Self { logits: Some(Vec::new()), ..self }
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        let (written, most) = (self.tokens.len() as u32, self.request.tokens_max);
        Progress { input: self.input, read: self.passed as u32, prompt: self.prompt.len() as u32, written, most }
    }

    /// The tokens that the model is given next.
    pub(super) fn next(&self) -> &[u32] {
        let rest = &self.prompt[self.passed..];
        self.tokens.last().map_or(&rest[..rest.len().min(PASS_TOKENS)], std::slice::from_ref)
    }

    /// The same, with what was before.
    pub(super) fn pass(&self) -> Pass<'_> {
        Pass { tokens: self.next(), cache: self.cache.clone() }
    }

    /// Takes what came of a pass; the answer, once it is finished.
    pub(super) fn take(&mut self, logits: &[f32], cache: Cache) -> Option<Result<Finished, Failure>> {
        self.cache = cache;
        if self.passed < self.prompt.len() {
            self.passed = self.prompt.len().min(self.passed + PASS_TOKENS);
            if self.passed < self.prompt.len() {
                return None;
            }
        }
        if let Some(hashes) = &mut self.logits {
            hashes.push(keccak256(logits.iter().flat_map(|logit| logit.to_bits().to_le_bytes()).collect::<Vec<u8>>()));
        }
        let place = self.tokens.len() as u64;
        let Some(token) = self.sampler.choose(self.candidates(logits), place) else {
            return Some(Err(refused("no token of the model continues the answer")));
        };
        self.tokens.push(token);
        self.finish(token).map(|finish| self.finished(finish))
    }

    fn candidates(&self, logits: &[f32]) -> Vec<Candidate> {
        let candidate = |token: u32| {
            let logit = canonical(*logits.get(token as usize)?);
            Some(Candidate { token, logit })
        };
        let (ends, vocabulary) = (self.ends.iter().copied(), &self.vocabulary);
        match &self.guide {
            None => {
                let texts = (0..logits.len() as u32).filter(|token| vocabulary.bytes(*token).is_some());
                texts.chain(ends).filter_map(candidate).collect()
            }
            Some((_, place)) => {
                let tokens_left = self.request.tokens_max - self.tokens.len() as u32;
                let bytes_left = self.request.bytes_max - self.text.len() as u32;
                let allowed = place.allowed(vocabulary, tokens_left, bytes_left).into_iter();
                allowed.chain(ends.filter(|_| place.is_end())).filter_map(candidate).collect()
            }
        }
    }

    /// Adds the token's bytes; why the answer is finished, where it is.
    fn finish(&mut self, token: u32) -> Option<Finish> {
        let vocabulary = self.vocabulary.clone();
        let Some(bytes) = vocabulary.bytes(token) else { return Some(Finish::End) };
        let before = self.text.len();
        self.text.extend_from_slice(bytes);
        if let Some(at) = self.stop(before) {
            self.text.truncate(at);
            return Some(Finish::Stop);
        }
        if self.text.len() > self.request.bytes_max as usize {
            return Some(Finish::Bytes);
        }
        let tokens_left = self.request.tokens_max - self.tokens.len() as u32;
        let bytes_left = self.request.bytes_max - self.text.len() as u32;
        if let Some((_, place)) = &mut self.guide {
            place.advance(bytes);
            if place.is_end() && !place.goes_on(&vocabulary, tokens_left, bytes_left) {
                return Some(Finish::Complete);
            }
        }
        (tokens_left == 0).then_some(Finish::Tokens)
    }

    /// Where the first stop sequence begins that the bytes from `before` on complete.
    fn stop(&self, before: usize) -> Option<usize> {
        let first = |stop: &String| {
            let from = before.saturating_sub(stop.len() - 1);
            self.text[from..].windows(stop.len()).position(|window| window == stop.as_bytes()).map(|at| from + at)
        };
        self.request.stops.iter().filter_map(first).min()
    }

    fn finished(&mut self, finish: Finish) -> Result<Finished, Failure> {
        let text = readable(&self.text, self.request.bytes_max as usize);
        let value = match &self.guide {
            Some((_, place)) if !place.is_end() => return Err(refused("the answer broke off before it was whole")),
            Some((constraint, _)) => constraint.value(&text),
            None => 0,
        };
        let (prompt_tokens, answer_tokens) = (self.prompt.len(), self.tokens.len());
        let answer = Answer { text, value, finish, prompt_tokens, answer_tokens };
        let (tokens, logits) = (std::mem::take(&mut self.tokens), self.logits.take().unwrap_or_default());
        Ok(Finished { answer, tokens, logits })
    }
}

/// The bytes as text of at most `bytes_max` bytes: without a character that was cut at the end, and with U+FFFD for bytes
/// that are no text.
fn readable(bytes: &[u8], bytes_max: usize) -> String {
    let mut text = String::new();
    let mut rest = bytes[..bytes.len().min(bytes_max)].utf8_chunks().peekable();
    while let Some(chunk) = rest.next() {
        text.push_str(chunk.valid());
        let cut = rest.peek().is_none()
            && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        if !chunk.invalid().is_empty() && !cut {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_text_within_their_limit() {
        for (bytes, max, expected) in [
            ("größe".as_bytes(), 64, "größe"),
            ("größe".as_bytes(), 3, "gr"),
            (b"ok\xc3", 64, "ok"),
            (b"a\xffb", 64, "a\u{fffd}b"),
            (b"a\xffb", 3, "a"),
            (b"\xff\xe2\x82", 9, "\u{fffd}"),
        ] {
            assert_eq!(readable(bytes, max), expected, "{bytes:?} within {max}");
        }
    }
}
