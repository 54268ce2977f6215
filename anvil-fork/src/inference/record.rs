//! Outcomes in a file, for tests that must repeat: `--record` writes what is computed, `--replay` computes nothing else.
//!
//! One JSON object a line: `requestId`, and `output` or `code` and `reason`.

use alloy_primitives::{Bytes, map::B256Map};
use foreblock_pre_executor::{Compute, Unavailable, schedule::Prior};
use foreblock_precompile::{Failure, FailureCode, ModelId, Outcome, Request, RequestId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file of outcomes that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system refuses.
    #[error("cannot use {} for outcomes: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// A line that is no outcome.
    #[error("line {line} of {} is no outcome: {reason}; expected what --record writes", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    request_id: RequestId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Line {
    fn new(request_id: RequestId, outcome: &Outcome) -> Self {
        let (output, code, reason) = match outcome {
            Outcome::Output(output) => (Some(output.clone()), None, None),
            Outcome::Failed(failure) => (None, Some(failure.code as u16), Some(failure.reason.clone())),
        };
        Self { request_id, output, code, reason }
    }

    fn outcome(self) -> Result<Outcome, String> {
        match (self.output, self.code, self.reason) {
            (Some(output), None, None) => Ok(Outcome::Output(output)),
            (None, Some(code), Some(reason)) => {
                let code = FailureCode::try_from(code).map_err(|error| error.to_string())?;
                Ok(Outcome::Failed(Failure::new(code, reason)))
            }
            _ => Err("it has neither an output nor a code with a reason".to_owned()),
        }
    }
}

/// Writes what another engine computes, each outcome as soon as it is there.
pub struct Recorder {
    engine: Arc<dyn Compute>,
    file: Mutex<File>,
}

impl Recorder {
    /// Begins a new file.
    pub fn new(engine: Arc<dyn Compute>, path: &Path) -> Result<Self, RecordError> {
        let file = File::create(path)
            .map_err(|error| RecordError::File { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self { engine, file: Mutex::new(file) })
    }
}

impl Compute for Recorder {
    fn run(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let outcomes = self.engine.run(model, inputs);
        let mut lines = Vec::new();
        for (input, outcome) in inputs.iter().zip(&outcomes) {
            let Ok(outcome) = outcome else { continue };
            let line = Line::new(Request::new(model, input.clone()).id, outcome);
            lines.extend(serde_json::to_vec(&line).expect("a line has no map with other keys than text"));
            lines.push(b'\n');
        }
        if let Err(error) = self.file.lock().write_all(&lines) {
            tracing::error!(%error, "outcomes are not recorded");
        }
        outcomes
    }

    fn prior(&self, model: ModelId) -> Option<Prior> {
        self.engine.prior(model)
    }
}

/// Answers from a file, and only what is in it.
pub struct Replay {
    path: PathBuf,
    outcomes: B256Map<Outcome>,
}

impl Replay {
    /// Reads the whole file.
    pub fn new(path: &Path) -> Result<Self, RecordError> {
        let unusable = |error: std::io::Error| RecordError::File { path: path.to_owned(), reason: error.to_string() };
        let mut outcomes = B256Map::default();
        for (at, text) in BufReader::new(File::open(path).map_err(unusable)?).lines().enumerate() {
            let text = text.map_err(unusable)?;
            let read = serde_json::from_str::<Line>(&text).map_err(|error| error.to_string());
            let read = read.and_then(|line| Ok((line.request_id, line.outcome()?)));
            let (id, outcome) =
                read.map_err(|reason| RecordError::Line { path: path.to_owned(), line: at + 1, reason })?;
            outcomes.insert(id, outcome);
        }
        Ok(Self { path: path.to_owned(), outcomes })
    }
}

impl Compute for Replay {
    fn run(&self, model: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        let one = |input: &Bytes| {
            let id = Request::new(model, input.clone()).id;
            let missing = || Unavailable(format!("request {id} is not in {}: record it again", self.path.display()));
            self.outcomes.get(&id).cloned().ok_or_else(missing)
        };
        inputs.iter().map(one).collect()
    }

    fn prior(&self, _: ModelId) -> Option<Prior> {
        Some(Prior { single_us: 1, rows_max: 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;

    /// Fails for empty inputs, repeats others.
    struct Echo;

    impl Compute for Echo {
        fn run(&self, _: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
            let one = |input: &Bytes| match input.is_empty() {
                true => Outcome::Failed(Failure::new(FailureCode::WrongShape, "empty")),
                false => Outcome::Output(input.clone()),
            };
            inputs.iter().map(|input| Ok(one(input))).collect()
        }

        fn prior(&self, _: ModelId) -> Option<Prior> {
            None
        }
    }

    #[test]
    fn what_was_recorded_is_replayed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes.jsonl");
        let (model, inputs) = (B256::repeat_byte(1), [Bytes::new(), Bytes::from("seven")]);
        let recorded = Recorder::new(Arc::new(Echo), &path).unwrap().run(model, &inputs);
        let replay = Replay::new(&path).unwrap();
        assert_eq!(replay.run(model, &inputs), recorded);
        let missing = replay.run(model, &[Bytes::from("eight")]).remove(0).unwrap_err();
        assert!(missing.0.contains("outcomes.jsonl"), "{missing}");
    }

    #[test]
    fn a_line_that_is_no_outcome_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes.jsonl");
        let id = B256::ZERO;
        for bad in [
            "nonsense".to_owned(),
            format!("{{\"requestId\":\"{id}\"}}"),
            format!("{{\"requestId\":\"{id}\",\"code\":99,\"reason\":\"\"}}"),
        ] {
            std::fs::write(&path, format!("{{\"requestId\":\"{id}\",\"output\":\"0x00\"}}\n{bad}\n")).unwrap();
            let error = Replay::new(&path).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("line 2"), "{bad}: {error}");
        }
        assert!(Replay::new(&folder.path().join("nowhere")).is_err());
    }
}
