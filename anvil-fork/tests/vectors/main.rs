//! `tests/vectors/conformance`: the cases that every implementation has to answer as this one does.
//!
//! `BLESS=1 cargo test --release -p foreblock --test vectors` writes them; without it they are compared. What is asked stands in the files
//! beside this one; the answers are those of the code that runs in blocks, and golden vectors of models are what ONNX Runtime was recorded to say, within the
//! cards' tolerances.

mod calls;
mod lists;
mod numbers;
mod spec;

use alloy_primitives::{B256, Bytes};
use foreblock::conformance::{self, Case, Group, Question, Report};
use foreblock_precompile::{ModelId, Outcome, PRECOMPILE_ADDRESS, RequestId};
use foreblock_sidecar::{
    Answers, Client, Server, Welcome,
    frame::{Noted, Reason},
};
use serde_json::Value;
use std::{path::Path, sync::Arc, time::Duration};

const PATIENCE: Duration = Duration::from_secs(10);

/// The repository's root.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A question with its name.
type Asked = (String, Question);

/// Asks this implementation.
fn answered((name, question): Asked) -> Case {
    let json = serde_json::to_vec(&question).unwrap();
    let answer = conformance::examine(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
    Case { name, question, answer: serde_json::from_slice(&answer).unwrap() }
}

fn group(proves: &str, asked: Vec<Asked>) -> Group {
    Group { proves: proves.to_owned(), cases: asked.into_iter().map(answered).collect() }
}

fn all() -> Vec<(&'static str, Group)> {
    vec![
        (
            "abi",
            group("Calldata is decoded strictly, and each function returns what IInference.sol says.", calls::abi()),
        ),
        ("requests", group("A request's id is a function of model and input alone.", numbers::requests())),
        (
            "gas",
            group(
                "Gas depends on the model, on sizes, on the price and on warm slots, and on nothing else.",
                calls::gas(),
            ),
        ),
        (
            "failures",
            group(
                "Each caller's error is typed, each failure is an answer, and a missing outcome aborts.",
                calls::failures(),
            ),
        ),
        ("registry", group("The packed slot of ModelRegistry and its key are read alike.", numbers::registry())),
        ("statements", group("Operators sign the same 32 bytes for the same outcome.", numbers::statements())),
        (
            "certificates",
            group(
                "A certificate counts only with a quorum of the committee, each once and in order.",
                lists::certificates(),
            ),
        ),
        (
            "lists",
            group("An inference list has one encoding, and a block with another list is invalid.", lists::lists()),
        ),
        (
            "engine",
            Group {
                proves: "The exact engine's answers, byte for byte, for each bundled model.".into(),
                cases: numbers::engine(),
            },
        ),
    ]
}

#[test]
fn the_checked_in_vectors_are_what_this_implementation_answers() {
    let folder = root().join("tests/vectors/conformance");
    for (name, group) in all() {
        let text = serde_json::to_string_pretty(&group).unwrap() + "\n";
        let path = folder.join(name).with_extension("json");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(
            kept == text,
            "{} is not what is computed; after a change of consensus, BLESS=1 writes it",
            path.display()
        );
        let mut names: Vec<_> = group.cases.iter().map(|case| &case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), group.cases.len(), "{name}: each case has its own name");
        assert!(group.cases.len() >= 5, "{name}");
    }
}

/// Calls that return, in the form of geth's own precompile tests, which know neither state nor outcomes: those are what the suite's
/// cases of the same name have.
fn in_geths_form(groups: &[(&str, Group)]) -> String {
    let calls = groups.iter().filter(|(name, _)| ["abi", "gas"].contains(name)).flat_map(|(_, group)| &group.cases);
    let vector = |case: &Case| {
        let Question::Call(call) = &case.question else { return None };
        let hex = |text: &str| text.trim_start_matches("0x").to_owned();
        (case.answer["end"] == "return").then(|| {
            serde_json::json!({
                "Name": case.name,
                "Input": hex(&call.calldata.to_string()),
                "Expected": hex(case.answer["data"].as_str().unwrap()),
                "Gas": case.answer["gas"],
                "NoBenchmark": true,
            })
        })
    };
    serde_json::to_string_pretty(&calls.filter_map(vector).collect::<Vec<_>>()).unwrap() + "\n"
}

