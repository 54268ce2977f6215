//! `cargo xtask bench text`: tokens a second of the exact engine beside ONNX Runtime's on the same graph, what many requests
//! gain from each other, what a constraint costs, and whether any token ever differs.
//!
//! `-- --model NAME` takes a model of the model directory (`foreblock model fetch smollm2`) in place of the one that ships;
//! `-- --generations N` compares so many generations.

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use foreblock_engine::{
    Catalog, ExactModel, LoadOptions, ModelDir, Pool, TextModel, TextRequest,
    model_dir::{Files, data_dir},
    text::Transcript,
};
use foreblock_tests::bench::{Report, Target, workspace};

const MODEL: &str = "tiny-chat";
/// Generations that are compared unless the flag says otherwise: what two cores do in a minute.
const GENERATIONS: usize = 600;
/// Tokens of an answer, where nothing ends it before.
const TOKENS: u32 = 48;
/// Timings of each setting, of which the best counts.
const SAMPLES: usize = 5;
const TOGETHER: usize = 8;
const WAD: i64 = 1_000_000_000_000_000_000;
/// Compares no decimals but speed: the same greedy loop as ours, one token a pass, on one thread.
const REFERENCE: &str = include_str!("text.py");

struct Flags {
    model: String,
    generations: usize,
}

fn flags() -> Flags {
    let mut flags = Flags { model: MODEL.into(), generations: GENERATIONS };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--model", Some(name)) => flags.model = name,
            ("--generations", Some(count)) => flags.generations = count.parse().expect("--generations takes a number"),
            _ => {}
        }
    }
    flags
}

fn files(name: &str) -> Files {
    let catalog = Catalog::new(data_dir(None).ok().map(|folder| ModelDir::new(&folder)));
    let entry = catalog.find(name).unwrap_or_else(|error| panic!("{error}"));
    catalog.files(&entry).unwrap_or_else(|error| panic!("{error}"))
}

fn load(files: &Files, threads: usize) -> TextModel {
    let graph = ExactModel::load(files["model.onnx"].clone(), &LoadOptions::default()).expect("the model loads");
    TextModel::new(graph, files, Arc::new(Pool::new(threads))).expect("it is a text model")
}

fn story(seed: usize) -> TextRequest {
    let prompt = format!("Write a positive text about film number {seed}.");
    TextRequest { tokens_max: TOKENS, bytes_max: 1_024, ..TextRequest::new(vec![("user".into(), prompt)]) }
}

fn answers(model: &TextModel, requests: &[TextRequest]) -> Vec<Transcript> {
    let inputs: Vec<_> = requests.iter().map(TextRequest::to_wire).collect();
    model.transcripts(&inputs).into_iter().map(|answer| answer.expect("it runs").expect("it answers")).collect()
}

/// Best tokens a second over some timings of `requests`, all at once.
fn speed(model: &TextModel, requests: &[TextRequest]) -> f64 {
    let inputs: Vec<_> = requests.iter().map(TextRequest::to_wire).collect();
    let tokens: usize = answers(model, requests).iter().map(|answer| answer.tokens.len()).sum();
    let timed = (0..SAMPLES).map(|_| {
        let start = Instant::now();
        model.outcomes(&inputs);
        start.elapsed()
    });
    tokens as f64 / timed.min().unwrap_or(Duration::MAX).as_secs_f64()
}

/// Tokens a second of ONNX Runtime, from the same prompt of as many tokens and for as many of an answer.
fn reference(files: &Files, prompt: usize, answer: usize) -> Option<f64> {
    let folder = tempfile::tempdir().ok()?;
    let graph = folder.path().join("model.onnx");
    std::fs::write(&graph, &files["model.onnx"]).ok()?;
    let python = std::env::var("FOREBLOCK_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(python);
    command.args(["-c", REFERENCE]).arg(&graph).args([prompt, answer, SAMPLES].map(|number| number.to_string()));
    let output = command.output().ok()?;
    if !output.status.success() {
        eprintln!("no comparison with ONNX Runtime: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// Requests of every kind, no two alike.
fn mixture(count: usize) -> Vec<TextRequest> {
    let request = |index: usize| {
        let base = TextRequest { tokens_max: 6 + (index % 5) as u32 * 3, seed: index as i64, ..story(index) };
        let constraint = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
        match index % 5 {
            0 => base,
            1 => TextRequest { temperature_wad: WAD, ..base },
            2 => TextRequest { constraint: constraint(&["choice", "positive", "negative", "neutral"]), ..base },
            3 => TextRequest { constraint: constraint(&["range", "1", "500"]), temperature_wad: 2 * WAD, ..base },
            _ => TextRequest { top_k: 20, top_p_wad: WAD / 10 * 9, temperature_wad: WAD / 2, ..base },
        }
    };
    (0..count).map(request).collect()
}

/// Generations whose tokens or logits differ from those made alone on one thread.
fn differing(files: &Files, count: usize) -> usize {
    let requests = mixture(count);
    let alone = load(files, 1);
    let expected: Vec<Transcript> =
        requests.iter().flat_map(|one| answers(&alone, std::slice::from_ref(one))).collect();
    let settings = [(1, TOGETHER), (2, 3), (2, 16)];
    let models = settings.map(|(threads, _)| load(files, threads));
    let mut differing = 0;
    for (index, chunk) in requests.chunks(48).enumerate() {
        let which = index % settings.len();
        for (part, members) in chunk.chunks(settings[which].1).enumerate() {
            let from = index * 48 + part * settings[which].1;
            let given = answers(&models[which], members);
            differing += given.iter().zip(&expected[from..]).filter(|(one, other)| one != other).count();
        }
    }
    differing
}

fn main() {
    let flags = flags();
    let files = files(&flags.model);
    let mut report = Report::new("text");
    let one = load(&files, 1);
    let asked = [story(0)];
    let answered = &answers(&one, &asked)[0];
    let alone = speed(&one, &asked);
    report.row(&format!("{}: tokens/s, greedy, batch 1, one thread", flags.model), alone, Target::Shown);
    if let Some(theirs) = reference(&files, answered.answer.prompt_tokens, answered.tokens.len()) {
        report.row("the same / ONNX Runtime, a loop with its cache in Python", alone / theirs, Target::AtLeast(0.9));
    }
    let many: Vec<TextRequest> = (0..TOGETHER).map(story).collect();
    report.row("8 requests together / 1, tokens/s", speed(&one, &many) / alone, Target::AtLeast(2.0));
    let pattern = ["regex".to_string(), "(?s:.)*".to_string()].to_vec();
    let free = [TextRequest { constraint: pattern, ..story(0) }];
    report.row("time of a token under a constraint / free", alone / speed(&one, &free), Target::AtMost(1.1));
    let differing = differing(&files, flags.generations);
    let measure = format!("generations with a differing token, of {}", flags.generations);
    report.row(&measure, differing as f64, Target::AtMost(0.0));
    report.write(Path::new(workspace())).expect("target/bench can be written");
}
