//! `cargo xtask bench text`: tokens a second of the exact engine beside ONNX Runtime's on the same graph, what many requests
//! gain from each other, what a constraint costs, and whether any token ever differs.
//!
//! `-- --model NAME` takes a model of the model directory (`foreblock model fetch smollm2`) in place of the one that ships;
//! `-- --only speed|together|constraint|differing` measures one part; `-- --generations N` compares so many generations, and
//! `--from N` begins with another. The comparison with onnxruntime-genai needs it in the Python of `FOREBLOCK_PYTHON`.

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use foreblock_engine::{
    Catalog, ExactModel, Isa, LoadOptions, ModelDir, Pool, TextModel, TextRequest,
    model_dir::{Files, data_dir},
    text::Transcript,
};
use foreblock_tests::bench::{Report, Target, workspace};
use serde_json::Value;

const MODEL: &str = "tiny-chat";
/// Generations that are compared unless the flag says otherwise.
const GENERATIONS: usize = 10_000;
/// Generations that meet one setting before the next.
const CHUNK: usize = 48;
/// Tokens of an answer, where nothing ends it before.
const TOKENS: u32 = 48;
/// How long each setting is timed, once at least. The best timing counts: the machine may be shared.
const TIMED: Duration = Duration::from_secs(3);
/// Callers at the same time, and requests of each: of a slow model, one.
const TOGETHER: usize = 8;
const EACH: usize = 4;
/// Tokens a second below which a model is slow.
const SLOW: f64 = 200.0;
const WAD: i64 = 1_000_000_000_000_000_000;
/// Compares no decimals but speed: the same greedy loop as ours, one token a pass, on one thread.
const REFERENCE: &str = include_str!("text.py");

struct Flags {
    model: String,
    only: Option<String>,
    generations: usize,
    from: usize,
}

impl Flags {
    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == part)
    }
}

