//! The layout that onnxruntime-genai's builder exports: its operators against what ONNX Runtime answered, and a whole decoder
//! with its `genai_config.json` as a text model (`genai_models.py` records both).

mod cases;

use std::{path::PathBuf, sync::Arc};

use cases::{Cases, Verdict};
use foreblock_engine::{ExactModel, LoadOptions, Pool, TextModel, TextRequest, model_dir::Files, onnx::proto};
use prost::Message;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/genai")
}

#[test]
fn its_operators_answer_as_onnx_runtime_does() {
    let cases = Cases::read(&folder()).expect("the cases are part of the repository");
    let pool = Pool::new(1);
    let wrong: Vec<String> = cases
        .cases
        .iter()
        .filter_map(|case| match cases.check(case, &pool) {
            Verdict::Passed => None,
            verdict => Some(format!("{}: {verdict:?}", case.name)),
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.cases.len(), wrong.join("\n"));
    assert!(cases.cases.len() >= 24, "{} cases", cases.cases.len());
}

/// How ONNX Runtime continues a prompt.
#[derive(serde::Deserialize)]
struct Greedy {
    prompt: String,
    answer: Vec<u32>,
}

#[test]
fn a_model_of_this_layout_writes_what_onnx_runtime_writes() {
    let read = |path: &str| std::fs::read(folder().join(path)).unwrap();
    let tokenizer = std::fs::read(folder().join("../../../models/tiny-chat/tokenizer.json")).unwrap();
    let files: Files = [
        ("genai_config.json".to_string(), read("genai_config.json").into()),
        ("tokenizer.json".to_string(), tokenizer.into()),
    ]
    .into();
    let greedy: Greedy = serde_json::from_slice(&read("greedy.json")).unwrap();
    let graph = ExactModel::load(read("models/decoder.onnx").into(), &LoadOptions::default()).unwrap();
    let model = TextModel::new(graph, &files, Arc::new(Pool::new(2))).unwrap();
    assert_eq!(model.tokens_max(), 128);
    let tokens = |count: usize| TextRequest {
        tokens_max: count as u32,
        ..TextRequest::new(vec![("prompt".into(), greedy.prompt.clone())])
    };
    // Alone, and beside others that end sooner.
    let requests: Vec<_> = [greedy.answer.len(), 3, 1].map(|count| tokens(count).to_wire()).into();
    for together in [&requests[..1], &requests[..]] {
        let transcripts = model.transcripts(together);
        let transcript = transcripts[0].as_ref().unwrap().as_ref().unwrap();
        assert_eq!(transcript.tokens, greedy.answer, "{} together", together.len());
        assert_eq!(transcript.answer.prompt_tokens, greedy.prompt.len());
    }
}

/// The first node of this kind, changed.
fn changed(op: &str, change: impl Fn(&mut proto::NodeProto)) -> Result<ExactModel, String> {
    let file = std::fs::read(folder().join("models/decoder.onnx")).unwrap();
    let mut model = proto::ModelProto::decode(&file[..]).unwrap();
    let nodes = &mut model.graph.as_mut().unwrap().node;
    change(nodes.iter_mut().find(|node| node.op_type.as_deref() == Some(op)).unwrap());
    ExactModel::from_proto(&model, &LoadOptions::default()).map_err(|error| error.to_string())
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let set = |name: &'static str, value: i64| {
        move |node: &mut proto::NodeProto| {
            node.attribute.retain(|attribute| attribute.name.as_deref() != Some(name));
            let r#type = Some(proto::attribute_type::INT);
            node.attribute.push(proto::AttributeProto {
                name: Some(name.into()),
                i: Some(value),
                r#type,
                ..Default::default()
            });
        }
    };
    let refusals = [
        changed("GroupQueryAttention", set("smooth_softmax", 1)),
        changed("GroupQueryAttention", set("sliding_window_cache", 1)),
        changed("GroupQueryAttention", set("kv_num_heads", 3)),
        changed("MatMulNBits", set("bits", 3)),
        changed("MatMulNBits", set("N", 5)),
        changed("MatMulNBits", |node| node.input[1] = "embedded".into()),
    ];
    let words =
        ["smooth_softmax is 1", "sliding_window_cache is 1", "4 heads over 3", "3 bits", "for 5 columns", "constants"];
    for (refused, words) in refusals.into_iter().zip(words) {
        let error = refused.err().expect(words);
        assert!(error.contains(words), "{words}: {error}");
    }
}
