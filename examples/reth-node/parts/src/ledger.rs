//! Inference lists of a node: made for the blocks that it builds, kept by the block that they belong to, given to who verifies.

use alloy_primitives::{B256, map::B256Map};
use foreblock_pre_executor::Store;
use foreblock_precompile::{
    Committee, InferenceList, ListEntry, ListError, REQUEST_TYPE, RequestId, StatementDomain, Used,
};
use foreblock_sidecar::{Client, ClientError};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// Blocks, and lists, that are kept; the oldest are forgotten.
const KEPT_MAX: usize = 4_096;
/// Longest wait for a sidecar's list.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a block that was built has no list.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// It cannot be a list.
    #[error(transparent)]
    List(#[from] ListError),
    /// The sidecar does not give it.
    #[error("the sidecar gives no list: {0}")]
    Sidecar(#[from] ClientError),
}

type List = dyn Fn(&[Used]) -> Result<InferenceList, CertifyError> + Send + Sync;

/// Makes the list of a block that was built.
#[derive(Clone)]
pub struct Certify(Arc<List>);

impl fmt::Debug for Certify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certify")
    }
}

impl Certify {
    /// With the certificates of a pre-executor in this process.
    pub fn by_store(store: Arc<Store>) -> Self {
        Self(Arc::new(move |used| {
            let entry = |id: RequestId| {
                let found = store.certified(id).ok_or(ListError::Missing(id))?;
                Ok(ListEntry { id, outcome: found.outcome, certificate: found.certificate })
            };
            let entries = used.iter().map(|used| entry(used.id)).collect::<Result<Vec<_>, ListError>>()?;
            Ok(InferenceList::new(entries)?)
        }))
    }

    /// With those of the sidecar at this socket.
    pub fn by_sidecar(socket: PathBuf, chain_id: u64) -> Self {
        Self(Arc::new(move |used| {
            if used.is_empty() {
                return Ok(InferenceList::default());
            }
            let ids = used.iter().map(|used| used.id).collect();
            let encoded = Client::connect(&socket, chain_id, PATIENCE)?.list(ids)?;
            Ok(InferenceList::decode(&encoded)?)
        }))
    }

    pub(crate) fn list(&self, used: &[Used]) -> Result<InferenceList, CertifyError> {
        (self.0)(used)
    }
}

/// A list and what its requests ran.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    list: Arc<InferenceList>,
    gas: u64,
}

impl Noted {
    /// What an executed block used; the gas of each request counts once.
    pub fn of(list: Arc<InferenceList>, used: &[Used]) -> Self {
        let by_id: BTreeMap<_, _> = used.iter().map(|used| (used.id, used.inference_gas)).collect();
        Self { list, gas: by_id.values().fold(0, |sum, gas| sum.saturating_add(*gas)) }
    }
}

/// A map that forgets the oldest.
#[derive(Debug)]
struct Recent<V> {
    values: B256Map<V>,
    order: VecDeque<B256>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { values: B256Map::default(), order: VecDeque::new() }
    }
}

impl<V> Recent<V> {
    fn insert(&mut self, key: B256, value: V) {
        if self.values.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    /// By commitment.
    lists: Recent<Noted>,
    /// Commitments by block.
    blocks: Recent<B256>,
}

/// The node's lists.
#[derive(Debug, Default)]
pub struct Lists(Mutex<Kept>);

impl Lists {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A list came with a block, by gossip or beside the payload: it is kept if its certificates count before the operators of the parent's
    /// state.
    ///
    /// # Errors
    /// [`ListError`] says why it is none, or does not count.
    pub fn receive(
        &self,
        block: B256,
        encoded: &[u8],
        domain: &StatementDomain,
        operators: &Committee,
    ) -> Result<(), ListError> {
        let list = InferenceList::decode(encoded)?;
        list.verify_certificates(domain, operators)?;
        self.insert(block, list);
        Ok(())
    }

    /// The list of a block whose certificates were checked.
    pub fn insert(&self, block: B256, list: InferenceList) {
        let Some(commitment) = list.commitment() else { return };
        let mut kept = self.lock();
        if !kept.lists.values.contains_key(&commitment) {
            kept.lists.insert(commitment, Noted { list: Arc::new(list), gas: 0 });
        }
        kept.blocks.insert(block, commitment);
    }

    /// A block was executed with this list.
    pub fn note(&self, commitment: B256, noted: Noted) {
        self.lock().lists.insert(commitment, noted);
    }

