//! Outcome sources of a block: what the builder used, and what a verifier may use.

use alloy_primitives::{B256, map::B256Map};
use foreblock_precompile::{
    Certificate, InferenceList, ListError, MemoryOutcomes, ModelId, Outcome, Outcomes, Request, RequestId, Used,
};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

/// The builder's source: another source, noting which outcomes it gave. What a transaction that was left out has asked for is noted, too; the
/// list is made of those that executed transactions used.
pub struct BlockOutcomes {
    inner: Arc<dyn Outcomes>,
    given: Mutex<B256Map<Outcome>>,
}

impl std::fmt::Debug for BlockOutcomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockOutcomes")
    }
}

impl BlockOutcomes {
    /// Gives what `inner` gives.
    pub fn new(inner: Arc<dyn Outcomes>) -> Self {
        Self { inner, given: Mutex::default() }
    }

    fn given(&self) -> MutexGuard<'_, B256Map<Outcome>> {
        self.given.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Executed again with what it was given only, a block uses these: the list of a block whose transactions used `ids`.
    ///
    /// # Errors
    /// [`ListError`] if an output cannot stand in a list.
    pub fn list(
        &self,
        ids: impl IntoIterator<Item = RequestId>,
        certificate: impl Fn(RequestId) -> Option<Certificate>,
    ) -> Result<InferenceList, ListError> {
        let given = self.given();
        let entry = |id: RequestId| {
            let outcome = given.get(&id).cloned().ok_or(ListError::Missing(id))?;
            let certificate = certificate(id).ok_or(ListError::Missing(id))?;
            Ok((Used { id, model: ModelId::ZERO, outcome, inference_gas: 0 }, certificate))
        };
        InferenceList::new(ids.into_iter().map(entry).collect::<Result<Vec<_>, ListError>>()?)
    }
}

impl Outcomes for BlockOutcomes {
    fn get(&self, id: RequestId) -> Option<Outcome> {
        let outcome = self.inner.get(id)?;
        self.given().insert(id, outcome.clone());
        Some(outcome)
    }

    fn missing(&self, request: &Request) {
        self.inner.missing(request);
    }
}

/// The verifier's source: lists by the block that they belong to, the executed block's only.
#[derive(Debug, Default)]
pub struct ListOutcomes {
    lists: RwLock<B256Map<Arc<MemoryOutcomes>>>,
}

impl ListOutcomes {
    /// A list came with a block: by gossip, or beside the payload. Its certificates are checked before this.
    pub fn insert(&self, block: B256, list: &InferenceList) {
        let outcomes = Arc::new(list.outcomes());
        self.lists.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(block, outcomes);
    }

    /// The source for executing this block: nothing where no list came.
    pub fn of(&self, block: B256) -> Arc<dyn Outcomes> {
        let lists = self.lists.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        lists.get(&block).cloned().unwrap_or_default()
    }

    /// A block is final, or gone.
    pub fn forget(&self, block: B256) {
        self.lists.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foreblock_precompile::{Failure, FailureCode};

    fn failed(reason: &str) -> Outcome {
        Outcome::Failed(Failure::new(FailureCode::OutOfRange, reason))
    }

    #[test]
    fn a_block_lists_what_its_transactions_used_and_a_verifier_has_nothing_else() {
        let id = B256::repeat_byte;
        let known: MemoryOutcomes = [(id(1), failed("one")), (id(2), failed("two"))].into_iter().collect();
        let building = BlockOutcomes::new(Arc::new(known));
        assert_eq!(building.get(id(1)), Some(failed("one")));
        assert_eq!(building.get(id(3)), None);
        let certificate = |_| Some(Certificate::default());
        let list = building.list([id(1), id(1)], certificate).unwrap();
        assert_eq!(list.entries().len(), 1);
        assert_eq!(building.list([id(2)], certificate), Err(ListError::Missing(id(2))), "it was never given");

        let verifying = ListOutcomes::default();
        let block = id(9);
        assert_eq!(verifying.of(block).get(id(1)), None);
        verifying.insert(block, &list);
        assert_eq!(verifying.of(block).get(id(1)), Some(failed("one")));
        assert_eq!(verifying.of(block).get(id(2)), None);
        assert_eq!(verifying.of(id(8)).get(id(1)), None, "another block's list is not this one's");
        verifying.forget(block);
        assert_eq!(verifying.of(block).get(id(1)), None);
    }
}
