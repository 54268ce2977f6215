use std::{collections::BTreeMap, sync::Arc};

use half::f16;

use super::*;
use crate::{
    ExactModel, Limits, LoadOptions, Pool, Tensor, TextModel, TextRequest,
    catalog::bundled,
    onnx::{self, tensors::Constants},
    text::Transcript,
};

/// A GGUF file in the making.
#[derive(Default)]
struct Writer {
    values: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn list(kind: u32, items: Vec<Vec<u8>>) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(items.len() as u64).to_le_bytes(), &items.concat()].concat()
}

impl Writer {
    fn set(&mut self, key: &str, kind: u32, value: Vec<u8>) {
        self.values.retain(|(known, _, _)| known != key);
        self.values.push((key.into(), kind, value));
    }

    fn number(&mut self, key: &str, number: usize) {
        self.set(key, 4, (number as u32).to_le_bytes().to_vec());
    }

    fn word(&mut self, key: &str, word: &str) {
        self.set(key, 8, text(word));
    }

    fn file(&self) -> Bytes {
        let mut head = b"GGUF".to_vec();
        head.extend(3u32.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend((self.values.len() as u64).to_le_bytes());
        for (key, kind, value) in &self.values {
            head.extend([text(key), kind.to_le_bytes().to_vec(), value.clone()].concat());
        }
        let mut data: Vec<u8> = Vec::new();
        for (name, dims, kind, stored) in &self.tensors {
            data.resize(data.len().next_multiple_of(32), 0);
            head.extend([text(name), (dims.len() as u32).to_le_bytes().to_vec()].concat());
            dims.iter().for_each(|length| head.extend((*length as u64).to_le_bytes()));
            head.extend(kind.to_le_bytes());
            head.extend((data.len() as u64).to_le_bytes());
            data.extend(stored);
        }
        head.resize(head.len().next_multiple_of(32), 0);
        [head, data].concat().into()
    }
}

fn tiny_files() -> &'static Files {
    &bundled().iter().find(|model| model.manifest.name() == "tiny-chat").expect("it is bundled").files
}

/// The constants of tiny-chat's graph by their names.
fn constants() -> BTreeMap<String, Tensor> {
    let limits = Limits::default();
    let model = onnx::decode(tiny_files()[GRAPH_FILE].clone(), &limits).unwrap();
    let mut constants = Constants::new(&limits, None);
    let protos = model.graph.unwrap().initializer;
    protos.iter().map(|proto| (proto.name.clone().unwrap(), constants.read(proto).unwrap())).collect()
}

/// tiny-chat as llama.cpp would keep it.
fn tiny() -> Writer {
    let constants = constants();
    let numbers = |name: &str| constants[name].values::<i64>().unwrap()[2] as usize;
    let (heads, kv_heads) = (numbers("q_split"), numbers("kv_split"));
    let width = constants["embedding.half"].shape()[1];
    let head = width / heads;
    let mut writer = Writer::default();
    writer.word("general.architecture", "llama");
    let layers = constants.keys().filter(|name| name.ends_with(".q.half")).count();
    for (key, size) in [
        ("context_length", 512),
        ("embedding_length", width),
        ("feed_forward_length", constants["0.gate.half"].shape()[1]),
        ("block_count", layers),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
    ] {
        writer.number(&format!("llama.{key}"), size);
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 6, 1e-5f32.to_le_bytes().to_vec());
    add_tokenizer(&mut writer);
    let mut add = |name: String, from: &str, turned: bool| {
        let tensor = &constants[from];
        if tensor.shape().len() == 1 {
            let stored = tensor.values::<f32>().unwrap().iter().flat_map(|value| value.to_le_bytes()).collect();
            return writer.tensors.push((name, tensor.shape().to_vec(), 0, stored));
        }
        let values = tensor.values::<f16>().unwrap();
        let (inner, outer) = (tensor.shape()[0], tensor.shape()[1]);
        let bytes = |value: f16| value.to_le_bytes();
        if from == "embedding.half" {
            let stored = values.iter().flat_map(|value| bytes(*value)).collect();
            return writer.tensors.push((name, vec![outer, inner], 1, stored));
        }
        // Row by output, the halves of a head side by side.
        let column = |row: usize| {
            if turned { row / head * head + row % head / 2 + row % 2 * (head / 2) } else { row }
        };
        let stored = (0..outer).flat_map(|row| (0..inner).flat_map(move |i| bytes(values[i * outer + column(row)])));
        writer.tensors.push((name, vec![inner, outer], 1, stored.collect()));
    };
    add("token_embd.weight".into(), "embedding.half", false);
    add("output_norm.weight".into(), "gain", false);
    for i in 0..layers {
        for (theirs, ours, turned) in [
            ("attn_q", "q.half", true),
            ("attn_k", "k.half", true),
            ("attn_v", "v.half", false),
            ("attn_output", "o.half", false),
            ("ffn_gate", "gate.half", false),
            ("ffn_up", "up.half", false),
            ("ffn_down", "down.half", false),
            ("attn_norm", "gain_a", false),
            ("ffn_norm", "gain_b", false),
        ] {
            add(format!("blk.{i}.{theirs}.weight"), &format!("{i}.{ours}"), turned);
        }
    }
    writer
}

