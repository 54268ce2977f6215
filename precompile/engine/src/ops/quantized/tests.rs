//! Products and convolutions of integers against plain loops, on every instruction set; constant weights and computed ones.

use proptest::prelude::*;

use crate::kernels::{Isa, patches::AXES};
use crate::onnx::proto::{AttributeProto, attribute_type as code};
use crate::ops::testing::model;
use crate::rewrite::to_proto;
use crate::{ExactModel, LoadOptions, Pool, Tensor};

/// Numbers of 8 bits that look random; the extreme ones are frequent.
struct Numbers(u64);

impl Numbers {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match self.0 >> 60 {
            0 => 0x80,
            1 => 0x7f,
            2 => 0xff,
            _ => (self.0 >> 40) as u8,
        }
    }

    /// A tensor of `uint8` or `int8`, and its values.
    fn tensor(&mut self, shape: &[usize], signed: bool) -> (Tensor, Vec<i64>) {
        let bytes: Vec<u8> = (0..shape.iter().product()).map(|_| self.byte()).collect();
        if signed {
            let values: Vec<i8> = bytes.iter().map(|x| x.cast_signed()).collect();
            let wide = values.iter().map(|x| i64::from(*x)).collect();
            return (Tensor::new(shape, values).unwrap(), wide);
        }
        let wide = bytes.iter().map(|x| i64::from(*x)).collect();
        (Tensor::new(shape, bytes).unwrap(), wide)
    }
}

/// What the operator answers, on each instruction set (sums of four products at once also without instructions for them), and with the inputs that `constant` names as constants of the model.
fn answers(op: &str, attributes: &[AttributeProto], inputs: &[Tensor], constant: &[usize]) -> Vec<Tensor> {
    let given: Vec<_> = inputs.iter().cloned().map(Some).collect();
    let plain = model(("", op, 21), attributes, &given, 1);
    let mut fixed = plain.clone();
    let graph = fixed.graph.as_mut().unwrap();
    graph.initializer = constant.iter().map(|i| to_proto(&format!("x{i}"), &inputs[*i])).collect();
    graph.input.retain(|input| graph.initializer.iter().all(|constant| constant.name != input.name));
    let mut all = Vec::new();
    let mut sets = Isa::available();
    if !sets.contains(&Isa::Avx512Vnni) {
        sets.push(Isa::Avx512Vnni);
    }
    for isa in sets {
        let options = LoadOptions { isa: Some(isa), ..LoadOptions::default() };
        for (model, constant) in [(&plain, &[][..]), (&fixed, constant)] {
            let model = ExactModel::from_proto(model, &options).unwrap();
            let given = inputs.iter().enumerate().filter(|(i, _)| !constant.contains(i)).map(|(_, x)| x.clone());
            all.extend(model.run_unchecked(given.collect(), &Pool::new(2)).unwrap().0);
        }
    }
    all
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|v| *v as i64).collect();
    AttributeProto { name: Some(name.into()), ints, r#type: Some(code::INTS), ..Default::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn matrix_products_are_exact(
        (rows, columns, k) in (1usize..9, 1usize..40, 0usize..300),
        (seed, a_signed, b_signed) in any::<(u64, bool, bool)>(),
        (zero_of_rows, zero_of_columns) in any::<(bool, bool)>(),
    ) {
        let mut numbers = Numbers(seed);
        let (a, a_values) = numbers.tensor(&[2, rows, k], a_signed);
        let (b, b_values) = numbers.tensor(&[k, columns], b_signed);
        let (a_zero, a_zeros) = numbers.tensor(&[rows][..usize::from(zero_of_rows)], a_signed);
        let (b_zero, b_zeros) = numbers.tensor(&[columns][..usize::from(zero_of_columns)], b_signed);
        let element = |i: usize| {
            let (row, column) = (i / columns, i % columns);
            let (zero_a, zero_b) = (a_zeros[row % rows % a_zeros.len()], b_zeros[column % b_zeros.len()]);
            let terms = (0..k).map(|j| (a_values[row * k + j] - zero_a) * (b_values[j * columns + column] - zero_b));
            terms.sum::<i64>() as i32
        };
        let expected: Vec<i32> = (0..2 * rows * columns).map(element).collect();
        for answer in answers("MatMulInteger", &[], &[a, b, a_zero, b_zero], &[1, 3]) {
            prop_assert_eq!(answer.shape(), [2, rows, columns]);
            prop_assert_eq!(answer.values::<i32>().unwrap(), &expected);
        }
    }
}

