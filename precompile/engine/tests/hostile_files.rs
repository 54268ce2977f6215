//! No bytes make the loader or a run panic, hang or take more memory than allowed.

mod net;

use bytes::Bytes;
use foreblock_engine::onnx::proto::*;
use foreblock_engine::{ExactModel, LoadError, LoadOptions, Pool, Tensor};
use proptest::prelude::*;
use prost::Message;

fn tight() -> LoadOptions {
    let mut options = LoadOptions::default();
    options.limits.run_bytes_max = 32 << 20;
    options.limits.weights_bytes_max = 64 << 20;
    options.limits.iterations_max = 1000;
    options
}

fn load_and_run(file: Vec<u8>) {
    if let Ok(model) = ExactModel::load(file.into(), &tight()) {
        let zeros = |dims: &Option<Vec<Option<usize>>>| {
            dims.iter().flatten().map(|d| d.unwrap_or(1).min(64)).collect::<Vec<_>>()
        };
        let inputs =
            model.inputs().iter().filter_map(|i| Tensor::zeros(i.element_type, &zeros(&i.dims)).ok()).collect();
        let _ = model.run(inputs, &Pool::new(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn flipped_and_cut_files_are_errors_or_models(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = net::network().encode_to_vec();
        // Most of the file is weights; flip in the messages, too, which come first.
        for (i, (at, bit)) in flips.into_iter().enumerate() {
            let end = if i % 2 == 0 { file.len() } else { 1400 };
            let at = at.index(end);
            file[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        load_and_run(file);
    }

    #[test]
    fn random_bytes_are_no_model(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        load_and_run(bytes);
    }

    #[test]
    fn changed_attributes_are_errors_or_models(node in 0usize..19, value in prop_oneof![any::<i64>(), -3i64..40, Just(i64::MIN), Just(1 << 19)], which in any::<prop::sample::Index>()) {
        let mut model = net::network();
        let attributes = &mut model.graph.as_mut().unwrap().node[node].attribute;
        if attributes.is_empty() {
            return Ok(());
        }
        let index = which.index(attributes.len());
        let attribute = &mut attributes[index];
        attribute.i = Some(value);
        if let Some(last) = attribute.ints.last_mut() {
            *last = value;
        }
        load_and_run(model.encode_to_vec());
    }
}

fn changed(change: impl FnOnce(&mut GraphProto)) -> Result<ExactModel, LoadError> {
    let mut model = net::network();
    change(model.graph.as_mut().unwrap());
    ExactModel::from_proto(&model, &tight())
}

fn refused(change: impl FnOnce(&mut GraphProto)) -> String {
    changed(change).err().expect("the model is refused").to_string()
}

#[test]
fn errors_say_what_is_wrong() {
    let external = |location: &str| {
        let entry = StringStringEntryProto { key: Some("location".into()), value: Some(location.into()) };
        move |g: &mut GraphProto| {
            g.initializer[0].data_location = Some(1);
            g.initializer[0].external_data = vec![entry];
        }
    };
    let cases = [
        ("depends on itself", refused(|g| g.node[0].input[0] = "y".into())),
        ("defined twice", refused(|g| g.node[1].output[0] = "c0".into())),
        ("defined twice", refused(|g| g.node[0].output[0] = "w1".into())),
        ("which nothing defines", refused(|g| g.node[0].input[1] = "nowhere".into())),
        ("computed by no node", refused(|g| g.output[0].name = Some("nowhere".into()))),
        ("another answer each time", refused(|g| g.node[2].op_type = Some("RandomNormalLike".into()))),
        ("depends on what else is in the batch", refused(|g| g.node[2].op_type = Some("DynamicQuantizeLinear".into()))),
        ("custom operator sets are refused", refused(|g| g.node[2].domain = Some("my.ops".into()))),
        ("is not supported", refused(|g| g.node[2].op_type = Some("Nonsense".into()))),
        ("has the dimension -1", refused(|g| g.initializer[0].dims[0] = -1)),
        ("too large", refused(|g| g.initializer[0].dims[0] = i64::MAX)),
        ("do not fill the shape", refused(|g| g.initializer[0].dims[0] = 31)),
        ("element type 99", refused(|g| g.initializer[0].data_type = Some(99))),
        ("the model was loaded from memory", refused(external("weights.bin"))),
        ("the rank", refused(|g| g.initializer[0].dims = vec![1; 40]).replace("a tensor's rank", "the rank")),
    ];
    for (expected, message) in cases {
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
}

#[test]
fn external_data_stay_inside_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("model");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(folder.path().join("secret"), [0; 4096]).unwrap();
    std::fs::write(inside.join("weights"), [0; 3456]).unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), inside.join("link")).unwrap();
    let secret = folder.path().join("secret").display().to_string();
    for (location, allowed) in [
        ("weights", true),
        ("../secret", false),
        ("link", false),
        (secret.as_str(), false),
        ("", false),
        (".", false),
        ("missing", false),
    ] {
        let mut model = net::network();
        let weights = &mut model.graph.as_mut().unwrap().initializer[0];
        weights.data_location = Some(1);
        weights.raw_data = None;
        weights.external_data =
            vec![StringStringEntryProto { key: Some("location".into()), value: Some(location.into()) }];
        let options = LoadOptions { folder: Some(inside.clone()), ..tight() };
        assert_eq!(ExactModel::from_proto(&model, &options).is_ok(), allowed, "{location}");
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let mut graph = GraphProto::default();
    for _ in 0..40 {
        let branch = |name: &str| AttributeProto {
            name: Some(name.into()),
            g: Some(graph.clone()),
            r#type: Some(attribute_type::GRAPH),
            ..Default::default()
        };
        let node = NodeProto {
            input: vec!["condition".into()],
            output: vec!["y".into()],
            op_type: Some("If".into()),
            attribute: vec![branch("then_branch")],
            ..Default::default()
        };
        graph = GraphProto { node: vec![node], ..Default::default() };
    }
    graph.input = vec![net::network().graph.unwrap().input.remove(0)];
    graph.input[0].name = Some("condition".into());
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(20) }];
    let model = ModelProto { graph: Some(graph), opset_import, ..Default::default() };
    let error = ExactModel::load(Bytes::from(model.encode_to_vec()), &tight()).err().expect("too deep");
    assert!(error.to_string().contains("not an ONNX model") || error.to_string().contains("depth"), "{error}");
}
