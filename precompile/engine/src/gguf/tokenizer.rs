//! The tokenizer as the `tokenizers` crate reads it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{GgufError, read::Gguf};

/// Codes of `tokenizer.ggml.token_type`.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// `tokenizer.json`.
pub(super) fn json(gguf: &Gguf) -> Result<Vec<u8>, GgufError> {
    let model = gguf.text("tokenizer.ggml.model")?;
    if model != "gpt2" {
        return Err(unsupported("the tokenizer", model, "gpt2, byte-level BPE,"));
    }
    // Keys in alphabetical order, so that the file is the same whichever order a map keeps.
    let byte_level = json!({ "add_prefix_space": false, "trim_offsets": true, "type": "ByteLevel", "use_regex": true });
    let split = match gguf.text("tokenizer.ggml.pre")? {
        "gpt-2" => byte_level.clone(),
        "smollm" => json!({
            "pretokenizers": [{ "individual_digits": true, "type": "Digits" }, byte_level],
            "type": "Sequence",
        }),
        other => return Err(unsupported("the tokenizer's splitting", other, "gpt-2 and smollm")),
    };
    let tokens = gguf.texts("tokenizer.ggml.tokens")?;
    let kinds = gguf.numbers("tokenizer.ggml.token_type")?;
    let sorted: BTreeMap<&str, usize> = tokens.iter().copied().zip(0..).collect();
    let vocabulary: Map<String, Value> = sorted.into_iter().map(|(token, id)| (token.into(), id.into())).collect();
    if vocabulary.len() != tokens.len() || kinds.len() != tokens.len() {
        return Err(GgufError::Format("its tokens are not all different, or have no types".into()));
    }
    let added = tokens.iter().zip(&kinds).enumerate().filter(|(_, (_, kind))| [CONTROL, USER_DEFINED].contains(kind));
    let added: Vec<Value> = added
        .map(|(id, (token, kind))| {
            json!({
                "content": token, "id": id, "lstrip": false, "normalized": false,
                "rstrip": false, "single_word": false, "special": *kind == CONTROL,
            })
        })
        .collect();
    let tokenizer = json!({
        "added_tokens": added,
        "decoder": byte_level,
        "model": {
            "byte_fallback": false, "continuing_subword_prefix": null, "dropout": null, "end_of_word_suffix": null,
            "fuse_unk": false, "ignore_merges": false, "merges": gguf.texts("tokenizer.ggml.merges")?, "type": "BPE",
            "unk_token": null, "vocab": vocabulary,
        },
        "normalizer": null,
        "padding": null,
        "post_processor": null,
        "pre_tokenizer": split,
        "truncation": null,
        "version": "1.0",
    });
    Ok(tokenizer.to_string().into_bytes())
}

fn unsupported(what: &str, found: &str, expected: &'static str) -> GgufError {
    GgufError::Unsupported { what: what.into(), found: found.into(), expected }
}
