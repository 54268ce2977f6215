//! Every operator meets inputs and attributes that do not fit it: each run ends with outputs or a failure, never a panic,
//! and twice with the same bytes.

mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};

use foreblock_engine::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorTypeProto, TypeProto, TypeValue,
    ValueInfoProto, attribute_type as code,
};
use foreblock_engine::{ElementType, ExactModel, Limits, LoadOptions, Pool, Tensor, ops};
use random::Random;

/// Models tried for each operator.
const TRIALS: usize = 400;

const SHAPES: &[&[usize]] = &[
    &[],
    &[0],
    &[1],
    &[2],
    &[3],
    &[4],
    &[2, 3],
    &[3, 2],
    &[0, 3],
    &[1, 4],
    &[3, 3],
    &[2, 3, 4],
    &[1, 2, 0],
    &[2, 2, 4],
    &[1, 1, 4, 4],
    &[2, 4, 4, 4],
    &[1, 4, 3, 2],
    &[1, 1, 3, 3],
    &[2, 1, 2, 2, 3],
    &[1, 1, 1, 1, 1, 1, 1],
];
const INTS: &[i64] = &[-1, 0, 1, 2, 3, 4, -2, 5, 7, 11, 100, -100, 1 << 31, i64::MAX, i64::MIN];
const FLOATS: &[f32] = &[0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -0.0, 1e-40, 1e30, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
const TYPES: &[ElementType] = &[
    ElementType::F32,
    ElementType::F32,
    ElementType::F32,
    ElementType::I64,
    ElementType::I64,
    ElementType::F64,
    ElementType::I32,
    ElementType::U8,
    ElementType::I8,
    ElementType::Bool,
    ElementType::F16,
    ElementType::Bf16,
    ElementType::String,
    ElementType::U64,
];
const INT_ATTRIBUTES: &[&str] = &[
    "axis",
    "keepdims",
    "k",
    "to",
    "blocksize",
    "group",
    "num_heads",
    "q_num_heads",
    "kv_num_heads",
    "batch_dims",
    "p",
    "size",
    "upper",
    "exclusive",
    "reverse",
    "largest",
    "sorted",
    "is_causal",
    "ceil_mode",
    "antialias",
    "align_corners",
    "inverse",
    "onesided",
    "fmod",
    "hidden_size",
    "num_groups",
    "n_targets",
    "targets",
    "block_size",
    "dtype",
    "batch_axis",
    "time_axis",
    "allowzero",
    "num_outputs",
    "exclude_outside",
    "output_height",
    "sampling_ratio",
    "layout",
    "maxsplit",
];
const LIST_ATTRIBUTES: &[&str] =
    &["axes", "kernel_shape", "pads", "strides", "dilations", "perm", "output_shape", "output_padding", "split"];
const TEXT_ATTRIBUTES: &[(&str, &[&str])] = &[
    ("mode", &["linear", "nearest", "cubic", "constant", "reflect", "edge", "wrap", "avg", "max", "CRD", "circular"]),
    ("equation", &["ij,jk->ik", "...i,i->...", "ii->i", "ij->", "ij,ij", "i,j->ij"]),
    ("reduction", &["none", "add", "mul", "sum", "mean"]),
    ("direction", &["LEFT", "RIGHT", "forward", "reverse", "bidirectional"]),
    ("auto_pad", &["SAME_UPPER", "SAME_LOWER", "VALID"]),
    ("coordinate_transformation_mode", &["half_pixel", "align_corners", "tf_crop_and_resize", "asymmetric"]),
    ("norm", &["L1", "L2", "MAX"]),
    ("update_rule", &["linear", "gated", "delta"]),
    ("padding_mode", &["zeros", "border", "reflection"]),
];

fn tensor(random: &mut Random) -> Tensor {
    let shape = random.pick(SHAPES).to_vec();
    let count: usize = shape.iter().product();
    let wild = random.below(4) == 0;
    let mut int = || if wild { random.pick(INTS) } else { random.pick(&INTS[..6]) };
    let ints: Vec<i64> = (0..count).map(|_| int()).collect();
    let floats: Vec<f32> =
        (0..count).map(|_| if wild { random.pick(FLOATS) } else { random.pick(&FLOATS[..6]) }).collect();
    match random.pick(TYPES) {
        ElementType::I64 => Tensor::new(shape, ints),
        ElementType::I32 => Tensor::new(shape, ints.iter().map(|v| *v as i32).collect::<Vec<_>>()),
        ElementType::U8 => Tensor::new(shape, ints.iter().map(|v| *v as u8).collect::<Vec<_>>()),
        ElementType::I8 => Tensor::new(shape, ints.iter().map(|v| *v as i8).collect::<Vec<_>>()),
        ElementType::U64 => Tensor::new(shape, ints.iter().map(|v| *v as u64).collect::<Vec<_>>()),
        ElementType::Bool => Tensor::new(shape, ints.iter().map(|v| v & 1 == 1).collect::<Vec<_>>()),
        ElementType::F64 => Tensor::new(shape, floats.iter().map(|v| f64::from(*v)).collect::<Vec<_>>()),
        ElementType::F16 => Tensor::new(shape, floats.iter().map(|v| half::f16::from_f32(*v)).collect::<Vec<_>>()),
        ElementType::Bf16 => Tensor::new(shape, floats.iter().map(|v| half::bf16::from_f32(*v)).collect::<Vec<_>>()),
        ElementType::String => Tensor::new(shape, ints.iter().map(i64::to_string).collect::<Vec<_>>()),
        _ => Tensor::new(shape, floats),
    }
    .unwrap()
}

fn attributes(random: &mut Random) -> Vec<AttributeProto> {
    let mut found: Vec<AttributeProto> = Vec::new();
    for _ in 0..random.below(5) {
        let mut attribute = AttributeProto::default();
        let name = match random.below(3) {
            0 => {
                attribute.r#type = Some(code::INT);
                attribute.i = Some(if random.below(4) == 0 { random.pick(INTS) } else { random.pick(&INTS[..6]) });
                random.pick(INT_ATTRIBUTES)
            }
            1 => {
                attribute.r#type = Some(code::INTS);
                let wild = random.below(5) == 0;
                let ints = |random: &mut Random| if wild { random.pick(INTS) } else { random.pick(&INTS[1..4]) };
                attribute.ints = (0..random.below(5)).map(|_| ints(random)).collect();
                random.pick(LIST_ATTRIBUTES)
            }
            _ => {
                let (name, values) = random.pick(TEXT_ATTRIBUTES);
                attribute.r#type = Some(code::STRING);
                attribute.s = Some(random.pick(values).as_bytes().to_vec().into());
                name
            }
        };
        if !found.iter().any(|a| a.name.as_deref() == Some(name)) {
            attribute.name = Some(name.into());
            found.push(attribute);
        }
    }
    found
}

fn info(name: String, kind: i32) -> ValueInfoProto {
    let tensor = TensorTypeProto { elem_type: Some(kind), shape: None };
    let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)) });
    ValueInfoProto { name: Some(name), r#type, ..Default::default() }
}

