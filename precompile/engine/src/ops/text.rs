//! Text: `StringConcat`, `StringSplit`, `StringNormalizer`, `TfIdfVectorizer`.

use std::collections::HashMap;

use super::integers::zip;
use super::shape::count;
use super::{Built, LATEST, Operator, kernel};
use crate::failure::{self, Failure};
use crate::graph::Node;
use crate::tensor::{Data, Tensor};

pub(super) const OPERATORS: &[Operator] = &[
    Operator::onnx("StringConcat", 20..=LATEST, concat),
    Operator::onnx("StringNormalizer", 10..=LATEST, normalize),
    Operator::onnx("StringSplit", 20..=LATEST, split),
    Operator::onnx("TfIdfVectorizer", 9..=LATEST, tf_idf),
];

/// Most bytes of text that an operator makes: elements are counted by their headers only.
const TEXT_BYTES_MAX: usize = 64 << 20;

fn within(bytes: usize) -> Result<(), Failure> {
    if bytes <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(failure::out_of_memory(format!("more than {TEXT_BYTES_MAX} bytes of text")))
}

fn concat(_: &Node<'_>) -> Built {
    kernel(|inputs, context| {
        let total = std::cell::Cell::new(0usize);
        let join = |a: &String, b: &String| {
            total.set(total.get().saturating_add(a.len() + b.len()));
            within(total.get())?;
            Ok([a.as_str(), b.as_str()].concat())
        };
        Ok(vec![zip::<String, String>(inputs.get(0)?, inputs.get(1)?, context, join)?])
    })
}

/// Substrings along a new last axis, filled up with empty ones, and how many there are.
fn split(node: &Node<'_>) -> Built {
    let delimiter = node.string("delimiter", "")?;
    let most = if node.has("maxsplit") { Some(node.int("maxsplit", 0)?) } else { None };
    let most = most.map(|m| usize::try_from(m).unwrap_or(usize::MAX));
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let parts: Vec<Vec<&str>> = x.values::<String>()?.iter().map(|text| pieces(text, &delimiter, most)).collect();
        let longest = parts.iter().map(Vec::len).max().unwrap_or(0);
        let mut shape = x.shape().to_vec();
        shape.push(longest);
        let mut out = context.reserve::<String>(count(&shape)?)?;
        for parts in &parts {
            out.extend(parts.iter().map(|p| (*p).to_owned()));
            out.extend(std::iter::repeat_n(String::new(), longest - parts.len()));
        }
        let counts: Vec<i64> = parts.iter().map(|p| p.len() as i64).collect();
        Ok(vec![Tensor::new(shape, out)?, Tensor::new(x.shape(), counts)?])
    })
}

/// As Python's `str.split`: without a delimiter, runs of white space separate and none is left at the ends.
fn pieces<'a>(text: &'a str, delimiter: &str, most: Option<usize>) -> Vec<&'a str> {
    let limit = most.map_or(usize::MAX, |m| m.saturating_add(1));
    if !delimiter.is_empty() {
        return if text.is_empty() { Vec::new() } else { text.splitn(limit, delimiter).collect() };
    }
    let mut rest = text.trim_start();
    let mut found = Vec::new();
    while !rest.is_empty() {
        match rest.find(char::is_whitespace).filter(|_| found.len() + 1 < limit) {
            Some(at) => {
                found.push(&rest[..at]);
                rest = rest[at..].trim_start();
            }
            None => {
                found.push(rest.trim_end());
                rest = "";
            }
        }
    }
    found
}

fn normalize(node: &Node<'_>) -> Built {
    let case = node.string("case_change_action", "NONE")?;
    if !["NONE", "LOWER", "UPPER"].contains(&case.as_str()) {
        return Err(node.error(format!("unknown case_change_action {case}")));
    }
    let exact = node.flag("is_case_sensitive", false)?;
    let stop = node.strings("stopwords")?.unwrap_or_default();
    let fold = move |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
    let stop: std::collections::HashSet<String> = stop.iter().map(|word| fold(word)).collect();
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let rows = match *x.shape() {
            [_] => false,
            [1, _] => true,
            _ => return Err(failure::wrong_shape(format!("expected the shape [C] or [1, C], got {:?}", x.shape()))),
        };
        context.claim::<String>(x.len())?;
        let kept = x.values::<String>()?.iter().filter(|word| !stop.contains(&fold(word)));
        let mut out: Vec<String> = kept
            .map(|word| match case.as_str() {
                "LOWER" => word.to_lowercase(),
                "UPPER" => word.to_uppercase(),
                _ => word.clone(),
            })
            .collect();
        if out.is_empty() {
            out.push(String::new());
        }
        let shape = if rows { vec![1, out.len()] } else { vec![out.len()] };
        Ok(vec![Tensor::new(shape, out)?])
    })
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Word {
    Int(i64),
    Text(String),
}

