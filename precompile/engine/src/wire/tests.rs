use super::*;
use alloy_primitives::{I256, U256};
use proptest::prelude::*;

fn spec(kind: ElementType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: "x".into(), elementType: kind as u8, shape: shape.to_vec() }
}

fn wire(dtype: DType, shape: &[u32], data: &[u8]) -> WireTensor {
    WireTensor { dtype, shape: shape.to_vec(), data: data.to_vec().into() }
}

fn wads(values: &[&str]) -> Vec<u8> {
    values.iter().flat_map(|text| fixed::parse_wad(text).unwrap().to_be_bytes::<32>()).collect()
}

fn ints(values: &[i128]) -> Vec<u8> {
    values.iter().flat_map(|value| I256::try_from(*value).unwrap().to_be_bytes::<32>()).collect()
}

fn decode_one(tensor: WireTensor, spec: TensorSpec) -> Result<Tensor, Failure> {
    decode_input(&write(&[tensor]), &[spec]).map(|mut tensors| tensors.remove(0))
}

fn encode_one(tensor: Tensor) -> Result<WireTensor, Failure> {
    let free = vec![-1; tensor.rank()];
    let spec = spec(tensor.element_type(), &free);
    encode_output(&[tensor], &[spec], u32::MAX).map(|bytes| read(&bytes).unwrap().remove(0))
}

#[test]
fn every_accepted_pair_of_types_converts() {
    use ElementType::*;
    let minus_two = [0xff, 0xfe];
    for (dtype, data, kind, expected) in [
        (DType::Wad, wads(&["0.1", "-2"]), F32, Tensor::vector(vec![0.1f32, -2.0])),
        (DType::Wad, wads(&["0.1", "-2"]), F64, Tensor::vector(vec![0.1f64, -2.0])),
        (DType::U8, vec![0, 255], F32, Tensor::vector(vec![0f32, 255.0])),
        (DType::I16, [[0, 7], minus_two].concat(), F32, Tensor::vector(vec![7f32, -2.0])),
        (DType::U64, vec![0xff; 16], F32, Tensor::vector(vec![2f32.powi(64); 2])),
        (DType::U8, vec![0, 255], I64, Tensor::vector(vec![0i64, 255])),
        (DType::I8, vec![0x80, 1], I8, Tensor::vector(vec![-128i8, 1])),
        (DType::U32, vec![0, 0, 1, 0, 0, 0, 0, 2], U16, Tensor::vector(vec![256u16, 2])),
        (DType::Int, ints(&[-1, 9]), I32, Tensor::vector(vec![-1i32, 9])),
        (DType::Int, ints(&[0, u64::MAX.into()]), U64, Tensor::vector(vec![0u64, u64::MAX])),
        (DType::Bool, vec![0, 1], Bool, Tensor::vector(vec![false, true])),
        (DType::Int, ints(&[1, 0]), Bool, Tensor::vector(vec![true, false])),
        (DType::Text, b"\0\0\0\x02hi\0\0\0\0".to_vec(), String, Tensor::vector(vec!["hi".to_string(), "".into()])),
    ] {
        let name = format!("{} to {kind}", dtype_name(dtype));
        assert_eq!(decode_one(wire(dtype, &[2], &data), spec(kind, &[-1])), Ok(expected), "{name}");
    }
    let text = decode_one(wire(DType::Text, &[], "größe".as_bytes()), spec(String, &[])).unwrap();
    assert_eq!(text, Tensor::scalar("größe".to_string()));
}

#[test]
fn what_does_not_fit_fails_with_its_code_and_words() {
    use ElementType::*;
    for (tensor, spec, code, words) in [
        (wire(DType::Int, &[1], &ints(&[1])), spec(F32, &[-1]), FailureCode::WrongType, "pass Wad or packed integers"),
        (
            wire(DType::Wad, &[1], &wads(&["1"])),
            spec(I64, &[-1]),
            FailureCode::WrongType,
            "dtype Wad cannot stand for int64",
        ),
        (wire(DType::U8, &[1], &[1]), spec(String, &[-1]), FailureCode::WrongType, "pass Text"),
        (wire(DType::U8, &[3], &[0; 3]), spec(U8, &[-1, 3]), FailureCode::WrongShape, "expected shape [?, 3], got [3]"),
        (wire(DType::U8, &[1, 2], &[0; 2]), spec(U8, &[-1, 3]), FailureCode::WrongShape, "got [1, 2]"),
        (wire(DType::U8, &[2], &[1, 2]), spec(Bool, &[2]), FailureCode::OutOfRange, "element 1 is 2"),
        (wire(DType::Bool, &[1], &[7]), spec(Bool, &[1]), FailureCode::OutOfRange, "element 0 is 7"),
        (wire(DType::U16, &[1], &[1, 0]), spec(U8, &[1]), FailureCode::OutOfRange, "256, out of range of uint8"),
        (wire(DType::Int, &[1], &[0x7f; 32]), spec(I64, &[1]), FailureCode::OutOfRange, "out of range of int64"),
        (wire(DType::Wad, &[1], &wads(&["1e50"])), spec(F32, &[1]), FailureCode::OutOfRange, "out of range of float"),
        (wire(DType::Text, &[], &[0xff]), spec(String, &[]), FailureCode::InvalidText, "not UTF-8"),
    ] {
        let failure = decode_one(tensor, spec).unwrap_err();
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.reason.contains(words) && failure.reason.starts_with("input 0 (x): "), "{}", failure.reason);
    }
    let arity = decode_input(&write(&[]), &[spec(F32, &[])]).unwrap_err();
    assert_eq!((arity.code, &arity.reason[..]), (FailureCode::WrongArity, "expected 1 input tensors (x), got 0"));
}

