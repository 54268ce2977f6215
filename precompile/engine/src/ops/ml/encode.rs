//! `LabelEncoder`, `OneHotEncoder`, `CategoryMapper`: categories to numbers and back.

use std::collections::HashMap;

use crate::failure::{self, Failure};
use crate::graph::{Context, Node};
use crate::onnx::LoadError;
use crate::ops::{Built, LATEST, Operator, kernel};
use crate::tensor::{Data, Element, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::ml("LabelEncoder", 1..=1, classes_encoder),
    Operator::ml("LabelEncoder", 2..=LATEST, label_encoder),
    Operator::ml("OneHotEncoder", 1..=LATEST, one_hot),
    Operator::ml("CategoryMapper", 1..=LATEST, category_mapper),
];

/// A category. Floats are compared by their bits, with one NaN and one zero.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Int(i64),
    Float(u64),
    Text(String),
}

fn float_key(value: f64) -> Key {
    let canonical = if value.is_nan() { f64::NAN } else { value + 0.0 };
    Key::Float(canonical.to_bits())
}

fn keys_of(data: &Data) -> Result<Vec<Key>, Failure> {
    Ok(match data {
        Data::String(v) => v.iter().cloned().map(Key::Text).collect(),
        Data::I64(v) => v.iter().copied().map(Key::Int).collect(),
        Data::I32(v) => v.iter().map(|k| Key::Int(i64::from(*k))).collect(),
        Data::I16(v) => v.iter().map(|k| Key::Int(i64::from(*k))).collect(),
        Data::F32(v) => v.iter().map(|k| float_key(f64::from(*k))).collect(),
        Data::F64(v) => v.iter().map(|k| float_key(*k)).collect(),
        Data::Bool(v) => v.iter().map(|k| Key::Int(i64::from(*k))).collect(),
        _ => return Err(failure::wrong_type("expected text, integers or floats as categories")),
    })
}

/// A table from categories to elements of `Data`, with an answer for what is not in it.
struct Table {
    positions: HashMap<Key, usize>,
    values: Data,
}

impl Table {
    /// `values` has one more element than `keys`, the default; of equal keys the first counts.
    fn new(keys: Vec<Key>, values: Data) -> Self {
        let mut positions = HashMap::with_capacity(keys.len());
        for (at, key) in keys.into_iter().enumerate() {
            positions.entry(key).or_insert(at);
        }
        Self { positions, values }
    }

    fn map(&self, x: &Tensor, context: &Context) -> Result<Tensor, Failure> {
        fn pick<T: Element>(values: &[T], at: &[usize], shape: &[usize], context: &Context) -> Result<Tensor, Failure> {
            let mut out = context.reserve::<T>(at.len())?;
            out.extend(at.iter().map(|at| values[*at].clone()));
            Tensor::new(shape, out)
        }
        context.claim::<String>(x.len())?;
        let default = self.positions_default();
        let at: Vec<usize> =
            keys_of(x.data())?.iter().map(|key| self.positions.get(key).copied().unwrap_or(default)).collect();
        crate::with_data!(&self.values, v => pick(v, &at, x.shape(), context))
    }

    fn positions_default(&self) -> usize {
        crate::with_data!(&self.values, v => v.len()) - 1
    }
}

fn with_default<T: Element>(mut values: Vec<T>, default: T) -> Data {
    values.push(default);
    T::wrap(std::sync::Arc::new(values))
}

fn tensor_keys(node: &Node<'_>) -> Result<Option<Vec<Key>>, LoadError> {
    if let Some(tensor) = node.tensor("keys_tensor")? {
        return keys_of(tensor.data()).map(Some).map_err(|f| node.failure(f));
    }
    if let Some(keys) = node.strings("keys_strings")? {
        return Ok(Some(keys.into_iter().map(Key::Text).collect()));
    }
    if let Some(keys) = node.ints("keys_int64s")? {
        return Ok(Some(keys.into_iter().map(Key::Int).collect()));
    }
    Ok(node.floats("keys_floats")?.map(|keys| keys.into_iter().map(|k| float_key(f64::from(k))).collect()))
}

fn tensor_values(node: &Node<'_>) -> Result<Option<Data>, LoadError> {
    if let Some(tensor) = node.tensor("values_tensor")? {
        let default = node.tensor("default_tensor")?;
        fn extend<T: Element>(node: &Node<'_>, values: &[T], default: Option<&Tensor>) -> Result<Data, LoadError> {
            let default = default.map_or(Ok(T::default()), |d| d.single::<T>()).map_err(|f| node.failure(f))?;
            Ok(with_default(values.to_vec(), default))
        }
        // Where no default is given, numbers that are no category get -1 or -0.0.
        return crate::with_data!(tensor.data(), v => match (v.as_slice(), &default) {
            (values, Some(_)) => extend(node, values, default.as_ref()).map(Some),
            (_, None) => Ok(Some(implied_default(tensor.data()))),
        });
    }
    if let Some(values) = node.strings("values_strings")? {
        return Ok(Some(with_default(values, node.string("default_string", "_Unused")?)));
    }
    if let Some(values) = node.ints("values_int64s")? {
        return Ok(Some(with_default(values, node.int("default_int64", -1)?)));
    }
    let values = node.floats("values_floats")?;
    let default = node.float("default_float", -0.0)?;
    Ok(values.map(|values| with_default(values, default)))
}

