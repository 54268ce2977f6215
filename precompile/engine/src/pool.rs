//! Threads that compute: the caller's own, and helpers that come when there is enough to do.
//!
//! A run stays on the thread that asks for it, so a small one wakes nobody. Helpers that were called once look for the next
//! piece of work without sleeping while a run is in progress: a kernel takes less time than a thread needs to wake up.

use std::{
    cell::RefCell,
    hint::spin_loop,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rayon::Yield;

use crate::graph::Spares;

/// Multiply-adds, or what takes as long, that are worth giving to a helper which is awake.
const SHARED_WORK: usize = 1 << 18;
/// Work that is worth waking helpers for; what is less than [`WAITED_WORK`] does not wait until they come.
const CALLING_WORK: usize = 1 << 20;
const WAITED_WORK: usize = 1 << 23;
/// Pieces for each thread: who is faster takes more of them.
pub(crate) const PIECES: usize = 3;
/// How long a helper looks for work before it sleeps, in a run and after it.
const PATIENCE: [Duration; 2] = [Duration::from_micros(1_000), Duration::from_micros(100)];
/// Pauses of the processor between two looks.
const PAUSES: usize = 16;

/// Threads that compute, and memory that they computed in before. No answer depends on how many.
pub struct Pool {
    helpers: Option<Arc<Helpers>>,
    spares: Mutex<Spares>,
}

/// All threads of a pool but the callers'.
struct Helpers {
    threads: rayon::ThreadPool,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Runs in progress.
    runs: AtomicUsize,
    /// Helpers that were called and did not leave.
    called: AtomicUsize,
    /// Those of them that are awake.
    awake: AtomicUsize,
}

thread_local! {
    /// Helpers of the run that this thread computes, unless it has shared its work out.
    static CURRENT: RefCell<Option<Arc<Helpers>>> = const { RefCell::new(None) };
}

impl Pool {
    /// A pool of `threads` threads, the caller's among them. Where the system has no threads to give, the caller's
    /// thread computes alone.
    pub fn new(threads: usize) -> Self {
        let name = |index| format!("exact-{index}");
        let build = || rayon::ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(name).build().ok();
        let threads = if threads > 1 { build() } else { None };
        let helpers = threads.map(|threads| Arc::new(Helpers { threads, state: Arc::default() }));
        Self { helpers, spares: Mutex::default() }
    }

    /// What runs before have left, for a run that begins.
    pub(crate) fn spares(&self) -> Spares {
        std::mem::take(&mut self.spares.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps what a run leaves.
    pub(crate) fn keep(&self, spares: Spares) {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).add(spares);
    }

    /// Does `work` on this thread; kernels in it may share theirs with the pool.
    pub(crate) fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _run = self.helpers.as_ref().map(|helpers| Counted::new(&helpers.state.runs));
        with_current(self.helpers.clone(), work)
    }
}

/// Does `work` where these are the helpers at hand.
fn with_current<R>(helpers: Option<Arc<Helpers>>, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<Helpers>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(helpers));
    work()
}

/// One more for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// On how many threads work of so many multiply-adds is best done. No result may depend on it.
pub(crate) fn threads(work: usize) -> usize {
    let threads = CURRENT.with_borrow(|current| current.as_ref().map_or(1, |helpers| helpers.share()));
    if threads <= 1 || work < 2 * SHARED_WORK {
        return 1;
    }
    let ready = CURRENT.with_borrow(|current| current.as_ref().is_some_and(|helpers| helpers.ready(work)));
    if ready { threads } else { 1 }
}

/// In how many pieces it is best divided: as many for each thread, unless there are fewer.
pub(crate) fn pieces(work: usize) -> usize {
    match threads(work) {
        1 => 1,
        threads => match (work / SHARED_WORK).min(threads * PIECES) {
            few if few < threads => few,
            pieces => pieces - pieces % threads,
        },
    }
}