#[test]
fn outputs_are_wads_ints_and_texts() {
    let floats = encode_one(Tensor::new([1, 2], vec![0.1f32, -1.5]).unwrap()).unwrap();
    // 0.1f32 is 0.100000001490116119384765625: the digits beyond 18 decimals are rounded.
    assert_eq!(floats, wire(DType::Wad, &[1, 2], &wads(&["0.100000001490116119", "-1.5"])));
    assert_eq!(encode_one(Tensor::scalar(-7i64)).unwrap(), wire(DType::Int, &[], &ints(&[-7])));
    assert_eq!(encode_one(Tensor::vector(vec![true])).unwrap(), wire(DType::Int, &[1], &ints(&[1])));
    let texts = Tensor::vector(vec!["a".to_string(), "bc".into()]);
    assert_eq!(encode_one(texts).unwrap(), wire(DType::Text, &[2], b"\0\0\0\x01a\0\0\0\x02bc"));
    assert_eq!(encode_one(Tensor::scalar("hi".to_string())).unwrap(), wire(DType::Text, &[], b"hi"));
}

#[test]
fn outputs_without_a_wire_form_fail() {
    for (tensor, code) in [
        (Tensor::vector(vec![1f32, f32::NAN]), FailureCode::NotFinite),
        (Tensor::vector(vec![f64::NEG_INFINITY]), FailureCode::NotFinite),
        (Tensor::vector(vec![1e60f64]), FailureCode::OutputTooLarge),
    ] {
        assert_eq!(encode_one(tensor).unwrap_err().code, code);
    }
    let outputs = [Tensor::vector(vec![1f32; 8])];
    let specs = [spec(ElementType::F32, &[-1])];
    let size = encode_output(&outputs, &specs, u32::MAX).unwrap().len() as u32;
    assert!(encode_output(&outputs, &specs, size).is_ok());
    assert_eq!(encode_output(&outputs, &specs, size - 1).unwrap_err().code, FailureCode::OutputTooLarge);
    let wrong = encode_output(&outputs, &[spec(ElementType::F32, &[7])], u32::MAX).unwrap_err();
    assert_eq!(wrong.code, FailureCode::WrongShape);
}

fn any_wire() -> impl Strategy<Value = WireTensor> {
    const DTYPES: &[DType] = &[DType::Wad, DType::Int, DType::U8, DType::I32, DType::U64, DType::Bool, DType::Text];
    (prop::sample::select(DTYPES), prop::collection::vec(0u32..4, 0..3), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(dtype, shape, data)| WireTensor { dtype, shape, data: data.into() })
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer_or_a_failure(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        tensors in prop::collection::vec(any_wire(), 0..3),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        code in 1u8..17,
    ) {
        let mut encoded = write(&tensors).to_vec();
        for (at, value) in flips {
            let at = at.index(encoded.len());
            encoded[at] = value;
        }
        let specs = [TensorSpec { name: "x".into(), elementType: code, shape: vec![-1] }];
        let _ = decode_input(&bytes, &specs);
        let _ = decode_input(&encoded, &specs);
    }

    #[test]
    fn integers_and_texts_survive_the_round_trip(numbers: Vec<i64>, texts in prop::collection::vec(".*", 0..5)) {
        let written = encode_one(Tensor::vector(numbers.clone())).unwrap();
        prop_assert_eq!(decode_one(written, spec(ElementType::I64, &[-1])), Ok(Tensor::vector(numbers)));
        let written = encode_one(Tensor::vector(texts.clone())).unwrap();
        prop_assert_eq!(decode_one(written, spec(ElementType::String, &[-1])), Ok(Tensor::vector(texts)));
    }

    #[test]
    fn a_packed_integer_becomes_the_float_of_the_same_number(value: u64) {
        let tensor = decode_one(wire(DType::U64, &[1], &value.to_be_bytes()), spec(ElementType::F32, &[1])).unwrap();
        let wad = I256::from_raw(U256::from(value) * U256::from(fixed::WAD));
        prop_assert_eq!(tensor.single::<f32>().unwrap(), fixed::wad_to_float::<f32>(wad).unwrap());
    }
}