fn model(
    operator: &ops::Operator,
    opset: i64,
    attribute: Vec<AttributeProto>,
    inputs: &[Tensor],
    outputs: usize,
) -> ModelProto {
    let names = |prefix: &str, count: usize| (0..count).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
    let node = NodeProto {
        input: names("x", inputs.len()),
        output: names("y", outputs),
        op_type: Some(operator.name.into()),
        domain: Some(operator.domain.into()),
        attribute,
        ..Default::default()
    };
    let graph = GraphProto {
        node: vec![node],
        input: inputs.iter().enumerate().map(|(i, t)| info(format!("x{i}"), t.element_type() as i32)).collect(),
        output: names("y", outputs).into_iter().map(|name| info(name, 1)).collect(),
        ..Default::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: Some(operator.domain.into()), version: Some(opset) }];
    ModelProto { graph: Some(graph), opset_import, ..Default::default() }
}

/// Loads and runs; what comes out, as text that shows every bit of NaN-free values.
fn outcome(model: &ModelProto, inputs: &[Tensor]) -> Option<String> {
    let limits = Limits { run_bytes_max: 64 << 20, ..Limits::default() };
    let loaded = ExactModel::from_proto(model, &LoadOptions { limits, ..LoadOptions::default() }).ok()?;
    Some(match loaded.run_unchecked(inputs.to_vec(), &Pool::new(1)) {
        Ok((outputs, _)) => format!("{outputs:?}"),
        Err(failure) => format!("{failure:?}"),
    })
}

#[test]
fn no_operator_panics_on_what_does_not_fit() {
    let mut panicked = Vec::new();
    let mut never_ran = Vec::new();
    for operator in ops::all() {
        let seed = operator.name.bytes().fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
        let mut random = Random(seed);
        let mut ran = 0;
        for trial in 0..TRIALS {
            let opset = (*operator.opsets.end()).max(*operator.opsets.start());
            let inputs: Vec<Tensor> = (0..random.below(6)).map(|_| tensor(&mut random)).collect();
            let attributes = attributes(&mut random);
            let outputs = 1 + random.below(2);
            let model = model(operator, opset, attributes.clone(), &inputs, outputs);
            let both = catch_unwind(AssertUnwindSafe(|| (outcome(&model, &inputs), outcome(&model, &inputs))));
            match both {
                Ok((first, second)) => {
                    ran += usize::from(first.is_some());
                    assert!(first == second, "{} gave two answers to one input", operator.name);
                }
                Err(_) => {
                    let shapes: Vec<_> = inputs.iter().map(|t| (t.element_type(), t.shape().to_vec())).collect();
                    let named: Vec<_> =
                        attributes.iter().map(|a| (a.name.clone(), a.i, a.ints.clone(), a.s.clone())).collect();
                    panicked
                        .push(format!("{} (trial {trial}): inputs {shapes:?}, attributes {named:?}", operator.name));
                    break;
                }
            }
        }
        if ran == 0 {
            never_ran.push(operator.name);
        }
    }
    println!("never loaded by chance: {never_ran:?}");
    assert!(panicked.is_empty(), "{} operators panicked:\n{}", panicked.len(), panicked.join("\n"));
}