/// Does `work` to each task, on the threads at hand; each thread makes its own `scratch` first. Worth it where [`pieces`]
/// said more than one.
pub(crate) fn each<T: Send, S>(tasks: Vec<T>, scratch: impl Fn() -> S + Sync, work: impl Fn(&mut S, T) + Sync) {
    let count = tasks.len();
    let queue = Mutex::new(tasks.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let turn = || {
        let mut scratch = scratch();
        while let Some(task) = next() {
            work(&mut scratch, task);
        }
    };
    match CURRENT.with_borrow(Option::clone).filter(|_| count > 1) {
        // Whatever a task does, it does alone.
        Some(helpers) => with_current(None, || helpers.take_turns(count, &turn)),
        None => turn(),
    }
}

impl Helpers {
    /// This run's part of the threads.
    fn share(&self) -> usize {
        (self.threads.current_num_threads() + 1) / self.state.runs.load(SeqCst).max(1)
    }

    /// Whether helpers will come at once, or so that it is worth to wait. Where nobody is awake, they are called for the
    /// next time.
    fn ready(&self, work: usize) -> bool {
        if self.state.awake.load(SeqCst) > 0 {
            return true;
        }
        if work >= CALLING_WORK {
            self.call();
        }
        work >= WAITED_WORK
    }

    fn call(&self) {
        let all = self.threads.current_num_threads();
        if self.state.called.compare_exchange(0, all, SeqCst, SeqCst).is_ok() {
            let state = self.state.clone();
            self.threads.spawn_broadcast(move |_| state.attend());
        }
    }

    /// `turn` on this thread and on helpers, until all have come back.
    fn take_turns(&self, count: usize, turn: &(dyn Fn() + Sync)) {
        let wanted = (self.share().max(1) - 1).min(count - 1);
        let out = AtomicUsize::new(wanted);
        self.threads.in_place_scope(|scope| {
            for _ in 0..wanted {
                scope.spawn(|_| {
                    let _back = Back(&out);
                    turn();
                });
            }
            turn();
            // Sleeping here would take longer than what is left.
            while out.load(SeqCst) > 0 {
                pause();
            }
            (0..PAUSES).for_each(|_| spin_loop());
        });
    }
}

/// One less that is away, once it is dropped: after a panic, too.
struct Back<'a>(&'a AtomicUsize);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl State {
    /// A helper's time awake: does what is shared out, until there is nothing for a while.
    fn attend(&self) {
        let awake = Counted::new(&self.awake);
        let mut idle_since = Instant::now();
        loop {
            if rayon::yield_now() == Some(Yield::Executed) {
                idle_since = Instant::now();
                continue;
            }
            pause();
            if idle_since.elapsed() > PATIENCE[usize::from(self.runs.load(SeqCst) == 0)] {
                break;
            }
        }
        drop(awake);
        self.called.fetch_sub(1, SeqCst);
    }
}

/// Waits a moment, and lets others have the processor who need it.
fn pause() {
    (0..PAUSES).for_each(|_| spin_loop());
    std::thread::yield_now();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn sum_of(tasks: u64) -> u64 {
        let sum = AtomicU64::new(0);
        each((0..tasks).collect(), || (), |(), task| _ = sum.fetch_add(task, SeqCst));
        sum.into_inner()
    }

    #[test]
    fn every_task_is_done_once_whoever_does_it() {
        for threads in [1, 2, 3, 16] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 100] {
                assert_eq!(pool.run(|| sum_of(tasks)), tasks * tasks.saturating_sub(1) / 2, "{threads} {tasks}");
            }
        }
    }

    #[test]
    fn several_runs_share_a_pool() {
        let pool = Pool::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..200).for_each(|_| assert_eq!(pool.run(|| sum_of(50)), 1225)));
            }
        });
        assert_eq!(pool.helpers.expect("has helpers").state.runs.load(SeqCst), 0);
    }

    #[test]
    fn work_is_divided_where_helpers_are_and_nowhere_else() {
        assert_eq!(pieces(usize::MAX), 1, "outside of a run");
        assert_eq!(Pool::new(1).run(|| pieces(usize::MAX)), 1);
        let pool = Pool::new(2);
        assert_eq!(pool.run(|| pieces(SHARED_WORK)), 1, "little work");
        assert!(pool.run(|| pieces(WAITED_WORK)) > 1);
        for threads in [2, 3, 16] {
            let (pool, works) = (Pool::new(threads), WAITED_WORK..WAITED_WORK + 20 * SHARED_WORK);
            for work in works.step_by(SHARED_WORK) {
                assert_eq!(pool.run(|| pieces(work)) % threads, 0, "as many for each of {threads}");
            }
        }
        let inside = AtomicUsize::new(0);
        let look = |_: &mut (), _: u32| _ = inside.fetch_max(pieces(usize::MAX), SeqCst);
        pool.run(|| each(vec![1, 2, 3], || (), look));
        assert_eq!(inside.into_inner(), 1, "a task is not divided again");
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        let broken = || pool.run(|| each(vec![1, 2, 3, 4], || (), |(), task| assert_ne!(task, 3)));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(broken)).is_err());
        assert_eq!(pool.run(|| sum_of(10)), 45);
    }
}
