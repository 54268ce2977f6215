//! `docs/operators.md` says what the engine's own table says, for every operator of the ONNX standard.
//!
//! `FOREBLOCK_BLESS=1 cargo test -p foreblock-engine --test operators_doc` writes the page anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use foreblock_engine::ops;
use serde::Deserialize;

/// `onnx_operators.json`, made by `onnx_operators.py`.
#[derive(Deserialize)]
struct Standard {
    onnx: String,
    opset: i64,
    operators: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    domain: String,
    name: String,
    since: Vec<i64>,
    deprecated: bool,
}

/// Why an operator is not in the table.
fn reason(domain: &str, name: &str) -> Option<&'static str> {
    Some(match (domain, name) {
        ("", "Bernoulli" | "Multinomial") => "refused: gives another answer each time",
        ("", name) if name.starts_with("Random") => "refused: gives another answer each time",
        ("", "DynamicQuantizeLinear") => "refused: its scale depends on the batch; quantise with static scales",
        ("", name) if name.starts_with("Sequence") || name.starts_with("Optional") => "values are tensors only",
        ("", "ConcatFromSequence" | "SplitToSequence") => "values are tensors only",
        ("", "ImageDecoder") => "decoders differ in their pixels: decode before the model",
        ("", "RegexFullMatch") => "no regular expressions of bounded cost with the same meaning everywhere yet",
        ("", "DeformConv" | "MaxRoiPool") => "not written yet",
        ("ai.onnx.ml", "CastMap" | "DictVectorizer") => "maps are no tensors: export with tensors",
        ("ai.onnx.preview.training", _) => "training is not inference",
        ("ai.onnx.preview", _) => "preview operators may still change their meaning",
        _ => return None,
    })
}

/// Whether ONNX Runtime defines the operator: exporters of language models write one of them into ONNX's domain.
fn is_onnx_runtimes(domain: &str, name: &str) -> bool {
    domain == "com.microsoft" || (domain.is_empty() && name == "SimplifiedLayerNormalization")
}

/// Operators that this table holds, as ranges of opsets.
fn supported() -> BTreeMap<(String, String), Vec<(i64, i64)>> {
    let mut rows = BTreeMap::<_, Vec<_>>::new();
    for operator in ops::all() {
        let key = (operator.domain.to_owned(), operator.name.to_owned());
        rows.entry(key).or_default().push((*operator.opsets.start(), *operator.opsets.end()));
    }
    rows
}

fn opsets(ranges: &[(i64, i64)]) -> String {
    let first = ranges.iter().map(|(from, _)| *from).min().unwrap_or(1);
    let last = ranges.iter().map(|(_, to)| *to).max().unwrap_or(1);
    if last >= ops::LATEST { format!("{first}+") } else { format!("{first} to {last}") }
}

fn page(standard: &Standard) -> String {
    let supported = supported();
    let mut tables = String::new();
    let mut counts = BTreeMap::<&str, (usize, usize)>::new();
    let mut domain = None;
    for operator in &standard.operators {
        if domain != Some(&operator.domain) {
            domain = Some(&operator.domain);
            let title = if operator.domain.is_empty() { "ai.onnx" } else { &operator.domain };
            write!(tables, "\n## `{title}`\n\n| operator | newest version | exact | opsets, or why not |\n| --- | --- | --- | --- |\n").unwrap();
        }
        let Listed { name, domain, since, deprecated } = operator;
        let newest = since.last().copied().unwrap_or(1);
        let newest = if *deprecated { format!("{newest} (deprecated)") } else { newest.to_string() };
        let count = counts.entry(domain.as_str()).or_default();
        count.1 += 1;
        match supported.get(&(domain.clone(), name.clone())) {
            Some(ranges) => {
                count.0 += 1;
                writeln!(tables, "| {name} | {newest} | yes | {} |", opsets(ranges)).unwrap();
            }
            None => {
                let reason = reason(domain, name).unwrap_or("no reason is given");
                writeln!(tables, "| {name} | {newest} | no | {reason} |").unwrap();
            }
        }
    }
    let mut text = format!(
        "# Operators of the exact engine\n\n\
        Every operator of ONNX {} (opset {}), from the engine's own table; a test keeps this page in step with it.\n\
        What is missing is refused when a model is loaded, with a message that names the node and says what to do.\n\
        Types: float, float16, bfloat16, double, all integers of 8 to 64 bits, bool and string, as far as each operator's\n\
        definition takes them; float8 and types below 8 bits are refused at load. Float16 and bfloat16 are computed wider\n\
        and rounded.\n\n",
        standard.onnx, standard.opset
    );
    for (domain, (have, all)) in &counts {
        let title = if domain.is_empty() { "ai.onnx" } else { domain };
        writeln!(text, "- `{title}`: {have} of {all}").unwrap();
    }
    text + &tables + &onnx_runtimes(&supported)
}

fn onnx_runtimes(supported: &BTreeMap<(String, String), Vec<(i64, i64)>>) -> String {
    let own = supported.keys().filter(|(domain, name)| is_onnx_runtimes(domain, name));
    let rows: String = own
        .map(|(domain, name)| format!("| {name} | {} |\n", if domain.is_empty() { "ai.onnx" } else { domain }))
        .collect();
    format!(
        "\n## ONNX Runtime's own\n\n\
        Those that onnxruntime-genai's builder writes for language models. What an attribute asks for beyond that is refused at\n\
        load: quantised or sliding caches, sinks, smooth softmax, reordered weights.\n\n\
        | operator | domain |\n| --- | --- |\n{rows}"
    )
}

#[test]
fn the_page_of_operators_is_what_the_table_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let standard = std::fs::read(root.join("tests/data/onnx_operators.json")).unwrap();
    let standard: Standard = serde_json::from_slice(&standard).unwrap();
    for operator in &standard.operators {
        let known = supported().contains_key(&(operator.domain.clone(), operator.name.clone()));
        let reason = reason(&operator.domain, &operator.name);
        assert!(known || reason.is_some(), "{} is neither supported nor has it a reason", operator.name);
        assert!(!known || reason.is_none(), "{} is supported, yet has a reason why not", operator.name);
    }
    for (domain, name) in supported().keys() {
        let listed = standard.operators.iter().any(|o| o.domain == *domain && o.name == *name);
        assert!(listed || is_onnx_runtimes(domain, name), "{domain} {name} is no operator of ONNX {}", standard.onnx);
    }
    assert!(supported().len() >= 120, "{} operators", supported().len());
    let page = page(&standard);
    let path = root.join("../../docs/operators.md");
    if std::env::var_os("FOREBLOCK_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/operators.md is out of date: run this test with FOREBLOCK_BLESS=1");
}
