//! Outcomes that were computed: bounded, in memory, and on disk where a directory is given.
//!
//! [`Store::put`] makes outcomes visible at once; they are *stored* when [`Store::put`] on disk has returned, and what is
//! stored survives `kill -9`. At the bound the outcomes that came first leave first. Where operators vouch for outcomes, one
//! is there only while its signers are enough of the present operators ([`Store::set_committee`]).

mod certified;
mod disk;
mod known;
mod memory;

pub use certified::Certified;

use crate::store::{disk::Disk, known::KnownRequests, memory::Memory};
use foreblock_precompile::{Committee, ModelId, Outcome, Outcomes, Request, RequestId, request_id};
use parking_lot::RwLock;
use std::path::{Path, PathBuf};

/// Bounds of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Outcomes kept in memory.
    pub memory_entries_max: usize,
    /// Bytes of outcomes kept in memory.
    pub memory_bytes_max: usize,
    /// Outcomes kept on disk.
    pub disk_entries_max: u64,
    /// Bytes of outcomes kept on disk.
    pub disk_bytes_max: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            memory_entries_max: 65_536,
            memory_bytes_max: 64 << 20,
            disk_entries_max: 1_000_000,
            disk_bytes_max: 1 << 30,
        }
    }
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made.
    #[error("cannot make {}: {source}; choose a data directory that can be written", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database cannot be opened.
    #[error("cannot open {}: {reason}; another process may hold it, else remove the file (outcomes are computed again)", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the database said.
        reason: String,
    },
    /// The database cannot be written or read.
    #[error("outcome store: {0}; is the disk full?")]
    Disk(String),
}

/// What `inference_status` says of an outcome's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Only in memory: a restart computes it again.
    Memory,
    /// On disk: it survives `kill -9`.
    Disk,
}

/// Outcomes by request.
#[derive(Debug)]
pub struct Store {
    memory: RwLock<Memory>,
    known: RwLock<KnownRequests>,
    disk: Option<Disk>,
    committee: RwLock<Option<Committee>>,
}

impl Store {
    /// A store in memory only.
    pub fn in_memory(limits: StoreLimits) -> Self {
        Self {
            memory: RwLock::new(Memory::new(limits)),
            known: RwLock::default(),
            disk: None,
            committee: RwLock::default(),
        }
    }

    /// A store in `directory`, with what it held before.
    ///
    /// # Errors
    /// [`StoreError`] if the directory or the database in it cannot be used.
    pub fn open(directory: &Path, limits: StoreLimits) -> Result<Self, StoreError> {
        let disk = Disk::open(directory, limits)?;
        Ok(Self {
            memory: RwLock::new(Memory::new(limits)),
            known: RwLock::default(),
            disk: Some(disk),
            committee: RwLock::default(),
        })
    }

    /// Adds outcomes: visible at once, and on disk, if there is one, when this returns. The first outcome of a request
    /// stays.
    ///
    /// # Errors
    /// [`StoreError::Disk`]; the outcomes can be used nevertheless, until a restart.
    pub fn put(&self, outcomes: &[(RequestId, Certified)]) -> Result<(), StoreError> {
        self.show(outcomes);
        self.write(outcomes)
    }

    /// Makes outcomes visible without writing them.
    pub(crate) fn show(&self, outcomes: &[(RequestId, Certified)]) {
        let committee = self.committee.read();
        let mut memory = self.memory.write();
        outcomes.iter().for_each(|(id, outcome)| memory.insert(*id, outcome.clone(), committee.as_ref()));
    }

    /// Writes outcomes to disk, if there is one.
    pub(crate) fn write(&self, outcomes: &[(RequestId, Certified)]) -> Result<(), StoreError> {
        let committee = self.committee.read().clone();
        self.disk.as_ref().map_or(Ok(()), |disk| disk.put(outcomes, committee.as_ref()))
    }

    /// From now on only outcomes count that enough of these operators signed.
    pub fn set_committee(&self, committee: Committee) {
        *self.committee.write() = Some(committee);
    }

    /// An outcome that counts, with what vouches for it.
    pub fn certified(&self, id: RequestId) -> Option<Certified> {
        let committee = self.committee.read();
        if let Some(found) = self.memory.read().get(id).filter(|found| found.counts(committee.as_ref())) {
            return Some(found.clone());
        }
        let found = self.on_disk(id).filter(|found| found.counts(committee.as_ref()))?;
        self.memory.write().insert(id, found.clone(), committee.as_ref());
        Some(found)
    }

    fn on_disk(&self, id: RequestId) -> Option<Certified> {
        self.disk.as_ref()?.get(id).unwrap_or_else(|error| {
            tracing::warn!(%error, request = %id, "an outcome cannot be read and counts as missing");
            None
        })
    }

    /// Where the outcome of a request is.
    pub fn source(&self, id: RequestId) -> Option<Source> {
        self.certified(id).map(|_| if self.on_disk(id).is_some() { Source::Disk } else { Source::Memory })
    }

    /// Outcomes in memory, and their bytes.
    pub fn memory_size(&self) -> (usize, usize) {
        self.memory.read().size()
    }

    /// Outcomes on disk, and their bytes.
    pub fn disk_size(&self) -> (u64, u64) {
        self.disk.as_ref().map_or((0, 0), |disk| disk.size())
    }
}

impl Outcomes for Store {
    fn get(&self, id: RequestId) -> Option<Outcome> {
        self.certified(id).map(|found| found.outcome)
    }