/// Counts n-grams of a pool, with up to `skips` words left out between neighbours.
fn tf_idf(node: &Node<'_>) -> Built {
    let ints = node.ints("pool_int64s")?.map(|v| v.into_iter().map(Word::Int).collect::<Vec<_>>());
    let texts = node.strings("pool_strings")?.map(|v| v.into_iter().map(Word::Text).collect::<Vec<_>>());
    let pool = ints.filter(|v| !v.is_empty()).or(texts).ok_or_else(|| node.error("the pool is empty"))?;
    let starts = node.ints("ngram_counts")?.unwrap_or_default();
    let columns = node.ints("ngram_indexes")?.unwrap_or_default();
    let (shortest, longest) = (node.int("min_gram_length", 1)?, node.int("max_gram_length", 1)?);
    let skips = node.int("max_skip_count", 0)?;
    let weights = node.floats("weights")?;
    let mode = node.string("mode", "TF")?;
    let small = |v: i64| usize::try_from(v).ok().filter(|v| *v < 1 << 16);
    let bounds = small(shortest).zip(small(longest)).zip(small(skips)).filter(|((a, b), _)| 1 <= *a && a <= b);
    let ((shortest, longest), skips) = bounds.ok_or_else(|| node.error("gram lengths or skips are out of range"))?;
    if !["TF", "IDF", "TFIDF"].contains(&mode.as_str()) {
        return Err(node.error(format!("unknown mode {mode}")));
    }
    let mut grams = HashMap::new();
    let mut next = 0;
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(pool.len() as i64);
        let range =
            usize::try_from(*start).ok().zip(usize::try_from(end).ok()).filter(|(a, b)| a <= b && *b <= pool.len());
        let (start, end) = range.ok_or_else(|| node.error("ngram_counts do not fit the pool"))?;
        for gram in pool[start..end].chunks_exact(index + 1) {
            let column = columns.get(next).and_then(|c| usize::try_from(*c).ok()).filter(|c| *c < 1 << 24);
            let column = column.ok_or_else(|| node.error("ngram_indexes do not fit the pool"))?;
            if (shortest..=longest).contains(&gram.len()) {
                grams.insert(
                    gram.to_vec(),
                    (column, weights.as_ref().and_then(|w| w.get(next).copied()).unwrap_or(1.0)),
                );
            }
            next += 1;
        }
    }
    let width = columns.iter().copied().max().map_or(0, |c| c as usize + 1);
    kernel(move |inputs, context| {
        let x = inputs.get(0)?;
        let (rows, length) = match *x.shape() {
            [length] => (1, length),
            [rows, length] => (rows, length),
            _ => return Err(failure::wrong_shape(format!("expected rows of words, got the shape {:?}", x.shape()))),
        };
        let words: Vec<Word> = match x.data() {
            Data::String(v) => v.iter().cloned().map(Word::Text).collect(),
            _ => x.to_i64s()?.into_iter().map(Word::Int).collect(),
        };
        let mut shape = if x.rank() == 1 { vec![] } else { vec![rows] };
        shape.push(width);
        let mut out = context.zeros::<f32>(count(&[rows, width])?)?;
        for (row, counts) in words.chunks(length.max(1)).zip(out.chunks_mut(width.max(1))) {
            let mut weight = vec![0.0; width];
            for size in shortest..=longest {
                // Single words are the same with any skip.
                for skip in 0..=(if size == 1 { 0 } else { skips }) {
                    let step = skip + 1;
                    for start in 0..row.len() {
                        let gram: Vec<Word> = row[start..].iter().step_by(step).take(size).cloned().collect();
                        if let Some((column, w)) = grams.get(&gram).filter(|_| gram.len() == size) {
                            counts[*column] += 1.0;
                            weight[*column] = *w;
                        }
                    }
                }
            }
            for (count, weight) in counts.iter_mut().zip(&weight) {
                *count = match mode.as_str() {
                    "TF" => *count,
                    "IDF" if *count > 0.0 => *weight,
                    "IDF" => 0.0,
                    _ => *count * weight,
                };
            }
        }
        Ok(vec![Tensor::new(shape, out)?])
    })
}
