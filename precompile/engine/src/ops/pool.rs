//! Pools: the greatest or the mean of each window.

use super::cast::cast;
use super::number::{Number, numeric};
use super::shape::count;
use super::window::{Placed, Window};
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::kernels::parallel_parts;
use crate::kernels::patches::AXES;
use crate::kernels::sum::{LANES, fold_lanes, sum16};
use crate::tensor::{Element, ElementType, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("AveragePool", 1..=LATEST, average_pool),
    Operator::onnx("GlobalAveragePool", 1..=LATEST, |_| global(|plane| sum16(plane) / plane.len() as f32)),
    Operator::onnx("GlobalMaxPool", 1..=LATEST, |_| global(crate::kernels::sum::max16)),
    Operator::onnx("MaxPool", 1..=LATEST, max_pool),
];

/// Shape `[images, channels, spatial...]` split.
fn planes(x: &Tensor) -> Result<(usize, &[usize]), Failure> {
    match x.shape() {
        [images, channels, spatial @ ..] if !spatial.is_empty() => Ok((images * channels, spatial)),
        shape => Err(failure::wrong_shape(format!("expected images by channels by space, got the shape {shape:?}"))),
    }
}

fn global(f: fn(&[f32]) -> f32) -> Built {
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let kind = x.element_type();
        let x = cast(x, ElementType::F32, context)?;
        let (count, spatial) = planes(&x)?;
        let size: usize = spatial.iter().product();
        let values = x.values::<f32>()?;
        let mut out = context.zeros::<f32>(count)?;
        if size > 0 {
            parallel_parts(&mut out, 1, 8 * size, |first, part| {
                for (i, y) in part.iter_mut().enumerate() {
                    *y = f(&values[(first + i) * size..(first + i + 1) * size]);
                }
            });
        }
        let shape = x.shape()[..2].iter().copied().chain(spatial.iter().map(|_| 1)).collect::<Vec<_>>();
        Ok(vec![cast(&Tensor::new(shape, out)?, kind, context)?])
    })
}

/// Output elements of a channel, with the input element of each place of the window that lies in the image, row-major.
fn visit(placed: &Placed, mut each: impl FnMut(usize, &[usize])) {
    let mut inside = Vec::new();
    let Placed { input, output, kernel, .. } = *placed;
    let at = |axis: usize, o: usize, k: usize| {
        (o * placed.stride[axis] + k * placed.dilation[axis]).checked_sub(placed.pad[axis]).filter(|i| *i < input[axis])
    };
    for index in 0..output.iter().product() {
        let [z, y, x] = [index / output[2] / output[1], index / output[2] % output[1], index % output[2]];
        inside.clear();
        for i in (0..kernel[0]).filter_map(|k| at(0, z, k)) {
            for j in (0..kernel[1]).filter_map(|k| at(1, y, k)) {
                inside.extend((0..kernel[2]).filter_map(|k| at(2, x, k)).map(|k| (i * input[1] + j) * input[2] + k));
            }
        }
        each(index, &inside);
    }
}

fn pooled_shape(x: &Tensor, placed: &Placed) -> Result<(Vec<usize>, usize, usize, usize), Failure> {
    let (count_planes, spatial) = planes(x)?;
    let mut shape = x.shape()[..2].to_vec();
    shape.extend(&placed.output[AXES - spatial.len()..]);
    count(&shape)?;
    Ok((shape, count_planes, placed.input.iter().product(), placed.output.iter().product()))
}

fn place(window: &Window, x: &Tensor) -> Result<Placed, Failure> {
    let missing = || failure::wrong_shape("kernel_shape is missing");
    window.place(planes(x)?.1, window.kernel.as_deref().ok_or_else(missing)?)
}

fn average_pool(node: &Node<'_>) -> Built {
    let (window, include_pad) = (Window::of(node)?, node.flag("count_include_pad", false)?);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let kind = x.element_type();
        let x = cast(x, ElementType::F32, context)?;
        let placed = place(&window, &x)?;
        let (shape, _, input, output) = pooled_shape(&x, &placed)?;
        let values = x.values::<f32>()?;
        let mut out = context.zeros::<f32>(shape.iter().product())?;
        let divisors = divisors(&placed, include_pad);
        parallel_parts(&mut out, output, 8 * placed.kernel.iter().product::<usize>(), |first, part| {
            for (i, out) in part.chunks_exact_mut(output.max(1)).enumerate() {
                let plane = &values[(first + i) * input..(first + i + 1) * input];
                visit(&placed, |index, inside| {
                    let mut lanes = [0.0; LANES];
                    inside.iter().enumerate().for_each(|(n, at)| lanes[n % LANES] += plane[*at]);
                    out[index] = fold_lanes(lanes) / divisors[index];
                });
            }
        });
        Ok(vec![cast(&Tensor::new(shape, out)?, kind, context)?])
    })
}

