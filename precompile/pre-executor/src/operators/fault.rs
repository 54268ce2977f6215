//! How an operator of a devnet misbehaves on request, so that a contract's author sees what the network does then.

use alloy_primitives::{Bytes, keccak256};
use foreblock_precompile::{Outcome, RequestId};
use std::{fmt, str::FromStr, time::Duration};

/// One kind of misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Answers this much later.
    Slow(Duration),
    /// Answers and signs an altered outcome.
    Lie,
    /// Answers no more after this many requests.
    Crash(u64),
    /// Alters this share of its outcomes.
    Flip(f64),
    /// Never answers.
    Silent,
}

/// What is wrong with a fault's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no fault: {reason}; write OPERATOR:FAULT with operators from 1 and a fault of slow=3s, lie, crash@10, flip=0.01 or silent, separated by commas"
)]
pub struct FaultError {
    given: String,
    reason: &'static str,
}

/// The faults of a panel: operator number, counted from 1, and what is wrong with it.
pub type Faults = Vec<(usize, Fault)>;

/// Reads `1:slow=3s,2:lie,3:crash@10,4:flip=0.01`; an empty text means none.
pub fn parse_faults(text: &str) -> Result<Faults, FaultError> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(parse_one).collect()
}

fn parse_one(part: &str) -> Result<(usize, Fault), FaultError> {
    let error = |reason| FaultError { given: part.to_owned(), reason };
    let (operator, fault) = part.split_once(':').ok_or_else(|| error("there is no colon"))?;
    let operator = operator.parse().ok().filter(|number| *number > 0).ok_or_else(|| error("operators count from 1"))?;
    Ok((operator, fault.parse().map_err(error)?))
}

impl FromStr for Fault {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "lie" => return Ok(Self::Lie),
            "silent" => return Ok(Self::Silent),
            _ => {}
        }
        if let Some(time) = text.strip_prefix("slow=") {
            return duration(time).map(Self::Slow).ok_or("slow takes a time such as 3s or 250ms");
        }
        if let Some(count) = text.strip_prefix("crash@") {
            return count.parse().map(Self::Crash).map_err(|_| "crash takes a number of requests");
        }
        if let Some(share) = text.strip_prefix("flip=") {
            let share = share.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            return share.map(Self::Flip).ok_or("flip takes a share from 0 to 1");
        }
        Err("the fault is not known")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow(time) => write!(f, "slow={}ms", time.as_millis()),
            Self::Lie => f.write_str("lie"),
            Self::Crash(after) => write!(f, "crash@{after}"),
            Self::Flip(share) => write!(f, "flip={share}"),
            Self::Silent => f.write_str("silent"),
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    (0.0..=3_600.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

impl Fault {
    /// Whether this outcome is altered; by the request, so that a run can be repeated.
    pub(super) fn alters(self, id: RequestId) -> bool {
        match self {
            Self::Lie => true,
            Self::Flip(share) => {
                let draw = u32::from_be_bytes([id[0], id[1], id[2], id[3]]);
                f64::from(draw) < share * f64::from(u32::MAX)
            }
            _ => false,
        }
    }
}

/// Another outcome of the same form: the last byte of the output's data is flipped, or a failure invents an output.
pub(super) fn altered(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Output(output) => {
            let mut bytes = output.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            Outcome::Output(bytes.into())
        }
        Outcome::Failed(failure) => Outcome::Output(Bytes::from(keccak256(&failure.reason).to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_or_explained() {
        let read = parse_faults("1:slow=3s, 2:lie,3:crash@10,4:flip=0.01,5:slow=250ms,6:silent").unwrap();
        assert_eq!(
            read,
            [
                (1, Fault::Slow(Duration::from_secs(3))),
                (2, Fault::Lie),
                (3, Fault::Crash(10)),
                (4, Fault::Flip(0.01)),
                (5, Fault::Slow(Duration::from_millis(250))),
                (6, Fault::Silent),
            ]
        );
        assert_eq!(parse_faults(""), Ok(vec![]));
        for bad in ["lie", "0:lie", "x:lie", "1:", "1:nap", "1:slow=3", "1:slow=-3s", "1:flip=2", "1:crash@x"] {
            let error = parse_faults(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("slow=3s"), "{error}");
        }
    }

    #[test]
    fn a_fault_is_written_as_it_is_read() {
        for text in ["slow=3000ms", "lie", "crash@10", "flip=0.01", "silent"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_share_of_requests_is_altered() {
        let ids: Vec<RequestId> = (0..4_000u32).map(|number| keccak256(number.to_be_bytes())).collect();
        let altered = ids.iter().filter(|id| Fault::Flip(0.1).alters(**id)).count();
        assert!((300..500).contains(&altered), "{altered} of 4,000 at a share of a tenth");
    }
}
