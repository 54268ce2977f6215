//! A loaded text model: from the bytes of a request to its outcome.

use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use foreblock_precompile::{Failure, Outcome};

use super::{
    OUTPUT_BYTES_MAX, TEMPLATE_FILE, TOKENIZER_FILE,
    crew::{Crew, Ended},
    decoder::Decoder,
    generation::{Finished, Generation, Progress},
    layout::Layout,
    prompt,
    request::{Answer, TextRequest, input_specs, output_specs},
    template::Template,
    vocabulary::Vocabulary,
};
use crate::{ExactModel, Pool, graph::Cost, model_dir::Files, wire};
use foreblock_precompile::FailureCode;

/// A text model ready to answer.
pub struct TextModel {
    decoder: Decoder,
    /// What a model without a usable tokenizer answers every request with.
    vocabulary: Result<Arc<Vocabulary>, Failure>,
    template: Option<Result<Template, Failure>>,
    ends: Arc<[u32]>,
    /// Most tokens of a conversation.
    room: usize,
    crew: Crew,
    pool: Arc<Pool>,
}

/// An answer with all that two operators must have in common, token by token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The answer.
    pub answer: Answer,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// keccak256 of the logits before each token, as little-endian binary32.
    pub logits: Vec<B256>,
}

impl TextModel {
    /// A text model of a graph and the files that belong to it, or why they cannot serve.
    pub fn new(graph: ExactModel, files: &Files, pool: Arc<Pool>) -> Result<Self, String> {
        let Layout { ends, begin, room, names } = Layout::read(files)?;
        let decoder = Decoder::new(graph, &names)?;
        let missing = || Failure::new(FailureCode::NoTokenizer, format!("the model has no {TOKENIZER_FILE}"));
        let vocabulary = files.get(TOKENIZER_FILE).ok_or_else(missing).and_then(|file| Vocabulary::read(file));
        let spelling = |token: Option<u32>| -> String {
            let known = vocabulary.as_ref().ok().and_then(|vocabulary| vocabulary.spelling(token?));
            known.unwrap_or_default().into()
        };
        let (begin, end) = (spelling(begin), spelling(ends.last().copied()));
        let template = files.get(TEMPLATE_FILE).map(|source| Template::read(source, begin, end));
        let vocabulary = vocabulary.map(Arc::new);
        Ok(Self { decoder, vocabulary, template, ends: ends.into(), room, crew: Crew::default(), pool })
    }

    /// The same model on other threads.
    pub fn with_pool(self, pool: Arc<Pool>) -> Self {
        Self { pool, ..self }
    }

    /// The outcomes for many inputs, in their order; they share passes with each other and with those of other callers.
    /// `Err` says that the computation broke here and now.
    pub fn outcomes<I: AsRef<[u8]>>(&self, inputs: &[I]) -> Vec<Result<Outcome, String>> {
        let conclude = |ended: Ended| {
            Ok(match ended?.and_then(|finished| encode(&finished.answer)) {
                Ok(output) => Outcome::Output(output),
                Err(failure) => Outcome::Failed(failure),
            })
        };
        self.finish(inputs.iter().map(|input| self.prepare(input.as_ref()))).into_iter().map(conclude).collect()
    }

    /// The answers for many inputs, token by token, for certification.
    pub fn transcripts<I: AsRef<[u8]>>(&self, inputs: &[I]) -> Vec<Result<Result<Transcript, Failure>, String>> {
        let noting = |input: &I| self.prepare(input.as_ref()).map(Generation::noting_logits);
        let transcript = |finished: Finished| {
            let Finished { answer, tokens, logits } = finished;
            Transcript { answer, tokens, logits }
        };
        let ended = self.finish(inputs.iter().map(noting));
        ended.into_iter().map(|ended| Ok(ended?.map(transcript))).collect()
    }

    /// How far the answers are that this node is making.
    pub fn progress(&self) -> Vec<Progress> {
        self.crew.progress()
    }

    /// Most tokens of a conversation, the answer included.
    pub fn tokens_max(&self) -> usize {
        self.room
    }

    /// What the last token of the longest conversation costs: no token costs more.
    pub fn cost_of_token(&self) -> Result<Cost, Failure> {
        self.decoder.cost(self.room.saturating_sub(1), &self.pool)
    }

    /// Finishes what could be prepared; each in its place.
    fn finish(&self, prepared: impl Iterator<Item = Result<Generation, Failure>>) -> Vec<Ended> {
        let mut generations = Vec::new();
        let places: Vec<Option<Failure>> =
            prepared.map(|prepared| prepared.map(|generation| generations.push(generation)).err()).collect();
        let mut ended = self.crew.run(generations, &self.decoder, &self.pool).into_iter();
        let place = |failure: Option<Failure>| match failure {
            Some(failure) => Ok(Err(failure)),
            None => ended.next().unwrap_or_else(|| Err("an answer was lost".into())),
        };
        places.into_iter().map(place).collect()
    }

    fn prepare(&self, input: &[u8]) -> Result<Generation, Failure> {
        let vocabulary = self.vocabulary.as_ref().map_err(Failure::clone)?;
        let request = TextRequest::read(&wire::decode_input(input, &input_specs())?)?;
        let template = self.template.as_ref().map(|template| template.as_ref().map_err(Failure::clone)).transpose();
        let template = if request.is_plain() { None } else { template? };
        let prompt = prompt::tokens(&request, vocabulary, template, self.room)?;
        // What is paid for in advance bounds a prompt by the bytes that were sent.
        if prompt.len() > input.len() || prompt.iter().any(|token| *token as usize >= self.decoder.vocabulary()) {
            return Err(Failure::new(FailureCode::InvalidText, "the prompt has tokens that the model does not know"));
        }
        let (ends, cache) = (self.ends.clone(), self.decoder.start());
        Generation::new(request, input, prompt, vocabulary.clone(), ends, cache)
    }
}

fn encode(answer: &Answer) -> Result<alloy_primitives::Bytes, Failure> {
    wire::encode_output(&answer.tensors(), &output_specs(), OUTPUT_BYTES_MAX)
}

impl Transcript {
    /// One hash of all of it, to compare operators by.
    pub fn digest(&self) -> B256 {
        let tokens = self.tokens.iter().flat_map(|token| token.to_be_bytes());
        keccak256(tokens.chain(self.logits.iter().flat_map(|hash| hash.0)).collect::<Vec<u8>>())
    }
}