#[test]
fn products_without_terms_are_zero() {
    for signed in [false, true] {
        let mut numbers = Numbers(1);
        let inputs = [&[2, 3, 0][..], &[0, 20], &[], &[]].map(|shape| numbers.tensor(shape, signed).0);
        for answer in answers("MatMulInteger", &[], &inputs, &[1, 3]) {
            assert_eq!((answer.shape(), answer.values::<i32>().unwrap()), (&[2, 3, 20][..], &[0; 120][..]));
        }
    }
}

#[derive(Clone, Debug)]
struct Shape {
    rank: usize,
    groups: usize,
    channels: usize,
    features: usize,
    input: [usize; AXES],
    kernel: [usize; AXES],
    stride: [usize; AXES],
    dilation: [usize; AXES],
    pad: [usize; AXES],
}

prop_compose! {
    fn shape()(
        rank in 1usize..=AXES, groups in 1usize..20, channels in 1usize..5, features in 1usize..5,
        input in prop::array::uniform3(5usize..9), kernel in prop::array::uniform3(1usize..4),
        stride in prop::array::uniform3(1usize..3), dilation in prop::array::uniform3(1usize..3),
        pad in prop::array::uniform3(0usize..2), plain: bool,
    ) -> Shape {
        // Half of them without groups, a quarter of the others with one channel and feature each.
        let (groups, channels, features) = if plain { (1, channels + 3, features * 5) } else { (groups, channels, features) };
        Shape { rank, groups, channels, features, input, kernel, stride, dilation, pad }
    }
}

/// The convolution of one image as a plain loop over everything.
fn convolution(shape: &Shape, output: &[usize], x: impl Fn(usize) -> i64, w: impl Fn(usize) -> i64) -> Vec<i32> {
    let Shape { rank, groups, channels, features, input, kernel, stride, dilation, pad } = shape.clone();
    let at = |index: usize, lengths: &[usize]| -> Vec<usize> {
        let mut rest = index;
        let mut out: Vec<usize> = lengths.iter().rev().map(|length| (rest % length, rest /= length).0).collect();
        out.reverse();
        out
    };
    let (pixels, size) = (output.iter().product::<usize>(), kernel[..rank].iter().product::<usize>());
    let element = |i: usize| {
        let (feature, place) = (i / pixels, at(i % pixels, output));
        let group = feature / features;
        let mut sum = 0i64;
        for channel in 0..channels {
            for tap in 0..size {
                let offset = at(tap, &kernel[..rank]);
                let source = (0..rank).map(|a| (place[a] * stride[a] + offset[a] * dilation[a]).checked_sub(pad[a]));
                let source: Option<Vec<usize>> = source.enumerate().map(|(a, i)| i.filter(|i| *i < input[a])).collect();
                let Some(source) = source else { continue };
                let inside = source.iter().zip(&input).fold(0, |index, (i, length)| index * length + i);
                let plane = input[..rank].iter().product::<usize>();
                sum +=
                    x((group * channels + channel) * plane + inside) * w((feature * channels + channel) * size + tap);
            }
        }
        sum as i32
    };
    assert_eq!(output.len(), rank);
    (0..groups * features * pixels).map(element).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn convolutions_are_exact(
        shape in shape(),
        (seed, x_signed, w_signed, zero_each) in any::<(u64, bool, bool, bool)>(),
    ) {
        let Shape { rank, groups, channels, features, input, kernel, stride, dilation, pad } = shape.clone();
        let mut numbers = Numbers(seed);
        let x_shape = [&[1, groups * channels], &input[..rank]].concat();
        let w_shape = [&[groups * features, channels], &kernel[..rank]].concat();
        let (x, x_values) = numbers.tensor(&x_shape, x_signed);
        let (w, w_values) = numbers.tensor(&w_shape, w_signed);
        let (x_zero, x_zeros) = numbers.tensor(&[], x_signed);
        let (w_zero, w_zeros) = numbers.tensor(if zero_each { &w_shape[..1] } else { &[] }, w_signed);
        let attributes = [
            ints("strides", &stride[..rank]),
            ints("dilations", &dilation[..rank]),
            ints("pads", &[&pad[..rank], &pad[..rank]].concat()),
            AttributeProto {
                name: Some("group".into()), i: Some(groups as i64), r#type: Some(code::INT), ..Default::default()
            },
        ];
        for answer in answers("ConvInteger", &attributes, &[x, w, x_zero, w_zero], &[1, 3]) {
            let size = w_values.len() / (groups * features);
            let expected = convolution(
                &shape,
                &answer.shape()[2..],
                |i| x_values[i] - x_zeros[0],
                |i| w_values[i] - w_zeros[i / size % w_zeros.len()],
            );
            prop_assert_eq!(answer.shape()[1], groups * features);
            prop_assert_eq!(answer.values::<i32>().unwrap(), &expected);
        }
    }
}

