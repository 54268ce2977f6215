//! Functions of one number, as tables of 256 entries.

use super::{Converter, Quantised, Target, attribute, input, label, operator};
use crate::{
    Isa, Tensor,
    graph::{self, Context},
    integer::{NotInteger, target::Bounds},
    onnx::{
        proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto},
        tensors::Constants,
    },
    rewrite::to_proto,
};

/// Functions of one number that become tables.
pub(super) const TABLES: [&str; 18] = [
    "Abs",
    "Ceil",
    "Clip",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Neg",
    "Relu",
    "Round",
    "Sigmoid",
    "Softplus",
    "Sqrt",
    "Tanh",
];

impl Converter<'_> {
    /// The same numbers by another scale.
    pub(super) fn rescale(&mut self, before: &Quantised, target: &Target) -> Result<Quantised, NotInteger> {
        if (before.scale, before.zero) == (target.scale, target.zero) && target.is_free() {
            return Ok(before.clone());
        }
        let identity = NodeProto::new("", "Identity", &["x"], "y");
        let entries = self.entries(&identity, before, target)?;
        self.tables += 1;
        Ok(Quantised { name: self.emit.table(&before.name, entries), scale: target.scale, zero: target.zero })
    }

    /// The bounds of a `Relu` or `Clip`, which must be constants.
    pub(super) fn bounds(&self, node: &NodeProto) -> Result<Bounds, NotInteger> {
        if operator(node) == "Relu" {
            return Ok(Bounds::new(0.0, f64::INFINITY).expect("0 is less"));
        }
        let form = |words| NotInteger::Form(label(node), words);
        let bound = |index: usize, name: &str, default: f64| match (input(node, index), attribute(node, name)) {
            ("", given) => Ok(given.and_then(|bound| bound.f).map_or(default, f64::from)),
            (given, _) => {
                let bound = self.constant(given).and_then(|bound| bound.single::<f32>().ok());
                bound.map(f64::from).ok_or_else(|| form("its bounds are no constants of one float each"))
            }
        };
        let (least, most) = (bound(1, "min", f64::NEG_INFINITY)?, bound(2, "max", f64::INFINITY)?);
        Bounds::new(least, most).ok_or_else(|| form("its lower bound is above its upper one"))
    }

    /// What a function of one number gives for each of the 256 values, quantised as `target`: computed once, here, by the
    /// exact engine, and from then on part of the model.
    pub(super) fn entries(&self, node: &NodeProto, x: &Quantised, target: &Target) -> Result<Vec<i8>, NotInteger> {
        let what = label(node);
        let values: Vec<f32> =
            (-128i32..128).map(|value| ((f64::from(value) - f64::from(x.zero)) * x.scale) as f32).collect();
        let named = |name: &str| ValueInfoProto { name: Some(name.into()), ..Default::default() };
        let others = node.input[1..].iter().filter_map(|name| Some(to_proto(name, &self.constant(name)?)));
        let mut initializer: Vec<TensorProto> = others.collect();
        initializer.push(to_proto(input(node, 0), &Tensor::vector(values)));
        let alone = GraphProto {
            node: vec![node.clone()],
            initializer,
            output: vec![named(&node.output[0])],
            ..Default::default()
        };
        let constants = Constants::new(&self.limits, None);
        let plan = graph::compile(alone, self.opsets.clone(), constants, Isa::best(), &self.limits, None)?;
        let computed = plan.run(Vec::new(), &[], &Context::new(Isa::best(), &self.limits));
        let computed = computed.map_err(|_| NotInteger::Operator(what.clone()))?;
        let computed = computed[0].values::<f32>().map_err(|_| NotInteger::Operator(what.clone()))?;
        Ok(computed.iter().map(|value| target.step(f64::from(*value))).collect())
    }
}
