//! Inputs to try a model on: those of a file, or made up. All are requests that a contract could send.

use std::io::{Cursor, Read};

use alloy_primitives::Bytes;
use foreblock_precompile::abi::{DType, Tensor as WireTensor, TensorSpec};

use super::{Case, CertifyError};
use crate::{
    ElementType, Tensor,
    input::{self, InputError},
    publish::{PublishOptions, largest_shape},
    tensor::element_count,
    wire,
};

/// Runs the model; the reason where it has no answer.
pub type Run<'a> = dyn FnMut(Vec<Tensor>) -> Result<Vec<Tensor>, String> + 'a;

/// Cases that are made up.
const MADE_UP: usize = 16;
/// Longest free dimension of all but one of them.
const LENGTH_SHORT: usize = 16;
/// Elements above which a made-up float input is packed as bytes: a picture in decimals would be 32 times as long.
const PACKED_FROM: usize = 4_096;
/// Bounds of made-up integers, of which the first is taken that the model answers: what an index may be is not in the graph.
const INTEGERS_BELOW: [u64; 5] = [1_000, 100, 10, 2, 1];
/// Golden vectors, and the bytes of their inputs together, that are kept at most.
const GOLDEN_MAX: usize = 8;
const GOLDEN_BYTES_MAX: usize = 2 << 20;

/// The cases in NumPy's `.npz`, an array for each input. An array with one dimension more than the input holds a case in
/// each of its rows; so does an array whose first dimension is free in the model, as cases of one row each.
pub fn read(file: &[u8], specs: &[TensorSpec]) -> Result<Vec<Case>, InputError> {
    let failed = |reason: String| InputError::Format { format: "NumPy's .npz", reason };
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).map_err(|error| failed(error.to_string()))?;
    let mut by_input = Vec::new();
    for spec in specs {
        let name = format!("{}.npy", spec.name);
        let mut content = Vec::new();
        let entry = archive.by_name(&name);
        let mut entry = entry.map_err(|_| InputError::Inputs {
            expected: specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", "),
            got: format!("no array {}", spec.name),
        })?;
        entry.read_to_end(&mut content).map_err(|error| failed(error.to_string()))?;
        by_input.push(parts(&content, spec)?);
    }
    let count = by_input.iter().map(Vec::len).max().unwrap_or(0);
    if let Some((spec, parts)) = specs.iter().zip(&by_input).find(|(_, parts)| parts.len() != count) {
        return Err(failed(format!("{} holds {} cases, another array {count}", spec.name, parts.len())));
    }
    let one = |index: usize| {
        let tensors: Vec<WireTensor> = by_input.iter().map(|parts| parts[index].clone()).collect();
        case(&tensors, specs).map_err(|reason| failed(format!("case {index}: {reason}")))
    };
    (0..count).map(one).collect()
}

/// The cases in one array.
fn parts(content: &[u8], spec: &TensorSpec) -> Result<Vec<WireTensor>, InputError> {
    let rank = npyz::NpyFile::new(content).map(|file| file.shape().len()).unwrap_or(0);
    let any = TensorSpec { shape: vec![-1; rank], ..spec.clone() };
    let whole = input::parse(content, input::Format::Npy, &[any])?.remove(0);
    let more = rank == spec.shape.len() + 1;
    let rows = rank == spec.shape.len() && spec.shape.first() == Some(&-1);
    if !more && !rows {
        return Ok(vec![whole]);
    }
    let count = whole.shape[0] as usize;
    let shape = if more { whole.shape[1..].to_vec() } else { [&[1], &whole.shape[1..]].concat() };
    let width = whole.data.len().checked_div(count).unwrap_or(0);
    let part = |index: usize| {
        let data = Bytes::copy_from_slice(&whole.data[index * width..(index + 1) * width]);
        WireTensor { dtype: whole.dtype, shape: shape.clone(), data }
    };
    Ok((0..count).map(part).collect())
}

fn case(tensors: &[WireTensor], specs: &[TensorSpec]) -> Result<Case, String> {
    let input = wire::write(tensors);
    let tensors = wire::decode_input(&input, specs).map_err(|failure| failure.reason)?;
    Ok(Case { input, tensors })
}

/// Cases of one row that the model answers: zeros, numbers of several magnitudes around zero, small integers, ones for what is
/// called a mask, and one with the longest free dimensions.
pub fn made_up(specs: &[TensorSpec], options: &PublishOptions, run: &mut Run<'_>) -> Result<Vec<Case>, CertifyError> {
    let mut reason = String::new();
    for below in INTEGERS_BELOW {
        let mut kept = Vec::new();
        for index in 0..MADE_UP {
            let length = if index == 1 { options.length_max } else { options.length_max.min(LENGTH_SHORT) };
            let sizes = PublishOptions { rows_max: 1, length_max: length, ..options.clone() };
            let tensors: Option<Vec<WireTensor>> =
                specs.iter().enumerate().map(|(at, spec)| invent(spec, &sizes, (index, at), below)).collect();
            let Some(tensors) = tensors else { continue };
            match case(&tensors, specs).and_then(|case| run(case.tensors.clone()).map(|_| case)) {
                Ok(case) => kept.push(case),
                Err(failure) => reason = failure,
            }
            if kept.is_empty() && index == 2 {
                break;
            }
        }
        if kept.len() > MADE_UP / 2 {
            return Ok(kept);
        }
    }
    Err(CertifyError::NoCase { tried: MADE_UP, reason })
}