/// Each feature has its own bias, scale and zero point, on either path: with groups of one channel, and without groups.
#[test]
fn scaled_convolutions_keep_features_apart() {
    for (groups, channels, features) in [(1, 3, 20), (20, 1, 1)] {
        let shape = Shape {
            rank: 2,
            groups,
            channels,
            features,
            input: [5, 7, 1],
            kernel: [3, 2, 1],
            stride: [1, 2, 1],
            dilation: [1; AXES],
            pad: [1, 0, 0],
        };
        let mut numbers = Numbers(7);
        let all = groups * features;
        let (x, x_values) = numbers.tensor(&[1, groups * channels, 5, 7], false);
        let (w, w_values) = numbers.tensor(&[all, channels, 3, 2], true);
        let (w_zero, w_zeros) = numbers.tensor(&[all], true);
        let biases: Vec<i32> = (0..all as i32).map(|i| (i - 10) * 5_000).collect();
        let scales: Vec<f32> = (0..all).map(|i| 0.001 + i as f32 * 0.0003).collect();
        let (one, y_scale) = (Tensor::scalar(0.5f32), Tensor::scalar(0.25f32));
        let inputs = [
            x,
            one,
            Tensor::scalar(100u8),
            w,
            Tensor::vector(scales.clone()),
            w_zero,
            y_scale,
            Tensor::scalar(-3i8),
            Tensor::vector(biases.clone()),
        ];
        let group = AttributeProto {
            name: Some("group".into()),
            i: Some(groups as i64),
            r#type: Some(code::INT),
            ..Default::default()
        };
        let attributes = [ints("strides", &[1, 2]), ints("pads", &[1, 0, 1, 0]), group];
        for answer in answers("QLinearConv", &attributes, &inputs, &[3, 4, 5, 8]) {
            assert_eq!(answer.shape(), [1, all, 5, 3]);
            let size = channels * 6;
            let sums = convolution(&shape, &[5, 3], |i| x_values[i] - 100, |i| w_values[i] - w_zeros[i / size]);
            for (i, (sum, got)) in sums.iter().zip(answer.values::<i8>().unwrap()).enumerate() {
                let total = f64::from(*sum + biases[i / 15]);
                let expected = (total * (2.0 * f64::from(scales[i / 15]))) as f32;
                let expected = (expected.round_ties_even() - 3.0).clamp(-128.0, 127.0);
                assert_eq!(f32::from(*got), expected, "element {i} in {groups} groups");
            }
        }
    }
}

/// Sums that pass 32 bits wrap where the output has 32, and are exact where they are scaled.
#[test]
fn sums_of_long_chains_are_exact() {
    const K: usize = 70_000;
    let a = Tensor::new([1, K], vec![255u8; K]).unwrap();
    let b = Tensor::new([K, 1], vec![255u8; K]).unwrap();
    let zero = Tensor::scalar(0u8);
    let sum = 255 * 255 * K as i64;
    for answer in answers("MatMulInteger", &[], &[a.clone(), b.clone(), zero.clone(), zero.clone()], &[1, 3]) {
        assert_eq!(answer.values::<i32>().unwrap(), [sum as i32]);
    }
    let (one, step) = (Tensor::scalar(1.0f32), Tensor::scalar((sum / 100) as f32));
    let inputs = [a, one.clone(), zero.clone(), b, one, zero.clone(), step, zero];
    for answer in answers("QLinearMatMul", &[], &inputs, &[3, 5]) {
        assert_eq!(answer.values::<u8>().unwrap(), [100]);
    }
}
