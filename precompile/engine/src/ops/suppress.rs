//! `NonMaxSuppression`: boxes in order of their scores, of equal scores the first, less those that overlap a chosen one.

use super::floats::widen;
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Inputs, Node};
use crate::tensor::Tensor;

pub(super) const OPERATORS: &[Operator] = &[Operator::onnx("NonMaxSuppression", 10..=LATEST, suppress)];

/// Corners in ascending order, and the area.
fn corners(values: &[f32], centred: bool) -> [f32; 5] {
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| values[i]);
    let (y0, x0, y1, x1) = match centred {
        true => (b - d / 2.0, a - c / 2.0, b + d / 2.0, a + c / 2.0),
        false => (a, b, c, d),
    };
    let order = |a: f32, b: f32| if b < a { (b, a) } else { (a, b) };
    let ((y0, y1), (x0, x1)) = (order(y0, y1), order(x0, x1));
    [y0, x0, y1, x1, (y1 - y0) * (x1 - x0)]
}

/// Area of the intersection over that of the union.
fn overlap(a: &[f32; 5], b: &[f32; 5]) -> f32 {
    let most = |a: f32, b: f32| if b > a { b } else { a };
    let least = |a: f32, b: f32| if b < a { b } else { a };
    let height = least(a[2], b[2]) - most(a[0], b[0]);
    let width = least(a[3], b[3]) - most(a[1], b[1]);
    if height <= 0.0 || width <= 0.0 {
        return 0.0;
    }
    let common = height * width;
    let union = a[4] + b[4] - common;
    if union > 0.0 { common / union } else { 0.0 }
}

fn threshold(inputs: &Inputs, index: usize) -> Result<Option<f32>, Failure> {
    inputs.optional(index).filter(|t| !t.is_empty()).map(|t| t.single::<f32>()).transpose()
}

fn suppress(node: &Node<'_>) -> Built {
    let centred = node.flag("center_point_box", false)?;
    kernel(move |inputs, context| {
        let (boxes, scores) = (inputs.get(0)?, inputs.get(1)?);
        let ([batches, count, 4], [b, classes, c]) = (boxes.shape(), scores.shape()) else {
            return Err(failure::wrong_shape("expected boxes of the shape [B, N, 4] and scores of [B, C, N]"));
        };
        if b != batches || c != count {
            return Err(failure::wrong_shape(format!("{count} boxes with {c} scores")));
        }
        let (batches, count, classes) = (*batches, *count, *classes);
        let most = inputs.optional(2).filter(|t| !t.is_empty()).map(|t| t.single::<i64>()).transpose()?.unwrap_or(0);
        let most = usize::try_from(most).unwrap_or(0);
        let (overlap_max, score_min) = (threshold(inputs, 3)?.unwrap_or(0.0), threshold(inputs, 4)?);
        let narrow = |t: &Tensor| Ok::<Vec<f32>, Failure>(widen(t, context)?.iter().map(|v| *v as f32).collect());
        let (boxes, scores) = (narrow(boxes)?, narrow(scores)?);
        context.claim::<i64>(batches.saturating_mul(classes).saturating_mul(count.min(most)).saturating_mul(3))?;
        let mut out: Vec<i64> = Vec::new();
        for batch in 0..batches {
            let areas: Vec<[f32; 5]> =
                boxes[batch * count * 4..(batch + 1) * count * 4].chunks(4).map(|b| corners(b, centred)).collect();
            for class in 0..classes {
                let scores = &scores[(batch * classes + class) * count..][..count];
                let mut order: Vec<usize> =
                    (0..count).filter(|i| score_min.is_none_or(|least| scores[*i] > least)).collect();
                order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
                let mut chosen: Vec<usize> = Vec::new();
                for i in order {
                    if chosen.len() >= most {
                        break;
                    }
                    context.count_macs(chosen.len() as u64);
                    if chosen.iter().all(|j| overlap(&areas[i], &areas[*j]) <= overlap_max) {
                        chosen.push(i);
                        out.extend([batch as i64, class as i64, i as i64]);
                    }
                }
            }
        }
        Ok(vec![Tensor::new([out.len() / 3, 3], out)?])
    })
}