    fn id(&self, model: ModelId, input: &[u8]) -> RequestId {
        self.known.read().id(model, input).unwrap_or_else(|| request_id(model, input))
    }

    /// Remembers the request's id: speculation asks first what builders ask later.
    fn missing(&self, request: &Request) {
        self.known.write().insert(request.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{B256, Bytes};
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use foreblock_precompile::{Certificate, Failure, FailureCode, StatementDomain};

    fn output(byte: u8, size: usize) -> Outcome {
        Outcome::Output(Bytes::from(vec![byte; size]))
    }

    fn stored(byte: u8, size: usize) -> (RequestId, Certified) {
        (B256::repeat_byte(byte), output(byte, size).into())
    }

    #[test]
    fn memory_is_bounded_and_the_first_leave_first() {
        let limits = StoreLimits { memory_entries_max: 3, memory_bytes_max: 1_000, ..StoreLimits::default() };
        let store = Store::in_memory(limits);
        for byte in 1..=4 {
            store.put(&[stored(byte, 10)]).unwrap();
        }
        assert_eq!(store.get(B256::repeat_byte(1)), None);
        assert_eq!(store.get(B256::repeat_byte(4)), Some(output(4, 10)));
        store.put(&[stored(5, 800)]).unwrap();
        let (entries, bytes) = store.memory_size();
        assert!(entries <= 3 && bytes <= 1_000, "{entries} entries, {bytes} bytes");
        assert_eq!(store.get(B256::repeat_byte(5)), Some(output(5, 800)));
    }

    #[test]
    fn the_first_outcome_of_a_request_stays() {
        let directory = tempfile::tempdir().unwrap();
        let id = B256::repeat_byte(1);
        let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
        store.put(&[(id, output(1, 4).into())]).unwrap();
        store.put(&[(id, output(2, 4).into())]).unwrap();
        assert_eq!(store.get(id), Some(output(1, 4)));
        drop(store);
        let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
        assert_eq!(store.get(id), Some(output(1, 4)));
    }

    #[test]
    fn outcomes_of_both_kinds_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let failed = Outcome::Failed(Failure::new(FailureCode::NotFinite, "output 0 is NaN"));
        let both = [(B256::repeat_byte(1), output(7, 33)), (B256::repeat_byte(2), failed)];
        Store::open(directory.path(), StoreLimits::default())
            .unwrap()
            .put(&both.clone().map(|(id, outcome)| (id, outcome.into())))
            .unwrap();
        let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
        for (id, outcome) in both {
            assert_eq!(store.source(id), Some(Source::Disk));
            assert_eq!(store.get(id), Some(outcome));
        }
        assert_eq!(store.get(B256::ZERO), None);
    }

    #[test]
    fn the_disk_is_bounded_and_counts_again_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let limits = StoreLimits { disk_entries_max: 10, memory_entries_max: 1, ..StoreLimits::default() };
        let store = Store::open(directory.path(), limits).unwrap();
        for byte in 1..=25 {
            store.put(&[stored(byte, 10)]).unwrap();
        }
        assert!(store.disk_size().0 <= 10);
        assert_eq!(store.get(B256::repeat_byte(3)), None);
        assert_eq!(store.get(B256::repeat_byte(24)), Some(output(24, 10)), "read back from disk");
        let before = store.disk_size();
        drop(store);
        assert_eq!(Store::open(directory.path(), limits).unwrap().disk_size(), before);
    }

    #[test]
    fn a_file_that_is_no_database_is_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("outcomes.redb"), b"not a database, surely").unwrap();
        let error = Store::open(directory.path(), StoreLimits::default()).unwrap_err().to_string();
        assert!(error.contains("outcomes.redb") && error.contains("remove the file"), "{error}");
    }

    fn signed(id: RequestId, byte: u8, keys: &[u8]) -> (Certified, Committee) {
        let domain = StatementDomain::new(1);
        let outcome = output(byte, 4);
        let digest = domain.digest(id, &outcome);
        let mut keys: Vec<_> =
            keys.iter().map(|key| PrivateKeySigner::from_bytes(&B256::with_last_byte(*key)).unwrap()).collect();
        keys.sort_by_key(|key| key.address());
        let signatures = keys.iter().map(|key| key.sign_hash_sync(&digest).unwrap()).collect();
        let signers: Vec<_> = keys.iter().map(|key| key.address()).collect();
        let committee = Committee::new(signers.iter().copied());
        (Certified { outcome, certificate: Certificate { signatures }, signers }, committee)
    }

    #[test]
    fn an_outcome_counts_only_before_operators_of_whom_enough_signed_it() {
        let directory = tempfile::tempdir().unwrap();
        let id = B256::repeat_byte(1);
        let (old, old_committee) = signed(id, 1, &[1, 2, 3]);
        let (new, new_committee) = signed(id, 2, &[3, 4, 5]);
        let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
        store.set_committee(old_committee);
        store.put(&[(id, old.clone())]).unwrap();
        assert_eq!(store.certified(id), Some(old.clone()));

        store.set_committee(new_committee.clone());
        assert_eq!((store.get(id), store.source(id)), (None, None), "departed operators vouch for nothing");
        store.put(&[(id, new.clone())]).unwrap();
        store.put(&[(id, old)]).unwrap();
        assert_eq!(store.certified(id), Some(new.clone()), "what counts is not replaced");
        drop(store);

        let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
        store.set_committee(new_committee);
        assert_eq!(store.certified(id), Some(new), "the certificate survives a restart with its outcome");
        assert_eq!(store.disk_size().0, 1);
    }
}