fn flags() -> Flags {
    let mut flags = Flags { model: MODEL.into(), only: None, generations: GENERATIONS, from: 0 };
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{word} is no number"));
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--model", Some(name)) => flags.model = name,
            ("--only", Some(part)) => flags.only = Some(part),
            ("--generations", Some(count)) => flags.generations = number(&count),
            ("--from", Some(first)) => flags.from = number(&first),
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

fn load(files: &Files, threads: usize, isa: Isa) -> TextModel {
    let options = LoadOptions { isa: Some(isa), ..LoadOptions::default() };
    let graph = ExactModel::load(files["model.onnx"].clone(), &options).expect("the model loads");
    TextModel::new(graph, files, Arc::new(Pool::new(threads))).expect("it is a text model")
}

fn request(prompt: String) -> TextRequest {
    TextRequest { tokens_max: TOKENS, bytes_max: 1_024, ..TextRequest::new(vec![("user".into(), prompt)]) }
}

/// What the model was taught to answer in a sentence.
fn story(index: usize) -> TextRequest {
    const TONES: [&str; 3] = ["positive", "negative", "neutral"];
    const KINDS: [&str; 4] = ["product", "film", "politics", "tweet"];
    let (tone, kind) = (TONES[index % TONES.len()], KINDS[index / TONES.len() % KINDS.len()]);
    TextRequest { seed: index as i64, ..request(format!("Write a {tone} text about {kind}.")) }
}

fn answers(model: &TextModel, requests: &[TextRequest]) -> Vec<Transcript> {
    let inputs: Vec<_> = requests.iter().map(TextRequest::to_wire).collect();
    model.transcripts(&inputs).into_iter().map(|answer| answer.expect("it runs").expect("it answers")).collect()
}

/// Best tokens a second over some timings of `requests`, asked by so many callers at once, each of whom waits for one answer
/// before it asks the next.
fn speed(model: &TextModel, requests: &[TextRequest], callers: usize) -> f64 {
    let inputs: Vec<_> = requests.iter().map(TextRequest::to_wire).collect();
    let tokens: usize = answers(model, requests).iter().map(|answer| answer.tokens.len()).sum();
    let ask = |caller: usize| inputs.iter().skip(caller).step_by(callers).for_each(|one| drop(model.outcomes(&[one])));
    let (begun, mut best) = (Instant::now(), Duration::MAX);
    while best == Duration::MAX || begun.elapsed() < TIMED {
        let start = Instant::now();
        thread::scope(|scope| {
            (1..callers).for_each(|caller| drop(scope.spawn(move || ask(caller))));
            ask(0);
        });
        best = best.min(start.elapsed());
    }
    tokens as f64 / best.as_secs_f64()
}

/// Tokens a second of ONNX Runtime, from a prompt of as many tokens and for as many of an answer: `loop`, called token by
/// token from Python, and `genai`, where that is installed.
fn reference(files: &Files, prompt: usize, answer: usize) -> Option<Value> {
    let folder = tempfile::tempdir().ok()?;
    std::fs::write(folder.path().join("model.onnx"), &files["model.onnx"]).ok()?;
    let python = std::env::var("FOREBLOCK_PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(python);
    command
        .args(["-c", REFERENCE])
        .arg(folder.path())
        .args([prompt, answer, TIMED.as_secs() as usize].map(|number| number.to_string()));
    let output = command.output().ok()?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).ok()
}

/// Requests of every kind, no two alike.
fn mixture(from: usize, count: usize) -> Vec<TextRequest> {
    let request = |index: usize| {
        let prompt = format!("Write a positive text about film number {index}.");
        let base = TextRequest { tokens_max: 6 + (index % 5) as u32 * 3, seed: index as i64, ..request(prompt) };
        let constraint = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
        match index % 5 {
            0 => base,
            1 => TextRequest { temperature_wad: WAD, ..base },
            2 => TextRequest { constraint: constraint(&["choice", "positive", "negative", "neutral"]), ..base },
            3 => TextRequest { constraint: constraint(&["range", "1", "500"]), temperature_wad: 2 * WAD, ..base },
            _ => TextRequest { top_k: 20, top_p_wad: WAD / 10 * 9, temperature_wad: WAD / 2, ..base },
        }
    };
    (from..from + count).map(request).collect()
}

/// Generations whose tokens or logits differ from those made alone on one thread: by turns on other threads and in other
/// company, and one of each turn with the instructions that every processor has.
fn differing(files: &Files, from: usize, count: usize) -> usize {
    let (alone, portable) = (load(files, 1, Isa::best()), load(files, 1, Isa::Portable));
    let settings = [(1, TOGETHER), (2, 3), (2, 16), (3, 5), (16, 11)];
    let models = settings.map(|(threads, _)| load(files, threads, Isa::best()));
    let mut differing = 0;
    for (index, requests) in mixture(from, count).chunks(CHUNK).enumerate() {
        let expected: Vec<Transcript> =
            requests.iter().flat_map(|one| answers(&alone, std::slice::from_ref(one))).collect();
        let which = index % settings.len();
        let given = requests.chunks(settings[which].1).flat_map(|members| answers(&models[which], members));
        differing += given.zip(&expected).filter(|(one, other)| one != *other).count();
        let one = index % requests.len();
        differing += usize::from(answers(&portable, &requests[one..=one]) != expected[one..=one]);
    }
    differing
}

fn compared(report: &mut Report, files: &Files, flags: &Flags) {
    let differing = differing(files, flags.from, flags.generations);
    let measure = format!("generations with a differing token, of {}", flags.generations);
    report.row(&measure, differing as f64, Target::AtMost(0.0));
}

fn main() {
    let flags = flags();
    let files = files(&flags.model);
    let mut report = Report::new("text");
    let one = load(&files, 1, Isa::best());
    let asked = [story(0)];
    let answered = &answers(&one, &asked)[0];
    let alone = speed(&one, &asked, 1);
    report.row(&format!("{}: tokens/s, greedy, batch 1, one thread", flags.model), alone, Target::Shown);
    if flags.wants("speed") {
        let theirs = reference(&files, answered.answer.prompt_tokens, answered.tokens.len()).unwrap_or_default();
        // Before theirs and after, as theirs are two.
        let alone = alone.max(speed(&one, &asked, 1));
        for (key, name) in [("loop", "ONNX Runtime, a loop with its cache in Python"), ("genai", "onnxruntime-genai")] {
            if let Some(theirs) = theirs[key].as_f64() {
                report.row(&format!("the same / {name}"), alone / theirs, Target::AtLeast(0.9));
            }
        }
    }
    if flags.wants("together") {
        // Sampled, so that they are of all lengths.
        let sampled = |index| TextRequest { temperature_wad: WAD, ..story(index) };
        let each = if alone < SLOW { 1 } else { EACH };
        let many: Vec<TextRequest> = (0..TOGETHER * each).map(sampled).collect();
        let two = load(&files, 2, Isa::best());
        for (threads, model, target) in
            [("one thread", &one, Target::Shown), ("two threads", &two, Target::AtLeast(2.0))]
        {
            let gain = speed(model, &many, TOGETHER) / speed(model, &many, 1);
            report.row(&format!("8 requests at any time / one, tokens/s, {threads}"), gain, target);
        }
    }
    if flags.wants("constraint") {
        let pattern = ["regex".to_string(), "(?s:.)*".to_string()].to_vec();
        let held = [TextRequest { constraint: pattern, ..story(0) }];
        report.row("time of a token under a constraint / free", alone / speed(&one, &held, 1), Target::AtMost(1.1));
    }
    // Of a slow model only where it is asked for: that takes hours.
    if flags.wants("differing") && (alone >= SLOW || flags.only.is_some()) {
        compared(&mut report, &files, &flags);
    }
    report.write(Path::new(workspace())).expect("target/bench can be written");
}
