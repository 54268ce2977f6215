//! What a contract asks, and what it gets: the tensors of a text model, which are the same for all of them.

use foreblock_precompile::{Failure, FailureCode, abi::TensorSpec};

use crate::{Tensor, failure, tensor::ElementType};

/// Longest `input` that text models accept, in bytes.
pub const INPUT_BYTES_MAX: u32 = 32_768;
/// Longest `output` of text models, in bytes: a text of 4,096 bytes and the facts.
pub const OUTPUT_BYTES_MAX: u32 = 4_096 + 1_024;
/// Longest text of an answer, in bytes.
const TEXT_BYTES_MAX: u32 = 4_096;
/// Most messages of a conversation.
const MESSAGES_MAX: usize = 64;
/// Most sequences that stop an answer.
const STOPS_MAX: usize = 16;
/// Role of a lone message that is continued as it is, without a template.
const PLAIN: &str = "prompt";
const WAD: i64 = 1_000_000_000_000_000_000;

/// A question to a text model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRequest {
    /// Most tokens of the answer; what is paid for in advance.
    pub tokens_max: u32,
    /// Most bytes of the answer.
    pub bytes_max: u32,
    /// Most tokens of the prompt, paid for in advance, too: a longer one fails.
    pub prompt_tokens_max: u32,
    /// 0 takes the likeliest token; up to 9 WAD otherwise.
    pub temperature_wad: i64,
    /// Only the likeliest tokens that together have this probability, in WAD.
    pub top_p_wad: i64,
    /// Only this many of the likeliest tokens; 0 for all.
    pub top_k: u32,
    /// Chooses among the answers that sampling may give.
    pub seed: i64,
    /// Role and content: `system`, `user`, `assistant`; or one message of the role `prompt`.
    pub messages: Vec<(String, String)>,
    /// Kind and arguments of what the answer must be; empty for anything.
    pub constraint: Vec<String>,
    /// Texts that end the answer, and are not part of it.
    pub stops: Vec<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Finish {
    /// The model ended it.
    End = 0,
    /// A stop sequence came.
    Stop = 1,
    /// It is all that the constraint allows.
    Complete = 2,
    /// The limit of tokens is reached.
    Tokens = 3,
    /// The limit of bytes is reached.
    Bytes = 4,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The index of the option, or the number; 0 for other constraints.
    pub value: i64,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the answer, the one that ended it included.
    pub answer_tokens: usize,
}

/// Inputs of every text model, as its manifest lists them.
pub fn input_specs() -> Vec<TensorSpec> {
    vec![
        spec("parameters", ElementType::I64, &[7]),
        spec("messages", ElementType::String, &[-1, 2]),
        spec("constraint", ElementType::String, &[-1]),
        spec("stops", ElementType::String, &[-1]),
    ]
}

/// Outputs of every text model.
pub fn output_specs() -> Vec<TensorSpec> {
    vec![spec("facts", ElementType::I64, &[4]), spec("text", ElementType::String, &[])]
}

fn spec(name: &str, kind: ElementType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), elementType: kind as u8, shape: shape.to_vec() }
}

/// A request that any text model has an answer to.
pub fn sample_request() -> TextRequest {
    TextRequest { tokens_max: 8, ..TextRequest::new(vec![("prompt".into(), "The capital of France is".into())]) }
}

impl TextRequest {
    /// Answers greedily, with up to 64 tokens, whatever the prompt's length.
    pub fn new(messages: Vec<(String, String)>) -> Self {
        Self {
            tokens_max: 64,
            bytes_max: 1_024,
            prompt_tokens_max: u32::MAX,
            temperature_wad: 0,
            top_p_wad: WAD,
            top_k: 0,
            seed: 0,
            messages,
            constraint: Vec::new(),
            stops: Vec::new(),
        }
    }

