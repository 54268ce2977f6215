//! Sentence encoders: a text in, a vector out.
//!
//! | file of the model | holds |
//! | --- | --- |
//! | `model.onnx` | an encoder that takes `input_ids` and, if it wants them, `attention_mask`, `token_type_ids`, `position_ids` |
//! | `tokenizer.json` | a tokenizer of any kind; its padding and truncation are not used |
//! | `embedding.json` | `max_length`, `pooling` (`mean`, `cls`, or `none` for graphs that pool) and `normalize` |
//!
//! Tokens are encoded as the tokenizer's post-processor has it, control tokens around them; what the text itself says is never a
//! control token. A text is computed alone, without padding. Sums are in the exact engine's order.

use std::sync::Arc;

use foreblock_precompile::{Failure, FailureCode, abi::TensorSpec};
use serde::Deserialize;
use tokenizers::Tokenizer;

use super::TOKENIZER_FILE;
use crate::{
    ExactModel, Pool, Tensor, failure, graph::Cost, kernels::sum::sum_by, kernels::sum::sum16, model_dir::Files,
    tensor::ElementType,
};

/// Name of the file that makes an encoder take text.
pub const EMBEDDING_FILE: &str = "embedding.json";
/// Longest `input` of an encoder that takes text, in bytes.
pub const EMBEDDING_INPUT_BYTES_MAX: u32 = 16_384;
/// Names by which exporters call the output that counts; the first output where none has them.
const OUTPUTS: [&str; 4] = ["sentence_embedding", "embedding", "last_hidden_state", "token_embeddings"];

/// How the vectors of tokens become one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token.
    Cls,
    /// The graph gives one vector.
    None,
}

#[derive(Deserialize)]
struct Config {
    max_length: usize,
    pooling: Pooling,
    normalize: bool,
}

/// What an input of the graph is.
enum Role {
    Tokens,
    Ones,
    Zeros,
    Positions,
}

/// A sentence encoder ready to answer.
pub struct EmbeddingModel {
    model: ExactModel,
    tokenizer: Result<Tokenizer, Failure>,
    config: Config,
    roles: Vec<(Role, ElementType)>,
    output: usize,
    width: usize,
    pool: Arc<Pool>,
}

/// Inputs of every encoder that takes text, as its manifest lists them.
pub fn embedding_input_specs() -> Vec<TensorSpec> {
    vec![TensorSpec { name: "text".into(), elementType: ElementType::String as u8, shape: vec![] }]
}

impl EmbeddingModel {
    /// An encoder of a graph and the files that belong to it, or why they cannot serve.
    pub fn new(model: ExactModel, files: &Files, pool: Arc<Pool>) -> Result<Self, String> {
        let advice = "expected max_length, pooling (mean, cls or none) and normalize";
        let config = files.get(EMBEDDING_FILE).ok_or_else(|| format!("{EMBEDDING_FILE} is missing: {advice}"))?;
        let config: Config =
            serde_json::from_slice(config).map_err(|error| format!("{EMBEDDING_FILE}: {error}: {advice}"))?;
        let role = |spec: &crate::exact::ValueSpec| match spec.name.as_str() {
            "input_ids" => Ok((Role::Tokens, spec.element_type)),
            "attention_mask" => Ok((Role::Ones, spec.element_type)),
            "token_type_ids" => Ok((Role::Zeros, spec.element_type)),
            "position_ids" => Ok((Role::Positions, spec.element_type)),
            name => Err(format!("the graph takes {name}, which no encoder of text does")),
        };
        let roles = model.inputs().iter().map(role).collect::<Result<Vec<_>, _>>()?;
        let integers = [ElementType::I64, ElementType::I32];
        if let Some((_, kind)) = roles.iter().find(|(_, kind)| !integers.contains(kind)) {
            return Err(format!("the graph takes {kind}, expected tokens as int64 or int32"));
        }
        let named = |name: &&str| model.outputs().iter().position(|spec| spec.name == **name);
        let output = OUTPUTS.iter().find_map(named).unwrap_or(0);
        let dims = model.outputs().get(output).and_then(|spec| spec.dims.as_ref());
        let rank = if config.pooling == Pooling::None { 2 } else { 3 };
        let width = dims.filter(|dims| dims.len() == rank).and_then(|dims| *dims.last()?);
        let width = width.ok_or_else(|| {
            format!("expected an output of {rank} axes with a fixed last one, for the pooling in {EMBEDDING_FILE}")
        })?;
        let missing = || Failure::new(FailureCode::NoTokenizer, format!("the model has no {TOKENIZER_FILE}"));
        let tokenizer = files.get(TOKENIZER_FILE).ok_or_else(missing).and_then(|file| read_tokenizer(file));
        Ok(Self { model, tokenizer, config, roles, output, width, pool })
    }

