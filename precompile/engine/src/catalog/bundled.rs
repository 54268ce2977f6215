//! The models in the binary. Each folder of `models/` holds the graph, golden vectors, the manifest, a card, and the
//! script that trained it.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::{Manifest, model_dir::Files};

/// A model in the binary.
#[derive(Debug)]
pub struct Bundled {
    /// What defines it.
    pub manifest: Manifest,
    /// The files of its manifest.
    pub files: Files,
    /// What comes with it: `card.md`, `recipe.json`, `facts.json`.
    pub notes: Files,
}

macro_rules! model {
    ($name:literal $(, $more:literal)*) => {
        Bundled {
            manifest: Manifest::from_json(include_str!(concat!("../../models/", $name, "/manifest.json")))
                .expect("the test of the bundled models has read it"),
            files: files(&[
                ("model.onnx", include_bytes!(concat!("../../models/", $name, "/model.onnx"))),
                ("golden.json", include_bytes!(concat!("../../models/", $name, "/golden.json"))),
                $(($more, include_bytes!(concat!("../../models/", $name, "/", $more))),)*
            ]),
            notes: files(&[
                ("card.md", include_bytes!(concat!("../../models/", $name, "/card.md"))),
                ("recipe.json", include_bytes!(concat!("../../models/", $name, "/recipe.json"))),
                ("facts.json", include_bytes!(concat!("../../models/", $name, "/facts.json"))),
            ]),
        }
    };
}

/// Names of the bundled models of tensors; language models have tests of their own.
#[cfg(test)]
pub(super) const NAMES: [&str; 5] = ["volatility", "fee", "risk", "digits", "text"];

/// The bundled models.
pub fn bundled() -> &'static [Bundled] {
    static MODELS: LazyLock<Vec<Bundled>> = LazyLock::new(|| {
        vec![
            model!("volatility"),
            model!("fee"),
            model!("risk"),
            model!("digits"),
            model!("text"),
            model!("tiny-chat", "tokenizer.json", "chat_template.jinja", "generation_config.json"),
        ]
    });
    &MODELS
}

fn files(list: &[(&str, &'static [u8])]) -> Files {
    list.iter().map(|(name, content)| ((*name).into(), Bytes::from_static(content))).collect()
}
