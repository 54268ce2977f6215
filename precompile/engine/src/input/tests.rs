use super::*;
use crate::wire::fixed::format_wad;

fn spec(name: &str, kind: ElementType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), elementType: kind as u8, shape: shape.to_vec() }
}

/// Shape and values of a tensor, as people read them.
fn read(tensor: &WireTensor) -> (Vec<u32>, String) {
    let values = match tensor.dtype {
        DType::Wad => tensor
            .data
            .chunks(32)
            .map(|word| format_wad(I256::from_be_bytes::<32>(word.try_into().unwrap())))
            .collect::<Vec<_>>()
            .join(" "),
        _ => format!("{}{}", wire::dtype_name(tensor.dtype), tensor.data),
    };
    (tensor.shape.clone(), values)
}

fn ok(content: &str, specs: &[TensorSpec]) -> Vec<(Vec<u32>, String)> {
    parse(content.as_bytes(), Format::guess(content.as_bytes()), specs)
        .unwrap_or_else(|error| panic!("{content}: {error}"))
        .iter()
        .map(read)
        .collect()
}

fn error(content: &[u8], specs: &[TensorSpec]) -> String {
    parse(content, Format::guess(content), specs).unwrap_err().to_string()
}

use ElementType::{Bool, F32, I64, String as Text, U8};

#[test]
fn json_forms() {
    let x = || spec("x", F32, &[-1, 2]);
    for (content, specs, expected) in [
        ("[0.1, -2]", vec![x()], vec![(vec![1, 2], "0.1 -2")]),
        ("[[0.1, -2], [3e-2, 4]]", vec![x()], vec![(vec![2, 2], "0.1 -2 0.03 4")]),
        ("{\"x\": [1, 2]}", vec![x()], vec![(vec![1, 2], "1 2")]),
        (
            "[0.123456789012345678, 100000000000000000000000000000]",
            vec![x()],
            vec![(vec![1, 2], "0.123456789012345678 100000000000000000000000000000")],
        ),
        ("[[1, 2], 7]", vec![x(), spec("y", F32, &[])], vec![(vec![1, 2], "1 2"), (vec![], "7")]),
        ("{\"y\": 7, \"x\": [1, 2]}", vec![x(), spec("y", F32, &[])], vec![(vec![1, 2], "1 2"), (vec![], "7")]),
        ("[1, 255]", vec![spec("x", U8, &[1, 2])], vec![(vec![1, 2], "U80x01ff")]),
        ("[true, false]", vec![spec("x", Bool, &[-1])], vec![(vec![2], "Bool0x0100")]),
        ("[-1]", vec![spec("x", I64, &[-1])], vec![(vec![1], "I640xffffffffffffffff")]),
        ("\"hi\"", vec![spec("x", Text, &[])], vec![(vec![], "Text0x6869")]),
        ("[\"hi\"]", vec![spec("x", Text, &[-1])], vec![(vec![1], "Text0x000000026869")]),
        ("[1,2,3]", vec![spec("x", F32, &[-1, -1])], vec![(vec![1, 3], "1 2 3")]),
        ("[]", vec![spec("x", F32, &[-1])], vec![(vec![0], "")]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(shape, values)| (shape, values.to_string())).collect();
        assert_eq!(ok(content, &specs), expected, "{content}");
    }
}

#[test]
fn wrong_json_is_explained() {
    let x = || spec("x", F32, &[-1, 2]);
    for (content, specs, words) in [
        ("[1, 2, 3]", vec![x()], "input x: expected shape [?, 2], got [3]"),
        ("[[1, 2], [3]]", vec![x()], "lists of different length"),
        ("[[1, 2], 3]", vec![x()], "lists of different depth"),
        ("[1, [2]]", vec![x()], "lists of different length"),
        ("[[[1, 2]]]", vec![x()], "got [1, 1, 2]"),
        ("[1, \"a\"]", vec![x()], "input x: expected a decimal number"),
        ("[1, null]", vec![x()], "got null"),
        ("[1, {}]", vec![x()], "an object inside a list"),
        ("[1, 2", vec![x()], "the input is not JSON: EOF"),
        ("{\"z\": 1}", vec![x()], "the model takes x; the input gives z"),
        ("{\"x\": [1,2], \"z\": 1}", vec![x()], "the input gives x, z"),
        ("[[1,2]]", vec![x(), x()], "the input gives a list of 1"),
        ("[256]", vec![spec("x", U8, &[1])], "an integer of type uint8, got 256"),
        ("[1.5]", vec![spec("x", I64, &[1])], "an integer of type int64, got 1.5"),
        ("[2]", vec![spec("x", Bool, &[1])], "true or false, got 2"),
        ("[1]", vec![spec("x", Text, &[1])], "a text in quotes, got 1"),
        ("[1e60, 1]", vec![x()], "got 1e60"),
        ("0x1234", vec![x()], "abi.encode(Tensor[])"),
    ] {
        let error = error(content.as_bytes(), &specs);
        assert!(error.contains(words), "{content}: {error}");
    }
    let deep = "[".repeat(5_000);
    assert!(error(deep.as_bytes(), &[x()]).contains("not JSON"));
}