    /// Reads the tensors of [`input_specs`].
    pub fn read(tensors: &[Tensor]) -> Result<Self, Failure> {
        let [parameters, messages, constraint, stops] = tensors else {
            return Err(failure::arity(format!("expected 4 tensors, got {}", tensors.len())));
        };
        let [tokens, bytes, temperature, top_p, top_k, seed, prompt] = *parameters.values::<i64>()? else {
            return Err(failure::wrong_shape("expected 7 parameters"));
        };
        let pairs = messages.values::<String>()?.chunks_exact(2);
        let request = Self {
            tokens_max: within("the limit of tokens", tokens, 1, i64::from(OUTPUT_BYTES_MAX))? as u32,
            bytes_max: within("the limit of bytes", bytes, 1, TEXT_BYTES_MAX.into())? as u32,
            prompt_tokens_max: within("the limit of prompt tokens", prompt, 1, u32::MAX.into())? as u32,
            temperature_wad: within("the temperature", temperature, 0, 9 * WAD)?,
            top_p_wad: within("top-p", top_p, 1, WAD)?,
            top_k: within("top-k", top_k, 0, i32::MAX.into())? as u32,
            seed: within("the seed", seed, 0, i64::MAX)?,
            messages: pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
            constraint: constraint.values::<String>()?.to_vec(),
            stops: stops.values::<String>()?.to_vec(),
        };
        request.check().map(|()| request)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.messages.iter().all(|(_, content)| content.is_empty()) {
            return Err(Failure::new(FailureCode::InvalidText, "the prompt is empty: expected a message with content"));
        }
        within("the number of messages", self.messages.len() as i64, 1, MESSAGES_MAX as i64)?;
        within("the number of stop sequences", self.stops.len() as i64, 0, STOPS_MAX as i64)?;
        if self.stops.iter().any(String::is_empty) {
            return Err(Failure::new(FailureCode::InvalidText, "a stop sequence is empty"));
        }
        for (index, (role, _)) in self.messages.iter().enumerate() {
            let known = ["system", "user", "assistant"].contains(&role.as_str());
            let plain = role == PLAIN && self.messages.len() == 1;
            if !known && !plain {
                let expected = "expected system, user or assistant, or prompt for the only message";
                let reason = format!("message {index} has an unknown role; {expected}");
                return Err(Failure::new(FailureCode::InvalidText, reason));
            }
        }
        Ok(())
    }

    /// Whether the only message is continued as it is.
    pub(super) fn is_plain(&self) -> bool {
        self.messages[0].0 == PLAIN
    }

    /// The tensors that [`TextRequest::read`] reads.
    pub fn tensors(&self) -> Vec<Tensor> {
        let numbers = [
            self.tokens_max.into(),
            self.bytes_max.into(),
            self.temperature_wad,
            self.top_p_wad,
            self.top_k.into(),
            self.seed,
            self.prompt_tokens_max.into(),
        ];
        let messages = self.messages.iter().flat_map(|(role, content)| [role.clone(), content.clone()]).collect();
        let messages = Tensor::new([self.messages.len(), 2], messages).expect("two for each");
        let constraint = Tensor::vector(self.constraint.clone());
        vec![Tensor::vector(numbers.to_vec()), messages, constraint, Tensor::vector(self.stops.clone())]
    }

    /// `abi.encode(Tensor[])`, as a contract sends it.
    pub fn to_wire(&self) -> alloy_primitives::Bytes {
        let wire = |tensor: &Tensor| {
            let wire = crate::wire::to_wire(tensor);
            wire.expect("integers and texts have a wire form")
        };
        crate::wire::write(&self.tensors().iter().map(wire).collect::<Vec<_>>())
    }
}

impl Answer {
    /// The tensors of [`output_specs`]: value, finish, tokens of prompt and answer; then the text.
    pub fn tensors(&self) -> Vec<Tensor> {
        let facts = vec![self.value, self.finish as i64, self.prompt_tokens as i64, self.answer_tokens as i64];
        vec![Tensor::vector(facts), Tensor::scalar(self.text.clone())]
    }
}

fn within(what: &str, value: i64, least: i64, most: i64) -> Result<i64, Failure> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(failure::out_of_range(format!("{what} is {value}, expected {least} to {most}")))
}
