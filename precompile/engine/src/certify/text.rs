//! The text profile: each token, and the bytes of the logits before it, the same whatever the batch, the threads and the
//! instruction set.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::Bytes as Input;
use bytes::Bytes;

use super::{Case, Cell, Certified, CertifyError, CertifyOptions, Matrix, all_threads, describe};
use crate::{
    ExactModel, Isa, LoadOptions, Pool, TextModel, TextRequest,
    engine::BatchFacts,
    input::InputError,
    onnx::{self, Limits},
    publish::{PublishError, publish_text},
    rewrite::Rewritten,
    screen,
    text::Transcript,
};

/// Requests that are answered together.
const BATCHES: [usize; 4] = [1, 2, 5, 8];
/// Threads that are compared.
const THREADS: [usize; 3] = [1, 2, 16];
/// Tokens of an answer.
const TOKENS: u32 = 12;
/// Requests that become golden vectors.
const GOLDEN: usize = 2;
const WAD: i64 = 1_000_000_000_000_000_000;
/// Prompts of several lengths and scripts; the last takes more than one pass.
const PROMPTS: [&str; 8] = [
    "The capital of France is",
    "What is 12 + 30?",
    "Is this positive, negative or neutral?\nI love it!",
    "Write a sentence about the sea.",
    "ok",
    "1, 1, 2, 3, 5, 8,",
    "Größe und Übermut: 日本 🌊",
    "Once upon a time there was a small town between two hills, and in that town lived a clock maker who had never \
     been late. One morning all of his clocks had stopped, each at another hour, and nobody in the town could say \
     what time it was. He put on his coat, took the smallest of them with him and went out to ask",
];

/// Certifies a language model by the prompts of a file, one a line, or by made-up ones.
pub(super) fn certify(
    graph: &Bytes,
    options: CertifyOptions,
    say: &mut dyn FnMut(&str),
) -> Result<Certified, CertifyError> {
    let others = &options.publish.others;
    let weights = screen::check(graph, others).map_err(PublishError::from)?;
    let folder = options.publish.folder.clone().filter(|_| !weights.is_empty());
    let load = |isa: Isa| -> Result<TextModel, CertifyError> {
        let load = LoadOptions { folder: folder.clone(), isa: Some(isa), ..LoadOptions::default() };
        let graph = ExactModel::load(graph.clone(), &load).map_err(PublishError::from)?;
        Ok(TextModel::new(graph, others, Arc::new(Pool::new(1))).map_err(PublishError::Text)?)
    };
    say("answering the prompts");
    let requests = requests(options.cases.as_ref())?;
    let answered = answered(&load(Isa::best())?, &requests)?;
    let matrix = matrix(&load, &answered, options.cell_time_max, say)?;
    if let Some(cell) = matrix.cells.iter().find(|cell| !cell.equal) {
        let Cell { instruction_set, threads, batch, .. } = cell;
        return Err(CertifyError::NotTheSame(format!(
            "{instruction_set}, {threads} threads, {batch} requests together"
        )));
    }
    let cases: Vec<Case> =
        answered.iter().map(|(input, _)| Case { input: input.clone(), tensors: Vec::new() }).collect();
    let mut publish = options.publish.clone();
    publish.golden_inputs = cases.iter().take(GOLDEN).map(|case| case.input.clone().into()).collect();
    let golden = publish.golden_inputs.len();
    let published = publish_text(graph.clone(), publish, all_threads().into())?;
    let decoded = onnx::decode(graph.clone(), &Limits::default()).map_err(PublishError::from)?;
    let nodes = decoded.graph.map_or(0, |graph| graph.node.len());
    let as_it_is = Rewritten { graph: graph.clone(), nodes, folded: 0, unused: 0, maps: 0 };
    let mut report = describe(&published, &as_it_is, &cases, options.cases.is_none());
    let tokens: usize = answered.iter().map(|(_, transcript)| transcript.tokens.len()).sum();
    report.notes.push(format!("a language model: cost and gas are those of one token; {tokens} tokens and the logits before each were compared"));
    report.golden_vectors = golden;
    report.matrix = Some(matrix);
    let facts = BatchFacts { rows_independent: true, ..BatchFacts::default() };
    report.batch = facts.clone();
    Ok(Certified { published, facts, report })
}

/// Each prompt to be continued, sampled by turns.
fn requests(file: Option<&Bytes>) -> Result<Vec<TextRequest>, CertifyError> {
    let prompts: Vec<String> = match file {
        None => PROMPTS.map(str::to_owned).to_vec(),
        Some(file) => {
            let text = std::str::from_utf8(file).map_err(|_| InputError::Format {
                format: "text with a prompt a line",
                reason: "it is not UTF-8".into(),
            })?;
            text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
    };
    let request = |(index, prompt): (usize, String)| TextRequest {
        tokens_max: TOKENS,
        temperature_wad: if index % 2 == 0 { 0 } else { WAD },
        seed: index as i64,
        ..TextRequest::new(vec![("prompt".into(), prompt)])
    };
    Ok(prompts.into_iter().enumerate().map(request).collect())
}

/// The requests that have an answer, with what they give alone on one thread.
fn answered(model: &TextModel, requests: &[TextRequest]) -> Result<Vec<(Input, Transcript)>, CertifyError> {
    let mut reason = String::from("there is no prompt");
    let mut answered = Vec::new();
    for request in requests {
        let input = request.to_wire();
        match transcripts(model, std::slice::from_ref(&input)).pop() {
            Some(Ok(transcript)) => answered.push((input, transcript)),
            Some(Err(failure)) => reason = failure,
            None => {}
        }
    }
    if answered.is_empty() { Err(CertifyError::NoCase { tried: requests.len(), reason }) } else { Ok(answered) }
}

fn transcripts(model: &TextModel, inputs: &[Input]) -> Vec<Result<Transcript, String>> {
    let flat =
        |ended: Result<Result<Transcript, crate::Failure>, String>| ended?.map_err(|failure| failure.to_string());
    model.transcripts(inputs).into_iter().map(flat).collect()
}

/// Answers batches over instruction sets and threads; each must give what was given alone.
fn matrix(
    load: &dyn Fn(Isa) -> Result<TextModel, CertifyError>,
    answered: &[(Input, Transcript)],
    cell_time_max: Duration,
    say: &mut dyn FnMut(&str),
) -> Result<Matrix, CertifyError> {
    let mut matrix = Matrix { rows_independent: true, ..Matrix::default() };
    for isa in Isa::available() {
        let name = format!("{isa:?}").to_lowercase();
        say(&format!("comparing tokens on {name}"));
        let mut model = load(isa)?;
        let mut request_time = Duration::ZERO;
        for batch in BATCHES {
            for threads in THREADS {
                if request_time * (batch as u32) > cell_time_max {
                    matrix.skipped += 1;
                    continue;
                }
                model = model.with_pool(Arc::new(Pool::new(threads)));
                // Others for each size, so that a request meets several neighbours.
                let members: Vec<&(Input, Transcript)> = answered.iter().cycle().skip(batch).take(batch).collect();
                let inputs: Vec<Input> = members.iter().map(|(input, _)| input.clone()).collect();
                let start = Instant::now();
                let given = transcripts(&model, &inputs);
                request_time = request_time.max(start.elapsed() / batch as u32);
                let equal = members.iter().zip(&given).all(|((_, alone), given)| given.as_ref() == Ok(alone));
                matrix.cells.push(Cell { instruction_set: name.clone(), threads, batch, equal });
            }
        }
    }
    Ok(matrix)
}