#[test]
fn csv_rows_are_rows() {
    let x = spec("x", F32, &[-1, 2]);
    let expected = vec![(vec![2, 2], "1 2 3 4.5".to_string())];
    assert_eq!(ok("1,2\n3, 4.5\n", std::slice::from_ref(&x)), expected);
    assert_eq!(ok("age,income\n1,2\n3,4.5", std::slice::from_ref(&x)), expected, "with a header");
    let columns = [spec("a", F32, &[-1, 1]), spec("b", I64, &[-1])];
    assert_eq!(ok("0.5,7\n", &columns), [(vec![1, 1], "0.5".into()), (vec![1], "I640x0000000000000007".into())]);
    assert_eq!(ok("1,2,3", &[spec("x", F32, &[3])]), [(vec![3], "1 2 3".to_string())]);
    for (content, spec, words) in [
        ("1,2\n3\n", x.clone(), "not CSV"),
        ("1,2,3\n", x.clone(), "line 1 has 3 columns, the model's inputs take 2"),
        ("1,a\n1,b\n", x, "got b"),
        ("1,2\n3,4\n", spec("x", F32, &[1, 2]), "expected shape [1, 2], got 2 lines"),
    ] {
        let error = error(content.as_bytes(), &[spec]);
        assert!(error.contains(words), "{content:?}: {error}");
    }
}

/// A NumPy file of version 1.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({shape}), }}");
    header += &" ".repeat(63 - (10 + header.len()) % 64);
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

#[test]
fn numpy_files() {
    let x = spec("x", F32, &[-1, 2]);
    let read_one = |file: &[u8], spec: &TensorSpec| {
        assert_eq!(Format::guess(file), Format::Npy);
        parse(file, Format::Npy, std::slice::from_ref(spec)).map(|tensors| read(&tensors[0]))
    };
    let floats = [0.5f32, -2.0].map(f32::to_le_bytes).concat();
    assert_eq!(read_one(&npy("<f4", false, "1, 2", &floats), &x), Ok((vec![1, 2], "0.5 -2".into())));
    let doubles = [0.1f64, 1.0].map(f64::to_be_bytes).concat();
    assert_eq!(
        read_one(&npy(">f8", false, "2,", &doubles), &x),
        Ok((vec![1, 2], "0.100000000000000006 1".into())),
        "a double is what it is"
    );
    let integers = [3i64, -4].map(i64::to_le_bytes).concat();
    assert_eq!(read_one(&npy("<i8", false, "1, 2", &integers), &x), Ok((vec![1, 2], "3 -4".into())));
    for (file, words) in [
        (npy("<f4", true, "1, 2", &floats), "ascontiguousarray"),
        (npy("<f4", false, "3, 2", &floats), "not a NumPy array file"),
        (npy("<f4", false, "2, 1", &floats), "expected shape [?, 2], got [2, 1]"),
        (npy("<c8", false, "1,", &floats), "is not supported"),
        (npy("<f4", false, "1, 2", &[f32::NAN, 0.0].map(f32::to_le_bytes).concat()), "got NaN"),
        (b"\x93NUMPY garbage".to_vec(), "not a NumPy array file"),
    ] {
        let error = read_one(&file, &x).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn hexadecimal_input_is_taken_as_it_is() {
    let tensors = parse(b"[0.5, 1]", Format::Json, &[spec("x", F32, &[-1, 2])]).unwrap();
    let hex = wire::write(&tensors).to_string();
    assert_eq!(parse(hex.as_bytes(), Format::guess(hex.as_bytes()), &[]).unwrap(), tensors);
}
