//! The cases, and how an implementation fares.

use super::{OutcomeText, Question};
use alloy_primitives::{B256, Bytes};
use foreblock_precompile::request_id;
use foreblock_sidecar::{
    Client, ClientError,
    frame::{Noted, Reason},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fmt, thread,
    time::{Duration, Instant},
};

/// A question with the only right answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is special about it.
    pub name: String,
    /// What is asked.
    pub question: Question,
    /// What must be answered.
    pub answer: Value,
}

/// A file of cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What an implementation that passes has shown.
    pub proves: String,
    /// In the order in which they are asked.
    pub cases: Vec<Case>,
}

/// Cases that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The connection.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file of cases.
    #[error("the vectors of `{0}` cannot be read: {1}")]
    Vectors(&'static str, serde_json::Error),
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../tests/vectors/conformance/", $name, ".json")))),*]
    };
}

const FILES: [(&str, &str); 9] =
    files!["abi", "requests", "gas", "failures", "registry", "statements", "certificates", "lists", "engine",];

/// Longest that one model may take.
const RUN_PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// All groups with their names.
pub fn groups() -> Result<Vec<(&'static str, Group)>, SuiteError> {
    let read = |(name, text): (&'static str, &str)| {
        let group = serde_json::from_str(text).map_err(|error| SuiteError::Vectors(name, error))?;
        Ok((name, group))
    };
    FILES.into_iter().map(read).collect()
}

/// How an implementation fared in one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The group.
    pub name: String,
    /// Right answers.
    pub passed: usize,
    /// Wrong ones: the case's name, and what came.
    pub failed: Vec<(String, String)>,
    /// Cases that the implementation does not take.
    pub refused: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed, refused) = (self.passed, self.failed.len(), self.refused);
        write!(f, "{:<14} {passed:>4} passed {failed:>4} failed {refused:>4} not taken", self.name)?;
        self.failed.iter().try_for_each(|(case, why)| write!(f, "\n  {case}: {why}"))
    }
}

/// Asks an implementation all cases of the groups whose names are in `only`, or of all.
pub fn run(client: &mut Client, only: &[String]) -> Result<Vec<Report>, SuiteError> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    let groups = groups()?.into_iter().filter(|(name, _)| wanted(name));
    groups.map(|(name, group)| ask_all(client, name, &group)).collect()
}

fn ask_all(client: &mut Client, name: &str, group: &Group) -> Result<Report, SuiteError> {
    let mut report = Report { name: name.to_owned(), ..Report::default() };
    for case in &group.cases {
        match ask(client, &case.question) {
            Ok(answer) if answer == case.answer => report.passed += 1,
            Ok(answer) => {
                let why = format!("expected {}, but the answer is {answer}", case.answer);
                report.failed.push((case.name.clone(), why));
            }
            Err(ClientError::Refused(Reason::Unsupported | Reason::Unknown, _)) => report.refused += 1,
            Err(ClientError::Refused(reason, words)) => {
                report.failed.push((case.name.clone(), format!("refused ({reason:?}): {words}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(report)
}

fn ask(client: &mut Client, question: &Question) -> Result<Value, ClientError> {
    if let Question::Run { model_id, input } = question {
        return compute(client, *model_id, input);
    }
    let json = serde_json::to_vec(question).expect("questions are JSON");
    let answer = client.examine(json.into())?;
    Ok(serde_json::from_slice(&answer).unwrap_or_else(|_| Value::String(answer.to_string())))
}

/// Has an input run and waits for its outcome.
fn compute(client: &mut Client, model: B256, input: &Bytes) -> Result<Value, ClientError> {
    let end = Instant::now() + RUN_PATIENCE;
    if client.wanted(B256::ZERO, model, input.clone())? == Noted::NotTaken {
        return Ok(Value::String("not taken".into()));
    }
    let id = request_id(model, input);
    loop {
        if let Some(outcome) = client.lookup_one(id)? {
            return Ok(serde_json::to_value(OutcomeText::from(&outcome)).expect("outcomes are JSON"));
        }
        if Instant::now() > end {
            return Ok(Value::String(format!("no outcome within {RUN_PATIENCE:?}")));
        }
        thread::sleep(LOOK);
    }
}