fn add_tokenizer(writer: &mut Writer) {
    let json: serde_json::Value = serde_json::from_slice(&tiny_files()[TOKENIZER_FILE]).unwrap();
    let vocabulary = json["model"]["vocab"].as_object().unwrap();
    let by_id: BTreeMap<u64, &str> =
        vocabulary.iter().map(|(token, id)| (id.as_u64().unwrap(), token.as_str())).collect();
    let kinds = by_id.keys().map(|id| (if *id < 3 { 3i32 } else { 1 }).to_le_bytes().to_vec()).collect();
    let merge = |pair: &serde_json::Value| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
    let merges = json["model"]["merges"].as_array().unwrap().iter().map(|pair| text(&merge(pair))).collect();
    writer.word("tokenizer.ggml.model", "gpt2");
    writer.word("tokenizer.ggml.pre", "gpt-2");
    writer.set("tokenizer.ggml.tokens", 9, list(8, by_id.values().map(|token| text(token)).collect()));
    writer.set("tokenizer.ggml.token_type", 9, list(5, kinds));
    writer.set("tokenizer.ggml.merges", 9, list(8, merges));
    writer.number("tokenizer.ggml.eos_token_id", 2);
    writer.number("tokenizer.ggml.bos_token_id", 1);
    writer.word("tokenizer.chat_template", std::str::from_utf8(&tiny_files()[TEMPLATE_FILE]).unwrap());
}

fn answers(files: &Files) -> Vec<Transcript> {
    let graph = ExactModel::load(files[GRAPH_FILE].clone(), &LoadOptions::default()).unwrap();
    let model = TextModel::new(graph, files, Arc::new(Pool::new(1))).unwrap();
    let ask = |text: &str| TextRequest { tokens_max: 8, ..TextRequest::new(vec![("user".into(), text.into())]) };
    let inputs =
        ["Is this positive, negative or neutral?\nI love it!", "Write a text about film."].map(|t| ask(t).to_wire());
    model.transcripts(&inputs).into_iter().map(|answer| answer.unwrap().unwrap()).collect()
}

#[test]
fn a_converted_file_says_what_the_model_says() {
    let converted = convert(&tiny().file(), 4_096).unwrap();
    let tokens = |files: &Files| answers(files).into_iter().map(|answer| answer.tokens).collect::<Vec<_>>();
    assert_eq!(tokens(&converted), tokens(tiny_files()));
    let generation: serde_json::Value = serde_json::from_slice(&converted[GENERATION_FILE]).unwrap();
    assert_eq!(generation, json!({ "bos_token_id": 1, "eos_token_id": 2, "max_length": 512 }));
    assert_eq!(convert(&tiny().file(), 4_096).unwrap(), converted, "the same files each time");
}

#[test]
fn files_that_cannot_be_converted_say_why() {
    type Change = fn(&mut Writer);
    let cases: [(&str, Change, &str); 8] = [
        ("another architecture", |w| w.word("general.architecture", "mamba"), "the architecture is mamba"),
        ("scaled angles", |w| w.word("llama.rope.scaling.type", "yarn"), "scaling of rotary angles is yarn"),
        ("another tokenizer", |w| w.word("tokenizer.ggml.model", "bert"), "the tokenizer is bert"),
        ("another split", |w| w.word("tokenizer.ggml.pre", "qwen2"), "splitting is qwen2"),
        ("no sizes", |w| w.word("llama.block_count", "many"), "does not say llama.block_count"),
        ("heads that do not divide", |w| w.number("llama.attention.head_count", 7), "the division into heads"),
        ("a missing tensor", |w| w.tensors.retain(|t| t.0 != "blk.1.ffn_up.weight"), "blk.1.ffn_up.weight"),
        ("another storage", |w| w.tensors[0].2 = 12, "kind 12"),
    ];
    for (name, change, words) in cases {
        let mut writer = tiny();
        change(&mut writer);
        let error = convert(&writer.file(), 64).unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[test]
fn files_that_were_cut_or_changed_are_refused() {
    let whole = tiny().file();
    let error = |bytes: Bytes| convert(&bytes, 64).unwrap_err().to_string();
    assert!(error(Bytes::from_static(b"GGML....")).contains("does not begin with GGUF"));
    let mut old = whole.to_vec();
    old[4] = 1;
    assert!(error(old.into()).contains("version is 1"));
    let step = whole.len() / 10;
    for length in (0..whole.len() - 64).step_by(step).chain(0..64) {
        convert(&whole.slice(..length), 64).unwrap_err();
    }
    let mut many = whole.to_vec();
    many[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(error(many.into()).contains("not a GGUF file"));
}