    /// Outputs as the manifest lists them.
    pub fn output_specs(&self) -> Vec<TensorSpec> {
        let shape = vec![self.width as i64];
        vec![TensorSpec { name: "embedding".into(), elementType: ElementType::F32 as u8, shape }]
    }

    /// What the longest text costs.
    pub fn cost(&self) -> Result<Cost, Failure> {
        // Many graphs take the token 0 for padding, and have no answer to nothing else.
        let tokens = vec![1; self.config.max_length];
        Ok(self.model.run_measured(self.arguments(&tokens), &self.pool)?.1)
    }

    /// The vector of a text, from and to the tensors of the manifest.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Failure> {
        let text = inputs.first().and_then(|input| input.values::<String>().ok()?.first());
        let text = text.ok_or_else(|| failure::arity("expected one text"))?;
        let tokens = self.tokens(text)?;
        let outputs = self.model.run(self.arguments(&tokens), &self.pool)?;
        let values = outputs[self.output].values::<f32>()?;
        let mut vector = self.pooled(values)?;
        if self.config.normalize {
            let length = sum_by(&vector, |x| x * x).sqrt();
            // A vector of zeros has no direction, and stays.
            if length > 0.0 {
                vector.iter_mut().for_each(|x| *x /= length);
            }
        }
        Ok(vec![Tensor::vector(vector)])
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>, Failure> {
        let tokenizer = self.tokenizer.as_ref().map_err(Failure::clone)?;
        if text.is_empty() {
            return Err(failure::invalid_text("the text is empty"));
        }
        // The library's words may change with its version, so they are no part of the reason.
        let encoded =
            tokenizer.encode_fast(text, true).map_err(|_| failure::invalid_text("the tokenizer refuses it"))?;
        let (count, most) = (encoded.get_ids().len(), self.config.max_length);
        if count == 0 || count > most {
            let reason = format!("a text of {count} tokens: the model takes {most}");
            return Err(Failure::new(FailureCode::PromptTooLong, reason));
        }
        Ok(encoded.get_ids().to_vec())
    }

    fn arguments(&self, tokens: &[u32]) -> Vec<Tensor> {
        let row = |(role, kind): &(Role, ElementType)| {
            let value = |(place, token): (usize, &u32)| match role {
                Role::Tokens => i64::from(*token),
                Role::Ones => 1,
                Role::Zeros => 0,
                Role::Positions => place as i64,
            };
            let values = tokens.iter().enumerate().map(value);
            let shape = [1, tokens.len()];
            match kind {
                ElementType::I32 => Tensor::new(shape, values.map(|value| value as i32).collect()),
                _ => Tensor::new(shape, values.collect()),
            }
        };
        self.roles.iter().map(|role| row(role).expect("one row")).collect()
    }

    fn pooled(&self, values: &[f32]) -> Result<Vec<f32>, Failure> {
        let tokens = values.len() / self.width.max(1);
        if tokens == 0 || (self.config.pooling == Pooling::None && tokens != 1) {
            return Err(failure::wrong_shape(format!("{tokens} vectors, expected one")));
        }
        Ok(match self.config.pooling {
            Pooling::Mean => {
                let column = |at: usize| values.iter().skip(at).step_by(self.width).copied().collect::<Vec<f32>>();
                (0..self.width).map(|at| sum16(&column(at)) / tokens as f32).collect()
            }
            Pooling::Cls | Pooling::None => values[..self.width].to_vec(),
        })
    }
}

