//! Functions of one number, as tables of 256 entries.

use super::{Converter, Quantised, input, label};
use crate::{
    Isa, Tensor,
    graph::{self, Context},
    integer::NotInteger,
    onnx::{
        proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto},
        tensors::Constants,
    },
    rewrite::to_proto,
};

impl Converter<'_> {
    /// The same numbers by another scale.
    pub(super) fn rescale(&mut self, before: &Quantised, target: &Quantised) -> Result<Quantised, NotInteger> {
        if (before.scale, before.zero) == (target.scale, target.zero) {
            return Ok(before.clone());
        }
        let identity = NodeProto::new("", "Identity", &["x"], "y");
        let entries = self.entries(&identity, before, target)?;
        self.tables += 1;
        Ok(Quantised { name: self.emit.table(&before.name, entries), ..target.clone() })
    }

    /// What a function of one number gives for each of the 256 values, quantised as `target`: computed once, here, by the
    /// exact engine, and from then on part of the model.
    pub(super) fn entries(&self, node: &NodeProto, x: &Quantised, target: &Quantised) -> Result<Vec<i8>, NotInteger> {
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
        let entry = |value: &f32| {
            let steps = (f64::from(*value) / target.scale).round_ties_even() + f64::from(target.zero);
            // Where the function has no number, as the logarithm of a negative, it has no entry either.
            if steps.is_nan() { target.zero } else { steps.clamp(-128.0, 127.0) as i8 }
        };
        Ok(computed.iter().map(entry).collect())
    }
}
