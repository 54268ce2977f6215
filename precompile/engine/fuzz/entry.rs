//! What is fuzzed, for cargo-fuzz and for `tests/fuzz.rs` alike. None of it may panic, hang or exceed [`limits`].

use foreblock_engine::tensor::Data;
use foreblock_engine::{ElementType, ExactModel, Limits, LoadOptions, Pool, Tensor};

/// Bytes before the file in the inputs of [`shapes`] and [`run`].
pub(crate) const HEADER: usize = 16;

/// Small, so that a file that exceeds them is found soon.
pub(crate) fn limits() -> Limits {
    Limits {
        run_bytes_max: 16 << 20,
        weights_bytes_max: 16 << 20,
        iterations_max: 100,
        nodes_max: 1000,
        ..Limits::default()
    }
}

fn open(file: &[u8]) -> Option<ExactModel> {
    ExactModel::load(file.to_vec().into(), &LoadOptions { limits: limits(), ..LoadOptions::default() }).ok()
}

/// Loads an ONNX file.
pub(crate) fn load(bytes: &[u8]) {
    if let Some(model) = open(bytes) {
        assert!(model.inputs().len() + model.outputs().len() < 1 << 20);
    }
}

/// Works out every shape of a model for inputs of any size: the header gives the free dimensions.
pub(crate) fn shapes(bytes: &[u8]) {
    let Some((header, file)) = bytes.split_at_checked(HEADER) else { return };
    let Some(model) = open(file) else { return };
    // Mostly small, sometimes absurd.
    let dim = |i: usize| match header[i % HEADER] {
        byte @ 0..=200 => usize::from(byte % 9),
        byte => 1 << (byte - 200),
    };
    let shape = |dims: &Vec<Option<usize>>| dims.iter().enumerate().map(|(i, d)| d.unwrap_or(dim(i))).collect();
    let shapes: Option<Vec<_>> = model.inputs().iter().map(|input| input.dims.as_ref().map(shape)).collect();
    let Some(shapes) = shapes else { return };
    if shapes.iter().all(|shape: &Vec<usize>| elements(shape) <= 1 << 20) {
        let _ = model.cost(&shapes, &Pool::new(1));
    }
}

/// Runs a model on values of the header, twice: answers, and the words of a failure, must be equal.
pub(crate) fn run(bytes: &[u8]) {
    let Some((header, file)) = bytes.split_at_checked(HEADER) else { return };
    let Some(model) = open(file) else { return };
    let inputs: Option<Vec<_>> = model
        .inputs()
        .iter()
        .map(|input| {
            let shape: Vec<_> = input.dims.as_ref()?.iter().map(|d| d.unwrap_or(2)).collect();
            (elements(&shape) <= 1 << 16).then(|| values(input.element_type, shape, header))?
        })
        .collect();
    let Some(inputs) = inputs else { return };
    let first = model.run_unchecked(inputs.clone(), &Pool::new(1));
    let second = model.run_unchecked(inputs, &Pool::new(1));
    match (first, second) {
        (Ok((first, _)), Ok((second, _))) => {
            assert!(first.iter().zip(&second).all(|(a, b)| same_bits(a, b)), "two runs answer differently");
        }
        (Err(first), Err(second)) => assert_eq!(first, second, "two runs fail differently"),
        _ => panic!("a run fails and the next one does not"),
    }
}

fn elements(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product: usize, d| product.saturating_mul(*d))
}

/// A tensor of the header's bytes, repeated; floats among them are NaN, infinite and subnormal as it comes.
fn values(kind: ElementType, shape: Vec<usize>, header: &[u8]) -> Option<Tensor> {
    let count = elements(&shape);
    let byte = |i: usize| header[i % header.len()];
    match kind {
        ElementType::F32 => {
            let float = |i: usize| f32::from_le_bytes([0, 1, 2, 3].map(|j| byte(4 * i + j)));
            Tensor::new(shape, (0..count).map(float).collect()).ok()
        }
        ElementType::I64 => Tensor::new(shape, (0..count).map(|i| i64::from(byte(i) as i8)).collect()).ok(),
        ElementType::U8 => Tensor::new(shape, (0..count).map(byte).collect()).ok(),
        _ => Tensor::zeros(kind, &shape).ok(),
    }
}

/// Equality to which every NaN is the same.
fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    match (a.data(), b.data()) {
        (Data::F32(a), Data::F32(b)) => a.iter().zip(b.iter()).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan()),
        (Data::F64(_) | Data::F16(_) | Data::Bf16(_), _) => a.shape() == b.shape(),
        (a, b) => a == b,
    }
}
