//! In which turns a builder tries its candidates: in their order, and those that missed an outcome once more when it has come.

use super::{Advice, Candidate, Skip};
use alloy_evm::block::BlockExecutionError;
use alloy_primitives::{Address, B256};
use foreblock_pre_executor::Hold;
use std::collections::HashSet;

/// How often a candidate that missed is tried again in one block, at most.
const TURNS_MAX: usize = 4;
/// Outcomes that one candidate may have computed at once in one turn.
const AT_ONCE_MAX: usize = 64;

type Tried = Result<Option<Skip>, BlockExecutionError>;

/// Tries all candidates, and returns those that were left out with the reason. `run` executes one and says why it is not in the
/// block, if it is not. A sender's transactions never pass one another.
pub(super) fn turns(
    candidates: impl IntoIterator<Item = Candidate>,
    advice: &dyn Advice,
    mut run: impl FnMut(&Candidate) -> Tried,
) -> Result<Vec<(B256, Skip)>, BlockExecutionError> {
    let mut left: Vec<(Candidate, Option<Skip>)> = candidates.into_iter().map(|candidate| (candidate, None)).collect();
    for turn in 0..TURNS_MAX {
        if turn > 0 && !left.iter().any(|(_, skip)| has_come(skip.as_ref(), advice)) {
            break;
        }
        let mut blocked: HashSet<Address> = HashSet::new();
        let mut still = Vec::new();
        for (candidate, before) in left {
            let sender = candidate.tx.signer();
            let skip = match before {
                _ if blocked.contains(&sender) => Some(before.unwrap_or(Skip::Blocked)),
                Some(skip) if !may_try_again(&skip, advice) => Some(skip),
                before => try_one(&candidate, before.is_none(), advice, &mut run)?,
            };
            if let Some(skip) = skip {
                blocked.insert(sender);
                still.push((candidate, Some(skip)));
            }
        }
        left = still;
    }
    Ok(left.into_iter().map(|(candidate, skip)| (candidate.hash, skip.unwrap_or(Skip::Blocked))).collect())
}

fn has_come(skip: Option<&Skip>, advice: &dyn Advice) -> bool {
    match skip {
        Some(Skip::Missing(request)) => advice.is_there(request.id),
        Some(Skip::Held(Hold::Waits(id))) => advice.is_there(*id),
        _ => false,
    }
}

fn may_try_again(skip: &Skip, advice: &dyn Advice) -> bool {
    matches!(skip, Skip::Blocked) || has_come(Some(skip), advice)
}

fn try_one(
    candidate: &Candidate,
    first: bool,
    advice: &dyn Advice,
    run: &mut impl FnMut(&Candidate) -> Tried,
) -> Tried {
    if let Some(hold) = advice.hold(candidate.hash).filter(|_| first) {
        return Ok(Some(Skip::Held(hold)));
    }
    for _ in 0..AT_ONCE_MAX {
        match run(candidate)? {
            Some(Skip::Missing(request)) if advice.missed(candidate.hash, &request) => {}
            done => return Ok(done),
        }
    }
    run(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::Transaction as _;
    use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, transaction::Recovered};
    use alloy_primitives::{Bytes, Signature, U256};
    use foreblock_precompile::{Request, RequestId};
    use std::{cell::RefCell, sync::Arc};

    fn candidate(sender: u8, nonce: u64) -> Candidate {
        let signature = Signature::new(U256::from(sender), U256::from(nonce), false);
        let tx = TxEnvelope::from(TxEip1559 { nonce, ..Default::default() }.into_signed(signature));
        let tx = Recovered::new_unchecked(tx, Address::repeat_byte(sender));
        Candidate { hash: B256::left_padding_from(&[sender, nonce as u8]), tx: Arc::new(tx) }
    }

    fn request(byte: u8) -> Request {
        Request::new(B256::repeat_byte(byte), Bytes::new())
    }

    /// Outcomes come when the candidate with this sender was run; models named here are computed at once.
    struct Comes {
        there: RefCell<HashSet<RequestId>>,
        at_once: Option<B256>,
    }

    impl Advice for Comes {
        fn missed(&self, _: B256, request: &Request) -> bool {
            let now = self.at_once == Some(request.model);
            if now {
                self.there.borrow_mut().insert(request.id);
            }
            now
        }

        fn is_there(&self, id: RequestId) -> bool {
            self.there.borrow().contains(&id)
        }
    }

    fn included(advice: &Comes, comes_after: u8) -> (Vec<(u8, u64)>, usize) {
        let mut done = Vec::new();
        let all = [candidate(1, 0), candidate(1, 1), candidate(2, 0), candidate(3, 0)];
        let left = turns(all, advice, |candidate| {
            let sender = candidate.tx.signer()[0];
            if sender == 1 && !advice.is_there(request(1).id) {
                return Ok(Some(Skip::Missing(request(1))));
            }
            if sender == comes_after {
                advice.there.borrow_mut().insert(request(1).id);
            }
            done.push((sender, candidate.tx.nonce()));
            Ok(None)
        });
        (done, left.unwrap().len())
    }

    #[test]
    fn an_answer_that_comes_while_the_block_is_built_is_used_with_those_behind_it() {
        let advice = Comes { there: Default::default(), at_once: None };
        assert_eq!(included(&advice, 2), (vec![(2, 0), (3, 0), (1, 0), (1, 1)], 0));
    }

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for() {
        let advice = Comes { there: Default::default(), at_once: None };
        assert_eq!(included(&advice, 9), (vec![(2, 0), (3, 0)], 2));
    }

    #[test]
    fn an_answer_that_is_computed_at_once_keeps_the_order() {
        let advice = Comes { there: Default::default(), at_once: Some(request(1).model) };
        assert_eq!(included(&advice, 9), (vec![(1, 0), (1, 1), (2, 0), (3, 0)], 0));
    }
}