#[test]
fn geths_vectors_are_the_suites() {
    let path = root().join("examples/geth/testdata/inference.json");
    let text = in_geths_form(&all());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "BLESS=1 writes it");
}

/// This implementation with one thing changed in its answers.
struct Planted(fn(&mut Value));

impl Answers for Planted {
    fn welcome(&self) -> Welcome {
        Welcome { chain_id: 1, precompile: PRECOMPILE_ADDRESS }
    }

    fn lookup(&self, _: RequestId) -> Option<Outcome> {
        None
    }

    fn wanted(&self, _: B256, _: ModelId, _: Bytes) -> Result<Noted, (Reason, String)> {
        Err((Reason::Unsupported, "a precompile computes nothing".into()))
    }

    fn list(&self, _: Vec<RequestId>) -> Result<Bytes, (Reason, String)> {
        Err((Reason::Unsupported, String::new()))
    }

    fn status(&self) -> Bytes {
        Bytes::new()
    }

    fn examine(&self, question: &[u8]) -> Result<Bytes, (Reason, String)> {
        let answer = conformance::examine(question).map_err(|error| (Reason::Unsupported, error.to_string()))?;
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        (self.0)(&mut answer);
        Ok(answer.to_string().into_bytes().into())
    }
}

/// An error's name, what it does to an answer, and the groups that see it.
type Plant = (&'static str, fn(&mut Value), &'static [&'static str]);

fn fares(plant: fn(&mut Value)) -> Vec<Report> {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("planted");
    let _server = Server::start(&path, Arc::new(Planted(plant))).unwrap();
    let mut client = Client::connect(&path, 0, PATIENCE).unwrap();
    conformance::run(&mut client, &[]).unwrap()
}

#[test]
fn an_implementation_with_a_planted_error_fails_in_the_group_that_is_about_it() {
    let failed = |reports: Vec<Report>| -> Vec<String> {
        reports.into_iter().filter(|report| !report.failed.is_empty()).map(|report| report.name).collect()
    };
    let well = fares(|_| {});
    assert_eq!(well.iter().map(|report| report.failed.len()).sum::<usize>(), 0, "{well:?}");
    let engine = well.iter().find(|report| report.name == "engine").unwrap();
    assert!(engine.refused > 0 && engine.passed == 0, "who computes nothing is not asked for models");

    let planted: [Plant; 5] = [
        (
            "one gas too much",
            |answer| {
                if let Some(gas) = answer["gas"].as_u64() {
                    answer["gas"] = (gas + 1).into();
                }
            },
            &["abi", "gas", "failures"],
        ),
        (
            "a miss that reverts",
            |answer| {
                if answer["end"] == "abort" {
                    answer["end"] = "revert".into();
                }
            },
            // Among the cases of gas there is a text without an outcome.
            &["gas", "failures"],
        ),
        (
            "a list that is always good",
            |answer| {
                if answer["valid"] == false {
                    *answer = serde_json::json!({ "valid": true });
                }
            },
            &["certificates", "lists"],
        ),
        (
            "another digest",
            |answer| {
                if answer["digest"].is_string() {
                    answer["digest"] = "0x00".into();
                }
            },
            &["statements"],
        ),
        (
            "every model known",
            |answer| {
                if answer["known"] == false {
                    answer["known"] = true.into();
                }
            },
            &["registry"],
        ),
    ];
    for (name, plant, groups) in planted {
        assert_eq!(failed(fares(plant)), groups, "{name}");
    }
}