/// One input of a case. Its numbers depend on nothing but where they stand.
fn invent(spec: &TensorSpec, sizes: &PublishOptions, (index, input): (usize, usize), below: u64) -> Option<WireTensor> {
    let shape = largest_shape(spec, sizes);
    let count = element_count(&shape)?;
    let random = |at: usize| mix((index as u64) << 48 ^ (input as u64) << 40 ^ at as u64);
    let kind = ElementType::from_onnx(spec.elementType.into())?;
    let (dtype, data): (DType, Vec<u8>) = match kind {
        _ if kind.is_float() && count > PACKED_FROM => {
            let value = |at| if index == 0 { 0 } else { (random(at) % 7) as i8 - 3 };
            (DType::I8, (0..count).flat_map(|at| value(at).to_be_bytes()).collect())
        }
        _ if kind.is_float() => {
            let scale = [0.0, 1.0, 1.0, 0.1, 10.0][index.min(1 + index % 4)];
            let value = |at| wire::fixed::float_to_wad((bell(random(at)) * scale * 1e6).round() / 1e6);
            let words: Option<Vec<_>> = (0..count).map(value).collect();
            (DType::Wad, words?.iter().flat_map(|word| word.to_be_bytes::<32>()).collect())
        }
        ElementType::String => {
            let text = |at: usize| format!("case {index}, text {at}");
            let framed = |at: usize| [&(text(at).len() as u32).to_be_bytes()[..], text(at).as_bytes()].concat();
            let single = shape.is_empty().then(|| text(0).into_bytes());
            (DType::Text, single.unwrap_or_else(|| (0..count).flat_map(framed).collect()))
        }
        ElementType::Bool => (DType::Bool, (0..count).map(|at| (random(at) & 1) as u8).collect()),
        _ => {
            let name = spec.name.to_lowercase();
            let value = |at| match name.as_str() {
                _ if name.contains("mask") => 1,
                _ if name.contains("type") || name.contains("segment") || index == 0 => 0,
                _ => random(at) % below.min(127),
            };
            let wide = below > 127 && !matches!(kind, ElementType::U8 | ElementType::I8);
            let large = |at| if wide && value(at) > 1 { random(at) % below } else { value(at) };
            (DType::I16, (0..count).flat_map(|at| (large(at) as i16).to_be_bytes()).collect())
        }
    };
    Some(WireTensor { dtype, shape: shape.into_iter().map(|length| length as u32).collect(), data: data.into() })
}

/// Splitmix64 (Steele, Lea and Flood, 2014): a different number for each counter.
fn mix(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Four uniform numbers added: about normal, with standard deviation 1.
fn bell(bits: u64) -> f64 {
    let sum: f64 = (0..4).map(|part| f64::from((bits >> (16 * part)) as u16) / 65_536.0 - 0.5).sum();
    sum * 3f64.sqrt()
}

/// The inputs that become golden vectors.
pub fn golden(cases: &[Case]) -> Vec<bytes::Bytes> {
    let mut bytes = 0;
    let fits = |case: &&Case| {
        bytes += case.input.len();
        bytes <= GOLDEN_BYTES_MAX
    };
    cases.iter().take(GOLDEN_MAX).filter(fits).map(|case| case.input.0.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, kind: ElementType, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: name.into(), elementType: kind as u8, shape: shape.to_vec() }
    }

    #[test]
    fn made_up_cases_fit_every_element_type_and_are_always_the_same() {
        let specs = [
            spec("x", ElementType::F32, &[-1, 3]),
            spec("picture", ElementType::F32, &[-1, 3, 64, 64]),
            spec("attention_mask", ElementType::I64, &[-1, -1]),
            spec("ids", ElementType::I64, &[-1, -1]),
            spec("text", ElementType::String, &[-1]),
            spec("flag", ElementType::Bool, &[1]),
            spec("half", ElementType::F16, &[2]),
        ];
        let make = || made_up(&specs, &PublishOptions::new("m"), &mut |tensors| Ok(tensors)).unwrap();
        let (cases, again) = (make(), make());
        assert_eq!(cases.len(), MADE_UP);
        assert!(cases.iter().zip(&again).all(|(one, other)| one.input == other.input));
        assert_eq!(cases[0].tensors[0].values::<f32>().unwrap(), [0.0; 3]);
        assert_eq!(cases[1].tensors[3].shape(), [1, 128]);
        assert!(cases[2].tensors[3].values::<i64>().unwrap().iter().any(|id| *id > 127));
        assert!(cases[2].tensors[2].values::<i64>().unwrap().iter().all(|mask| *mask == 1));
        let golden = golden(&cases);
        assert!(golden.len() > 4 && golden.iter().map(|input| input.len()).sum::<usize>() <= GOLDEN_BYTES_MAX);
    }

    #[test]
    fn integers_shrink_until_the_model_takes_them() {
        let specs = [spec("ids", ElementType::I64, &[4])];
        let mut run = |tensors: Vec<Tensor>| match tensors[0].values::<i64>().unwrap().iter().max() {
            Some(id) if *id >= 10 => Err("out of range".into()),
            _ => Ok(tensors),
        };
        let cases = made_up(&specs, &PublishOptions::new("m"), &mut run).unwrap();
        assert!(cases.iter().any(|case| case.tensors[0].values::<i64>().unwrap().iter().any(|id| *id > 0)));
        let error = made_up(&specs, &PublishOptions::new("m"), &mut |_| Err("never".into())).unwrap_err().to_string();
        assert!(error.contains("never") && error.contains("--cases"), "{error}");
    }

    #[test]
    fn a_broken_or_incomplete_file_is_explained() {
        let specs = [spec("x", ElementType::F32, &[-1, 3])];
        assert!(read(b"no archive", &specs).unwrap_err().to_string().contains(".npz"));
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("y.npy", zip::write::SimpleFileOptions::default()).unwrap();
        let file = archive.finish().unwrap().into_inner();
        assert!(read(&file, &specs).unwrap_err().to_string().contains("no array x"));
    }
}
