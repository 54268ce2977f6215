//! What a decoder's files say of it: which tokens end an answer, how long a conversation may be, and what the graph's inputs
//! and outputs are called. Hugging Face writes `generation_config.json` beside a graph with Optimum's names;
//! onnxruntime-genai's builder writes `genai_config.json`, which names them.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

use super::{GENAI_FILE, GENERATION_FILE};
use crate::model_dir::Files;

/// Where a layer's number stands in a name.
const LAYER: &str = "%d";

/// How a decoder is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Tokens that end an answer.
    pub(super) ends: Vec<u32>,
    /// The token before a conversation, for templates that write it.
    pub(super) begin: Option<u32>,
    /// Most tokens of a conversation.
    pub(super) room: usize,
    pub(super) names: Names,
}

/// Names of the graph's inputs and outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) tokens: String,
    pub(super) mask: String,
    pub(super) positions: String,
    pub(super) logits: String,
    /// Caches of keys and of values: the one that goes in, the one that comes out.
    pub(super) caches: [[String; 2]; 2],
}

impl Default for Names {
    /// Optimum's.
    fn default() -> Self {
        let cache = |part: &str| [format!("past_key_values.{LAYER}.{part}"), format!("present.{LAYER}.{part}")];
        Self {
            tokens: "input_ids".into(),
            mask: "attention_mask".into(),
            positions: "position_ids".into(),
            logits: "logits".into(),
            caches: [cache("key"), cache("value")],
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [[keys, _], [values, _]] = &self.caches;
        write!(f, "{}, {}, {}, {keys}, {values}", self.tokens, self.mask, self.positions)
    }
}

impl Names {
    /// The output that continues the cache of this name; `None` where it is the name of no cache.
    pub(super) fn continues(&self, name: &str) -> Option<String> {
        self.caches.iter().find_map(|[past, present]| {
            let (before, after) = past.split_once(LAYER)?;
            let layer = name.strip_prefix(before)?.strip_suffix(after)?;
            layer.parse::<u32>().ok()?;
            Some(present.replacen(LAYER, layer, 1))
        })
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl OneOrMany {
    fn all(self) -> Vec<u32> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
struct GenerationConfig {
    eos_token_id: OneOrMany,
    bos_token_id: Option<u32>,
    max_length: usize,
}

#[derive(Deserialize)]
struct GenaiConfig {
    model: GenaiModel,
    #[serde(default)]
    search: GenaiSearch,
}

#[derive(Deserialize)]
struct GenaiModel {
    eos_token_id: OneOrMany,
    bos_token_id: Option<u32>,
    context_length: usize,
    decoder: GenaiDecoder,
}

#[derive(Deserialize)]
struct GenaiDecoder {
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    #[serde(default)]
    outputs: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct GenaiSearch {
    max_length: Option<usize>,
}

impl Layout {
    /// Of the files beside a graph, or what is missing there.
    pub(super) fn read(files: &Files) -> Result<Self, String> {
        if let Some(file) = files.get(GENERATION_FILE) {
            let advice = "expected eos_token_id, max_length and, if there is one, bos_token_id";
            let config: GenerationConfig =
                serde_json::from_slice(file).map_err(|error| format!("{GENERATION_FILE}: {error}: {advice}"))?;
            let (ends, room) = (config.eos_token_id.all(), config.max_length);
            return Ok(Self { ends, begin: config.bos_token_id, room, names: Names::default() });
        }
        let missing = || {
            format!(
                "{GENERATION_FILE} is missing (eos_token_id, max_length), and so is onnxruntime-genai's {GENAI_FILE}"
            )
        };
        let config: GenaiConfig =
            serde_json::from_slice(files.get(GENAI_FILE).ok_or_else(missing)?).map_err(|error| {
                format!("{GENAI_FILE}: {error}: expected what onnxruntime-genai's model builder writes")
            })?;
        let names = names(&config.model.decoder);
        let GenaiModel { eos_token_id, bos_token_id, context_length, .. } = config.model;
        let room = config.search.max_length.map_or(context_length, |longest| longest.min(context_length));
        Ok(Self { ends: eos_token_id.all(), begin: bos_token_id, room, names })
    }
}

fn names(decoder: &GenaiDecoder) -> Names {
    let usual = Names::default();
    let named = |given: &BTreeMap<String, String>, key: &str, usual: &str| {
        given.get(key).cloned().unwrap_or_else(|| usual.to_owned())
    };
    let cache = |part: &str, [past, present]: &[String; 2]| {
        let (past_key, present_key) = (format!("past_{part}_names"), format!("present_{part}_names"));
        [named(&decoder.inputs, &past_key, past), named(&decoder.outputs, &present_key, present)]
    };
    Names {
        tokens: named(&decoder.inputs, "input_ids", &usual.tokens),
        mask: named(&decoder.inputs, "attention_mask", &usual.mask),
        positions: named(&decoder.inputs, "position_ids", &usual.positions),
        logits: named(&decoder.outputs, "logits", &usual.logits),
        caches: [cache("key", &usual.caches[0]), cache("value", &usual.caches[1])],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn files(name: &str, content: &'static str) -> Files {
        [(name.to_string(), Bytes::from_static(content.as_bytes()))].into()
    }

    #[test]
    fn genai_names_what_its_graphs_take() {
        let layout = Layout::read(&files(
            GENAI_FILE,
            r#"{"model": {"type": "llama", "bos_token_id": 1, "eos_token_id": [2, 5], "context_length": 4096, "decoder": {
                "inputs": {"input_ids": "ids", "past_key_names": "past.%d.k", "past_value_names": "past.%d.v"},
                "outputs": {"logits": "scores", "present_key_names": "now.%d.k", "present_value_names": "now.%d.v"}}},
                "search": {"max_length": 512, "top_k": 50}}"#,
        ));
        let layout = layout.unwrap();
        assert_eq!((layout.ends.as_slice(), layout.begin, layout.room), (&[2, 5][..], Some(1), 512));
        let names = layout.names;
        assert_eq!([&names.tokens, &names.mask, &names.logits], ["ids", "attention_mask", "scores"]);
        assert_eq!(names.continues("past.11.v").as_deref(), Some("now.11.v"));
        assert_eq!([names.continues("past.x.v"), names.continues("past_key_values.0.key")], [None, None]);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (given, words) in [
            (Files::new(), "genai_config.json"),
            (files(GENERATION_FILE, r#"{"max_length": 5}"#), "eos_token_id"),
            (files(GENAI_FILE, r#"{"model": {"eos_token_id": 1, "context_length": 5}}"#), "decoder"),
        ] {
            let error = Layout::read(&given).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
