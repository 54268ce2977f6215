//! Operators that map each element by itself.

use super::{Built, LATEST, Operator, kernel};
use crate::graph::Node;
use crate::tensor::Tensor;

pub(super) const OPERATORS: &[Operator] =
    &[Operator::onnx("Relu", 1..=LATEST, relu), Operator::onnx("Identity", 1..=LATEST, identity)];

fn relu(_: &Node<'_>) -> Built {
    kernel(|inputs, _| {
        let x = inputs.take(0)?;
        let shape = x.shape().to_vec();
        let mut values = x.into_values::<f32>()?;
        values.iter_mut().for_each(|v| *v = if *v > 0.0 { *v } else { 0.0 });
        Ok(vec![Tensor::new(shape, values)?])
    })
}

fn identity(_: &Node<'_>) -> Built {
    kernel(|inputs, _| Ok(vec![inputs.take(0)?]))
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::run;
    use crate::tensor::Tensor;

    #[test]
    fn relu_keeps_what_is_positive() {
        let x = Tensor::vector(vec![-1.0f32, 0.0, 2.5]);
        let y = run(("", "Relu", 26), &[], &[Some(x)], 1).unwrap();
        assert_eq!(y[0].values::<f32>().unwrap(), [0.0, 0.0, 2.5]);
    }
}