/// How many elements each window counts: those in the image, and those in the given zeros where `include_pad`.
fn divisors(placed: &Placed, include_pad: bool) -> Vec<f32> {
    let mut divisors = vec![0.0; placed.output.iter().product()];
    let mut wide = *placed;
    if include_pad {
        wide.input = std::array::from_fn(|a| placed.pad[a] + placed.input[a] + placed.pad_end[a]);
        wide.pad = [0; AXES];
    }
    visit(&wide, |index, inside| divisors[index] = inside.len() as f32);
    divisors
}

fn max_pool(node: &Node<'_>) -> Built {
    let (window, by_column) = (Window::of(node)?, node.flag("storage_order", false)?);
    let indices = node.has_output(1);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let placed = place(&window, x)?;
        let kind = x.element_type();
        match kind {
            _ if indices => {}
            ElementType::F32 => return Ok(vec![max_rows(x, &placed, f32::NEG_INFINITY, context)?]),
            ElementType::I8 => return Ok(vec![max_rows(x, &placed, i8::MIN, context)?]),
            ElementType::U8 => return Ok(vec![max_rows(x, &placed, u8::MIN, context)?]),
            _ => {}
        }
        numeric!(kind, T => max_any::<T>(x, &placed, by_column, context), else Err(failure::wrong_type(format!("MaxPool does not take {kind}"))))
    })
}

/// The greatest of each window, first along rows, then across: whole rows at a time. None is less than `least`.
fn max_rows<T>(x: &Tensor, placed: &Placed, least: T, context: &Context) -> Result<Tensor, Failure>
where
    T: Element + Copy + PartialOrd + Send + Sync,
{
    let (shape, _, input, output) = pooled_shape(x, placed)?;
    let values = x.values::<T>()?;
    let mut out = context.zeros::<T>(shape.iter().product())?;
    let source = |axis: usize, o: usize, k: usize| {
        (o * placed.stride[axis] + k * placed.dilation[axis])
            .checked_sub(placed.pad[axis])
            .filter(|i| *i < placed.input[axis])
    };
    let (width, columns) = (placed.input[2], placed.output[2]);
    // For each place in the window's row: the outputs for which it lies in the image, and the first one's element.
    let spans: Vec<_> = (0..placed.kernel[2])
        .filter_map(|k| {
            let first = (0..columns).find(|o| source(2, *o, k).is_some())?;
            let last = (first..columns).rev().find(|o| source(2, *o, k).is_some())?;
            Some((first, last + 1, source(2, first, k)?))
        })
        .collect();
    parallel_parts(&mut out, output, 8 * placed.kernel.iter().product::<usize>(), |first, part| {
        for (i, out) in part.chunks_exact_mut(output.max(1)).enumerate() {
            let plane = &values[(first + i) * input..(first + i + 1) * input];
            for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                let (z, y) = (row / placed.output[1], row % placed.output[1]);
                out.fill(least);
                for i in (0..placed.kernel[0]).filter_map(|k| source(0, z, k)) {
                    for j in (0..placed.kernel[1]).filter_map(|k| source(1, y, k)) {
                        let line = &plane[(i * placed.input[1] + j) * width..][..width];
                        for (start, end, at) in &spans {
                            let places = line[*at..].iter().step_by(placed.stride[2]);
                            out[*start..*end]
                                .iter_mut()
                                .zip(places)
                                .for_each(|(y, x)| *y = if *x > *y { *x } else { *y });
                        }
                    }
                }
            }
        }
    });
    Tensor::new(shape, out)
}

/// The greatest of each window and where it was, counted over the whole tensor.
fn max_any<T: Number>(x: &Tensor, placed: &Placed, by_column: bool, context: &Context) -> Result<Vec<Tensor>, Failure> {
    let (shape, planes, input, output) = pooled_shape(x, placed)?;
    let values = x.values::<T>()?;
    let mut out = context.zeros::<T>(planes * output)?;
    let mut places = context.zeros::<i64>(planes * output)?;
    let [depth, height, width] = placed.input;
    for plane in 0..planes {
        let values = &values[plane * input..(plane + 1) * input];
        visit(placed, |index, inside| {
            let Some(first) = inside.first() else { return };
            let best = inside.iter().fold(*first, |best, at| if values[*at] > values[best] { *at } else { best });
            out[plane * output + index] = values[best];
            let place = if by_column {
                (best % width * height + best / width % height) * depth + best / width / height
            } else {
                best
            };
            places[plane * output + index] = (plane * input + place) as i64;
        });
    }
    Ok(vec![Tensor::new(shape.clone(), out)?, Tensor::new(shape, places)?])
}
