//! A language model: the tokens that it writes, and the logits before each.

use std::{fs, path::Path, sync::Arc};

use alloy_primitives::{B256, Bytes};
use anyhow::{Context, ensure};
use foreblock_engine::{
    ExactModel, Isa, LoadOptions, Pool, TextModel, TextRequest,
    model_dir::Files,
    text::{GENERATION_FILE, TOKENIZER_FILE},
};

const GRAPH: &str = "model.onnx";
/// What is continued; the second only keeps the first company.
const PROMPTS: [&str; 2] = ["The film", "I"];
/// Few, since an emulator takes seconds for each.
const TOKENS: u32 = 4;
/// The highest, so that hardly any token ends the answer.
const TEMPERATURE_WAD: i64 = 9_000_000_000_000_000_000;

/// Whether a folder is one.
pub(crate) fn is_one(folder: &Path) -> bool {
    folder.join(GENERATION_FILE).is_file()
}

/// Prints the digest of an answer.
pub(crate) fn print(folder: &Path) -> anyhow::Result<bool> {
    println!("{} {}", digest(folder)?, folder.display());
    Ok(true)
}

fn digest(folder: &Path) -> anyhow::Result<B256> {
    let mut files = Files::new();
    for name in [GRAPH, TOKENIZER_FILE, GENERATION_FILE] {
        let content = fs::read(folder.join(name)).with_context(|| format!("no {name} in {}", folder.display()))?;
        files.insert(name.into(), content.into());
    }
    let request = |prompt: &str| {
        let messages = vec![("prompt".into(), prompt.into())];
        TextRequest { tokens_max: TOKENS, temperature_wad: TEMPERATURE_WAD, ..TextRequest::new(messages) }.to_wire()
    };
    let inputs = PROMPTS.map(request);
    let mut first = None;
    let settings = Isa::available().into_iter().map(|isa| (isa, 1, 1)).chain([(Isa::best(), 2, 2)]);
    for (isa, threads, together) in settings {
        let digest = answer(&files, isa, threads, &inputs[..together])?;
        let expected = *first.get_or_insert(digest);
        ensure!(digest == expected, "{isa:?}, {threads} threads, {together} together change the answer");
    }
    first.context("no instruction set")
}

/// Of the first input's tokens and logits.
fn answer(files: &Files, isa: Isa, threads: usize, inputs: &[Bytes]) -> anyhow::Result<B256> {
    let options = LoadOptions { isa: Some(isa), ..LoadOptions::default() };
    let graph = ExactModel::load(files[GRAPH].clone(), &options)?;
    let model = TextModel::new(graph, files, Arc::new(Pool::new(threads))).map_err(anyhow::Error::msg)?;
    let transcript = model.transcripts(inputs).into_iter().next().context("no answer")?;
    let transcript = transcript.map_err(anyhow::Error::msg)?.map_err(|failure| anyhow::Error::msg(failure.reason))?;
    ensure!(transcript.tokens.len() == TOKENS as usize, "{} tokens, expected {TOKENS}", transcript.tokens.len());
    Ok(transcript.digest())
}