    /// A block that was built here has this hash, and these EIP-7685 requests. Its encoded list, to be given away with it.
    pub fn sealed<R: AsRef<[u8]>>(
        &self,
        block: B256,
        requests: impl IntoIterator<Item = R>,
    ) -> Option<Arc<InferenceList>> {
        let commitment = requests.into_iter().find_map(|request| {
            let (kind, data) = request.as_ref().split_first()?;
            if *kind == REQUEST_TYPE { B256::try_from(data).ok() } else { None }
        })?;
        let mut kept = self.lock();
        kept.blocks.insert(block, commitment);
        kept.lists.values.get(&commitment).map(|noted| noted.list.clone())
    }

    /// A block's list; an empty one where none came.
    pub fn list(&self, block: B256) -> Arc<InferenceList> {
        self.noted(block).list
    }

    /// What a block's list ran; nothing where it has none.
    pub fn gas(&self, block: B256) -> u64 {
        self.noted(block).gas
    }

    fn noted(&self, block: B256) -> Noted {
        let kept = self.lock();
        let commitment = kept.blocks.values.get(&block);
        commitment.and_then(|commitment| kept.lists.values.get(commitment)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;
    use foreblock_precompile::{Certificate, Failure, FailureCode, ModelId, Outcome};

    fn list(byte: u8) -> InferenceList {
        let outcome = Outcome::Failed(Failure::new(FailureCode::OutOfRange, "far"));
        let id = B256::repeat_byte(byte);
        InferenceList::new([ListEntry { id, outcome, certificate: Certificate::default() }]).unwrap()
    }

    fn used(byte: u8, inference_gas: u64) -> Used {
        let outcome = list(byte).entries()[0].outcome.clone();
        Used { id: B256::repeat_byte(byte), model: ModelId::ZERO, outcome, inference_gas }
    }

    #[test]
    fn a_list_belongs_to_its_block_and_its_gas_is_known_once_it_ran() {
        let (lists, block) = (Lists::default(), B256::repeat_byte(9));
        assert_eq!((lists.list(block).entries().len(), lists.gas(block)), (0, 0));
        lists.insert(block, list(1));
        assert_eq!((&*lists.list(block), lists.gas(block)), (&list(1), 0));
        let commitment = list(1).commitment().unwrap();
        lists.note(commitment, Noted::of(Arc::new(list(1)), &[used(1, 70), used(1, 70), used(2, 5)]));
        assert_eq!(lists.gas(block), 75, "each request once");
        lists.insert(block, list(1));
        assert_eq!(lists.gas(block), 75, "it came again");
        assert_eq!(lists.list(B256::repeat_byte(8)).entries().len(), 0, "another block's list is not this one's");
    }

    #[test]
    fn a_sealed_block_finds_its_list_by_its_request() {
        let (lists, block) = (Lists::default(), B256::repeat_byte(9));
        let commitment = list(1).commitment().unwrap();
        lists.note(commitment, Noted::of(Arc::new(list(1)), &[used(1, 70)]));
        let request = [&[REQUEST_TYPE], commitment.as_slice()].concat();
        assert!(lists.sealed(block, [vec![0u8; 33], vec![REQUEST_TYPE, 1]]).is_none());
        assert_eq!(lists.sealed(block, [vec![0u8; 33], request]).as_deref(), Some(&list(1)));
        assert_eq!((&*lists.list(block), lists.gas(block)), (&list(1), 70));
    }

    #[test]
    fn a_list_that_nobody_signed_is_not_kept() {
        let (lists, block) = (Lists::default(), B256::repeat_byte(9));
        let operators = Committee::new([Address::repeat_byte(1)]);
        let refused = lists.receive(block, &list(1).encode(), &StatementDomain::new(1), &operators).unwrap_err();
        assert!(matches!(refused, ListError::Certificate { .. }), "{refused}");
        assert!(matches!(
            lists.receive(block, &[1], &StatementDomain::new(1), &operators),
            Err(ListError::Encoding(_))
        ));
        assert!(lists.list(block).entries().is_empty());
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let lists = Lists::default();
        let block = |number: usize| B256::left_padding_from(&number.to_be_bytes());
        (0..=KEPT_MAX).for_each(|number| lists.insert(block(number), list(1)));
        assert!(lists.list(block(0)).entries().is_empty());
        assert_eq!(lists.list(block(1)).entries().len(), 1);
    }
}
