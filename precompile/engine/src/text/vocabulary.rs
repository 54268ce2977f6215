//! Tokens: from text to numbers and back to bytes.

use std::{collections::BTreeMap, sync::Arc};

use foreblock_precompile::{Failure, FailureCode};
use tokenizers::Tokenizer;

use super::{
    TOKENIZER_FILE,
    paths::{Known, Paths},
};
use crate::failure;

/// The tokens of a model.
pub(super) struct Vocabulary {
    /// Recognises control tokens: for the template's own text.
    template: Tokenizer,
    /// Takes the spelling of a control token as any other text: for what a contract sends.
    data: Tokenizer,
    /// Bytes of each token; none for control tokens, which are no text.
    bytes: Vec<Option<Vec<u8>>>,
    /// Spellings of control tokens.
    control: BTreeMap<u32, String>,
    /// Tokens with text, by their bytes: tokens that begin alike are neighbours.
    sorted: Vec<u32>,
    /// Where constrained answers may go by these tokens.
    paths: Known,
}

impl Vocabulary {
    /// Reads `tokenizer.json`.
    pub(super) fn read(file: &[u8]) -> Result<Self, Failure> {
        let refused = |why: &str| Failure::new(FailureCode::NoTokenizer, format!("{TOKENIZER_FILE}: {why}"));
        let json: serde_json::Value = serde_json::from_slice(file).map_err(|_| refused("not a tokenizer"))?;
        if json["model"]["dropout"].as_f64().is_some_and(|share| share > 0.0) {
            return Err(refused("its dropout gives another answer each time; export it without"));
        }
        let mut template = Tokenizer::from_bytes(file).map_err(|_| refused("not a tokenizer"))?;
        // Limits and padding of a tokenizer are for training; a request that is too long is told so.
        template.with_truncation(None).map_err(|_| refused("not a tokenizer"))?;
        template.with_padding(None);
        let mut data = template.clone();
        data.set_encode_special_tokens(true);
        let added = template.get_added_tokens_decoder();
        let control: BTreeMap<u32, String> =
            added.iter().filter(|(_, token)| token.special).map(|(id, token)| (*id, token.content.clone())).collect();
        let vocabulary = template.get_vocab(true);
        let count = vocabulary.values().max().map_or(0, |last| *last as usize + 1);
        let mut bytes = vec![None; count];
        let letters = letters();
        for (token, id) in vocabulary {
            let text = match added.get(&id) {
                Some(added) if added.special => None,
                Some(added) => Some(added.content.clone().into_bytes()),
                None => token.chars().map(|letter| letters.get(&letter).copied()).collect(),
            };
            if text.is_none() && !control.contains_key(&id) {
                return Err(refused("expected a byte-level tokenizer, each of whose tokens is bytes"));
            }
            bytes[id as usize] = text.filter(|bytes| !bytes.is_empty());
        }
        let mut sorted: Vec<u32> = (0..count as u32).filter(|id| bytes[*id as usize].is_some()).collect();
        sorted.sort_by(|a, b| bytes[*a as usize].cmp(&bytes[*b as usize]).then(a.cmp(b)));
        Ok(Self { template, data, bytes, control, sorted, paths: Known::default() })
    }

    /// Tokens that there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The automaton of an expression that an answer must match as a whole.
    pub(super) fn paths(&self, pattern: &str) -> Result<Arc<Paths>, Failure> {
        self.paths.paths(pattern)
    }

    /// Tokens of the template's text, control tokens among them.
    pub(super) fn encode_template(&self, text: &str) -> Result<Vec<u32>, Failure> {
        encode(&self.template, text)
    }

    /// Tokens of what a contract sent: never a control token.
    pub(super) fn encode_data(&self, text: &str) -> Result<Vec<u32>, Failure> {
        if let Some(spelling) = self.control.values().find(|spelling| text.contains(spelling.as_str())) {
            let reason = format!("the text spells the control token {spelling}; leave it out");
            return Err(Failure::new(FailureCode::InvalidText, reason));
        }
        let tokens = encode(&self.data, text)?;
        if tokens.iter().any(|token| self.control.contains_key(token)) {
            return Err(Failure::new(FailureCode::InvalidText, "the text encodes to a control token"));
        }
        Ok(tokens)
    }

    /// The spelling of a control token.
    pub(super) fn spelling(&self, token: u32) -> Option<&str> {
        self.control.get(&token).map(String::as_str)
    }

    /// Bytes that a token adds to the text; none for a control token.
    pub(super) fn bytes(&self, token: u32) -> Option<&[u8]> {
        self.bytes.get(token as usize)?.as_deref()
    }

    /// Tokens with text, by their bytes.
    pub(super) fn sorted(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.sorted.iter().filter_map(|token| Some((*token, self.bytes(*token)?)))
    }
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, Failure> {
    let encoded = tokenizer.encode_fast(text, false);
    // The library's words may change with its version, so they are no part of the reason.
    let encoded = encoded.map_err(|_| failure::invalid_text("the tokenizer refuses the text"))?;
    Ok(encoded.get_ids().to_vec())
}

/// The letters by which byte-level tokenizers write bytes: printable ones stand for themselves, the others, in order, for
/// those from U+0100.
fn letters() -> BTreeMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=255u8).filter(|byte| !printable(byte)).zip(0x100..);
    let written = others.filter_map(|(byte, code)| Some((char::from_u32(code)?, byte)));
    (0..=255u8).filter(printable).map(|byte| (char::from(byte), byte)).chain(written).collect()
}
