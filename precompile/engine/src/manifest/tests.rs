use super::*;
use alloy_primitives::{U256, b256};

fn fields() -> abi::Manifest {
    abi::Manifest {
        format: FORMAT,
        name: "volatility".into(),
        profile: Profile::ExactF32 as u8,
        files: vec![file_entry("model.onnx", b"graph"), file_entry("tokenizer.json", b"{}")],
        inputs: vec![abi::TensorSpec { name: "x".into(), elementType: 1, shape: vec![-1, 4] }],
        outputs: vec![abi::TensorSpec { name: "y".into(), elementType: 1, shape: vec![-1, 1] }],
        tolerances: vec![],
        cost: abi::Cost { multiplyAdds: 4_001, bytesMoved: 1_001, maxInputBytes: 1_024, maxOutputBytes: 512 },
    }
}

#[test]
fn the_id_is_the_hash_of_the_canonical_bytes() {
    let manifest = Manifest::new(fields()).unwrap();
    assert_eq!(manifest.id(), keccak256(manifest.to_bytes()));
    assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).unwrap(), manifest);
    // Guards every model id in use against a change of encoding.
    assert_eq!(manifest.id(), b256!("0x34f2fee5501d508ebffd40e727a869892269bd914679c06c1b74c1e8c49cba06"));
}

#[test]
fn json_and_bytes_say_the_same() {
    let mut tolerant = fields();
    tolerant.profile = Profile::Tolerance as u8;
    tolerant.tolerances = vec![U256::from(1_000_000_000_000u64)];
    for fields in [fields(), tolerant] {
        let manifest = Manifest::new(fields).unwrap();
        let back = Manifest::from_json(&manifest.to_json()).unwrap();
        assert_eq!(back.to_bytes(), manifest.to_bytes(), "{}", manifest.to_json());
    }
    let json = Manifest::new(fields()).unwrap().to_json();
    for (from, to, words) in [
        ("exact-f32/v1", "exact", "expected exact-f32/v1"),
        ("\"float\"", "\"number\"", "type of x"),
        ("\"cost\"", "\"price\"", "unknown field `price`"),
    ] {
        let error = Manifest::from_json(&json.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn bytes_that_are_not_canonical_are_refused() {
    let bytes = Manifest::new(fields()).unwrap().to_bytes();
    let longer = [&bytes[..], &[0; 32]].concat();
    assert_eq!(Manifest::from_bytes(&longer), Err(ManifestError::NotCanonical));
    assert!(matches!(Manifest::from_bytes(&bytes[..100]), Err(ManifestError::NotAbi(_))));
    assert!(matches!(Manifest::from_bytes(&[]), Err(ManifestError::NotAbi(_))));
}

#[test]
fn gas_and_slot_follow_the_cost() {
    let manifest = Manifest::new(fields()).unwrap();
    assert_eq!(manifest.gas_per_run(), 2_000 + 3 + 2);
    assert_eq!(ModelSlot::unpack(manifest.slot().pack()), Some(manifest.slot()));
}

#[test]
fn each_field_is_checked() {
    type Change = fn(&mut abi::Manifest);
    let cases: [(&str, Change); 17] = [
        ("format", |m| m.format = 2),
        ("profile", |m| m.profile = 0),
        ("name", |m| m.name.clear()),
        ("name", |m| m.name = "a\nb".into()),
        ("files", |m| m.files.clear()),
        ("files.name", |m| m.files[0].name = "../model.onnx".into()),
        ("files.name", |m| m.files[1].name = "/etc/passwd".into()),
        ("files.model.onnx.size", |m| m.files[0].size = 0),
        ("files.model.onnx.digest", |m| m.files[0].digest = B256::ZERO),
        ("files", |m| m.files.push(file_entry("a.json", b"{}"))),
        ("files", |m| m.files.push(file_entry("tokenizer.json", b"{}"))),
        ("inputs", |m| m.inputs.clear()),
        ("inputs[1].name", |m| m.inputs.push(m.inputs[0].clone())),
        ("outputs[0].elementType", |m| m.outputs[0].elementType = 14),
        ("outputs[0].shape", |m| m.outputs[0].shape = vec![-2]),
        ("tolerances", |m| m.tolerances = vec![U256::from(1)]),
        ("cost", |m| m.cost.maxInputBytes = 0),
    ];
    for (field, change) in cases {
        let mut changed = fields();
        change(&mut changed);
        let error = Manifest::new(changed).unwrap_err().to_string();
        assert!(error.starts_with(&format!("manifest field {field}: expected")), "{field}: {error}");
    }
}

#[test]
fn file_names_stay_inside_the_folder() {
    for name in ["model.onnx", "weights/part-1.bin"] {
        assert_eq!(check_file_name(name), Ok(()), "{name}");
    }
    for name in [
        "",
        ".",
        "..",
        "a/../b",
        "/a",
        "a//b",
        "a/",
        "C:\\x",
        "a\0b",
        "nul.",
        "manifest.json",
        "./a",
        "größe.txt",
        "a b",
    ] {
        assert!(check_file_name(name).is_err(), "{name:?}");
    }
}

#[test]
fn content_is_checked_by_size_and_hash() {
    let file = file_entry("model.onnx", b"graph");
    assert_eq!(Manifest::check_content(&file, b"graph"), Ok(()));
    assert!(matches!(Manifest::check_content(&file, b"graphs"), Err(ManifestError::Size { expected: 5, got: 6, .. })));
    assert!(matches!(Manifest::check_content(&file, b"grapf"), Err(ManifestError::Digest { .. })));
}
