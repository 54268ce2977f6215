//! Operators that move elements, or only say that the shape is another.

use super::elementwise::AXES_MAX;
use super::{Built, Row, input, offloaded, or_cpu};
use crate::cuda::Numbers;
use crate::graph::{DeviceInputs, Node};
use crate::ops::reshape;
use crate::ops::shape::{around, axis, count, index, simplify, strides};

pub(super) const KERNELS: &[Row] = &[
    ("Concat", concat),
    ("Flatten", |node| {
        let given = node.int("axis", 1)?;
        reshaped(move |shape, _| reshape::flattened(shape, given).ok())
    }),
    ("Gather", gather),
    ("Identity", |_| reshaped(|shape, _| Some(shape.to_vec()))),
    ("Reshape", |node| {
        let (given, allow_zero) = (node.ints("shape")?, node.flag("allowzero", false)?);
        reshaped(move |shape, inputs| {
            let wanted = given.clone().or_else(|| inputs.host(1)?.to_i64s().ok())?;
            reshape::reshaped(shape, &wanted, allow_zero).ok()
        })
    }),
    ("Squeeze", |node| {
        let given = node.ints("axes")?;
        reshaped(move |shape, inputs| {
            let given = match (&given, inputs.get(1).is_some()) {
                (Some(given), _) => Some(given.clone()),
                (None, true) => Some(inputs.host(1)?.to_i64s().ok()?),
                (None, false) => None,
            };
            reshape::squeezed(shape, given.as_deref()).ok()
        })
    }),
    ("Transpose", transpose),
    ("Unsqueeze", |node| {
        let given = node.ints("axes")?;
        reshaped(move |shape, inputs| {
            let given = given.clone().or_else(|| inputs.host(1)?.to_i64s().ok())?;
            reshape::unsqueezed(shape, &given).ok()
        })
    }),
];

/// The same elements in the shape that `shape_of` gives.
fn reshaped(shape_of: impl Fn(&[usize], &DeviceInputs<'_>) -> Option<Vec<usize>> + Send + Sync + 'static) -> Built {
    offloaded(move |inputs, _| {
        let x = or_cpu!(input(inputs, 0)?);
        let shape = or_cpu!(shape_of(x.shape(), inputs).filter(|shape| count(shape).is_ok_and(|n| n == x.len())));
        Ok(Some(x.reshape(shape)))
    })
}

fn transpose(node: &Node<'_>) -> Built {
    let given = node.ints("perm")?;
    offloaded(move |inputs, context| {
        let x = or_cpu!(input(inputs, 0)?);
        let rank = x.shape().len();
        let order: Vec<usize> = match &given {
            None => (0..rank).rev().collect(),
            Some(given) => or_cpu!(given.iter().map(|a| axis(*a, rank).ok()).collect::<Option<_>>()),
        };
        if order.len() != rank || (0..rank).any(|a| !order.contains(&a)) {
            return Ok(None);
        }
        let shape: Vec<usize> = order.iter().map(|a| x.shape()[*a]).collect();
        if order.iter().filter(|a| x.shape()[**a] != 1).is_sorted() {
            return Ok(Some(x.reshape(shape)));
        }
        let own = strides(x.shape());
        let moved: Vec<usize> = order.iter().map(|a| own[*a]).collect();
        let (joined, [steps]) = simplify(&shape, [&moved]);
        if joined.len() > AXES_MAX {
            return Ok(None);
        }
        context.claim::<f32>(x.len())?;
        let out = inputs.accelerator.allocate(shape)?;
        let mut numbers = [0; 3 + 2 * AXES_MAX];
        numbers[..3].copy_from_slice(&[x.len(), joined.len(), 0]);
        numbers[3..3 + joined.len()].copy_from_slice(&joined);
        numbers[9..9 + steps.len()].copy_from_slice(&steps);
        inputs.accelerator.each("copy", x.len(), &out, [Some(&x), None, None], Numbers::new(&numbers, &[]))?;
        Ok(Some(out))
    })
}

/// The indices stay on the CPU until they are known to be in range.
fn gather(node: &Node<'_>) -> Built {
    let given = node.int("axis", 0)?;
    offloaded(move |inputs, context| {
        let x = or_cpu!(input(inputs, 0)?);
        let at = or_cpu!(axis(given, x.shape().len()).ok());
        let (outer, length, inner) = around(x.shape(), at);
        let indices = or_cpu!(inputs.host(1));
        let picked: Option<Vec<usize>> =
            indices.to_i64s().ok().and_then(|list| list.iter().map(|i| index(*i, length).ok()).collect());
        let picked = or_cpu!(picked.filter(|picked| !picked.is_empty()));
        let shape = [&x.shape()[..at], indices.shape(), &x.shape()[at + 1..]].concat();
        let total = or_cpu!(count(&shape).ok());
        debug_assert_eq!(total, outer * picked.len() * inner);
        context.claim::<f32>(total)?;
        let out = inputs.accelerator.allocate(shape)?;
        let numbers = Numbers::new(&[total, picked.len(), inner, length], &[]);
        let picked = inputs.accelerator.upload_indices(&picked)?;
        inputs.accelerator.each("gather", total, &out, [Some(&x), Some(&picked), None], numbers)?;
        Ok(Some(out))
    })
}

fn concat(node: &Node<'_>) -> Built {
    let given = node.int("axis", 1)?;
    offloaded(move |inputs, context| {
        let parts: Option<Vec<_>> = (0..inputs.len()).map(|i| input(inputs, i)).collect::<Result<_, _>>()?;
        let parts = or_cpu!(parts.filter(|parts| !parts.is_empty()));
        let mut shape = parts[0].shape().to_vec();
        let at = or_cpu!(axis(given, shape.len()).ok());
        let fits =
            |part: &[usize]| part.len() == shape.len() && (0..shape.len()).all(|a| a == at || part[a] == shape[a]);
        if !parts.iter().all(|part| fits(part.shape())) {
            return Ok(None);
        }
        shape[at] = parts.iter().map(|part| part.shape()[at]).sum();
        let total = or_cpu!(count(&shape).ok());
        context.claim::<f32>(total)?;
        let inner: usize = shape[at..].iter().product();
        let out = inputs.accelerator.allocate(shape)?;
        let mut offset = 0;
        for part in &parts {
            let length: usize = part.shape()[at..].iter().product();
            let numbers = Numbers::new(&[part.len(), offset, length, inner], &[]);
            inputs.accelerator.each("place_rows", part.len(), &out, [Some(part), None, None], numbers)?;
            offset += length;
        }
        Ok(Some(out))
    })
}