fn read_tokenizer(file: &[u8]) -> Result<Tokenizer, Failure> {
    let refused = || Failure::new(FailureCode::NoTokenizer, format!("{TOKENIZER_FILE}: not a tokenizer"));
    let mut tokenizer = Tokenizer::from_bytes(file).map_err(|_| refused())?;
    tokenizer.with_truncation(None).map_err(|_| refused())?;
    tokenizer.with_padding(None);
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LoadOptions,
        onnx::proto::{
            DimensionProto, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
            TensorTypeProto, TypeProto, TypeValue, ValueInfoProto,
        },
        rewrite::to_proto,
    };

    /// Words by number, with the control tokens of BERT's family.
    const TOKENIZER: &str = r#"{"version": "1.0", "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [
            {"id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 1, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 2, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": null,
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "good": 4, "bad": 5}, "unk_token": "[UNK]"}}"#;
    /// A vector of two numbers for each token.
    const TABLE: [f32; 12] = [9.0, 9.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.5, 3.0, 4.0, -3.0, 7.0];

    fn value(name: &str, kind: ElementType, dims: &[i64]) -> ValueInfoProto {
        let dim = |n: &i64| DimensionProto {
            value: Some(if *n < 0 { DimensionValue::Param("n".into()) } else { DimensionValue::Value(*n) }),
        };
        let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
        let tensor = TensorTypeProto { elem_type: Some(kind as i32), shape };
        let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) });
        ValueInfoProto { name: Some(name.into()), r#type, doc_string: None }
    }

    fn encoder(config: &str, tokenizer: Option<&str>) -> Result<EmbeddingModel, String> {
        let node = NodeProto::new("", "Gather", &["table", "input_ids"], "last_hidden_state");
        let graph = GraphProto {
            node: vec![node],
            initializer: vec![to_proto("table", &Tensor::new([6, 2], TABLE.to_vec()).unwrap())],
            input: vec![
                value("input_ids", ElementType::I64, &[1, -1]),
                value("attention_mask", ElementType::I64, &[1, -1]),
            ],
            output: vec![value("last_hidden_state", ElementType::F32, &[1, -1, 2])],
            ..Default::default()
        };
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(18) }];
        let model = ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() };
        let model = ExactModel::from_proto(&model, &LoadOptions::default()).unwrap();
        let mut files: Files = [(EMBEDDING_FILE.to_string(), config.as_bytes().to_vec().into())].into();
        if let Some(tokenizer) = tokenizer {
            files.insert(TOKENIZER_FILE.into(), tokenizer.as_bytes().to_vec().into());
        }
        EmbeddingModel::new(model, &files, Arc::new(Pool::new(1)))
    }

    fn config(pooling: &str, normalize: bool) -> String {
        format!(r#"{{"max_length": 6, "pooling": "{pooling}", "normalize": {normalize}}}"#)
    }

    fn vector(model: &EmbeddingModel, text: &str) -> Result<Vec<f32>, Failure> {
        Ok(model.run(&[Tensor::scalar(text.to_string())])?[0].values::<f32>()?.to_vec())
    }

    #[test]
    fn vectors_of_tokens_become_one() {
        let mean = encoder(&config("mean", false), Some(TOKENIZER)).unwrap();
        assert_eq!(vector(&mean, "good bad"), Ok(vec![(1.0 + 3.0 - 3.0) / 4.0, (4.0 + 7.0 + 1.0) / 4.0]));
        let cls = encoder(&config("cls", false), Some(TOKENIZER)).unwrap();
        assert_eq!(vector(&cls, "good bad"), Ok(vec![1.0, 0.0]));
        let unit = encoder(&config("mean", true), Some(TOKENIZER)).unwrap();
        let found = vector(&unit, "good").unwrap();
        assert!((found[0] * found[0] + found[1] * found[1] - 1.0).abs() < 1e-6 && found[0] < found[1], "{found:?}");
    }

    #[test]
    fn a_text_never_says_a_control_token() {
        let mean = encoder(&config("mean", false), Some(TOKENIZER)).unwrap();
        // "[", "SEP" and "]" are words that nobody knows.
        assert_eq!(vector(&mean, "[SEP]"), Ok(vec![(1.0 - 3.0) / 5.0, (1.5 + 1.0) / 5.0]));
    }

    #[test]
    fn texts_without_an_answer_fail() {
        let model = encoder(&config("mean", false), Some(TOKENIZER)).unwrap();
        let without = encoder(&config("mean", false), None).unwrap();
        let broken = encoder(&config("mean", false), Some("{}")).unwrap();
        for (model, text, code, words) in [
            (&model, "", FailureCode::InvalidText, "empty"),
            (&model, "good good good good good", FailureCode::PromptTooLong, "7 tokens: the model takes 6"),
            (&without, "good", FailureCode::NoTokenizer, "no tokenizer.json"),
            (&broken, "good", FailureCode::NoTokenizer, "not a tokenizer"),
        ] {
            let failure = vector(model, text).expect_err(words);
            assert!(failure.code == code && failure.reason.contains(words), "{failure}");
        }
    }

    #[test]
    fn what_cannot_serve_is_named() {
        for (config, words) in [
            (config("none", false), "an output of 2 axes"),
            (config("max", false), "mean, cls or none"),
            ("{}".to_string(), "max_length"),
        ] {
            let error = encoder(&config, Some(TOKENIZER)).err().expect(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