fn implied_default(values: &Data) -> Data {
    match values {
        Data::String(v) => with_default(v.to_vec(), "_Unused".to_owned()),
        Data::I64(v) => with_default(v.to_vec(), -1),
        Data::I32(v) => with_default(v.to_vec(), -1),
        Data::I16(v) => with_default(v.to_vec(), -1),
        Data::F32(v) => with_default(v.to_vec(), -0.0),
        Data::F64(v) => with_default(v.to_vec(), -0.0),
        other => crate::with_data!(other, v => with_default(v.to_vec(), Default::default())),
    }
}

fn label_encoder(node: &Node<'_>) -> Built {
    let keys = tensor_keys(node)?.ok_or_else(|| node.error("there are no keys"))?;
    let values = tensor_values(node)?.ok_or_else(|| node.error("there are no values"))?;
    let count = crate::with_data!(&values, v => v.len()) - 1;
    if keys.len() != count {
        return Err(node.error(format!("{} keys for {count} values", keys.len())));
    }
    let table = Table::new(keys, values);
    kernel(move |inputs, context| Ok(vec![table.map(inputs.get(0)?, context)?]))
}

/// Text to numbers, or numbers to text, whichever the input is.
fn two_way(to_int: Table, to_text: Table) -> Built {
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let table = if matches!(x.data(), Data::String(_)) { &to_int } else { &to_text };
        Ok(vec![table.map(x, context)?])
    })
}

/// The first version of `LabelEncoder`: a class' number is its position.
fn classes_encoder(node: &Node<'_>) -> Built {
    let classes = node.strings("classes_strings")?.ok_or_else(|| node.error("there are no classes_strings"))?;
    let numbers: Vec<i64> = (0..classes.len() as i64).collect();
    mapper(node, classes, numbers)
}

fn category_mapper(node: &Node<'_>) -> Built {
    let texts = node.strings("cats_strings")?.unwrap_or_default();
    let numbers = node.ints("cats_int64s")?.unwrap_or_default();
    if texts.len() != numbers.len() {
        return Err(node.error(format!("{} cats_strings for {} cats_int64s", texts.len(), numbers.len())));
    }
    mapper(node, texts, numbers)
}

fn mapper(node: &Node<'_>, texts: Vec<String>, numbers: Vec<i64>) -> Built {
    let unknown_text = node.string("default_string", "_Unused")?;
    let unknown_number = node.int("default_int64", -1)?;
    let to_text =
        Table::new(numbers.iter().copied().map(Key::Int).collect(), with_default(texts.clone(), unknown_text));
    let to_int = Table::new(texts.into_iter().map(Key::Text).collect(), with_default(numbers, unknown_number));
    two_way(to_int, to_text)
}

fn one_hot(node: &Node<'_>) -> Built {
    let texts = node.strings("cats_strings")?.filter(|c| !c.is_empty());
    let ints = node.ints("cats_int64s")?.unwrap_or_default();
    let zeros = node.flag("zeros", true)?;
    let count = texts.as_ref().map_or(ints.len(), Vec::len);
    let is_text = texts.is_some();
    let keys = match texts {
        Some(texts) => texts.into_iter().map(Key::Text).collect(),
        None => ints.into_iter().map(Key::Int).collect::<Vec<_>>(),
    };
    let positions: HashMap<Key, usize> = keys.into_iter().enumerate().map(|(at, key)| (key, at)).collect();
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        context.claim::<String>(x.len())?;
        let keys = match x.data() {
            // Numbers of any type stand for whole categories.
            Data::F32(v) if !is_text => v.iter().map(|k| Key::Int(*k as i64)).collect(),
            Data::F64(v) if !is_text => v.iter().map(|k| Key::Int(*k as i64)).collect(),
            data => keys_of(data)?,
        };
        let length = keys.len().checked_mul(count).ok_or_else(|| failure::out_of_memory("too many categories"))?;
        let mut out = context.zeros::<f32>(length)?;
        for (row, key) in keys.iter().enumerate() {
            match positions.get(key) {
                Some(at) => out[row * count + at] = 1.0,
                None if zeros => {}
                None => return Err(failure::out_of_range(format!("element {row} is no known category"))),
            }
        }
        let mut shape = x.shape().to_vec();
        shape.push(count);
        Ok(vec![Tensor::new(shape, out)?])
    })
}
