//! Loaded models: each is loaded once however many ask for it, and the least recently used give way.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use foreblock_precompile::ModelId;

use super::{State, Unavailable};

/// How long a model that failed to load is not tried again, so that requests for it cost nothing.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// What a model takes of the cache.
pub(super) trait Weighed {
    /// Bytes by which it counts.
    fn size_bytes(&self) -> u64;
}

/// A cache of models.
pub(super) struct Cache<M> {
    entries: Mutex<Entries<M>>,
    changed: Condvar,
    bytes_max: u64,
}

struct Entries<M> {
    by_id: HashMap<ModelId, Entry<M>>,
    /// Counts uses, to order them.
    uses: u64,
}

enum Entry<M> {
    Loading,
    Ready { model: Arc<M>, used: u64 },
    Failed { error: Unavailable, since: Instant },
}

impl<M: Weighed> Cache<M> {
    /// An empty cache.
    pub(super) fn new(bytes_max: u64) -> Self {
        let entries = Mutex::new(Entries { by_id: HashMap::new(), uses: 0 });
        Self { entries, changed: Condvar::new(), bytes_max }
    }

    /// The model, loaded by `load` where it is not there; other callers wait for that. `load` must not panic.
    pub(super) fn get(
        &self,
        id: ModelId,
        load: impl FnOnce() -> Result<M, Unavailable>,
    ) -> Result<Arc<M>, Unavailable> {
        let mut entries = self.lock();
        loop {
            entries.uses += 1;
            let now = entries.uses;
            match entries.by_id.get_mut(&id) {
                Some(Entry::Ready { model, used }) => {
                    *used = now;
                    return Ok(model.clone());
                }
                Some(Entry::Failed { error, since }) if since.elapsed() < RETRY_AFTER => return Err(error.clone()),
                Some(Entry::Loading) => {
                    entries = self.changed.wait(entries).unwrap_or_else(PoisonError::into_inner);
                }
                Some(Entry::Failed { .. }) | None => break,
            }
        }
        entries.by_id.insert(id, Entry::Loading);
        drop(entries);
        let loaded = load().map(Arc::new);
        self.finish(id, &loaded);
        loaded
    }

    fn finish(&self, id: ModelId, loaded: &Result<Arc<M>, Unavailable>) {
        let mut entries = self.lock();
        let used = entries.uses;
        let entry = match loaded {
            Ok(model) => Entry::Ready { model: model.clone(), used },
            Err(error) => Entry::Failed { error: error.clone(), since: Instant::now() },
        };
        entries.by_id.insert(id, entry);
        entries.evict(self.bytes_max, id);
        self.changed.notify_all();
    }

    /// The state of a model, without waiting and without counting as a use.
    pub(super) fn peek(&self, id: ModelId) -> (State, Option<Arc<M>>) {
        match self.lock().by_id.get(&id) {
            None => (State::NotLoaded, None),
            Some(Entry::Loading) => (State::Loading, None),
            Some(Entry::Ready { model, .. }) => (State::Ready, Some(model.clone())),
            Some(Entry::Failed { error, .. }) => (State::Failed(error.clone()), None),
        }
    }

    /// Forgets a model that is not being loaded. Runs in progress keep it.
    pub(super) fn remove(&self, id: ModelId) {
        let mut entries = self.lock();
        if !matches!(entries.by_id.get(&id), Some(Entry::Loading)) {
            entries.by_id.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<M>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Weighed> Entries<M> {
    /// Drops the least recently used until the rest fits, but never `keep`.
    fn evict(&mut self, bytes_max: u64, keep: ModelId) {
        loop {
            let ready = self.by_id.iter().filter_map(|(id, entry)| match entry {
                Entry::Ready { model, used } => Some((*id, model.size_bytes(), *used)),
                _ => None,
            });
            let ready: Vec<_> = ready.collect();
            let total: u64 = ready.iter().map(|(_, size, _)| size).sum();
            let oldest = ready.iter().filter(|(id, ..)| *id != keep).min_by_key(|(.., used)| *used);
            match oldest {
                Some((id, ..)) if total > bytes_max => self.by_id.remove(id),
                _ => return,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    struct Fake(u64);

    impl Weighed for Fake {
        fn size_bytes(&self) -> u64 {
            self.0
        }
    }

    fn id(n: u8) -> ModelId {
        ModelId::repeat_byte(n)
    }

    #[test]
    fn many_callers_load_a_model_once() {
        let (cache, loads) = (Cache::new(100), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let load = || {
                        loads.fetch_add(1, SeqCst);
                        std::thread::sleep(Duration::from_millis(30));
                        Ok(Fake(1))
                    };
                    assert_eq!(cache.get(id(1), load).unwrap().0, 1);
                });
            }
        });
        assert_eq!(loads.load(SeqCst), 1);
    }

    #[test]
    fn the_least_recently_used_gives_way() {
        let cache = Cache::new(10);
        let load = |size| move || Ok(Fake(size));
        for n in 1..=2 {
            cache.get(id(n), load(5)).unwrap();
        }
        cache.get(id(1), || panic!("it is loaded")).unwrap();
        cache.get(id(3), load(5)).unwrap();
        assert_eq!([1, 2, 3].map(|n| cache.peek(id(n)).0), [State::Ready, State::NotLoaded, State::Ready]);
        cache.get(id(4), load(50)).unwrap();
        assert_eq!([1, 3, 4].map(|n| cache.peek(id(n)).0), [State::NotLoaded, State::NotLoaded, State::Ready]);
    }

    #[test]
    fn a_failure_is_remembered_and_does_not_block() {
        let cache: Cache<Fake> = Cache::new(10);
        let error = Unavailable::Broke("on purpose".into());
        assert_eq!(cache.get(id(1), || Err(error.clone())).err(), Some(error.clone()));
        assert_eq!(cache.get(id(1), || panic!("not tried again so soon")).err(), Some(error.clone()));
        assert_eq!(cache.peek(id(1)).0, State::Failed(error));
        cache.remove(id(1));
        assert!(cache.get(id(1), || Ok(Fake(1))).is_ok());
    }
}
